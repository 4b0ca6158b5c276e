"""Report 15704 as a pipeline meets it that builds wheels: workers, cleans and prunes at once, and some of them killed.

The workers are processes of their own (`tests/pipeline_worker.py`); what they check is said there.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import pipeline_worker
from aiocache_engine import PrunePolicy, TargetChoice
from aiocache_engine.store.archives import read_totals
from aiocache_engine.store.leases import LeaseReader
from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound
from aiocache_engine.testing.sdists import make_sdist, read_trace
from caches import Place, process, said
from commands import Aioc
from pipeline_worker import PLAIN, SHARED, WORKERS


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def server(place: Place) -> Iterator[IndexServer]:
    with IndexServer(place.wheels) as server:
        yield server


class Pipeline:
    """The workers, and who prunes beside them."""

    def __init__(self, place: Place, server: IndexServer, *, rounds: int, kill_share: float) -> None:
        self.place = place
        self.rounds = rounds
        self.kill_share = kill_share
        self.kill_count = self.prune_count = self.working = 0
        self._index_url = server.index_url

    async def run(self) -> None:
        """Let every worker do its rounds; fail with what one of them says when it fails."""
        async with asyncio.TaskGroup() as tasks:
            self.working = WORKERS
            for number in range(WORKERS):
                tasks.create_task(self._worker(number))
            tasks.create_task(self._prune())

    async def _worker(self, number: int) -> None:
        chance = random.Random(number)
        words = (self.place.root, self._index_url, number, self.rounds)
        try:
            while not await self._ran([pipeline_worker.__file__, *map(str, words)], chance):
                self.kill_count += 1
        finally:
            self.working -= 1

    async def _ran(self, words: list[str], chance: random.Random) -> bool:
        """Run one worker; False: it was killed."""
        worker = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        saying = asyncio.ensure_future(worker.communicate())
        try:
            if chance.random() < self.kill_share:
                await asyncio.wait([saying], timeout=chance.uniform(0.3, 3.0))
                if worker.returncode is None:
                    worker.kill()
                    await saying
                    return False
            said, _ = await saying
        except BaseException:
            if worker.returncode is None:
                worker.kill()
            await saying
            raise
        assert worker.returncode == 0, said.decode()
        return True

    async def _prune(self) -> None:
        async with self.place.engine() as engine:
            while self.working:
                # What one takes that spares nothing is built anew, by several at the same time: that takes its time.
                takes_all = self.prune_count % 20 == 5
                await engine.prune(PrunePolicy(unused_for_seconds=0 if takes_all else None))
                self.prune_count += 1
                await asyncio.sleep(0.2)  # the processors are for the workers, too


async def ended(place: Place, *pids: int) -> None:
    """Wait for the backends of killed processes (of all, if none is named): they hold the leases that those had."""
    reader = LeaseReader(str(place.cache / "leases"))
    while any(  # noqa: ASYNC110 - they are other processes
        lease.is_alive() for lease in reader.read() if not pids or (lease.holder and lease.holder.pid in pids)
    ):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("rounds", "kill_share"),
    [
        (2, 0.3),
        pytest.param(20, 0.0, marks=pytest.mark.torture),
        pytest.param(20, 0.95, marks=pytest.mark.torture),
    ],
)
async def test_workers_build_add_clean_and_install_the_same_names_beside_prunes_and_get_what_was_built_last(
    place: Place, server: IndexServer, rounds: int, kill_share: float
) -> None:
    (place.root / "links").mkdir()
    make_sdist(place.wheels, SHARED, "1.0")
    place.wheel(PLAIN, file_count=40)
    for number in range(WORKERS):
        pipeline_worker.write_revision(place.root, number, 0)
    pipeline = Pipeline(place, server, rounds=rounds, kill_share=kill_share)
    await pipeline.run()
    await ended(place)
    assert [pipeline_worker.added_revision(place.root, number) for number in range(WORKERS)] == [rounds] * WORKERS
    assert pipeline.prune_count > 1
    await place.prune()
    assert (await place.prune()).removed == ()
    assert_sound(place.cache, is_pruned=True)
    for directory in ("leases", "staging", "trash", "condemned"):
        assert os.listdir(place.cache / directory) == []
    print(f"{pipeline.kill_count} workers were killed; {pipeline.prune_count} prunes")


class Bench:
    """The real command on an index that has sdists with gates, and what their builds did so far."""

    def __init__(self, place: Place, server: IndexServer) -> None:
        self.place = place
        self.home = place.root
        self.aioc = Aioc(self.home, server.index_url)
        self.trace = place.root / "trace"
        self.gate = place.root / "gate"

    def sdist(self, name: str, **options: Any) -> None:
        make_sdist(self.place.wheels, name, "1.0", trace=self.trace, **options)

    def calls(self, name: str, hook: str = "build_wheel") -> int:
        return sum((each["name"], each["hook"]) == (name, hook) for each in read_trace(self.trace))

    def do(self, *words: str) -> str:
        """Run a command that must succeed; give what it prints."""
        ran = self.aioc(*words)
        assert ran.code == 0, (words, ran.err)
        return ran.out

    @contextmanager
    def doing(self, *commands: Sequence[str]) -> Iterator[list[subprocess.Popen[str]]]:
        """Run commands at the same time; they are killed where the block ends before them."""
        processes = [self.aioc.start(*words) for words in commands]
        try:
            yield processes
        finally:
            for each in processes:
                each.kill()
                each.communicate()

    def wait_for(self, what: Callable[[], bool], processes: Sequence[subprocess.Popen[str]]) -> None:
        """Wait until something holds, which processes that still run bring about."""
        while not what():
            for each in processes:
                assert each.poll() is None, each.communicate()
            time.sleep(0.01)


@pytest.fixture
def bench(place: Place, server: IndexServer) -> Bench:
    return Bench(place, server)


def test_nothing_waits_for_a_build_that_sleeps_and_a_clean_of_it_leaves_it_to_its_user_alone(
    bench: Bench, place: Place
) -> None:
    for name in ("sleepy", "drowsy"):
        bench.sdist(name, gate=bench.gate)
    bench.sdist("quick")
    for name in ("six", "other"):
        place.wheel(name)
    bench.do("install", "six", "--venv", "first")
    installing = ("install", "sleepy", "--venv", "users")
    building = ("build", "drowsy", "-j", "1", "--python", sys.executable)
    with bench.doing(installing, building) as builders:
        bench.wait_for(lambda: bench.calls("sleepy") + bench.calls("drowsy") == 2, builders)
        for words in (
            ("clean", "six"),
            ("prune", "--unused-for", "0h"),
            ("install", "other", "--venv", "second"),
            ("build", "quick", "-j", "1", "--python", sys.executable),
            ("clean", "sleepy", "drowsy"),
            ("clean",),
        ):
            bench.do(*words)
        assert [each.poll() for each in builders] == [None, None]
        bench.gate.touch()
        for each in builders:
            _, complaint = each.communicate()
            assert each.returncode == 0, complaint
    assert_environment_sound(bench.home / "users")
    assert (bench.home / "dist" / "drowsy-1.0-py3-none-any.whl").is_file()
    for name in ("sleepy", "drowsy"):
        assert bench.aioc("fetch", "--offline", name).code == 1
        assert list(place.cache.glob(f"projects-v1/{name}/built/*.json")) == []
    bench.do("fetch", "sleepy", "--python", sys.executable)
    assert bench.calls("sleepy") == 2


def test_two_commands_whose_builds_need_each_other_both_name_the_circle(bench: Bench, place: Place) -> None:
    for name, needed in (("one", "two"), ("two", "three"), ("three", "one")):
        # What is needed is known only when the backend was asked: each build is well under way.
        bench.sdist(name, wheel_requires=[needed])
    commands = [("build", name, "-j", "1", "-q", "--python", sys.executable) for name in ("one", "two")]
    with bench.doing(*commands) as processes:
        said = [each.communicate()[1] for each in processes]
        assert [each.returncode for each in processes] == [1, 1]
    for name, circle in (("one", "one==1.0 -> two==1.0 -> three==1.0 -> one==1.0"), ("two", "two==1.0 -> three==1.0")):
        (line,) = said[name == "two"].splitlines()
        assert line.startswith(f"aioc: error: {name}==1.0 could not be built: ")
        assert circle in line
    assert bench.calls("one") + bench.calls("two") == 0
    assert_nothing_left(place)


_AGAIN = """
import subprocess
raise RuntimeError(subprocess.run({command}, capture_output=True, text=True).stderr)
"""


def test_a_backend_that_has_its_own_project_built_again_is_refused_in_its_first_child(
    bench: Bench, place: Place
) -> None:
    command = [
        *bench.aioc.words("build", "bomb", "-q", "--index-url", bench.aioc.index_url),
        "--python",
        sys.executable,
    ]
    bench.sdist(
        "bomb",
        files={"backend/bomb.py": _AGAIN.format(command=command)},
        imports=["bomb"],
    )
    ran = bench.aioc("build", "bomb", "-j", "1", "-q", "--python", sys.executable)
    assert ran.code == 1
    assert "bomb==1.0 -> bomb==1.0" in ran.err
    assert bench.calls("bomb", "import") == 1
    assert_nothing_left(place)


def test_build_requirements_that_fan_out_without_end_are_refused_in_one_line(bench: Bench, place: Place) -> None:
    for level in range(34):
        for each in "ab":  # 2 ** 33 ways down, if each were gone
            make_sdist(place.wheels, f"{each}{level}", "1.0", build_requires=[f"a{level + 1}", f"b{level + 1}"])
    ran = bench.aioc("build", "a0", "-j", "1", "-q", "--python", sys.executable)
    assert ran.code == 1
    (line,) = ran.err.splitlines()
    assert "33 deep, and that has no end" in line
    assert_nothing_left(place)


def assert_nothing_left(place: Place) -> None:
    assert place.archives() == set()
    for directory in ("leases", "staging", "trash", "condemned"):
        assert os.listdir(place.cache / directory) == []


_PIPELINE = """
import asyncio, json, sys
from pathlib import Path
from caches import Place, process, said
from aiocache_engine.testing.sdists import read_trace
place = Place(Path(sys.argv[1]))

