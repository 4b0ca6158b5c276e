"""`clean --deps`: what only the cleaned things used goes with them, for bytes that were told before."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.removal import CleanPolicy, Removal
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.store.archives import read_totals
from aiocache_engine.testing.invariants import assert_sound
from caches import Place, perform, prune_now
from toolsheds import finish, make_tool, run_tool

WITH_DEPENDENCIES = CleanPolicy(takes_dependencies=True)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A top project that needs a middle one, which needs a base one; another needs the base one, too."""
    place = Place(tmp_path)
    needs = {"top": ["middle>=1", "extra; extra == 'all'"], "middle": ["base"], "base": [], "side": ["base<3"]}
    for name, requires in {**needs, "extra": []}.items():
        place.wheel(name, files={f"{name}/__init__.py": f"x = {name!r}\n" * 2000}, requires=requires)
    return place


def cleaned(place: Place, *names: str, tools: tuple[str, ...] = ()) -> Removal:
    """Clean with dependencies, having told before exactly what that does, and having measured it."""
    cache, targets = place.opened(), clean_targets(names, tools)
    foreseen = foresee(cache, perform(cache, Collector(cache).plan_clean(targets, WITH_DEPENDENCIES)))
    before = allocated_bytes(place.cache)
    removal: Removal = perform(cache, Collector(cache).clean(targets, WITH_DEPENDENCIES))
    told, done = (sorted((each.kind, each.id or "") for each in said.removed) for said in (foreseen, removal))
    assert told == done
    assert foreseen.freed_bytes == removal.freed_bytes
    assert abs(before - allocated_bytes(place.cache) - removal.freed_bytes) <= 0.01 * removal.freed_bytes + 8192
    return removal


def allocated_bytes(root: Path) -> int:
    """What is on the disk, hard links counted once."""
    found = {(s.st_dev, s.st_ino): s.st_blocks * 512 for path in root.rglob("*") for s in [path.lstat()]}
    return sum(found.values())


def stocked(place: Place, *projects: str) -> tuple[str, ...]:
    """Fetch projects with all that they need; gives the archive of each."""
    asyncio.run(place.fetch(*projects))
    layout = place.opened().layout
    found = {totals.project: each for each in place.archives() if (totals := read_totals(layout.archive(each)))}
    return tuple(found[project] for project in projects)


def projects(place: Place) -> set[str]:
    return set(os.listdir(place.cache / "projects-v1"))


def test_it_takes_what_is_needed_down_to_the_last_and_a_prune_right_after_finds_nothing(place: Place) -> None:
    asyncio.run(place.fetch("top[all]"))
    removal = cleaned(place, "top")
    assert {each.reason.value for each in removal.removed if each.kind == "archive"} == {"named", "deps"}
    assert projects(place) == {"extra"}
    assert len(place.archives()) == 1
    assert prune_now(place.opened()).removed == ()
    assert_sound(place.cache, is_pruned=True)


def test_what_something_else_needs_stays_and_is_told_with_it(place: Place) -> None:
    stocked(place, "top", "side")
    removal = cleaned(place, "top")
    assert projects(place) == {"base", "side"}
    ((reason,),) = [kept.reasons for kept in removal.kept]
    assert (reason.via, reason.release) == (("side 1.0",), "aioc clean side --deps")
    cleaned(place, "side")
    assert projects(place) == set()


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK])
def test_what_an_environment_outside_uses_stays_until_that_is_gone(place: Place, mode: LinkMode) -> None:
    stocked(place, "top")
    root = asyncio.run(place.install("env", "middle", mode=mode))
    cleaned(place, "top")
    assert projects(place) == {"middle", "base"}
    shutil.rmtree(root)
    cleaned(place, "middle")
    assert projects(place) == set()


def test_what_only_a_tool_s_environment_used_goes_with_it(place: Place) -> None:
    top, middle, base, side = stocked(place, "top", "middle", "base", "side")
    make_tool(place.opened(), [top, middle, base])
    make_tool(place.opened(), [side, base])
    cleaned(place, "middle")
    assert place.archives() == {base, side}
    cleaned(place, tools=("side",))
    assert place.archives() == set()
    assert prune_now(place.opened()).removed == ()


def test_what_a_running_tool_alone_uses_loses_its_names_at_once_and_its_bytes_when_the_tool_ends(place: Place) -> None:
    top, middle, base, _ = stocked(place, "top", "middle", "base", "side")
    cache = place.opened()
    pointer = make_tool(cache, [top, middle])
    work, found = run_tool(cache, pointer)
    assert found is not None
    removal = cleaned(place, "top")
    assert {kept.object.id for kept in removal.kept if kept.is_condemned} == {pointer.environment_id, top, middle}
    assert {name.split("/")[0] for name in place.names()} == {"base", "side"}
    before = place.archives()
    stocked(place, "middle")  # beside the tool
    assert len(again := place.archives() - before) == 1
    finish(work)
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        engine.prune()
    assert not place.archives() & {top, middle}
    assert place.archives() >= {base, *again}
    assert_sound(place.cache, is_pruned=True)


def test_a_plan_with_dependencies_can_be_kept_and_everything_is_looked_at_again(place: Place) -> None:
    top, middle, base = stocked(place, "top", "middle", "base")
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        plan = engine.plan_clean(["top"], dependencies=True)
        assert {item.object.id for item in plan.objects} == {top, middle, base}
        make_tool(place.opened(), [base])
        assert {each.id for each in engine.clean(plan).removed if each.kind == "archive"} == {top, middle}
    assert place.archives() == {base}


def test_what_is_used_between_look_and_removal_stays_with_its_names(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, middle, base = stocked(place, "top", "middle", "base")
    cache = place.opened()
    take_names = Collector._take_names

    def use_meanwhile(*arguments: object) -> object:
        make_tool(cache, [middle])
        return take_names(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Collector, "_take_names", use_meanwhile)
    targets = clean_targets(["top"], [])
    removal: Removal = perform(cache, Collector(cache).clean(targets, WITH_DEPENDENCIES))
    assert place.archives() == {middle, base}
    assert {name.split("/")[0] for name in place.names()} == {"middle", "base"}
    assert {each.id for each in removal.removed if each.kind == "archive"} == {top}
