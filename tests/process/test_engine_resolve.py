"""The engine's `resolve` and `plan_install`: what would be needed, and what would be done about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from anyio import create_task_group, fail_after, to_thread

from aiocache_engine.errors import UnsatisfiableError
from aiocache_engine.model.outcome import Named
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.testing.invariants import assert_environment_sound
from caches import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel("app", "1.0", requires=["lib>=1", "unneeded; python_version < '3'"])
    place.wheel("lib", "1.0", requires=["base<2"])
    place.wheel("lib", "2.0", requires=["base>=2"])
    place.wheel("base", "1.0")
    place.wheel("base", "2.0")
    return place


async def test_resolving_follows_dependencies_markers_and_constraints(place: Place) -> None:
    async with place.engine() as engine:
        plain = await engine.resolve(["app"], python=sys.executable)
        held = await engine.resolve(["app"], constraints=["base<2"], python=sys.executable)
    assert [(pin.project, pin.version) for pin in plain.pins] == [("app", "1.0"), ("base", "2.0"), ("lib", "2.0")]
    assert plain.asked == ("app",)
    assert [(pin.project, pin.version) for pin in held.pins] == [("app", "1.0"), ("base", "1.0"), ("lib", "1.0")]


async def test_more_resolutions_than_there_are_threads_end(place: Place) -> None:
    to_thread.current_default_thread_limiter().total_tokens = 2
    with fail_after(30):
        async with place.engine() as engine, create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(lambda: engine.resolve(["app"], python=sys.executable))


async def test_the_pins_that_come_back_can_be_installed_as_they_are(place: Place) -> None:
    async with place.engine() as engine:
        report = await engine.resolve(["app"], python=sys.executable)
    environment = await place.install("environment", *(f"{pin.project}=={pin.version}" for pin in report.pins))
    assert_environment_sound(environment)
    assert Named("lib", "2.0") in report.pins


async def test_a_conflict_is_told_in_words(place: Place) -> None:
    async with place.engine() as engine:
        with pytest.raises(UnsatisfiableError, match="lib"):
            await engine.resolve(["app", "lib>=2", "base<2"], python=sys.executable)


@pytest.mark.parametrize(
    ("how", "installed", "removed"),
    [
        ({}, {"app 1.0", "lib 2.0", "base 2.0"}, {"base"}),
        ({"constraints": ["base<2"]}, {"app 1.0", "lib 1.0"}, set()),
        ({"constraints": ["base<2"], "reinstall": True}, {"app 1.0", "lib 1.0", "base 1.0"}, {"base"}),
        ({"upgrade": True}, {"app 1.0", "lib 2.0", "base 2.0"}, {"base"}),
        ({"dependencies": False}, {"app 1.0"}, set()),
    ],
)
async def test_a_plan_tells_what_the_installation_then_does_and_touches_nothing(
    place: Place, how: dict[str, Any], installed: set[str], removed: set[str]
) -> None:
    root = await place.install("environment", "base==1.0")
    before = sorted(root.rglob("*"))
    async with place.engine() as engine:
        plan = await engine.plan_install(["app"], target=TargetChoice(venv=str(root)), **how)
        assert sorted(root.rglob("*")) == before
        done = await engine.install(["app"], target=TargetChoice(venv=str(root)), **how)
    assert {f"{each.project} {each.version}" for each in plan.installed} == installed
    assert {each.project for each in plan.removed} == removed
    assert (plan.is_dry_run, done.is_dry_run) == (True, False)
    assert [each.archive_id for each in plan.installed] == [each.archive_id for each in done.installed]
    assert (plan.removed, plan.unchanged) == (done.removed, done.unchanged)
    assert_environment_sound(root)


async def test_requirements_that_are_met_no_more_are_told(place: Place) -> None:
    place.wheel("easy", "1.0", requires=["Base; extra == 'all'", "base<2; python_version < '3'", "base>=1", "other<2"])
    place.wheel("other", "2.0", requires=["app"])
    root = await place.install("environment", "lib==1.0", "easy", dependencies=False)
    base = await place.install("environment", "base==1.0")
    assert root == base
    told = ("lib 1.0 requires base<2, but gets base 2.0; name lib too, for versions that suit both",)
    target = TargetChoice(venv=str(root))
    async with place.engine() as engine:
        assert (await engine.plan_install(["base==2.0"], target=target)).warnings == told
        assert (await engine.install(["base==2.0"], target=target)).warnings == told
        # Nothing that was met is broken by what is put in anew, or was not there, or comes with what needs it.
        assert (await engine.install(["base==2.0"], target=target, reinstall=True)).warnings == ()
        assert (await engine.install(["other"], target=target, dependencies=False)).warnings == ()
        assert (await engine.install(["base==1.0", "lib==1.0"], target=target)).warnings == ()
        assert (await engine.install(["base==2.0", "lib"], target=target)).warnings == ()


async def test_a_file_that_goes_missing_in_the_cache_is_fetched_again_with_all_that_was_resolved(place: Place) -> None:
    await place.install("one", "app")
    async with place.engine() as engine:
        [lib] = [each.id for each in await engine.entries("lib") if each.kind == "archive"]
    (module,) = (place.cache / "archives-v1" / lib / "tree" / "lib").glob("__init__.py")
    module.unlink()
    assert_environment_sound(await place.install("two", "app"))


@pytest.mark.parametrize("metadata", [None, b"", b"Metadata-Version: 2.1\nName: other\nVersion: 2.0\n"])
@pytest.mark.parametrize("dependencies", [True, False])
async def test_what_is_installed_and_does_not_say_what_it_is_is_installed_again(
    place: Place, metadata: bytes | None, *, dependencies: bool
) -> None:
    root = await place.install("environment", "lib", "base")
    path = next(root.rglob("lib-2.0.dist-info")) / "METADATA"
    path.unlink()
    if metadata is not None:
        path.write_bytes(metadata)
    async with place.engine() as engine:
        target = TargetChoice(venv=str(root))
        done = await engine.install(["lib", "base"], target=target, dependencies=dependencies)
        again = await engine.install(["lib", "base"], target=target, dependencies=dependencies)
    assert [each.project for each in done.installed] == ["lib"]
    assert not again.installed
    assert_environment_sound(root)


async def test_an_installed_version_with_an_unreadable_extra_makes_room_only_where_the_extra_is_wanted(
    place: Place,
) -> None:
    place.wheel("by", "1.0", requires=["base; extra == 'y'"])
    place.wheel("by", "2.0", requires=["base; extra == 'y' and bogus == '1'"])
    root = await place.install("environment", "by==2.0", dependencies=False)
    async with place.engine() as engine:
        target = TargetChoice(venv=str(root))
        plain = await engine.install(["by"], target=target)
        extra = await engine.install(["by[y]"], target=target)
    assert not plain.installed
    assert {f"{each.project} {each.version}" for each in extra.installed} == {"by 1.0", "base 2.0"}
