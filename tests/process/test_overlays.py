"""Overlays: wheels that were added by hand, for whoever names them, before every index."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine import (
    BlockingCacheEngine,
    CacheEngine,
    DamagedEntryError,
    IndexStrategy,
    InvalidNameError,
    InvalidWheelError,
    NoMatchingWheelError,
    ProjectNotFoundError,
    TargetChoice,
    UnsatisfiableError,
    UsageError,
)
from aiocache_engine.pipeline import find
from aiocache_engine.pipeline.add import add_wheels
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.pipeline.resolution import shelf
from aiocache_engine.pipeline.steps import Outside
from aiocache_engine.store.work import Work
from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.invariants import assert_sound
from aiocache_engine.testing.wheels import build_wheel
from caches import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Where wheels are built that no index has."""
    directory = tmp_path / "built"
    directory.mkdir()
    return directory


def wheel_of(directory: Path, name: str, version: str, says: str, **what: Any) -> Path:
    return build_wheel(directory, name, version, files={f"{name}/__init__.py": f"SAYS = {says!r}\n"}, **what)


def says(environment: Path, name: str) -> str:
    (module,) = environment.glob(f"lib/python3*/site-packages/{name}/__init__.py")
    return module.read_text().removeprefix("SAYS = ").strip().strip("'")


async def installed(engine: CacheEngine, environment: Path, *requirements: str, **how: Any) -> str:
    report = await engine.install(requirements, target=TargetChoice(venv=str(environment)), **how)
    return report.installed[0].origin


async def test_an_added_wheel_is_taken_by_whoever_names_the_overlay_and_by_nobody_else(
    place: Place, built: Path, tmp_path: Path
) -> None:
    place.wheel("tiny", "1.0")
    wheel = wheel_of(built, "tiny", "1.0", "built")
    async with place.engine() as engine:
        report = await engine.add([wheel], overlay="mine")
        assert [(each.project, each.version, each.overlay) for each in report.added] == [("tiny", "1.0", "mine")]
        assert await installed(engine, tmp_path / "with", "tiny", overlays=["mine"]) == "overlay"
        assert await installed(engine, tmp_path / "without", "tiny") == "index"
    assert says(tmp_path / "with", "tiny") == "built"
    assert "SAYS" not in says(tmp_path / "without", "tiny")
    assert wheel.exists()
    assert_sound(place.cache)


@pytest.mark.parametrize("dependencies", [True, False])
async def test_a_rebuilt_wheel_takes_the_place_of_the_old_one_at_once(
    place: Place, built: Path, tmp_path: Path, *, dependencies: bool
) -> None:
    async with place.engine(overlays=("mine",)) as engine:
        for number in ("first", "second"):
            await engine.add([wheel_of(built, "tiny", "1.0", number)], overlay="mine")
            await installed(engine, tmp_path / number, "tiny==1.0", dependencies=dependencies)
            assert says(tmp_path / number, "tiny") == number
        await engine.prune()
        kept = {entry.id for entry in await engine.entries("tiny")}
        assert len(kept) == 1, "nothing but hard links used the first one"
    assert_sound(place.cache)


async def test_the_first_overlay_that_has_a_project_hides_every_index_unless_the_best_is_asked_for(
    place: Place, built: Path, tmp_path: Path
) -> None:
    place.wheel("tiny", "2.0")
    async with place.engine() as engine:
        await engine.add([wheel_of(built, "tiny", "1.0", "second")], overlay="second")
        await engine.add([wheel_of(built, "tiny", "0.9", "first")], overlay="first")
        for overlays, version in ((["first", "second"], "0.9"), (["second", "first"], "1.0"), ([], "2.0")):
            resolved = await engine.resolve(["tiny"], overlays=overlays)
            assert [pin.version for pin in resolved.pins] == [version]
        with pytest.raises(UnsatisfiableError, match="no tiny>1"):
            await engine.resolve(["tiny>1"], overlays=["first"])
        with pytest.raises(NoMatchingWheelError, match="overlay first, the first index that knows it"):
            await engine.fetch(["tiny==2.0"], dependencies=False, overlays=["first"])
    async with place.engine(index_strategy=IndexStrategy.BEST_MATCH, overlays=("first",)) as engine:
        assert [pin.version for pin in (await engine.resolve(["tiny"])).pins] == ["2.0"]


async def test_an_overlay_says_nothing_of_projects_that_it_does_not_have(
    place: Place, built: Path, tmp_path: Path
) -> None:
    place.wheel("base", "1.0")
    async with place.engine(overlays=("mine",)) as engine:
        await engine.add([wheel_of(built, "tiny", "1.0", "built", requires=["base"])], overlay="mine")
        fetched = (await engine.fetch(["tiny"])).fetched
        assert {each.project: each.origin for each in fetched} == {"tiny": "overlay", "base": "index"}
        with pytest.raises(ProjectNotFoundError, match="overlay mine, "):
            await engine.fetch(["absent"])


