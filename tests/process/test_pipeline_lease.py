"""The lease of a pipeline: what its calls use stays until it ends, in whatever process (rules 8, 11 to 13 and 39)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aiocache_engine import (
    BlockingCacheEngine,
    CacheEngine,
    LinkMode,
    PrunePolicy,
    TargetChoice,
    UsageError,
)
from aiocache_engine.report import Reporter
from aiocache_engine.testing.invariants import assert_sound
from caches import Place, process, said

GIVEN_UP = PrunePolicy(unused_for_seconds=0)
NOBODY = "0123456789abcdef" * 2


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for name in ("tiny", "other"):
        place.wheel(name, "1.0")
    return place


async def fetch(engine: CacheEngine, *names: str) -> set[str]:
    report = await engine.fetch(names, python=sys.executable)
    return {each.archive_id for each in report.fetched}


async def held(engine: CacheEngine, name: str) -> set[str]:
    """Give what the leases of this name hold."""
    usage = await engine.leases()
    return {each for lease in usage.leases if lease.name == name for each in lease.objects}


async def test_what_is_fetched_inside_stays_until_the_block_ends(place: Place) -> None:
    async with place.engine() as engine:
        async with engine.lease(name="nightly") as lease:
            fetched = await fetch(engine, "tiny")
            removal = await engine.prune(GIVEN_UP)
            assert ({kept.object.id for kept in removal.kept}, removal.removed) == (fetched, ())
            (reason,) = removal.kept[0].reasons
            assert (reason.release or "").startswith(f"the pipeline nightly (process {os.getpid()} on ")
            (seen,) = (await engine.leases()).leases
            assert (seen.name, seen.id, set(seen.objects), seen.pid) == ("nightly", lease.id, fetched, os.getpid())
        assert place.archives() == fetched
        assert (await engine.leases()).leases == ()
        await engine.prune(GIVEN_UP)
    assert place.archives() == set()


async def test_what_was_cleaned_by_others_meanwhile_is_freed_when_the_block_ends(place: Place) -> None:
    async with place.engine() as engine, place.engine() as stranger:
        async with engine.lease():
            fetched = await fetch(engine, "tiny", "other")
            await stranger.clean()
            assert (place.archives(), place.names()) == (fetched, set())
        assert place.archives() == set()


async def fail_inside(engine: CacheEngine) -> None:
    async with engine.lease():
        await fetch(engine, "tiny")
        raise ValueError("mine")


async def test_a_block_that_fails_or_is_cancelled_holds_nothing_any_more(place: Place) -> None:
    async with place.engine() as engine:
        with pytest.raises(ValueError, match="mine"):
            await fail_inside(engine)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), engine.lease():
                await asyncio.Event().wait()
        assert (await engine.leases()).leases == ()
        await engine.prune(GIVEN_UP)
    assert place.archives() == set()


async def test_each_of_two_blocks_holds_what_is_used_inside_it_and_the_outer_one_all(place: Place) -> None:
    is_ready = asyncio.Event()

    async def one(engine: CacheEngine, name: str) -> None:
        async with engine.lease(name=f"for {name}"):
            fetched = await asyncio.create_task(fetch(engine, name))
            if name == "tiny":
                is_ready.set()
            await is_ready.wait()
            assert await held(engine, f"for {name}") == fetched

    async with place.engine() as engine, engine.lease(name="outer"):
        async with asyncio.TaskGroup() as tasks:
            for name in ("tiny", "other"):
                tasks.create_task(one(engine, name))
        assert await held(engine, "outer") == place.archives()


async def test_a_call_of_a_task_that_began_before_counts_as_inside(place: Place) -> None:
    wanted: asyncio.Queue[str] = asyncio.Queue()
    done: asyncio.Queue[set[str]] = asyncio.Queue()

    async def work(engine: CacheEngine) -> None:
        await done.put(await fetch(engine, await wanted.get()))

    async with place.engine() as engine, asyncio.TaskGroup() as tasks:
        tasks.create_task(work(engine))
        await asyncio.sleep(0)
        async with engine.lease(name="nightly"):
            await wanted.put("tiny")
            fetched = await done.get()
            assert await held(engine, "nightly") == fetched


async def test_a_dropped_project_is_given_up_and_held_again_if_it_is_used_again(place: Place) -> None:
    async with place.engine() as engine, place.engine() as stranger, engine.lease(name="nightly") as lease:
        tiny, other = await fetch(engine, "tiny"), await fetch(engine, "other")
        await stranger.clean(["tiny"])
        assert place.archives() == tiny | other
        await lease.drop("tiny>=1")
        assert place.archives() == other
        assert await held(engine, "nightly") == other
        await lease.drop("other")
        assert await held(engine, "nightly") == set()
        assert await fetch(engine, "other") == other
        assert await held(engine, "nightly") == other
        with pytest.raises(UsageError, match="what the lease shall give up"):
            await lease.drop()


async def test_a_clean_inside_gives_up_what_it_names_and_nothing_else(place: Place) -> None:
    async with place.engine() as engine, engine.lease(name="nightly"):
        tiny, other = await fetch(engine, "tiny"), await fetch(engine, "other")
        removal = await engine.clean(["tiny"])
        assert {each.id for each in removal.removed if each.kind == "archive"} == tiny
        assert removal.kept == ()
        assert removal.freed_bytes > 0
        assert (place.archives(), await held(engine, "nightly")) == (other, other)
    assert_sound(place.cache)


async def test_an_environment_that_is_held_keeps_what_is_in_it_until_its_project_is_dropped(place: Place) -> None:
    async with place.engine() as engine, engine.lease(name="nightly") as lease:
        async with engine.environment("tiny"):
            pass
        environments = place.cache / "environments-v1"
        await engine.prune(PrunePolicy(unused_for_seconds=0, takes_tools=True))
        assert len(list(environments.iterdir())) == 1
        await lease.drop("tiny")
        await engine.prune(PrunePolicy(unused_for_seconds=0, takes_tools=True))
        assert list(environments.iterdir()) == []


async def test_an_environment_that_a_pipeline_installs_leaves_its_archives_unlinked(
    place: Place, tmp_path: Path
) -> None:
    async with place.engine() as engine:
        async with engine.lease():
            for name in ("inside", "again"):
                target = TargetChoice(venv=str(tmp_path / name))
                await engine.install(["tiny"], target=target, link_mode=LinkMode.COPY)
        (archive,) = place.archives()
        assert not (place.cache / "archives-v1" / archive / "linked").exists()
        await engine.install(["tiny"], target=TargetChoice(venv=str(tmp_path / "after")), link_mode=LinkMode.COPY)
        assert (place.cache / "archives-v1" / archive / "linked").exists()


CHILD = """
import asyncio, json, os, sys
from pathlib import Path
from caches import Place
from aiocache_engine import CacheEngine
place = Place(Path(sys.argv[1]))

