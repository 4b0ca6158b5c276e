"""`CacheEngine.environment`: a cached environment for programs, which stays whole for as long as it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.errors import CommandNotFoundError, DiskError, FileConflictError, ProjectNotFoundError, UsageError
from aiocache_engine.pipeline.tools.environment import HeldEnvironment
from aiocache_engine.testing.invariants import assert_environment_sound
from caches import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    commands = {"console_scripts": {"greet": "greeter:main"}}
    files = {"greeter.py": "import needed\ndef main():\n    print('hello')\n"}
    place.wheel("greeter", "1.0", files=files, entry_points=commands, requires=["needed"])
    place.wheel("needed", "1.0")
    place.wheel("spare", "1.0")
    return place


def environments(place: Place) -> set[str]:
    return set(os.listdir(place.cache / "environments-v1"))


def greet(environment: HeldEnvironment) -> str:
    command = [environment.command("greet")]
    return subprocess.run(
        command, env=environment.variables(os.environ), capture_output=True, text=True, check=True
    ).stdout


async def test_it_has_what_is_named_and_all_that_this_needs(place: Place) -> None:
    async with place.engine() as engine, engine.environment("greeter", additions=["spare"]) as environment:
        assert environment.versions == {"greeter": "1.0", "needed": "1.0", "spare": "1.0"}
        assert environment.commands == ("greet",)
        assert greet(environment) == "hello\n"
        assert Path(environment.python).samefile(sys.executable)  # noqa: ASYNC240 - one look
        assert_environment_sound(Path(environment.root))
        with pytest.raises(CommandNotFoundError, match="greeter has no command 'great', but greet"):
            environment.command("great")


async def test_it_stays_while_it_is_used_and_goes_afterwards(place: Place) -> None:
    async with place.engine() as engine:
        async with engine.environment("greeter") as environment:
            await engine.clean()
            await engine.prune()
            assert greet(environment) == "hello\n"
        assert environments(place) == set()
    assert place.archives() == set()


async def test_the_next_use_gets_the_same_one_and_a_refresh_what_is_newer(place: Place) -> None:
    async with place.engine() as engine:
        async with engine.environment("greeter") as first, engine.environment("greeter >= 0") as other:
            assert first.id != other.id
        async with engine.environment("greeter") as second:
            assert second.id == first.id
        place.wheel("needed", "2.0")
        async with engine.environment("greeter") as third, engine.environment("greeter", refresh=True) as fourth:
            assert (third.id, third.versions["needed"]) == (first.id, "1.0")
            assert fourth.versions["needed"] == "2.0"
        async with engine.environment("greeter") as fifth:
            assert fifth.id == fourth.id


async def test_an_isolated_one_is_nobody_elses(place: Place) -> None:
    async with place.engine() as engine:
        async with engine.environment("greeter", isolated=True) as one, engine.environment("greeter") as other:
            assert one.id != other.id
            assert greet(one) == "hello\n"
        assert environments(place) == {other.id}


async def test_many_at_once_make_one(place: Place) -> None:
    ids: list[str] = []

    async def use() -> None:
        async with engine.environment("greeter") as environment:
            ids.append(environment.id)

    async with place.engine() as engine, anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(use)
    assert environments(place) == set(ids)
    assert len(set(ids)) == 1


async def test_a_failure_leaves_no_lease_and_nothing_in_staging(place: Place) -> None:
    async with place.engine() as engine:
        with pytest.raises(ProjectNotFoundError):
            async with engine.environment("nothing"):
                pass
        with pytest.raises(UsageError):
            async with engine.environment("greeter =="):
                pass
    assert os.listdir(place.cache / "leases") == []
    assert os.listdir(place.cache / "staging") == []


async def test_a_file_that_cannot_be_there_is_named_without_where_it_was_tried(place: Place) -> None:
    place.wheel("greedy", "1.0", entry_points={"console_scripts": {"activate": "greedy:main"}})
    async with place.engine() as engine:
        with pytest.raises(FileConflictError) as caught:
            async with engine.environment("greedy"):
                pass
    reason = "greedy would replace a file that the environment needs"
    assert str(caught.value) == f"the environment of greedy, bin/activate: {reason}"


async def test_errors_of_the_block_are_the_blocks_own(place: Place) -> None:
    async with place.engine() as engine:
        with pytest.raises(FileNotFoundError):
            async with engine.environment("greeter"):
                (place.root / "absent").read_bytes()
        with pytest.raises(DiskError):
            async with engine.environment("greeter"):
                raise DiskError("here", "no")
    assert os.listdir(place.cache / "leases") == []


async def test_what_was_cleaned_while_it_was_made_is_not_found_again(place: Place) -> None:
    async with place.engine() as engine:
        async with engine.environment("greeter") as old:
            pass
        async with engine.environment("greeter", isolated=True):
            await engine.clean(["needed"])
            async with engine.environment("greeter") as fresh:
                assert fresh.id != old.id
    assert environments(place) == {fresh.id}


def test_threads_use_it_alike(place: Place) -> None:
    engine = BlockingCacheEngine(place.cache, config=place.config(), environ={"PATH": os.environ["PATH"]})
    with engine:
        with engine.environment("greeter") as environment:
            engine.clean()
            assert greet(environment) == "hello\n"
        assert environments(place) == set()
        with engine.environment("greeter") as environment:
            assert greet(environment) == "hello\n"
    assert os.listdir(place.cache / "leases") == []
