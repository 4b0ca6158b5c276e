"""The names that a clean of versions takes: in few short holds, however many there are, and none missed."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import new_object_id
from aiocache_engine.model.records import NameKind
from aiocache_engine.model.removal import CleanTarget
from aiocache_engine.model.snapshot import SeenName
from aiocache_engine.store.archives import write_description
from aiocache_engine.store.cache_dir import CacheDir, open_cache_dir
from aiocache_engine.store.detach_names import take_names
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.name_choice import NameChoice
from aiocache_engine.store.names import encode_pointer
from aiocache_engine.store.spared import Spared
from caches import clean_now, in_hold, pointer

INDEX = "0" * 32


@pytest.fixture
def cache(tmp_path: Path) -> CacheDir:
    return open_cache_dir(str(tmp_path / "cache"))


def publish(cache: CacheDir, version: str) -> SeenName:
    """Put an archive under its two names, and give the one by index and file."""
    archive_id, sha256 = new_object_id(), secrets.token_hex(32)
    what = pointer("tiny", version, sha256=sha256, archive_id=archive_id)
    archive = Path(cache.layout.archive(archive_id))
    (archive / "tree").mkdir(parents=True)
    write_description(str(archive), b"no manifest\n", "boot")
    content = encode_pointer(what)
    by_index = Path(cache.layout.pointer("tiny", INDEX, what.filename))
    for path in (by_index, Path(cache.layout.hash_name("tiny", sha256))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return SeenName(NameKind.INDEX, str(by_index), what, content)


def chosen(cache: CacheDir, seen: tuple[SeenName, ...], specifier: str = "<2") -> bool:
    """Take what the scan, having seen these names, lets a clean take; gives whether that was all."""
    choice = NameChoice(CleanTarget("tiny", specifier), seen, (), matches=version_matches)
    _, _, is_all = in_hold(
        cache, LockMode.EXCLUSIVE, lambda hold: take_names(hold, cache, choice, spared=Spared(cache.layout))
    )
    return bool(is_all)


def test_the_holds_of_a_clean_do_not_open_again_what_the_scan_has_seen(cache: CacheDir) -> None:
    names = [publish(cache, f"{number}.0") for number in range(300)]
    clean_now(cache, "tiny<290")
    assert sum(Path(name.path).exists() for name in names) == 10
    holds = Path(cache.layout.generation("tiny")).read_bytes().count(b"\n")
    assert holds < 30  # each adds a line; where every hold opens all names, nearly every name takes a hold of its own


def test_what_was_published_since_the_scan_goes_and_stays_by_its_own_version(cache: CacheDir) -> None:
    seen = publish(cache, "1.0")
    fresh, other = publish(cache, "1.1"), publish(cache, "2.0")
    while not chosen(cache, (seen,)):
        pass
    assert [Path(name.path).exists() for name in (seen, fresh, other)] == [False, False, True]
    assert len(list(Path(cache.layout.project("tiny"), "hash").iterdir())) == 1


def test_pages_and_metadata_go_whatever_version_is_cleaned(cache: CacheDir) -> None:
    kept = publish(cache, "2.0")
    page = Path(cache.layout.page("tiny", INDEX))
    metadata = Path(kept.path).with_suffix(".metadata")
    page.write_text("{}")
    metadata.write_text("{}")
    clean_now(cache, "tiny<2")
    assert [path.exists() for path in (Path(kept.path), page, metadata)] == [True, False, False]
