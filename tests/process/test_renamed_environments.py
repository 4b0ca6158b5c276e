"""Environments that are renamed again and again: a prune follows them, since it notes the place where it found one."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.records import Referrer
from aiocache_engine.model.value import replace
from aiocache_engine.store.referrers import note_renamed, read_referrers, register
from caches import Place, in_hold, prune_now


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel()
    asyncio.run(place.install("a/env", "tiny", mode=LinkMode.SYMLINK))
    return place


def record(place: Place) -> Referrer:
    [referrer], _, _ = read_referrers(place.opened().layout.referrers)
    return referrer


def test_an_environment_of_symlinks_is_found_after_every_one_of_several_renames(place: Place) -> None:
    for old, new in (("a/env", "a/venv"), ("a", "b"), ("b/venv", "b/env"), ("b", "c")):
        (place.root / old).rename(place.root / new)
        removal = prune_now(place.opened())
        assert [each.kind for each in removal.removed] == []
    top = place.root / "c" / "env"
    assert record(place).path == str(top)
    assert all(each.startswith(f"{top}/") for each in record(place).site_directories)
    [link] = [path for path in top.rglob("tiny/*.py") if path.is_symlink()]
    assert link.read_bytes()


def test_an_environment_of_symlinks_that_was_moved_elsewhere_keeps_what_it_uses_and_so_does_a_copy(
    place: Place,
) -> None:
    moved, copy = place.root / "elsewhere" / "deep" / "env", place.root / "copies" / "env"
    moved.parent.mkdir(parents=True)
    (place.root / "a" / "env").rename(moved)
    assert prune_now(place.opened()).removed == ()
    assert record(place).path == str(moved)
    shutil.copytree(moved, copy, symlinks=True)
    shutil.rmtree(place.root / "elsewhere")
    removal = prune_now(place.opened())
    assert (removal.removed, removal.warnings) == ((), ())
    assert {reason.path for kept in removal.kept for reason in kept.reasons} == {str(copy)}
    assert record(place).path == str(copy)
    [link] = [path for path in copy.rglob("tiny/*.py") if path.is_symlink()]
    assert link.read_bytes()
    shutil.rmtree(copy)
    assert "archive" in {each.kind for each in prune_now(place.opened()).removed}


def test_what_was_installed_meanwhile_is_not_overwritten_by_what_a_prune_found_before(place: Place) -> None:
    cache, old = place.opened(), record(place)
    fresh = replace(old, stamp="fresh", path="/fresh")
    in_hold(cache, LockMode.SHARED, lambda hold: register(hold, cache, fresh, links=False))
    in_hold(cache, LockMode.EXCLUSIVE, lambda hold: note_renamed(hold, cache, [replace(old, path="/old")]))
    assert record(place) == fresh


def test_a_new_place_is_noted_with_a_stamp_that_no_scan_has_seen(place: Place) -> None:
    cache, old = place.opened(), record(place)
    moved = replace(old, path="/moved")
    in_hold(cache, LockMode.EXCLUSIVE, lambda hold: note_renamed(hold, cache, [moved]))
    assert record(place).stamp != old.stamp
    assert replace(record(place), stamp=old.stamp) == moved
    assert os.listdir(cache.layout.referrers) == [old.id]
