"""What building from source costs: `python benchmarks/builds.py [--environments 100] [--uv PATH] [--work DIR] [REQ…]`.

Three measurements. First, the orchestrator of `examples/` builds requirements and all that they need from source, as do
`aioc install` and `uv pip install` with `--no-binary :all:` and the same versions, which holds for what builds need as
well. Each begins with an empty cache; the last two do it again, offline, with what that left. Second, from that first
run: the most bytes that were on disk at once against all that were ever seen there. Third, environments of {setuptools,
wheel, setuptools-scm}, one after another by an engine in this process, against `uv venv` and `uv pip install`: in
turns, offline, wheels cached.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from aiocache_engine import CacheEngine, Config, TargetChoice

PROGRAM = Path(__file__).resolve().parents[1] / "examples" / "orchestrator" / "build_wheels.py"
REQUIREMENTS = ["flask", "requests", "pytest", "rich"]
BUILD_ENVIRONMENT = ["setuptools", "wheel", "setuptools-scm"]
SECONDS_BETWEEN_LOOKS = 0.5


class DiskWatch(threading.Thread):
    """Looks at a directory again and again. What comes and goes between two looks is not seen."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.is_over = threading.Event()
        self.peak_bytes = 0
        self.seen: dict[int, int] = {}  #: the most bytes that an inode was seen to have

    def run(self) -> None:
        while not self.is_over.wait(SECONDS_BETWEEN_LOOKS):
            now: dict[int, int] = {}
            for directory, _, files in os.walk(self.root):
                for name in files:
                    with suppress(FileNotFoundError):
                        state = os.lstat(f"{directory}/{name}")
                        now[state.st_ino] = state.st_blocks * 512
            self.peak_bytes = max(self.peak_bytes, sum(now.values()))
            for inode, size in now.items():
                self.seen[inode] = max(size, self.seen.get(inode, 0))


def timed(command: list[str | Path], environ: dict[str, str] | None = None) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}")
    return time.perf_counter() - started, done.stdout


def orchestrate(work: Path, name: str, requirements: list[str]) -> tuple[float, str]:
    environ = {**os.environ, "AIOC_CACHE_DIR": str(work / "cache")}
    return timed([sys.executable, PROGRAM, *requirements, "--directory", work / name], environ)


def install_by_aioc(work: Path, name: str, pins: list[str], *words: str) -> float:
    environ = {**os.environ, "AIOC_CACHE_DIR": str(work / "aioc")}
    install = [sys.executable, "-m", "aiocache_engine", "install", "--no-binary", ":all:", "--venv", work / name]
    return timed([*install, *words, *pins], environ)[0]


def install_by_uv(work: Path, name: str, uv: str, pins: list[str], *words: str) -> float:
    environ = {**os.environ, "UV_CACHE_DIR": str(work / "uv"), "UV_PYTHON_DOWNLOADS": "never"}
    made, _ = timed([uv, "venv", "--no-config", "--quiet", "--python", sys.executable, work / name], environ)
    install = [uv, "pip", "install", "--no-config", "--no-binary", ":all:", "--python", work / name / "bin" / "python"]
    return made + timed([*install, *words, *pins], environ)[0]


def from_source(work: Path, uv: str, requirements: list[str]) -> None:
    watch = DiskWatch(work)
    watch.start()
    orchestrated, said = orchestrate(work, "made", requirements)
    watch.is_over.set()
    watch.join()
    site = next((work / "made" / "environment").glob("lib/python3*/site-packages"))
    pins = [path.name.removesuffix(".dist-info").replace("-", "==") for path in site.glob("*.dist-info")]
    built = len(list((work / "made" / "wheels").iterdir()))
    print(f"{' '.join(requirements)}: {len(pins)} projects to run, {built} wheels of the orchestrator")
    print("\n".join(f"  {line}" for line in said.splitlines() if re.match("[A-Za-z ]+: ", line)))
    ours, theirs = install_by_aioc(work, "ours", pins), install_by_uv(work, "theirs", uv, pins)
    again = install_by_aioc(work, "ours-again", pins, "--offline")
    again_uv = install_by_uv(work, "theirs-again", uv, pins, "--offline")
    built = len({path.parent.parent for path in (work / "uv").glob("sdists-v*/**/*.whl")})
    print(
        f"from nothing: the orchestrator {orchestrated:.1f} s, `aioc install` {ours:.1f} s, uv {theirs:.1f} s ({built}"
    )
    print(f"  wheels): ratios to uv {orchestrated / theirs:.2f} and {ours / theirs:.2f}")
    print(f"again, offline: `aioc install` {again:.1f} s, uv {again_uv:.1f} s: ratio {again / again_uv:.2f}")
    peak, made = watch.peak_bytes, sum(watch.seen.values())
    print(
        f"disk of the orchestrator: at most {peak / 1e6:.0f} MB of {made / 1e6:.0f} MB that it made: {peak / made:.2f}"
    )


async def environments(work: Path, uv: str, count: int) -> None:
    environ = {**os.environ, "UV_CACHE_DIR": str(work / "uv"), "UV_PYTHON_DOWNLOADS": "never"}
    ours: list[float] = []
    theirs: list[float] = []
    again: list[float] = []

    def by_uv(root: Path, *words: str) -> float:
        made, _ = timed([uv, "venv", "--no-config", "--quiet", "--python", sys.executable, root], environ)
        install = [uv, "pip", "install", "--no-config", "--quiet", *words, "--python", root / "bin" / "python"]
        return made + timed([*install, *BUILD_ENVIRONMENT], environ)[0]

    async with CacheEngine(work / "cache") as engine:
        await engine.install(BUILD_ENVIRONMENT, target=TargetChoice(venv=str(work / "first")))
    by_uv(work / "first-uv")
    async with CacheEngine(work / "cache", config=Config(is_offline=True)) as engine:
        for number in range(count):
            started = time.perf_counter()
            target = TargetChoice(venv=str(work / f"environment-{number}"))
            await engine.install(BUILD_ENVIRONMENT, target=target, ephemeral=True)
            ours.append(time.perf_counter() - started)
            theirs.append(await asyncio.to_thread(by_uv, work / f"environment-uv-{number}", "--offline"))
            started = time.perf_counter()
            async with engine.environment(BUILD_ENVIRONMENT[0], additions=BUILD_ENVIRONMENT[1:]):
                again.append(time.perf_counter() - started)
    print(f"{count} environments of {', '.join(BUILD_ENVIRONMENT)}, one after another, all wheels cached:")
    print(f"  {sum(ours):.2f} s, uv {sum(theirs):.2f} s: ratio {sum(ours) / sum(theirs):.2f} (at most 0.33)")
    medians = [statistics.median(each) * 1e3 for each in (ours, theirs, again)]
    print("  medians {:.0f} ms, uv {:.0f} ms; a cached one, as builds take it, {:.1f} ms".format(*medians))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("requirements", nargs="*", default=REQUIREMENTS, metavar="REQ")
    parser.add_argument("--environments", type=int, default=100)
    parser.add_argument("--uv", default=shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"))
    parser.add_argument("--work", type=Path, help="where to work, on the file system that is meant")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.work) as temporary:
        work = Path(temporary)
        for name in ("environments", "projects"):
            (work / name).mkdir()
        if asked.environments:
            asyncio.run(environments(work / "environments", asked.uv, asked.environments))
        if asked.requirements != ["none"]:
            from_source(work / "projects", asked.uv, asked.requirements)


if __name__ == "__main__":
    main()
