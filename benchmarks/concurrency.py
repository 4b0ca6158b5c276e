"""What work at the same time costs: `python benchmarks/concurrency.py [--rounds 7] [--seconds 30] [--commands 200]`.

Stall: an installation of a small cached wheel beside a clean of everything (the small wheel is pinned), a clean of one
project, and a prune, of 50,000 files each; against the same installation beside `rm -rf` of an equal tree, which is
what any deletion costs. Strangers: a clean of one project while another process is stuck in a slow download, and in a
slow build. Starvation: cleans beside installations that overlap all the time. Holds: the longest exclusive ones of
many cleans and prunes.

Each is done by us and by uv, in whole processes, on caches of their own and an index on loopback; holds are ours alone.
An index on loopback is asked again with every use, so that what is cached is installed with `--offline`, as from an
index whose page still counts. `--work DIR` chooses the file system.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.sdists import make_sdist
from aiocache_engine.testing.wheels import build_wheel

WHEELS, FILES_EACH = 5, 10_000
HEAD_START_SECONDS = 0.15  #: for the cleaner, so that it is at work when the installation starts
READERS = 4
UV_GIVES_UP_SECONDS = 10


class Ours:
    """The verbs of the measurements as commands of ours."""

    name = "aioc"

    def __init__(self, root: Path, index_url: str) -> None:
        self.root = root / self.name
        self.cache = self.root / "cache"
        self.environ = {**os.environ, "AIOC_CACHE_DIR": str(self.cache), "AIOC_INDEX_URL": index_url}
        self.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles what it imports
        self._numbers = count()

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "aiocache_engine", *words]

    def fresh(self) -> Path:
        """Make an environment in which there is nothing yet."""
        environment = self.root / f"environment-{next(self._numbers)}"
        run(self, self.make(environment))
        return environment

    def make(self, environment: Path) -> list[str]:
        return self.words("install", "--venv", str(environment))

    def install(self, environment: Path, *pins: str) -> list[str]:
        return self.words("install", "--no-deps", "--no-compile", "--venv", str(environment), *pins)

    def install_again(self, environment: Path, *pins: str) -> list[str]:
        return [*self.install(environment, *pins), "--reinstall"]

    def clean(self, *projects: str) -> list[str]:
        return self.words("clean", *projects, "--json")

    def prune(self) -> list[str]:
        return self.words("prune", "--json")

    def pin(self) -> list[str]:
        """Keep the small wheel whatever is cleaned; gives with what it can be installed then."""
        run(self, self.words("pin", "small==1.0"))
        return ["--offline"]

    def abandon(self, environment: Path) -> None:
        """Leave what the environment was linked from to the next prune."""
        shutil.rmtree(environment)

    @property
    def archives(self) -> Path:
        return self.cache / "archives-v1"


class Uv(Ours):
    """The same as commands of uv."""

    name = "uv"

    def __init__(self, root: Path, index_url: str, program: str) -> None:
        super().__init__(root, index_url)
        self.program = program
        own = {"UV_CACHE_DIR": str(self.cache), "UV_INDEX_URL": index_url, "UV_LOCK_TIMEOUT": "300"}
        self.environ = {**os.environ, **own, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}

    def words(self, *words: str) -> list[str]:
        return [self.program, "--no-config", *words]

    def make(self, environment: Path) -> list[str]:
        return self.words("venv", "--python", sys.executable, str(environment))

    def install(self, environment: Path, *pins: str) -> list[str]:
        python = str(environment / "bin" / "python")
        return self.words("pip", "install", "--no-deps", "--link-mode", "hardlink", "--python", python, *pins)

    def clean(self, *projects: str) -> list[str]:
        return self.words("cache", "clean", *projects)

    def prune(self) -> list[str]:
        return self.words("cache", "prune")

    def pin(self) -> list[str]:
        """It has no pins: the small wheel is fetched again."""
        return []

    def abandon(self, environment: Path) -> None:
        """Take the names away: uv prunes what no name leads to, and knows nothing of environments."""
        shutil.rmtree(environment)
        for names in self.cache.glob("wheels-v*/*/*/big"):
            shutil.rmtree(names)

    @property
    def archives(self) -> Path:
        [archives] = self.cache.glob("archive-v*")
        return archives


def run(side: Ours, words: list[str]) -> float:
    """Run to the end, and give the seconds that it took."""
    started = time.perf_counter()
    done = subprocess.run(words, env=side.environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
    return time.perf_counter() - started


@dataclass
class Beside:
    """Installations beside one kind of work, and what that took."""

    installs: list[float] = field(default_factory=list)
    processors: list[float] = field(default_factory=list)  #: seconds of a processor that the installations used
    works: list[float] = field(default_factory=list)
    was_first: int = 0  #: how often the work was done before the installation was

    def time(self, side: Ours, work: list[str], *options: str) -> None:
        """Install the small wheel into a fresh environment while the work goes on."""
        environment = side.fresh()
        started = time.perf_counter()
        process = subprocess.Popen(work, env=side.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(HEAD_START_SECONDS)
        used = processor_seconds()  # the work is counted in later, when its process has been waited for
        self.installs.append(run(side, [*side.install(environment, "small==1.0"), *options]))
        self.processors.append(processor_seconds() - used)
        self.was_first += process.poll() is not None
        if process.wait() != 0:
            raise SystemExit(f"{work}: exit {process.returncode}")
        self.works.append(time.perf_counter() - started)

    def __str__(self) -> str:
        installs, works = statistics.median(self.installs), statistics.median(self.works)
        said = (
            f"{installs:.3f} s ({statistics.median(self.processors):.3f} s of a processor; the other took {works:.2f} s"
        )
        return f"{said}, and was done first {self.was_first} times)" if self.was_first else f"{said})"


def processor_seconds() -> float:
    """Give how much all processes used that were started here and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stall(side: Ours, what: str, rounds: int) -> str:
    """Compare an installation beside a cleaner with the same beside `rm -rf` of an equal tree, in turns."""
    beside_rm, beside_cleaner = Beside(), Beside()
    alone: list[float] = []
    decoy = side.root / "decoy"
    for number in range(rounds):
        run(side, side.install(side.fresh(), "small==1.0"))
        environment = side.fresh()
        for version in range(WHEELS):
            run(side, side.install(environment, f"big=={version}.0"))
        shutil.copytree(side.archives, decoy)
        alone.append(run(side, [*side.install(side.fresh(), "small==1.0"), "--offline"]))
        options = ["--offline"]
        if what == "prune":
            side.abandon(environment)
        else:
            shutil.rmtree(environment)
        if what == "clean":
            options = side.pin()
        cleaner = {"clean": side.clean(), "clean big": side.clean("big"), "prune": side.prune()}[what]
        for turn in (0, 1) if number % 2 else (1, 0):
            if turn:
                beside_cleaner.time(side, cleaner, *options)
            else:
                run(side, side.install(side.fresh(), "small==1.0"))
                beside_rm.time(side, ["rm", "-rf", str(decoy)], "--offline")
    ratio = statistics.median(beside_cleaner.installs) / statistics.median(beside_rm.installs)
    said = f"install alone {statistics.median(alone):.3f} s, beside rm -rf {beside_rm}"
    return f"{said}, beside {what} {beside_cleaner}, ratio {ratio:.2f}"