async def test_a_hash_that_the_overlay_does_not_have_is_looked_for_on_the_indexes(
    place: Place, built: Path, tmp_path: Path
) -> None:
    wheel = place.wheel("tiny", "1.0")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    async with place.engine(overlays=("mine",)) as engine:
        await engine.add([wheel_of(built, "tiny", "1.0", "built")], overlay="mine")
        assert await installed(engine, tmp_path / "pinned", f"tiny==1.0 --hash=sha256:{sha256}") == "index"
    assert "SAYS" not in says(tmp_path / "pinned", "tiny")


async def test_an_overlay_is_used_offline(place: Place, built: Path, tmp_path: Path) -> None:
    away = {"index_url": "http://127.0.0.1:9/simple", "find_links": (), "is_offline": True}
    async with place.engine(overlays=("mine",), **away) as engine:
        await engine.add([wheel_of(built, "tiny", "1.0", "built")], overlay="mine")
        assert await installed(engine, tmp_path / "environment", "tiny") == "overlay"


async def test_environments_of_tools_are_told_apart_by_their_overlays(place: Place, built: Path) -> None:
    place.wheel("tiny", "1.0")
    async with place.engine() as engine:
        await engine.add([wheel_of(built, "tiny", "1.0", "built")], overlay="mine")
        async with engine.environment("tiny") as plain, engine.environment("tiny", overlays=["mine"]) as own:
            assert says(Path(own.root), "tiny") == "built"
            assert "SAYS" not in says(Path(plain.root), "tiny")


async def test_of_several_wheels_with_a_bad_one_among_them_none_is_added_and_all_that_is_wrong_is_told(
    place: Place, built: Path, tmp_path: Path
) -> None:
    good = wheel_of(built, "tiny", "1.0", "built")
    bad = built / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip")
    async with place.engine(overlays=("mine",)) as engine:
        with pytest.raises(ExceptionGroup) as failed:
            await engine.add([good, bad, tmp_path / "absent-1.0-py3-none-any.whl"], overlay="mine")
        assert [type(each) for each in failed.value.exceptions] == [InvalidWheelError, UsageError]
        with pytest.raises(ProjectNotFoundError):
            await engine.fetch(["tiny"])
        assert (await engine.leases()).leases == ()
    assert place.archives() == set()
    assert os.listdir(place.cache / "staging") == []


@pytest.mark.parametrize(
    ("wheels", "overlay", "line"),
    [
        ([], "mine", "nothing to add"),
        (["http://127.0.0.1/tiny-1.0-py3-none-any.whl"], "mine", "only wheels on this machine"),
        (["."], "mine", "is a directory; name the wheels in it"),
        (["absent-1.0-py3-none-any.whl"], "mine", "there is no such file"),
        ([__file__], "mine", "it must end in .whl"),
        (["tiny-1.0-py3-none-any.whl"], "../mine", "name of an overlay"),
        ("tiny-1.0-py3-none-any.whl", "mine", "is to be a list"),
    ],
)
async def test_what_cannot_be_added_is_refused_in_one_line(place: Place, wheels: Any, overlay: str, line: str) -> None:
    async with place.engine() as engine:
        with pytest.raises(UsageError, match=line) as refused:
            await engine.add(wheels, overlay=overlay)
    assert "\n" not in str(refused.value)


async def test_of_two_wheels_with_one_file_name_none_is_added_unless_they_are_the_same(
    place: Place, tmp_path: Path
) -> None:
    one, other, same = (wheel_of(tmp_path / name, "tiny", "1.0", name[0]) for name in _made(tmp_path, "a", "b", "a2"))
    async with place.engine() as engine:
        with pytest.raises(UsageError, match=r"/a/tiny-.* and .*/b/tiny-.* have one file name and are not the same"):
            await engine.add([one, other], overlay="mine")
        assert place.archives() == set()
        await engine.add([one, same], overlay="mine")
    assert len(place.archives()) == 1


