"""Look-up and publication, step by step, with a clean, a prune or another publisher in between (rules 14 to 20)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from aiocache_engine.errors import CacheEngineError, CacheReplacedError, LockError, ReadOnlyCacheError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.store import work as module
from aiocache_engine.store.cache_dir import CacheDir, open_cache_dir
from aiocache_engine.store.notes import write_note
from aiocache_engine.store.trash import sweep
from aiocache_engine.store.work import Found, Published, Work
from aiocache_engine.system.lock import Hold
from aiocache_engine.testing.invariants import assert_sound
from caches import Place, begun, clean_now, in_hold, key, pointer, process, prune_now, said, staged

INDEX_A, INDEX_B = "a" * 32, "b" * 32
SHA = "a" * 64


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def cache(place: Place) -> CacheDir:
    return place.opened()


def publish(work: Work, version: str = "1.0", *, index: str = INDEX_A, sha256: str = SHA) -> Published:
    path = staged(work, version=version, sha256=sha256)
    where = key(version=version, index=index)
    what = pointer(version=version, sha256=sha256)
    published: Published = in_hold(work.cache, LockMode.SHARED, lambda hold: work.publish(hold, path, where, what))
    return published


def find(work: Work, version: str = "1.0", *, index: str = INDEX_A, sha256: str | None = None) -> Found | None:
    def look(hold: Hold) -> Found | None:
        work.begin(hold, ["tiny"])
        return work.find(hold, [key(version=version, index=index, sha256=sha256)])[0]

    found: Found | None = in_hold(work.cache, LockMode.SHARED, look)
    return found


def test_what_was_published_is_found_by_its_pointer_and_from_another_index_by_its_hash(
    place: Place, cache: CacheDir
) -> None:
    work = begun(cache)
    published = publish(work)
    assert find(work) is not None
    assert find(work, index=INDEX_B) is None
    found = find(work, index=INDEX_B, sha256=SHA)
    assert found is not None
    assert found.archive == published.archive
    # The hit by hash wrote the other index's pointer.
    assert find(work, index=INDEX_B) is not None
    work.end()
    assert len(place.names()) == 3
    assert_sound(place.cache)


def test_a_pointer_with_another_hash_than_the_one_given_is_a_miss(cache: CacheDir) -> None:
    work = begun(cache)
    publish(work)
    assert find(work, sha256="b" * 64) is None
    work.end()


def test_a_second_publisher_of_the_same_wheel_adopts_the_first_one_s_archive(place: Place, cache: CacheDir) -> None:
    first, second = begun(cache), begun(cache)
    published = publish(first)
    adopted = publish(second, index=INDEX_B)
    assert adopted.archive == published.archive
    assert adopted.is_adopted
    assert second.lease is not None
    assert published.archive.id in second.lease.objects
    for work in (first, second):
        work.end()
    prune_now(cache)
    assert place.archives() == {published.archive.id}
    assert_sound(place.cache, is_pruned=True)


def test_of_two_publishers_at_once_the_later_leaves_the_name_to_the_first_whose_archive_may_be_pinned_by_then(
    place: Place, cache: CacheDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = begun(cache), begun(cache)
    published = publish(first)
    with monkeypatch.context() as patch:
        patch.setattr(Work, "_adoptable", lambda *_: None)  # it looked in its hold before the first one was so far
        other = publish(second)
    assert other.archive != published.archive
    found = find(second)
    assert found is not None
    assert found.archive == published.archive
    for work in (first, second):
        work.end()
    prune_now(cache)
    assert place.archives() == {published.archive.id}
    assert_sound(place.cache, is_pruned=True)


def test_a_name_is_written_anew_for_another_wheel_and_over_one_that_leads_nowhere(cache: CacheDir) -> None:
    work = begun(cache)
    publish(work)
    changed = publish(work, sha256="c" * 64)
    found = find(work)
    assert found is not None
    assert found.archive == changed.archive
    sweep(changed.archive.path)
    again = publish(work, sha256="c" * 64)
    found = find(work)
    assert found is not None
    assert found.archive == again.archive
    work.end()


def test_a_look_up_leases_before_it_stamps(cache: CacheDir, monkeypatch: pytest.MonkeyPatch) -> None:
    work = begun(cache)
    published = publish(work)
    work.end()
    other = begun(cache)
    seen: list[bool] = []
    write_stamps = module.write_stamps

    def stamp(paths: Sequence[str]) -> None:
        assert other.lease is not None
        seen.append(published.archive.id in other.lease.objects)
        write_stamps(paths)

    monkeypatch.setattr(module, "write_stamps", stamp)
    assert find(other) is not None
    assert seen == [True]
    other.end()


def test_what_is_leased_stays_beside_clean_and_prune_and_goes_with_the_lease(place: Place, cache: CacheDir) -> None:
    work = begun(cache)
    published = publish(work)
    removal = clean_now(cache, "tiny")
    assert [kept.object.id for kept in removal.kept] == [published.archive.id]
    assert place.names() == set()
    prune_now(cache)
    assert os.path.isdir(published.archive.path)
    # The end of the last lease and the next command free it: here, the one that a prune of something else ends with.
    work.end()
    clean_now(cache, "other")
    assert place.archives() == set()
    assert os.listdir(cache.layout.condemned) == []
    assert_sound(place.cache)


CLEANS: dict[str, Callable[[CacheDir], object]] = {
    "project": lambda cache: clean_now(cache, "tiny"),
    "version": lambda cache: clean_now(cache, "tiny==1.0"),
    "range": lambda cache: clean_now(cache, "tiny<2"),
    "everything": clean_now,
}


@pytest.mark.parametrize("clean", CLEANS)
def test_work_begun_before_a_clean_publishes_no_name_and_its_bytes_go_with_its_lease(
    clean: str, place: Place, cache: CacheDir
) -> None:
    work = begun(cache)
    CLEANS[clean](cache)
    published = publish(work)
    assert not published.is_named
    assert place.names() == set()
    prune_now(cache)
    assert os.path.isdir(published.archive.path), "the work still uses it"
    work.end()
    prune_now(cache)
    assert place.archives() == set()
    assert_sound(place.cache, is_pruned=True)


@pytest.mark.parametrize("clean", CLEANS)
def test_work_begun_before_a_clean_stores_no_page(clean: str, cache: CacheDir) -> None:
    work = begun(cache)
    CLEANS[clean](cache)
    page = work.stage_page(b"old")
    assert not in_hold(cache, LockMode.SHARED, lambda hold: work.write_page(hold, "tiny", INDEX_A, page))
    assert in_hold(cache, LockMode.SHARED, lambda hold: work.read_page(hold, "tiny", INDEX_A)) is None
    work.end()


@pytest.mark.parametrize("clean", ["project", "version", "range"])
def test_a_hit_by_hash_name_after_a_clean_writes_no_pointer_of_before(
    clean: str, place: Place, cache: CacheDir
) -> None:
    old = begun(cache)
    CLEANS[clean](cache)
    fresh = begun(cache)
    publish(fresh)
    before = place.names()
    assert find(old, index=INDEX_B, sha256=SHA) is not None
    assert place.names() == before
    old.end()
    fresh.end()


def test_work_on_another_version_goes_on(place: Place, cache: CacheDir) -> None:
    work = begun(cache)
    clean_now(cache, "tiny==2.0")
    assert publish(work).is_named
    work.end()
    assert_sound(place.cache)


def test_work_on_another_project_goes_on(cache: CacheDir) -> None:
    work = begun(cache)
    clean_now(cache, "other")
    assert publish(work).is_named
    work.end()


def test_a_clean_of_one_project_and_then_of_everything_does_not_let_old_work_through(cache: CacheDir) -> None:
    # races.md 15: no file; clean tiny makes it; a full clean takes it away; "no file" is not "as before".
    work = begun(cache)
    clean_now(cache, "tiny")
    clean_now(cache)
    assert not publish(work).is_named
    work.end()


def test_a_work_that_looks_a_project_up_after_the_clean_publishes_it(cache: CacheDir) -> None:
    work = begun(cache, "other")
    clean_now(cache, "tiny")
    assert find(work) is None
    assert publish(work).is_named
    work.end()


def test_a_killed_publisher_s_note_is_settled_by_the_next_command(place: Place, cache: CacheDir) -> None:
    script = """