async def main():
    async with CacheEngine(config=place.config()) as engine:
        report = await engine.fetch(sys.argv[2:], python=sys.executable)
        print(json.dumps([each.archive_id for each in report.fetched]), flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


async def test_a_child_process_puts_what_it_uses_on_the_lease_and_its_end_by_a_signal_takes_nothing_off(
    place: Place,
) -> None:
    async with place.engine() as engine, engine.lease(name="nightly") as lease:
        with process(CHILD, place.root, "tiny", environ=lease.variables({})) as child:
            fetched = set(said(child))
            assert await held(engine, "nightly") == fetched
            child.kill()
            child.wait()
        await engine.prune(GIVEN_UP)
        assert place.archives() == fetched
        assert await fetch(engine, "tiny") == fetched
        removal = await engine.clean(["tiny"])
        assert (removal.kept, place.archives()) == ((), set())


USER = """
import asyncio, json, sys
from pathlib import Path
from caches import Place
from aiocache_engine import CacheEngine
place = Place(Path(sys.argv[1]))

async def main():
    async with CacheEngine(config=place.config()) as engine, engine.environment("tiny") as environment:
        print(json.dumps(environment.id), flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""
PIPELINE = """
import asyncio, json, subprocess, sys
from pathlib import Path
from caches import Place
place = Place(Path(sys.argv[1]))

async def main():
    async with place.engine() as engine, engine.lease(name="nightly") as lease:
        await engine.fetch(["tiny"], python=sys.executable)
        print(json.dumps(lease.variables({})), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Warnings(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warns(self, text: str) -> None:
        self.lines.append(text)


async def test_a_pipeline_that_is_killed_holds_nothing_and_its_child_goes_on_by_its_own_lease(place: Place) -> None:
    with process(PIPELINE, place.root) as pipeline:
        variables: dict[str, str] = said(pipeline)
        (tiny,) = place.archives()
        with process(CHILD, place.root, "other", environ=variables) as child:
            (other,) = said(child)
            pipeline.kill()
            pipeline.wait()
            child.communicate("\n", timeout=60)
            assert child.returncode == 0
    assert place.archives() == {tiny, other}
    warnings = Warnings()
    joined = CacheEngine(config=place.config(), environ={**os.environ, **variables}, reporter=warnings)
    async with joined as engine:
        await fetch(engine, "tiny")
        (line,) = warnings.lines
        await engine.prune(GIVEN_UP)
        assert place.archives() == set()
        assert await fetch(engine, "other")
    assert warnings.lines == [line]
    assert variables["AIOC_LEASE"] in line
    assert "its pipeline has ended" in line
    assert os.listdir(place.cache / "leases") == []
    assert_sound(place.cache)


@pytest.mark.parametrize("named", [NOBODY, "nonsense", f"../{NOBODY}"])
async def test_a_lease_that_nobody_holds_is_told_of_once_and_harms_nothing(place: Place, named: str) -> None:
    warnings = Warnings()
    async with CacheEngine(
        place.cache, config=place.config(), environ={**os.environ, "AIOC_LEASE": named}, reporter=warnings
    ) as engine:
        await fetch(engine, "tiny")
        await fetch(engine, "other")
    assert [named in line for line in warnings.lines] == [True]
    assert os.listdir(place.cache / "leases") == []


async def test_a_clean_tells_of_a_lease_that_nobody_holds(place: Place) -> None:
    warnings = Warnings()
    environ = {"AIOC_LEASE": NOBODY}
    async with CacheEngine(place.cache, config=place.config(), environ=environ, reporter=warnings) as engine:
        await engine.clean(["tiny"])
    assert [NOBODY in line for line in warnings.lines] == [True]


async def test_a_command_inside_waits_for_others_and_not_for_its_pipeline(place: Place) -> None:
    async with place.engine() as engine, engine.lease(name="nightly") as lease:
        await fetch(engine, "tiny", "other")
        with process(USER, place.root, environ=lease.variables({})) as child:
            said(child)
            words = [sys.executable, "-m", "aiocache_engine", "clean", "tiny", "--wait"]
            cleaning = await asyncio.create_subprocess_exec(
                *words, env=lease.variables(os.environ), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            assert cleaning.stderr is not None
            waits = (await cleaning.stderr.readline()).decode()
            assert f"held by pid {child.pid}" in waits
            assert f"pid {os.getpid()}" not in waits
            assert len(place.archives()) == 2
            child.communicate("\n", timeout=60)
            assert await cleaning.wait() == 0
        (other,) = place.archives()
        assert await held(engine, "nightly") == {other}


def test_a_command_inside_does_not_wait_for_its_pipeline_even_if_that_cannot_give_anything_up(place: Place) -> None:
    words = [sys.executable, "-m", "aiocache_engine", "clean", "tiny", "--wait"]
    with BlockingCacheEngine(place.cache, config=place.config()) as engine, engine.lease(name="nightly") as lease:
        engine.fetch(["tiny"], python=sys.executable)
        with open(place.cache / "leases" / str(lease.id), "ab") as file:
            file.write(b'\n{"words of a newer release": []}\n')  # so it covers everything, whatever is dropped
        ran = subprocess.run(
            words, env=lease.variables(os.environ), capture_output=True, text=True, timeout=60, check=True
        )
    assert "waiting" not in ran.stderr


def test_ps_tells_the_name_of_a_pipeline(place: Place) -> None:
    words = [sys.executable, "-m", "aiocache_engine", "ps"]
    engine = BlockingCacheEngine(place.cache, config=place.config())
    with engine, engine.lease(name="the nightly\x1b build") as lease:
        ran = subprocess.run(words, env=lease.variables(os.environ), capture_output=True, text=True, check=True)
    assert r"the nightly\x1b build: " in ran.stdout


def test_calls_of_other_threads_are_inside_unless_they_have_a_block_of_their_own(place: Place) -> None:
    def own(engine: BlockingCacheEngine) -> set[str]:
        with engine.lease(name="own"):
            return {each.archive_id for each in engine.fetch(["other"], python=sys.executable).fetched}

    def names(engine: BlockingCacheEngine) -> dict[str | None, set[str]]:
        return {lease.name: set(lease.objects) for lease in engine.leases().leases}

    with BlockingCacheEngine(place.cache, config=place.config()) as engine, ThreadPoolExecutor(1) as threads:
        threads.submit(engine.size).result()  # the thread is there before the block
        with engine.lease(name="nightly") as lease:
            other = threads.submit(own, engine).result()
            assert names(engine) == {"nightly": set()}
            fetched = threads.submit(engine.fetch, ["tiny"], python=sys.executable).result().fetched
            assert names(engine) == {"nightly": {each.archive_id for each in fetched}}
            engine.clean(["other"])
            assert place.archives().isdisjoint(other)
            lease.drop("tiny")
            assert names(engine) == {"nightly": set()}
            assert lease.variables({})["AIOC_LEASE"] == lease.id
        assert names(engine) == {}


async def test_in_a_read_only_cache_nothing_is_held_and_the_block_works(place: Place) -> None:
    async with place.engine() as engine:
        await fetch(engine, "tiny")
        engine._opened.cache.is_read_only = True  # as it is found on a file system that is
        async with engine.lease() as lease:
            assert lease.id is None
            await fetch(engine, "tiny")
            await lease.drop("tiny")
            assert (await engine.leases()).leases == ()
