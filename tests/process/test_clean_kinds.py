"""What a clean names in other ways than by projects and versions: patterns, ids, and tools."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import EnvironmentPointer
from aiocache_engine.model.removal import Removal
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.testing.invariants import assert_sound
from caches import Place, in_hold, perform, prune_now
from toolsheds import begin, describe, fetched, finish, make_tool, publish


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for name in ("nv-a", "nv-b", "tool", "other"):
        place.wheel(name, files={f"{name.replace('-', '_')}/__init__.py": f"x = {name!r}\n" * 2000})
    place.wheel("tool", "2.0", files={"tool/__init__.py": "x = 2\n"})
    return place


def cleaned(place: Place, *names: str, tools: tuple[str, ...] = ()) -> Removal:
    """Clean, having told before exactly what that does."""
    cache = place.opened()
    targets = clean_targets(names, tools)
    foreseen = foresee(cache, perform(cache, Collector(cache).plan_clean(targets)))
    removal: Removal = perform(cache, Collector(cache).clean(targets))
    told, done = (sorted((each.kind, each.id or "") for each in said.removed) for said in (foreseen, removal))
    assert told == done
    assert sum(each.file_count for each in foreseen.removed) == sum(each.file_count for each in removal.removed)
    assert foreseen.freed_bytes == removal.freed_bytes
    assert removal.unmatched == foreseen.unmatched
    return removal


def environments(place: Place) -> set[str]:
    return set(os.listdir(place.cache / "environments-v1"))


def projects(place: Place) -> set[str]:
    return {name.split("/")[0] for name in place.names()}


def test_a_pattern_takes_all_projects_that_fit_it_and_the_environments_they_are_in(place: Place) -> None:
    first, second, tool, other = fetched(place, "nv-a", "nv-b", "tool==1.0", "other")
    make_tool(place.opened(), [tool, first])
    stays = make_tool(place.opened(), [other])
    cleaned(place, "nv-*")
    assert projects(place) == {"tool", "other"}
    assert place.archives() == {tool, other}
    assert environments(place) == {stays.environment_id}
    assert second not in place.archives()
    assert cleaned(place, "nv-*").unmatched == clean_targets(["nv-*"], [])
    assert_sound(place.cache)


def test_work_that_began_before_a_clean_by_a_pattern_brings_back_nothing_that_fits_it(place: Place) -> None:
    first, other = fetched(place, "nv-a", "other")
    cache = place.opened()
    works = [(begin(cache, "nv-a"), first), (begin(cache, "other"), other)]
    about_to_be = [describe(cache, [archive]) for _, archive in works]
    for work, archive in works:
        in_hold(cache, LockMode.SHARED, lambda hold, work=work, archive=archive: work.keep(hold, [archive]))
    cleaned(place, "nv-*")
    named = [publish(work, pointer).is_named for (work, _), pointer in zip(works, about_to_be, strict=True)]
    assert named == [False, True]
    for work, _ in works:
        finish(work)


def test_an_archive_by_its_id_goes_with_all_its_names_and_the_environments_it_is_in(place: Place) -> None:
    old, new, other = fetched(place, "tool==1.0", "tool==2.0", "other")
    make_tool(place.opened(), [other, old], "other")
    stays = make_tool(place.opened(), [new])
    removal = cleaned(place, old)
    assert place.archives() == {new, other}
    assert environments(place) == {stays.environment_id}
    assert [name for name in place.names() if "tool-1.0" in name and not name.endswith(".metadata")] == []
    assert len([name for name in place.names() if name.startswith("tool/hash/")]) == 1
    assert {each.reason.value for each in removal.removed} == {"named"}
    assert cleaned(place, old).unmatched == clean_targets([old], [])
    assert_sound(place.cache)


def test_an_archive_whose_description_is_damaged_goes_by_its_id_too(place: Place) -> None:
    old, new = fetched(place, "tool==1.0", "tool==2.0")
    (place.cache / "archives-v1" / old / "manifest").write_bytes(b"no manifest\n")
    cleaned(place, old)
    assert place.archives() == {new}
    assert len([name for name in place.names() if name.startswith("tool/hash/")]) == 1


def test_an_environment_by_its_id_goes_alone(place: Place) -> None:
    tool, other = fetched(place, "tool==1.0", "other")
    goes = make_tool(place.opened(), [tool, other])
    stays = make_tool(place.opened(), [tool], digest="1" * 32)
    cleaned(place, goes.environment_id)
    assert environments(place) == {stays.environment_id}
    assert place.archives() == {tool, other}
    assert_sound(place.cache)


def test_a_tool_goes_with_its_environments_and_leaves_its_archives_and_others_that_contain_it(place: Place) -> None:
    tool, other = fetched(place, "tool==1.0", "other")
    make_tool(place.opened(), [tool, other])
    make_tool(place.opened(), [tool], digest="1" * 32)
    stays = make_tool(place.opened(), [other, tool])
    cleaned(place, tools=("tool",))
    assert environments(place) == {stays.environment_id}
    assert os.listdir(place.cache / "tools-v1") == ["other"]
    assert place.archives() == {tool, other}
    assert projects(place) == {"tool", "other"}
    assert cleaned(place, tools=("tool",)).unmatched == clean_targets([], ["tool"])
    assert_sound(place.cache)


def test_work_that_began_before_a_clean_of_a_tool_publishes_no_environment_of_it_but_anything_else(
    place: Place,
) -> None:
    tool, other = fetched(place, "tool==1.0", "other")
    cache = place.opened()
    work = begin(cache, "tool", "other")
    cleaned(place, tools=("tool",))
    assert not publish(work, describe(cache, [tool, other])).is_named
    assert publish(work, describe(cache, [other, tool])).is_named
    finish(work)


def test_what_only_a_tool_s_environment_kept_goes_with_it(place: Place) -> None:
    (tool,) = fetched(place, "tool==1.0")
    make_tool(place.opened(), [tool])
    for path in (place.cache / "projects-v1" / "tool").rglob("*.json"):
        path.unlink()
    cleaned(place, tools=("tool",))
    assert place.archives() == environments(place) == set()


def test_several_names_of_several_kinds_go_in_one_clean(place: Place) -> None:
    first, _, tool, other = fetched(place, "nv-a", "nv-b", "tool==1.0", "other")
    make_tool(place.opened(), [tool])
    cleaned(place, "nv-?", first, "nv-b", other, tools=("tool",))
    assert place.archives() == {tool}
    assert environments(place) == set()
    prune_now(place.opened())
    assert_sound(place.cache, is_pruned=True)


def test_a_clean_with_tools_alone_is_no_clean_of_everything(place: Place) -> None:
    tool, other = fetched(place, "tool==1.0", "other")
    pointer: EnvironmentPointer = make_tool(place.opened(), [tool])
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        assert engine.plan_clean(tools=["none"]).objects == ()
        assert [item.object.id for item in engine.plan_clean(tools=["tool"]).objects] == [pointer.environment_id]
        engine.clean(tools=["tool"])
    assert environments(place) == set()
    assert place.archives() == {tool, other}
