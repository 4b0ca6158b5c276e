"""Environments that cannot be reached keep what they used; forgotten, by hand or after 30 days, they keep nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.errors import NotInCacheError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.store.documents import decode, encode
from aiocache_engine.testing.invariants import assert_sound, untouched
from caches import Place

DAY = 86_400


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel("tiny")
    place.wheel("other")
    return place


@pytest.fixture
def engine(place: Place) -> Iterator[BlockingCacheEngine]:
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        yield engine


def lost(place: Place, mode: LinkMode) -> Path:
    """Install into an environment on another machine."""
    root = asyncio.run(place.install("env", "tiny", mode=mode))
    record = record_of(place)
    document = decode(record.read_bytes())
    assert document is not None
    document.pop("format")
    record.write_bytes(encode({**document, "machine_id": "another"}))
    shutil.rmtree(root)
    return root


def record_of(place: Place) -> Path:
    (record,) = (place.cache / "referrers").iterdir()
    return record


def seen_last(place: Place, days_ago: float) -> None:
    then = time.time() - days_ago * DAY
    os.utime(record_of(place), (then, then))


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK])
def test_what_only_a_lost_environment_used_goes_once_it_is_forgotten(
    place: Place, engine: BlockingCacheEngine, mode: LinkMode
) -> None:
    root = lost(place, mode)
    (warning,) = engine.prune().warnings
    assert f"aioc forget {root}" in warning
    (answer,) = engine.why("tiny")
    assert answer.reasons[0].release == f"the environment can be reached again, or aioc forget {root}"
    (forgotten,) = engine.forget(root)
    assert forgotten.path == str(root)
    assert engine.prune().warnings == ()
    assert place.archives() == set()
    assert_sound(place.cache, is_pruned=True)


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY])
def test_one_with_files_of_its_own_is_forgotten_when_no_prune_has_seen_it_for_thirty_days(
    place: Place, engine: BlockingCacheEngine, mode: LinkMode
) -> None:
    root = lost(place, mode)
    seen_last(place, 29.9)
    engine.prune()
    assert len(place.archives()) == 1
    seen_last(place, 30.1)
    assert engine.foresee(engine.plan_prune()).warnings == engine.prune().warnings
    assert place.archives() == set()
    assert os.listdir(place.cache / "referrers") == []
    assert engine.prune().warnings == ()
    assert not root.exists()


def test_one_that_is_made_of_symbolic_links_never_is(place: Place, engine: BlockingCacheEngine) -> None:
    lost(place, LinkMode.SYMLINK)
    seen_last(place, 3000)
    for _ in range(2):
        assert len(engine.prune().warnings) == 1
    assert len(place.archives()) == 1


def test_a_prune_that_sees_an_environment_begins_the_thirty_days_anew(
    place: Place, engine: BlockingCacheEngine
) -> None:
    asyncio.run(place.install("env", "tiny"))
    seen_last(place, 40)
    engine.plan_prune()
    assert record_of(place).stat().st_mtime < time.time() - 39 * DAY
    engine.prune()
    assert record_of(place).stat().st_mtime > time.time() - DAY
    before = record_of(place).stat().st_mtime_ns
    engine.prune()
    assert record_of(place).stat().st_mtime_ns == before
    assert len(place.archives()) == 1


def test_a_clock_that_was_set_back_forgets_nothing(place: Place, engine: BlockingCacheEngine) -> None:
    lost(place, LinkMode.COPY)
    seen_last(place, -300)
    engine.prune()
    assert len(place.archives()) == 1


def test_the_environment_itself_is_not_touched_and_an_installation_makes_it_known_again(
    place: Place, engine: BlockingCacheEngine
) -> None:
    root = asyncio.run(place.install("env", "tiny"))
    with untouched(root):
        engine.forget(root)
        engine.prune()
    assert place.archives() == set()
    asyncio.run(place.install("env", "other"))
    engine.prune()
    assert len(place.archives()) == 1


def test_a_directory_that_was_a_target_is_forgotten_by_any_way_to_write_it(
    place: Place, engine: BlockingCacheEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = asyncio.run(place.install("real", "tiny"))
    (place.root / "link").symlink_to(root)
    for way in ("real/../real/", str(place.root / "link")):
        monkeypatch.chdir(place.root)
        assert [each.path for each in engine.forget(way)] == [str(root)]
        asyncio.run(place.install("real", "tiny", reinstall=True))


def test_several_are_forgotten_together_or_none(place: Place, engine: BlockingCacheEngine) -> None:
    one = asyncio.run(place.install("one", "tiny"))
    other = asyncio.run(place.install("other", "other"))
    with pytest.raises(NotInCacheError, match="aioc prune"):
        engine.forget(one, place.root / "none")
    assert len(os.listdir(place.cache / "referrers")) == 2
    assert {each.path for each in engine.forget(one, other, one)} == {str(one), str(other)}
    assert os.listdir(place.cache / "referrers") == []
