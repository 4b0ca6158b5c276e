"""What bytecode costs and gives: installs with and without it, and the first import beside an environment that uv made.

Whole processes, in turns of changing order, medians. Cold is an empty cache, so it fetches from the index that the
environment names; every round has environments of its own, deleted at the end.

    python benchmarks/bytecode.py [--rounds N] [--no-imports] [REQ…]

The requirements are `setuptools setuptools-scm` if none are named; what is imported is always these two.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

IMPORTS = "import setuptools, setuptools_scm"


def timed(*command: str | Path, environ: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirements", nargs="*", default=["setuptools", "setuptools-scm"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-imports", action="store_true")
    arguments = parser.parse_args()
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory(prefix="aioc-bytecode-") as directory:
        place = Path(directory)
        count = 0

        def fresh() -> Path:
            nonlocal count
            count += 1
            return place / f"{count}"

        def install(cache: Path, *options: str) -> tuple[float, Path]:
            root = fresh()
            command = [sys.executable, "-m", "aiocache_engine", "install", *options, *arguments.requirements]
            return timed(*command, "--venv", root, environ={**environ, "AIOC_CACHE_DIR": str(cache)}), root

        def uv_install() -> Path:
            root = fresh()
            own = {**environ, "UV_CACHE_DIR": str(place / "uv")}
            timed(uv or "uv", "venv", "-q", "-p", sys.executable, root, environ=own)
            timed(uv or "uv", "pip", "install", "-p", root / "bin/python", *arguments.requirements, environ=own)
            return root

        def first_import(root: Path) -> float:
            return timed(root / "bin/python", "-c", IMPORTS, environ=environ)

        warm = fresh()
        install(warm)
        ways: dict[str, Callable[[], float]] = {
            "cold install": lambda: install(fresh())[0],
            "cold install --no-compile": lambda: install(fresh(), "--no-compile")[0],
            "warm install": lambda: install(warm)[0],
            "warm install --no-compile": lambda: install(warm, "--no-compile")[0],
        }
        if not arguments.no_imports:
            ways["first import"] = lambda: first_import(install(warm)[1])
            ways["first import, uv's environment"] = lambda: first_import(uv_install())
            ways["python -c pass"] = lambda: timed(sys.executable, "-c", "pass", environ=environ)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(arguments.rounds):
            for name in list(ways)[:: -1 if number % 2 else 1]:
                times[name].append(ways[name]())
        medians = {name: statistics.median(each) for name, each in times.items()}
        for name, milliseconds in medians.items():
            print(f"{name:32} {milliseconds:9.1f} ms")
        if not arguments.no_imports:
            ours, theirs = medians["first import"], medians["first import, uv's environment"]
            start = medians["python -c pass"]
            print(f"first import / uv's: {ours / theirs:.2f} (without the interpreter's own start "
                  f"{(ours - start) / (theirs - start):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
