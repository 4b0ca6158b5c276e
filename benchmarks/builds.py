"""What building from source costs: `python benchmarks/builds.py [--environments 100] [--uv PATH] [--work DIR] [REQ…]`.

Three measurements. First, the orchestrator of `examples/` builds requirements and all that they need from source, and
uv does (`uv pip install --no-binary :all:` of the same versions, which builds what builds need from source as well);
both with empty caches, and again with what the first run left. Second, from that first run: the most bytes that were on
disk at once against all that were ever seen there. Third, environments of {setuptools, wheel, setuptools-scm}, one
after another by an engine in this process, against `uv venv` and `uv pip install`: in turns, offline, wheels cached.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from packaging.utils import parse_wheel_filename

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


def install_by_uv(work: Path, name: str, uv: str, pins: list[str]) -> float:
    environ = {**os.environ, "UV_CACHE_DIR": str(work / "uv"), "UV_PYTHON_DOWNLOADS": "never"}
    made, _ = timed([uv, "venv", "--no-config", "--quiet", "--python", sys.executable, work / name], environ)
    install = [uv, "pip", "install", "--no-config", "--no-binary", ":all:", "--python", work / name / "bin" / "python"]
    return made + timed([*install, *pins], environ)[0]


def projects(wheels: Path) -> int:
    return len(list(wheels.rglob("*.whl")))


def from_source(work: Path, uv: str, requirements: list[str]) -> None:
    watch = DiskWatch(work)
    watch.start()
    cold, said = orchestrate(work, "cold", requirements)
    watch.is_over.set()
    watch.join()
    warm, said_again = orchestrate(work, "warm", requirements)
    versions = {
        name: version
        for path in (work / "cold" / "wheels").iterdir()
        for name, version, *_ in [parse_wheel_filename(path.name)]
    }
    site = next((work / "cold" / "environment").glob("lib/python3*/site-packages"))
    pins = [path.name.removesuffix(".dist-info").replace("-", "==") for path in site.glob("*.dist-info")]
    cold_uv = install_by_uv(work, "cold-uv", uv, pins)
    warm_uv = install_by_uv(work, "warm-uv", uv, pins)
    print(f"{' '.join(requirements)}: {len(pins)} projects to run, {len(versions)} built in all")
    print("\n".join(f"  {line}" for line in said.splitlines() if ": " in line and not line.startswith(" ")))
    built_by_uv = len({path.parent.parent for path in (work / "uv").glob("sdists-v*/**/*.whl")})
    print(f"from nothing: {cold:.1f} s, uv {cold_uv:.1f} s ({built_by_uv} built): ratio {cold / cold_uv:.2f}")
    hits = next(line for line in said_again.splitlines() if line.startswith("cache hits"))
    print(f"again: {warm:.1f} s ({hits}), uv {warm_uv:.1f} s: ratio {warm / warm_uv:.2f}")
    peak, made = watch.peak_bytes, sum(watch.seen.values())
    print(f"disk at most {peak / 1e6:.1f} MB, of {made / 1e6:.1f} MB ever made: ratio {peak / made:.2f}")


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