def holds(side: Ours, commands: int) -> str:
    """Give how long the longest exclusive hold of each of many cleans and prunes lasted."""
    longest: list[float] = []
    for number in range(commands):
        if number % 4 == 0:
            run(side, side.words("fetch", "--no-deps", "small==1.0"))
        words = side.clean("small") if number % 2 else side.prune()
        done = subprocess.run(words, env=side.environ, capture_output=True, text=True, check=True)
        longest.append(json.loads(done.stdout)["longest_hold_seconds"] * 1000)
    cuts = statistics.quantiles(longest, n=100, method="inclusive")
    return f"median {cuts[49]:.2f} ms, 99th percentile {cuts[98]:.2f} ms, maximum {max(longest):.2f} ms"


def stuck_in_download(side: Ours, server: IndexServer) -> str:
    """Clean one project while another process is stuck in a download."""
    path = "/files/slow-1.0-py3-none-any.whl"
    asked = server.counts[path]
    server.fault(path, Fault(bytes_per_second=2_000))
    try:
        return clean_beside_stuck(side, "slow", lambda: server.counts[path] > asked)
    finally:
        server.heal()


def stuck_in_build(side: Ours, trace: Path, gate: Path) -> str:
    """Clean one project while another process is stuck in a build."""
    trace.write_bytes(b"")
    gate.unlink(missing_ok=True)
    try:
        return clean_beside_stuck(side, "stuck", lambda: b'"build_wheel"' in trace.read_bytes())
    finally:
        gate.touch()


