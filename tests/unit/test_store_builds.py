"""What builds and overlays store: sdists, wheels built here and added by hand, environments for builds, logs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import FileKey
from aiocache_engine.store.archives import is_linked
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.generations import Cleaned, bump
from aiocache_engine.store.layout import BUILT, OVERLAY, Layout
from aiocache_engine.store.work import Found, Published, Work
from aiocache_engine.system.lock import Hold
from caches import Place, begun, in_hold, key, pointer, staged
from toolsheds import begin, describe, finish, make_tool, publish, run_tool

INDEX, OTHER = "a" * 32, "b" * 32
DIGEST = "d" * 32
MINE = f"{OVERLAY}mine"
SHA, REBUILT = "a" * 64, "b" * 64
SDIST = "tiny-1.0.tar.gz"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def cache(place: Place) -> CacheDir:
    return place.opened()


def published(work: Work, where: FileKey, sha256: str = SHA, *, also: Sequence[FileKey] = ()) -> Published:
    path, what = staged(work, sha256=sha256), pointer(sha256=sha256)
    result: Published = in_hold(
        work.cache, LockMode.SHARED, lambda hold: work.publish(hold, path, where, what, also=also)
    )
    return result


def added(work: Work, sha256: str = SHA) -> Published:
    path, what = staged(work, sha256=sha256), pointer(sha256=sha256)
    result: Published = in_hold(
        work.cache, LockMode.SHARED, lambda hold: work.add_to_overlay(hold, path, key(index=MINE), what)
    )
    return result


def found(work: Work, where: FileKey) -> Found | None:
    def look(hold: Hold) -> Found | None:
        work.begin(hold, [where.project])
        return work.find(hold, [where])[0]

    result: Found | None = in_hold(work.cache, LockMode.SHARED, look)
    return result


def cleaned(cache: CacheDir, what: Cleaned) -> None:
    """Do what a clean of tiny does first."""
    bump(cache.layout.generation("tiny"), what, by_way_of=cache.temporary())


def built(digest: str) -> FileKey:
    return FileKey("tiny", BUILT, digest, None)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (INDEX, f"projects-v1/tiny/{INDEX}/file.json"),
        (BUILT, "projects-v1/tiny/built/file.json"),
        (MINE, "overlays-v1/mine/tiny/file.json"),
    ],
)
def test_a_name_stands_under_its_index_its_overlay_or_what_was_built(index: str, expected: str) -> None:
    assert Layout("").pointer("tiny", index, "file") == f"/{expected}"


@pytest.mark.parametrize("index", ["", "hash", "overlay/", "overlay/../x", "overlay/a/b", "overlay/.x", "elsewhere"])
def test_no_other_index_becomes_a_path(index: str) -> None:
    with pytest.raises(InvalidNameError):
        Layout("").pointer("tiny", index, "file")


@pytest.mark.parametrize("filename", ["tiny-1.0.json", "page", "../tiny.zip", "tiny/x.zip", ".zip"])
def test_only_sdists_are_stored_as_sources(filename: str) -> None:
    with pytest.raises(InvalidNameError):
        Layout("").source("tiny", INDEX, filename)


def test_a_wheel_that_was_built_is_found_by_all_that_it_was_built_from(cache: CacheDir) -> None:
    work = begun(cache)
    archive = published(work, built(DIGEST), also=[built(OTHER)]).archive
    for digest in (DIGEST, OTHER):
        hit = found(work, built(digest))
        assert hit is not None
        assert hit.archive == archive
    assert found(work, built("e" * 32)) is None
    work.end()


def test_no_further_name_is_written_either_once_the_version_was_cleaned(place: Place, cache: CacheDir) -> None:
    work = begun(cache)
    cleaned(cache, Cleaned("<2"))
    assert not published(work, built(DIGEST), also=[built(OTHER)]).is_named
    assert place.names() == set()
    work.end()


def test_what_is_added_is_found_in_its_overlay_alone(cache: CacheDir) -> None:
    work = begun(cache)
    archive = added(work).archive
    hit = found(work, key(index=MINE))
    assert hit is not None
    assert hit.archive == archive
    assert found(work, key(index=f"{OVERLAY}other")) is None
    assert found(work, key(index=INDEX)) is None
    work.end()


def test_what_is_found_by_its_hash_is_not_added_to_an_overlay(cache: CacheDir) -> None:
    work = begun(cache)
    published(work, key(index=INDEX))
    assert found(work, key(index=MINE, sha256=SHA)) is not None
    assert found(work, key(index=MINE)) is None
    work.end()


@pytest.mark.parametrize("what", [Cleaned(), Cleaned(overlay="mine"), Cleaned("==1.0")], ids=str)
def test_adding_counts_as_begun_again_after_a_clean(cache: CacheDir, what: Cleaned) -> None:
    work = begun(cache)
    cleaned(cache, what)
    assert added(work).is_named
    assert found(work, key(index=MINE)) is not None
    work.end()


def test_a_wheel_that_is_added_again_takes_the_place_of_the_first_which_is_noted(cache: CacheDir) -> None:
    work = begun(cache)
    first = added(work).archive
    assert os.listdir(cache.layout.condemned) == []
    second = added(work, REBUILT).archive
    hit = found(work, key(index=MINE))
    assert hit is not None
    assert hit.archive == second
    assert [name.partition("-")[0] for name in os.listdir(cache.layout.condemned)] == [first.id]
    assert os.path.isdir(first.path), "the work still uses it"
    work.end()


def test_the_same_bytes_added_twice_are_one_archive_and_nothing_is_noted(cache: CacheDir) -> None:
    work = begun(cache)
    first = added(work)
    again = added(work)
    assert again.archive == first.archive
    assert again.is_adopted
    assert os.listdir(cache.layout.condemned) == []
    work.end()


@pytest.mark.parametrize(
    ("what", "is_allowed"),
    [(Cleaned(overlay="mine"), True), (Cleaned(">=2", overlay="mine"), True), (Cleaned(), False)],
)
def test_a_clean_of_an_overlay_does_not_concern_what_an_index_gives(
    cache: CacheDir, what: Cleaned, *, is_allowed: bool
) -> None:
    work = begun(cache)
    cleaned(cache, what)
    assert published(work, key(index=INDEX)).is_named == is_allowed
    work.end()


@pytest.mark.parametrize(
    ("what", "is_allowed"), [(Cleaned(overlay="mine"), False), (Cleaned(">=2", overlay="mine"), True)]
)
def test_an_environment_begun_before_a_clean_of_an_overlay_gets_no_name(
    cache: CacheDir, what: Cleaned, *, is_allowed: bool
) -> None:
    work = begun(cache)
    archive_id = added(work).archive.id
    work.end()
    maker = begin(cache, "tiny")
    cleaned(cache, what)
    assert publish(maker, describe(cache, [archive_id])).is_named == is_allowed
    maker.end()


def source(work: Work) -> int | None:
    fd: int | None = in_hold(
        work.cache, LockMode.SHARED, lambda hold: work.find_source(hold, FileKey("tiny", INDEX, SDIST, None))
    )
    return fd


def write_source(work: Work, content: bytes = b"sdist") -> bool:
    path = f"{work.new_staging()}/file"
    Path(path).write_bytes(content)
    where = FileKey("tiny", INDEX, SDIST, None)
    is_written: bool = in_hold(work.cache, LockMode.SHARED, lambda hold: work.write_source(hold, where, path, "1.0"))
    return is_written


def test_an_sdist_that_was_stored_is_found_and_counts_as_used(cache: CacheDir) -> None:
    work = begun(cache)
    assert source(work) is None
    assert write_source(work)
    path = cache.layout.source("tiny", INDEX, SDIST)
    os.utime(path, (1, 1))
    fd = source(work)
    assert fd is not None
    os.unlink(path)
    assert os.read(fd, 10) == b"sdist"
    assert os.fstat(fd).st_mtime > 1
    os.close(fd)
    work.end()


def test_nothing_but_a_plain_file_is_taken_for_an_sdist_and_the_next_one_is_stored_over_it(
    cache: CacheDir, tmp_path: Path
) -> None:
    work = begun(cache)
    path = cache.layout.source("tiny", INDEX, SDIST)
    os.makedirs(path)
    assert source(work) is None
    assert write_source(work)
    os.unlink(path)
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    os.symlink(outside, path)
    assert source(work) is None
    assert write_source(work)
    assert outside.read_bytes() == b"mine"
    fd = source(work)
    assert fd is not None
    os.close(fd)
    work.end()


@pytest.mark.parametrize(("what", "is_allowed"), [(Cleaned("==1.0"), False), (Cleaned("==2.0"), True)])
def test_an_sdist_and_a_log_of_work_begun_before_a_clean_are_not_stored(
    cache: CacheDir, what: Cleaned, *, is_allowed: bool
) -> None:
    work = begun(cache)
    cleaned(cache, what)
    assert write_source(work) == is_allowed
    log = f"{work.new_staging()}/log"
    Path(log).write_text("it failed\n", encoding="utf-8")
    write: Any = lambda hold: work.write_build_log(hold, built(DIGEST), log, "1.0")  # noqa: E731 - as short as it gets
    assert in_hold(cache, LockMode.SHARED, write) == is_allowed
    assert os.path.exists(cache.layout.build_log("tiny", DIGEST)) == is_allowed
    work.end()


def test_an_environment_for_builds_is_found_by_its_digest_and_leaves_its_archives_unlinked(cache: CacheDir) -> None:
    work = begun(cache)
    archive = published(work, key(index=INDEX)).archive
    work.end()
    named = describe(cache, [archive.id], tool="")
    maker = begin(cache, "tiny")
    assert publish(maker, named).is_named
    finish(maker)
    assert os.listdir(cache.layout.builds) == [f"{named.digest}.json"]
    assert os.listdir(cache.layout.tools) == []
    assert not is_linked(archive.path)
    user, hit = run_tool(cache, named)
    assert hit is not None
    assert hit.pointer == named
    assert user.lease is not None
    assert user.lease.objects == {archive.id, named.environment_id}
    user.end()
    make_tool(cache, [archive.id])
    assert is_linked(archive.path)
