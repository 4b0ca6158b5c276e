"""A prune that makes room: the least recently used goes first, what is in use stays, and a missed goal is told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.removal import PrunePolicy, Removal
from aiocache_engine.pipeline.collector import room
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.inspect import measure_cache
from aiocache_engine.store.archives import WHEEL_FILE
from aiocache_engine.testing.invariants import assert_sound
from caches import Place, perform
from toolsheds import fetched, finish, make_tool, run_tool

SIZE_BYTES = 100_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for name in ("a", "b", "c"):
        place.wheel(name, files={f"{name}/data.bin": os.urandom(SIZE_BYTES)})
    return place


def age(place: Place, bucket: str, object_id: str, days: int) -> None:
    then = time.time() - days * 24 * 3600
    os.utime(place.cache / f"{bucket}-v1" / object_id / "used", (then, then))


def prune(place: Place, **policy: int) -> Removal:
    """Foresee a prune, do it, and see that both tell the same."""
    cache = place.opened()
    what = PrunePolicy(**policy)
    foreseen = foresee(cache, perform(cache, Collector(cache).plan_prune(what)))
    done: Removal = perform(cache, Collector(cache).prune(what))
    assert_sound(place.cache)
    assert told(foreseen) == told(done)
    assert foreseen.freed_bytes == done.freed_bytes
    assert foreseen.is_goal_met == done.is_goal_met
    return done


def told(removal: Removal) -> set[tuple[str, str | None, str]]:
    return {(each.kind, each.project or each.tool, each.reason.value) for each in removal.removed}


def size(place: Place) -> int:
    return measure_cache(place.opened()).size_bytes


def test_the_least_recently_used_goes_until_the_cache_is_small_enough(place: Place) -> None:
    a, b, c = fetched(place, "a", "b", "c")
    for days, archive in enumerate((b, c, a)):
        age(place, "archives", archive, days)
    removal = prune(place, max_size_bytes=2 * SIZE_BYTES + 5000)
    assert (place.archives(), removal.is_goal_met) == ({b, c}, True)
    assert ("archive", "a", "size") in told(removal)
    assert size(place) <= 2 * SIZE_BYTES + 5000
    assert told(prune(place, max_size_bytes=2 * SIZE_BYTES + 5000)) == set()


def test_a_cache_that_is_small_enough_loses_nothing(place: Place) -> None:
    fetched(place, "a", "b")
    removal = prune(place, max_size_bytes=size(place))
    assert (removal.removed, removal.is_goal_met, removal.missing_bytes) == ((), True, 0)


def test_an_idle_tool_goes_with_what_is_in_it_and_a_running_one_stays(place: Place) -> None:
    a, b = fetched(place, "a", "b")
    running = make_tool(place.opened(), [a])
    idle = make_tool(place.opened(), [b], digest="1" * 32)
    work, found = run_tool(place.opened(), running)
    assert found is not None
    age(place, "environments", idle.environment_id, 1)
    removal = prune(place, max_size_bytes=0)
    assert os.listdir(place.cache / "environments-v1") == [running.environment_id]
    assert place.archives() == {a}
    assert (removal.is_goal_met, removal.missing_bytes) == (False, size(place))
    assert {reason.code.value for kept in removal.kept for reason in kept.reasons} >= {"lease"}
    finish(work)
    assert prune(place, max_size_bytes=0).is_goal_met
    assert (place.archives(), size(place)) == (set(), 0)


def test_an_environment_in_which_a_process_lives_is_passed_over_for_one_that_is_idle(place: Place) -> None:
    a, b = fetched(place, "a", "b")
    lived_in = make_tool(place.opened(), [a])
    idle = make_tool(place.opened(), [b], digest="1" * 32)
    age(place, "environments", lived_in.environment_id, 9)
    age(place, "archives", a, 9)
    home = place.cache / "environments-v1" / lived_in.environment_id / "env"
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"], cwd=home, stdin=-1, stdout=-1
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        removal = prune(place, max_size_bytes=SIZE_BYTES + 5000)
        program.communicate(b"\n")
    assert os.listdir(place.cache / "environments-v1") == [lived_in.environment_id]
    assert (place.archives(), removal.is_goal_met) == ({a}, True)
    assert ("environment", idle.tool, "size") in told(removal)


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK])
def test_what_an_environment_was_linked_from_is_in_the_way(place: Place, mode: LinkMode) -> None:
    environment = asyncio.run(place.install("env", "a", mode=mode, compile=False))
    removal = prune(place, max_size_bytes=1000)
    assert (len(place.archives()), removal.is_goal_met) == (1, False)
    assert {reason.path for kept in removal.kept for reason in kept.reasons} == {str(environment)}


def test_what_would_free_nothing_is_passed_over_for_what_does(place: Place) -> None:
    a, b = fetched(place, "a", "b")
    age(place, "archives", a, 9)
    elsewhere = place.root / "elsewhere"
    elsewhere.mkdir()
    for number, path in enumerate((place.cache / "archives-v1" / a / "tree").rglob("*")):
        if path.is_file():
            os.link(path, elsewhere / str(number))
    removal = prune(place, max_size_bytes=SIZE_BYTES + 5000)
    assert (place.archives(), removal.is_goal_met) == ({a}, True)
    assert b not in place.archives()
    assert not prune(place, max_size_bytes=0).is_goal_met


def see_what_is_freed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have as much free as the cache has lost from now on."""
    full = size(place)

    class Disk:
        f_frsize = 1

        @property
        def f_bavail(self) -> int:
            return full - size(place)

    monkeypatch.setattr(room.os, "statvfs", lambda _: Disk())


def test_the_wheel_file_of_what_was_built_is_room_to_be_made(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = fetched(place, "a", "b")
    age(place, "archives", a, 9)
    Path(place.opened().layout.archive(a), WHEEL_FILE).write_bytes(os.urandom(SIZE_BYTES))
    see_what_is_freed(place, monkeypatch)
    removal = prune(place, min_free_bytes=2 * SIZE_BYTES)
    assert (place.archives(), removal.is_goal_met) == ({b}, True)


def test_free_space_is_made_and_what_is_missing_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = fetched(place, "a", "b")
    age(place, "archives", a, 9)
    see_what_is_freed(place, monkeypatch)
    removal = prune(place, min_free_bytes=SIZE_BYTES // 2)
    assert (place.archives(), removal.is_goal_met) == ({b}, True)
    assert not prune(place, min_free_bytes=10**15).is_goal_met
    assert place.archives() == set()


def test_names_go_with_what_makes_room(place: Place) -> None:
    fetched(place, "a", "b")
    prune(place, max_size_bytes=0)
    assert (place.names(), place.archives()) == (set(), set())
