"""What a clean costs those who work beside it: `python benchmarks/stall.py [--rounds 7] [--commands 1000]`.

Two measurements. First, the time of an installation of a small cached wheel beside a clean of another project whose
archives hold 50,000 files, against the same installation beside `rm -rf` of an equal tree elsewhere: what the lock adds
to what any deletion costs. Second, how long the longest exclusive hold of a thousand cleans and prunes lasted.
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
import time
from pathlib import Path

from aiocache_engine.testing.wheels import build_wheel

AIOC = [sys.executable, "-m", "aiocache_engine"]
WHEELS, FILES_EACH = 5, 10_000
HEAD_START_SECONDS = 0.15  #: for the cleaner, so that it is at work when the installation starts


def aioc(cache: Path, *words: str) -> str:
    command = [*AIOC, *words, "--cache-dir", str(cache), "--find-links", str(cache.parent / "wheels")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def timed_install(cache: Path, environment: Path, cleaner: list[str]) -> tuple[float, bool]:
    """Install the small wheel while the cleaner works; the seconds it took, and whether the cleaner outlasted it."""
    process = subprocess.Popen(cleaner, stdout=subprocess.DEVNULL)
    time.sleep(HEAD_START_SECONDS)
    started = time.perf_counter()
    aioc(cache, "install", "--no-deps", "--offline", "small==1.0", "--venv", str(environment))
    seconds = time.perf_counter() - started
    outlasted = process.poll() is None
    process.wait()
    return seconds, outlasted


def beside(root: Path, rounds: int) -> None:
    with_clean: list[float] = []
    with_rm: list[float] = []
    cache, decoy = root / "cache", root / "decoy"
    big = [f"big=={n}.0" for n in range(WHEELS)]
    aioc(cache, "fetch", "--no-deps", "small==1.0")
    for number in range(rounds):
        for pin in big:
            aioc(cache, "fetch", "--no-deps", pin)
        shutil.copytree(cache / "archives-v1", decoy)
        clean = [*AIOC, "clean", "big", "--cache-dir", str(cache)]
        arms = [(with_clean, clean), (with_rm, ["rm", "-rf", str(decoy)])]
        for seconds, cleaner in arms if number % 2 else reversed(arms):
            took, outlasted = timed_install(cache, root / f"environment-{number}-{len(seconds)}", cleaner)
            if not outlasted:
                print(f"  (round {number}: the cleaner was done before the installation)")
            seconds.append(took)
    print(f"install beside a clean of {WHEELS * FILES_EACH:,} files: median {statistics.median(with_clean):.3f} s")
    print(f"install beside rm -rf of an equal tree:    median {statistics.median(with_rm):.3f} s")
    print(f"ratio of medians: {statistics.median(with_clean) / statistics.median(with_rm):.2f}")


def holds(root: Path, commands: int) -> None:
    cache = root / "cache"
    longest: list[float] = []
    for number in range(commands):
        if number % 4 == 0:
            aioc(cache, "fetch", "--no-deps", "small==1.0")
        words = ("clean", "small") if number % 2 else ("prune",)
        longest.append(json.loads(aioc(cache, *words, "--json"))["longest_hold_seconds"] * 1000)
    cuts = statistics.quantiles(longest, n=100)
    print(f"longest hold of {commands} cleans and prunes, ms: median {cuts[49]:.2f}, p99 {cuts[98]:.2f}, ", end="")
    print(f"maximum {max(longest):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commands", type=int, default=1000)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="aioc-stall-"))
    try:
        (root / "wheels").mkdir()
        build_wheel(root / "wheels", "small", "1.0", file_count=5)
        for number in range(WHEELS):
            build_wheel(root / "wheels", "big", f"{number}.0", file_count=FILES_EACH)
        os.environ["AIOC_OFFLINE"] = "1"
        if arguments.rounds:
            beside(root, arguments.rounds)
        if arguments.commands:
            holds(root, arguments.commands)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
