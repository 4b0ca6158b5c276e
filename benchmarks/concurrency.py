"""What work at the same time costs: `python benchmarks/concurrency.py [--rounds 3] [--seconds 30] [--uv PATH]`.

Stall: an installation of a small wheel beside a clean of everything, and beside a prune, of 50,000 files; against the
same alone and beside `rm -rf` of an equal tree, which is what any deletion costs. Strangers: a clean of one project
while another process is stuck in a slow download. Starvation: cleans beside installations that overlap all the time.
Each is done by us and by uv, in whole processes, on caches of their own and an index on loopback. Our cleans also say
how long they waited for the lock, which the load of the machine does not change.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from aiocache_engine.testing.index_server import Fault, IndexServer
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

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "aiocache_engine", *words]

    def make(self, environment: Path) -> list[str]:
        return self.words("install", "--venv", str(environment))

    def install(self, environment: Path, *pins: str) -> list[str]:
        return self.words("install", "--no-deps", "--no-compile", "--venv", str(environment), *pins)

    def install_again(self, environment: Path, *pins: str) -> list[str]:
        return [*self.install(environment, *pins), "--reinstall"]

    def clean(self, *projects: str) -> list[str]:
        return self.words("clean", *projects, "--json")

    def prune(self) -> list[str]:
        return self.words("prune")

    def pin(self) -> None:
        """Keep the small wheel whatever is cleaned."""
        run(self, self.words("pin", "small==1.0"))

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
        return self.words("venv", "--clear", "--python", sys.executable, str(environment))

    def install(self, environment: Path, *pins: str) -> list[str]:
        python = str(environment / "bin" / "python")
        return self.words("pip", "install", "--no-deps", "--link-mode", "hardlink", "--python", python, *pins)

    def clean(self, *projects: str) -> list[str]:
        return self.words("cache", "clean", *projects)

    def prune(self) -> list[str]:
        return self.words("cache", "prune")

    def pin(self) -> None:
        """It has no pins: the small wheel is fetched again."""

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


def fresh(side: Ours, name: str) -> Path:
    environment = side.root / name
    run(side, side.make(environment))
    return environment


def beside(side: Ours, cleaner: list[str], environment: Path) -> float:
    """Install the small wheel while a cleaner works."""
    process = subprocess.Popen(cleaner, env=side.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(HEAD_START_SECONDS)
    if process.poll() is not None:
        print("  (the cleaner was done before the installation began)")
    seconds = run(side, side.install(environment, "small==1.0"))
    if process.wait() != 0:
        raise SystemExit(f"{cleaner}: exit {process.returncode}")
    return seconds


def stall(side: Ours, rounds: int, cleaner: list[str], *, is_prune: bool) -> tuple[float, float, float]:
    """Give the medians of an installation alone, beside `rm -rf` of an equal tree, and beside the cleaner."""
    alone: list[float] = []
    with_rm: list[float] = []
    with_cleaner: list[float] = []
    decoy = side.root / "decoy"
    for _ in range(rounds):
        run(side, side.install(fresh(side, "warm"), "small==1.0"))
        environment = fresh(side, "big")
        for number in range(WHEELS):
            run(side, side.install(environment, f"big=={number}.0"))
        if is_prune:
            side.abandon(environment)
        else:
            shutil.rmtree(environment)
            side.pin()
        shutil.copytree(side.archives, decoy)
        alone.append(run(side, side.install(fresh(side, "alone"), "small==1.0")))
        with_rm.append(beside(side, ["rm", "-rf", str(decoy)], fresh(side, "beside-rm")))
        with_cleaner.append(beside(side, cleaner, fresh(side, "beside-cleaner")))
    return statistics.median(alone), statistics.median(with_rm), statistics.median(with_cleaner)


def strangers(side: Ours, server: IndexServer) -> str:
    """Clean one project while another process is stuck in a download."""
    path = "/files/slow-1.0-py3-none-any.whl"
    run(side, side.install(fresh(side, "six"), "six==1.0"))
    environment = fresh(side, "slow")
    asked = server.counts[path]
    server.fault(path, Fault(bytes_per_second=2_000))
    stuck = subprocess.Popen(side.install(environment, "slow==1.0"), env=side.environ, stderr=subprocess.DEVNULL)
    try:
        while server.counts[path] == asked:
            time.sleep(0.01)
        started = time.perf_counter()
        impatient = {**side.environ, "UV_LOCK_TIMEOUT": str(UV_GIVES_UP_SECONDS)}
        done = subprocess.run(side.clean("six"), env=impatient, capture_output=True, check=False)
        seconds = time.perf_counter() - started
        if stuck.poll() is not None:
            raise SystemExit("the download was not slow")
    finally:
        stuck.kill()
        stuck.wait()
        server.heal()
    return f"{seconds:.2f} s" if done.returncode == 0 else f"gave up after {seconds:.1f} s"


def starvation(side: Ours, seconds: float) -> str:
    """Clean again and again while installations overlap, and give how long the cleans took."""
    environments = [fresh(side, f"reader-{number}") for number in range(READERS)]
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


def measure(side: Ours, server: IndexServer, rounds: int, seconds: float) -> None:
    for what, cleaner, is_prune in (("clean", side.clean(), False), ("prune", side.prune(), True)):
        if rounds:
            alone, with_rm, with_cleaner = stall(side, rounds, cleaner, is_prune=is_prune)
            print(f"{side.name}: install alone {alone:.3f} s, beside rm -rf {with_rm:.3f} s, ", end="")
            print(f"beside {what} {with_cleaner:.3f} s, ratio {with_cleaner / with_rm:.2f}", flush=True)
    print(f"{side.name}: clean six beside a stuck download: {strangers(side, server)}", flush=True)
    if seconds:
        print(f"{side.name}: beside {READERS} installers: {starvation(side, seconds)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--uv", default=shutil.which("uv", path=os.path.dirname(sys.executable)) or shutil.which("uv"))
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="aioc-concurrency-"))
    try:
        wheels = root / "wheels"
        wheels.mkdir()
        build_wheel(wheels, "small", "1.0", file_count=5)
        build_wheel(wheels, "six", "1.0", file_count=5)
        build_wheel(wheels, "slow", "1.0", files={"slow.bin": os.urandom(400_000)})
        for number in range(WHEELS):
            build_wheel(wheels, "big", f"{number}.0", file_count=FILES_EACH)
        with IndexServer(wheels) as server:
            sides = [Ours(root, server.index_url)]
            if arguments.uv:
                sides.append(Uv(root, server.index_url, arguments.uv))
            for side in sides:
                side.root.mkdir()
                measure(side, server, arguments.rounds, arguments.seconds)
                shutil.rmtree(side.root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