async def main():
    async with place.engine() as engine, engine.lease(name="nightly") as lease:
        await engine.fetch(["mine", "both"], python=sys.executable)
        building = asyncio.create_task(engine.build(["gated"], wheel_dir=place.root, python=sys.executable))
        while "build_wheel" not in [each["hook"] for each in read_trace(place.root / "trace")]:
            await asyncio.sleep(0.01)
        print(json.dumps(lease.variables({})), flush=True)
        await building

asyncio.run(main())
"""
_CHILD = """
import asyncio, json, os, sys
from pathlib import Path
from caches import Place, process, said
from aiocache_engine import CacheEngine
place = Place(Path(sys.argv[1]))

async def main():
    async with CacheEngine(config=place.config()) as engine, engine.environment("both"):
        print(json.dumps("at work"), flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


@pytest.mark.parametrize("dependencies", [True, False])
async def test_an_index_without_hashes_that_serves_a_rebuilt_sdist_gives_what_is_built_of_the_new_one(
    place: Place, server: IndexServer, *, dependencies: bool
) -> None:
    server.has_hashes = False
    server.cache_control = "max-age=600"
    trace = place.root / "trace"
    async with place.engine(index_url=server.index_url, find_links=()) as engine:
        for says in ("first", "second", "second"):
            make_sdist(place.wheels, "one", "1.0", files={"src/one.py": f"SAYS = {says!r}\n"}, trace=trace)
            environment = place.root / "environment"
            target = TargetChoice(venv=str(environment))
            await engine.install(["one==1.0"], target=target, dependencies=dependencies, reinstall=True)
            (module,) = environment.glob("lib/python3*/site-packages/one.py")
            assert module.read_text() == f"SAYS = {says!r}\n"
    assert [each["hook"] for each in read_trace(trace)].count("build_wheel") == 2


async def test_of_a_pipeline_that_is_killed_while_it_builds_the_next_prune_leaves_what_its_children_use(
    place: Place,
) -> None:
    how = {"trace": place.root / "trace", "gate": place.root / "gate"}
    make_sdist(place.wheels, "gated", "1.0", build_requires=["needed"], **how)
    for name in ("mine", "both", "needed"):
        place.wheel(name)
    everything = PrunePolicy(unused_for_seconds=0, takes_tools=True)
    with process(_PIPELINE, place.root) as pipeline:
        variables = said(pipeline)
        assert projects_in(place) == {"mine", "both", "needed"}
        with process(_CHILD, place.root, environ=variables) as child:
            assert said(child) == "at work"
            pipeline.kill()
            pipeline.wait()
            async with place.engine() as engine:
                await ended(place, pipeline.pid)  # so does its backend, which would wait for ever
                await engine.prune(everything)
                assert projects_in(place) == {"both"}
                child.communicate("\n")
                await engine.prune(everything)
    assert_nothing_left(place)
    assert_sound(place.cache, is_pruned=True)


def projects_in(place: Place) -> set[str]:
    """Give the projects of which there are archives."""
    totals = [read_totals(str(place.cache / "archives-v1" / each)) for each in place.archives()]
    return {each.project for each in totals if each is not None}