def clean_beside_stuck(side: Ours, project: str, is_stuck: Callable[[], bool]) -> str:
    run(side, side.install(side.fresh(), "six==1.0"))
    stuck = subprocess.Popen(side.install(side.fresh(), f"{project}==1.0"), env=side.environ, stderr=subprocess.DEVNULL)
    try:
        while not is_stuck():
            if stuck.poll() is not None:
                raise SystemExit(f"the installation of {project} ended before it was stuck")
            time.sleep(0.01)
        started = time.perf_counter()
        impatient = {**side.environ, "UV_LOCK_TIMEOUT": str(UV_GIVES_UP_SECONDS)}
        done = subprocess.run(side.clean("six"), env=impatient, capture_output=True, check=False)
        seconds = time.perf_counter() - started
        if stuck.poll() is not None:
            raise SystemExit(f"{project} was not slow")
    finally:
        stuck.kill()
        stuck.wait()
    return f"{seconds:.2f} s" if done.returncode == 0 else f"gave up after {seconds:.1f} s"


def starvation(side: Ours, seconds: float) -> str:
    """Clean again and again while installations overlap, and give how long the cleans took."""
    environments = [side.fresh() for _ in range(READERS)]
    deadline = time.monotonic() + seconds
    installs, failed = [0] * READERS, [0] * READERS

    def read(number: int) -> None:
        words = side.install_again(environments[number], "small==1.0", "six==1.0")
        while time.monotonic() < deadline:
            done = subprocess.run(words, env=side.environ, capture_output=True, check=False)
            installs[number] += 1
            failed[number] += done.returncode != 0

    readers = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for reader in readers:
        reader.start()
    took: list[float] = []
    waited: list[float] = []
    refused = 0
    while time.monotonic() < deadline:
        started = time.perf_counter()
        done = subprocess.run(side.clean("six"), env=side.environ, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - started)
        waited += [json.loads(done.stdout)["waited_seconds"]] if "waited_seconds" in done.stdout else []
        refused += done.returncode != 0
    for reader in readers:
        reader.join()
    said = f"{len(took)} cleans, median {statistics.median(took):.2f} s, longest {max(took):.2f} s"
    said += f" (longest wait for the lock {max(waited) * 1000:.1f} ms)" if waited else ""
    return f"{said}, {refused} gave up; {sum(installs)} installs, {sum(failed)} failed"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--commands", type=int, default=200)
    parser.add_argument("--uv", default=shutil.which("uv", path=os.path.dirname(sys.executable)) or shutil.which("uv"))
    parser.add_argument("--work", type=Path, help="a directory on the file system to measure on")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="aioc-concurrency-", dir=arguments.work))
    trace, gate = root / "trace", root / "gate"
    try:
        wheels = root / "wheels"
        wheels.mkdir()
        build_wheel(wheels, "small", "1.0", file_count=5)
        build_wheel(wheels, "six", "1.0", file_count=5)
        build_wheel(wheels, "slow", "1.0", files={"slow.bin": os.urandom(400_000)})
        make_sdist(wheels, "stuck", "1.0", trace=trace, gate=gate)
        for number in range(WHEELS):
            build_wheel(wheels, "big", f"{number}.0", file_count=FILES_EACH)
        with IndexServer(wheels) as server:
            sides = [Ours(root, server.index_url)]
            if arguments.uv:
                sides.append(Uv(root, server.index_url, arguments.uv))
            for what in ("clean", "clean big", "prune") if arguments.rounds else ():
                for side in sides:
                    side.root.mkdir()
                    print(f"{side.name}: {stall(side, what, arguments.rounds)}", flush=True)
                    shutil.rmtree(side.root)
            for side in sides:
                side.root.mkdir()
                print(f"{side.name}: clean six beside a stuck download: {stuck_in_download(side, server)}", flush=True)
                print(f"{side.name}: clean six beside a stuck build: {stuck_in_build(side, trace, gate)}", flush=True)
                if arguments.seconds:
                    print(
                        f"{side.name}: beside {READERS} installers: {starvation(side, arguments.seconds)}", flush=True
                    )
            if arguments.commands:
                print(f"aioc: longest holds of {arguments.commands} cleans and prunes: ", end="")
                print(holds(sides[0], arguments.commands))
            print(f"load of the machine in the last minutes: {os.getloadavg()}")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
