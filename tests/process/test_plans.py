"""A plan that is handed back: it takes what it lists as far as that still may go, and nothing that came since."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.errors import UsageError
from aiocache_engine.model.removal import PrunePolicy, Removal
from aiocache_engine.testing.invariants import assert_sound
from caches import Place
from toolsheds import fetched, finish, make_tool, run_tool


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for name, version in (("tiny", "1.0"), ("tiny", "1.5"), ("tiny", "2.0"), ("other", "1.0")):
        place.wheel(name, version, files={f"{name}/__init__.py": f"x = {version!r}\n" * 2000})
    return place


@pytest.fixture
def engine(place: Place) -> Iterator[BlockingCacheEngine]:
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        yield engine


def test_a_plan_of_the_other_command_is_refused_and_nothing_goes(place: Place, engine: BlockingCacheEngine) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    with pytest.raises(UsageError, match="hand it to prune"):
        engine.clean(engine.plan_prune())
    with pytest.raises(UsageError, match="hand it to clean"):
        engine.prune(engine.plan_clean())
    assert place.archives() == {tiny}


@pytest.mark.parametrize("beside", [{"tools": ["tiny"]}, {"dependencies": True}, {"even_in_use": True}])
def test_options_beside_a_plan_are_refused(place: Place, engine: BlockingCacheEngine, beside: dict[str, Any]) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    with pytest.raises(UsageError, match="beside a plan"):
        engine.clean(engine.plan_clean(["tiny"]), **beside)
    assert place.archives() == {tiny}


@pytest.mark.parametrize("names", [(), ("tiny",), ("t*",), ("tiny>0",)])
@pytest.mark.parametrize("options", [{}, {"even_in_use": True}])
def test_a_clean_by_a_plan_leaves_what_came_since_and_its_names(
    place: Place, engine: BlockingCacheEngine, names: tuple[str, ...], options: dict[str, bool]
) -> None:
    (old,) = fetched(place, "tiny==1.0")
    plan = engine.plan_clean(names, **options)
    new, other = fetched(place, "tiny==2.0", "other")
    make_tool(place.opened(), [new, other])
    foreseen, removal = engine.foresee(plan), engine.clean(plan)
    assert place.archives() == {new, other}
    assert {entry.id for entry in removal.removed} == {entry.id for entry in foreseen.removed} == {old, None}
    assert foreseen.freed_bytes == removal.freed_bytes
    assert {each.version for each in engine.entries("tiny") if each.kind == "archive"} == {"2.0"}
    assert len(list((place.cache / "environments-v1").iterdir())) == 1
    assert len(list((place.cache / "tools-v1").glob("*/*.json"))) == 1
    assert_sound(place.cache)


@pytest.mark.parametrize("is_new_there", [False, True])
@pytest.mark.parametrize("is_handed_back", [False, True])
@pytest.mark.parametrize("names", [("tiny<2",), ("tiny",), ("t*",), ()])
def test_a_dry_run_tells_of_pages_and_metadata_what_the_clean_takes_with_the_plan_and_without(
    place: Place, engine: BlockingCacheEngine, names: tuple[str, ...], *, is_handed_back: bool, is_new_there: bool
) -> None:
    _, other_version = fetched(place, "tiny==1.0", "tiny==2.0")
    page, *metadata = beside_names(place, "tiny")
    plan = engine.plan_clean(names)
    came = set(fetched(place, "tiny==1.5")) if is_new_there else set()
    foreseen = engine.foresee(plan if is_handed_back else engine.plan_clean(names))
    removal = engine.clean(plan if is_handed_back else names)
    assert [path for path in (page, *metadata) if path.exists()] == []
    staying = {other_version} if names == ("tiny<2",) else set()
    assert place.archives() == (staying | came if is_handed_back else staying)
    assert sorted(sizes(foreseen)) == sorted(sizes(removal))
    assert foreseen.freed_bytes == removal.freed_bytes
    assert_sound(place.cache)


def beside_names(place: Place, project: str) -> list[Path]:
    """Store a page beside the names of a project that stand under an index, and metadata for each."""
    names = sorted((place.cache / "projects-v1" / project).glob("*/*.json"))
    beside = [names[0].parent / "page", *(name.with_suffix(".metadata") for name in names)]
    for path in beside:
        path.write_bytes(b"x" * 9000)
    return beside


def sizes(removal: Removal) -> list[tuple[str, str, str, int, int]]:
    return [
        (each.kind, each.project or "", each.id or "", each.file_count, each.freed_bytes) for each in removal.removed
    ]


def test_an_environment_that_came_since_keeps_what_the_plan_takes(place: Place, engine: BlockingCacheEngine) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    plan = engine.plan_clean(["tiny"])
    make_tool(place.opened(), [tiny])
    engine.clean(plan)
    assert place.archives() == {tiny}
    assert len(list((place.cache / "environments-v1").iterdir())) == 1


def test_what_the_plan_lists_as_pinned_stays_with_its_names_when_the_pin_is_gone(
    place: Place, engine: BlockingCacheEngine
) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    engine.pin(["tiny"])
    plan = engine.plan_clean()
    engine.unpin("tiny")
    engine.clean(plan)
    assert [each.id for each in engine.entries("tiny")] == [tiny]
    engine.prune()
    assert place.archives() == {tiny}


def test_a_clean_by_a_plan_checks_who_uses_what_it_lists(place: Place, engine: BlockingCacheEngine) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    cache = place.opened()
    make = make_tool(cache, [tiny])
    plan = engine.plan_clean(["tiny"])
    work, _ = run_tool(cache, make)
    engine.clean(plan)
    assert place.archives() == {tiny}
    finish(work)
    engine.prune()
    assert place.archives() == set()


@pytest.mark.parametrize(
    "policy", [PrunePolicy(unused_for_seconds=0), PrunePolicy(is_ci=True), PrunePolicy(max_size_bytes=0)]
)
def test_a_prune_by_a_plan_takes_what_it_lists_and_leaves_what_came_since(
    place: Place, engine: BlockingCacheEngine, policy: PrunePolicy
) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    plan = engine.plan_prune(policy)
    (other,) = fetched(place, "other")
    foreseen, removal = engine.foresee(plan), engine.prune(plan)
    assert place.archives() == {other}
    assert [each.id for each in removal.removed if each.kind == "archive"] == [tiny]
    assert foreseen.freed_bytes == removal.freed_bytes
    assert removal.is_goal_met is (policy.max_size_bytes is None)
    assert_sound(place.cache)


def test_a_prune_by_a_plan_leaves_what_was_linked_since(place: Place, engine: BlockingCacheEngine) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    plan = engine.plan_prune(PrunePolicy(is_ci=True))
    asyncio.run(place.install("env", "tiny==1.0"))
    engine.prune(plan)
    assert place.archives() == {tiny}
