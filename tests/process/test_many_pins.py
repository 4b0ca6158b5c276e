"""Many pins make no hold of a clean long: what it opens and lists, counted, grows with what the clean names alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.removal import CleanPolicy
from aiocache_engine.pipeline.collector import collect
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.pinning import pin
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.store import detach
from aiocache_engine.store.pins import read_pins, take_pin_off
from aiocache_engine.store.spared import Spared
from aiocache_engine.system.lock import Hold
from caches import Place, perform
from holds import watched_holds
from toolsheds import fetched

PINNED = ("one", "three", "two")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("filled"))
    for name in (*PINNED, "other"):
        place.wheel(name, "1.0")
        place.wheel(name, "2.0")
    fetched(place, *(f"{name}=={version}" for name in (*PINNED, "other") for version in ("1.0", "2.0")))
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        engine.pin([f"{name}==1.0" for name in PINNED])
    return place


@pytest.fixture
def place(filled: Place, tmp_path: Path) -> Place:
    shutil.copytree(filled.root, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path)


def inside(place: Place, holds: list[list[str]]) -> list[list[str]]:
    """Give what was opened and listed below the cache dir, relative to it."""
    below = f"{place.cache}/"
    return [[path.removeprefix(below) for path in paths if path.startswith(below)] for paths in holds]


def holds_of(place: Place, *names: str) -> list[list[str]]:
    """Clean; give what was opened and listed in each exclusive hold."""
    cache = place.opened()
    with watched_holds(cache, LockMode.EXCLUSIVE) as (conductor, holds):
        conductor.perform(Collector(cache).clean(clean_targets(names, ())))
    return inside(place, holds)


def projects_in(paths: list[str]) -> set[str]:
    return {path.split("/")[1] for path in paths if path.startswith("projects-v1/")}


def pins_in(place: Place) -> set[str]:
    return {each.name for each in read_pins(place.opened().layout).readable}


def test_a_clean_of_what_is_not_pinned_looks_into_no_pinned_project(place: Place) -> None:
    holds = holds_of(place, "other")
    assert not [name for name in place.names() if name.startswith("other/")]
    assert [projects_in(paths) & set(PINNED) for paths in holds] == [set()] * len(holds)


@pytest.mark.parametrize("names", [(), ("t*",), ("one",), ("one<3",)])
def test_no_hold_opens_a_name_or_a_pin_that_was_read_before_it(place: Place, names: tuple[str, ...]) -> None:
    holds = holds_of(place, *names)
    assert any(projects_in(paths) for paths in holds)  # they are listed there
    opened = [path for paths in holds for path in paths if os.path.isfile(place.cache / path)]
    assert [path for path in opened if path.startswith(("projects-v1/", "pins/"))] == []


@pytest.mark.parametrize("names", [(), ("*",)])
def test_a_hold_whose_time_is_over_looks_into_no_further_project(
    place: Place, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    kept = {name for name in place.names() if any(f"{each}-1.0" in name for each in PINNED)}
    ids = {each.archive_id for made in read_pins(place.opened().layout).readable for each in made.archives}
    monkeypatch.setattr(detach, "BATCH_SECONDS", -1.0)
    holds = holds_of(place, *names)
    assert max(len(projects_in(paths)) for paths in holds) == 1
    assert {name for name in place.names() if "/hash/" not in name} == kept
    assert place.archives() == ids


def test_what_is_pinned_is_leased_in_short_holds_none_of_which_opens_a_name_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detach, "BATCH_SECONDS", -1.0)
    kit = open_kit(place.cache, config=place.config(), environ={})
    with watched_holds(kit.cache, LockMode.SHARED) as (conductor, shared):
        [made] = conductor.perform(pin(kit, ["*"], None))
    holds = inside(place, shared)
    assert len(made.archives) == 8
    stamped = [place.archives() & {*paths} for paths in shared]  # by their names in the bucket, which is open
    assert max(map(len, stamped)) == 1
    assert set().union(*stamped) == place.archives()
    assert [path for paths in holds for path in paths if path.startswith("projects-v1/")] == []


@pytest.mark.parametrize(("names", "work"), [((), "take_everything"), (("*",), "take_names")])
def test_what_is_unpinned_between_two_holds_of_a_clean_goes_with_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], work: str
) -> None:
    monkeypatch.setattr(detach, "BATCH_SECONDS", -1.0)
    cache = place.opened()
    take = getattr(collect, work)
    unpinned: set[str] = set()

    def take_and_unpin(hold: Hold, *, spared: Spared, **how: Any) -> Any:
        done = take(hold, spared=spared, **how)
        if spared.settled and not unpinned:
            unpinned.update(map(os.path.basename, spared.settled))
            for each in read_pins(cache.layout).readable:
                if {member.project for member in each.archives} <= unpinned:
                    take_pin_off(hold, cache, each.name)
        return done

    monkeypatch.setattr(collect, work, take_and_unpin)
    perform(cache, Collector(cache).clean(clean_targets(names, ())))
    assert len(unpinned) == 1
    assert {name.split("/")[0] for name in place.names()} == {*PINNED} - unpinned
    assert len(place.archives()) == len(PINNED) - 1


@pytest.mark.parametrize("is_over", [True, False])
def test_pins_are_released_in_as_many_holds_as_it_takes(
    place: Place, monkeypatch: pytest.MonkeyPatch, *, is_over: bool
) -> None:
    before = pins_in(place)
    seen: list[int] = []
    monkeypatch.setattr(detach, "BATCH_SECONDS", -1.0 if is_over else 60.0)
    cache = place.opened()

    def count(work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **how: Any) -> Any:
            done = work(*arguments, **how)
            seen.append(len(pins_in(place)))
            return done

        return counted

    monkeypatch.setattr(collect, "release_pins", count(collect.release_pins))
    perform(cache, Collector(cache).clean(clean_targets(("*",), ()), CleanPolicy(takes_in_use=True)))
    assert len(before) == len(PINNED)
    assert seen == ([2, 1, 0] if is_over else [0])
    assert place.archives() == set()