import json, sys
sys.path.insert(0, sys.argv[2])
from caches import *
from unit.test_store_work import publish
cache = open_cache_dir(sys.argv[1])
work = begun(cache)
clean_now(cache, "tiny")
print(json.dumps(publish(work).archive.path), flush=True)
sys.stdin.readline()
"""
    with process(script, cache.root, Path(__file__).parents[1]) as other:
        path = said(other)
        prune_now(cache)
        assert os.path.isdir(path)
        assert os.listdir(cache.layout.condemned)
        other.kill()
        other.wait()
    clean_now(cache, "something-else")
    assert place.archives() == set()
    assert os.listdir(cache.layout.condemned) == []


def test_a_note_on_what_a_name_leads_to_again_frees_nothing(place: Place, cache: CacheDir) -> None:
    work = begun(cache)
    published = publish(work)
    write_note(cache.layout.condemned, published.archive.id)
    work.end()
    clean_now(cache, "other")
    assert place.archives() == {published.archive.id}
    assert os.listdir(cache.layout.condemned) == []


def test_a_stamp_that_was_lost_is_made_anew_and_the_files_are_checked_again(cache: CacheDir) -> None:
    work = begun(cache)
    published = publish(work)
    os.unlink(f"{published.archive.path}/used")
    assert find(work) is not None
    assert os.path.getsize(f"{published.archive.path}/used") == 16
    work.end()


@pytest.mark.parametrize("content", [b"", b"{}", b"half", b'{"format": 1, "archive_id": "../../x"}'])
def test_a_damaged_pointer_is_a_miss_and_the_next_publication_heals_it(
    content: bytes, place: Place, cache: CacheDir
) -> None:
    work = begun(cache)
    publish(work)
    for name in place.names():
        (place.cache / "projects-v1" / name).write_bytes(content)
    assert find(work, sha256=SHA) is None
    published = publish(work)
    found = find(work)
    assert found is not None
    assert found.archive == published.archive
    work.end()
    prune_now(cache)
    assert_sound(place.cache, is_pruned=True)


def test_a_pointer_to_an_absent_archive_is_a_miss_and_goes_with_the_next_prune(place: Place, cache: CacheDir) -> None:
    work = begun(cache)
    shutil.rmtree(publish(work).archive.path)
    publish(work, "2.0", sha256="b" * 64)
    assert find(work) is None
    work.end()
    prune_now(cache)
    assert all("2.0" in name or "b" * 64 in name for name in place.names())
    assert_sound(place.cache, is_pruned=True)


def test_publishing_needs_a_hold_that_has_not_ended(cache: CacheDir) -> None:
    work = begun(cache)
    path = staged(work)
    with cache.lock.hold_now(LockMode.SHARED) as hold:
        pass
    with pytest.raises(LockError, match="ended"):
        work.publish(hold, path, key(), pointer())
    work.end()


def test_a_cache_dir_that_was_replaced_while_in_use_is_left_alone(place: Place, cache: CacheDir) -> None:
    work = begun(cache)
    path = staged(work)
    moved = place.root / "moved"
    place.cache.rename(moved)
    fresh = open_cache_dir(str(place.cache))
    before = sorted(str(each) for each in place.cache.rglob("*"))
    with pytest.raises(CacheReplacedError):
        in_hold(cache, LockMode.SHARED, lambda hold: work.publish(hold, path, key(), pointer()))
    with pytest.raises(CacheReplacedError):
        begun(cache)
    for remove in (lambda: clean_now(cache, "tiny"), lambda: clean_now(cache)):
        with pytest.raises(CacheReplacedError):
            remove()
    # The lock files are made by whoever takes the lock, which harms nobody.
    locks = f"{place.cache}/.locks/"
    after = sorted(str(each) for each in place.cache.rglob("*") if not str(each).startswith(locks))
    assert after == [each for each in before if not each.startswith(locks)]
    work.end()
    assert os.listdir(fresh.layout.archives) == []


def test_a_cache_dir_that_was_removed_while_in_use_is_not_brought_back(place: Place, cache: CacheDir) -> None:
    work = begun(cache)
    path = staged(work)
    shutil.rmtree(place.cache)
    with pytest.raises(CacheEngineError):
        in_hold(cache, LockMode.SHARED, lambda hold: work.publish(hold, path, key(), pointer()))
    with pytest.raises(CacheEngineError):
        prune_now(cache)
    work.end()
    assert not place.cache.exists()


def test_a_read_only_cache_gives_what_it_has_and_takes_nothing(place: Place, cache: CacheDir) -> None:
    work = begun(cache)
    published = publish(work)
    work.end()
    read_only = open_cache_dir(str(place.cache))
    read_only.is_read_only = True
    reading = begun(read_only)
    found = find(reading)
    assert found is not None
    assert found.archive.id == published.archive.id
    assert reading.lease is None
    with pytest.raises(ReadOnlyCacheError):
        reading.new_staging()
    with pytest.raises(ReadOnlyCacheError):
        clean_now(read_only, "tiny")