async def test_what_is_no_regular_file_is_not_said_to_be_missing(place: Place, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tiny-1.0-py3-none-any.whl")
    async with place.engine() as engine:
        with pytest.raises(UsageError, match="it is no regular file"):
            await engine.add([tmp_path / "tiny-1.0-py3-none-any.whl"])


async def test_a_damaged_wheel_of_an_overlay_is_never_replaced_by_one_of_an_index(
    place: Place, built: Path, tmp_path: Path
) -> None:
    place.wheel("tiny", "1.0")
    wheel = wheel_of(built, "tiny", "1.0", "built")
    async with place.engine(overlays=("mine",)) as engine:
        (added,) = (await engine.add([wheel], overlay="mine")).added
        (place.cache / "archives-v1" / added.archive_id / "tree/tiny/__init__.py").unlink()
        for _ in range(2):
            with pytest.raises(DamagedEntryError, match="of the overlay mine: add it again"):
                await installed(engine, tmp_path / "environment", "tiny")
        await engine.add([wheel], overlay="mine")
        assert await installed(engine, tmp_path / "environment", "tiny") == "overlay"
    assert says(tmp_path / "environment", "tiny") == "built"
    assert_sound(place.cache)


@pytest.mark.parametrize("dependencies", [True, False])
async def test_a_wheel_that_was_replaced_after_it_was_chosen_is_chosen_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, dependencies: bool
) -> None:
    old, new = (wheel_of(tmp_path / name, "tiny", "1.0", name) for name in _made(tmp_path, "old", "new"))
    look_up = find.look_up

    def late(work: Work, choices: Any) -> Any:
        """Replace and free the wheel between the hold that chose it and the one that looks it up."""
        if choices and is_due:
            is_due.clear()
            kit = open_kit(place.cache, config=place.config(), environ={})
            adding = kit.work()
            yield from add_wheels(kit, adding, [str(new)], "mine")
            yield Outside(adding.end)
            yield from Collector(kit.cache).free_condemned()
        return (yield from look_up(work, choices))

    async with place.engine(overlays=("mine",)) as engine:
        await engine.add([old], overlay="mine")
        before = place.archives()
        is_due = [True]
        monkeypatch.setattr(shelf if dependencies else find, "look_up", late)
        assert await installed(engine, tmp_path / "environment", "tiny==1.0", dependencies=dependencies) == "overlay"
    assert place.archives().isdisjoint(before)
    assert says(tmp_path / "environment", "tiny") == "new"


def _made(root: Path, *names: str) -> tuple[str, ...]:
    for name in names:
        (root / name).mkdir()
    return names


async def test_whoever_installs_while_a_wheel_is_replaced_gets_one_of_the_two_whole(
    place: Place, tmp_path: Path
) -> None:
    builds = []
    for name in _made(tmp_path, "first", "second"):
        files = {f"tiny/part_{number}.py": f"SAYS = {name!r}\n" for number in range(20)}
        builds.append(build_wheel(tmp_path / name, "tiny", "1.0", files={"tiny/__init__.py": "", **files}))
    rounds = 6
    async with place.engine(overlays=("mine",)) as engine:
        await engine.add(builds[:1], overlay="mine")
        async with asyncio.TaskGroup() as tasks:
            for number in range(rounds):
                tasks.create_task(engine.add([builds[number % 2]], overlay="mine"))
                tasks.create_task(installed(engine, tmp_path / f"environment-{number}", "tiny"))
                tasks.create_task(engine.prune())
    for number in range(rounds):
        parts = list((tmp_path / f"environment-{number}").glob("lib/python3*/site-packages/tiny/part_*.py"))
        assert len(parts) == 20
        assert len({part.read_text() for part in parts}) == 1
    assert_sound(place.cache)


@pytest.mark.parametrize("dependencies", [True, False])
async def test_an_index_without_hashes_that_serves_a_rebuilt_file_gives_the_new_bytes_at_the_next_install(
    place: Place, tmp_path: Path, *, dependencies: bool
) -> None:
    with IndexServer(place.wheels) as server:
        server.has_hashes = False
        server.cache_control = "max-age=600"
        async with place.engine(index_url=server.index_url, find_links=()) as engine:
            for number, requires in (("first", ["base"]), ("second", ["other"])):
                for name in ("base", "other"):
                    place.wheel(name, "1.0")
                wheel_of(place.wheels, "tiny", "1.0", number, requires=requires)
                environment = tmp_path / number
                await installed(engine, environment, "tiny==1.0", dependencies=dependencies)
                assert says(environment, "tiny") == number
                needed = {path.name for name in requires for path in environment.rglob(f"{name}-*.dist-info")}
                assert needed == ({f"{requires[0]}-1.0.dist-info"} if dependencies else set())


def test_threads_add_and_install_too(place: Place, built: Path, tmp_path: Path) -> None:
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        (added,) = engine.add([wheel_of(built, "tiny", "1.0", "built")]).added
        assert (added.overlay, added.archive_id) == ("default", *place.archives())
        target = TargetChoice(venv=str(tmp_path / "environment"))
        (each,) = engine.install(["tiny"], target=target, overlays=["default"]).installed
        assert (each.archive_id, each.origin) == (added.archive_id, "overlay")
        with pytest.raises(InvalidNameError, match="name of an overlay"):
            engine.fetch(["tiny"], overlays=["../default"])
