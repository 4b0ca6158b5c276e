"""Build wheels of requirements and of all that they need: `python build_wheels.py [OPTIONS] REQ…`.

What was built is in DIRECTORY/wheels, an environment of it in DIRECTORY/environment. Killed, it goes on where it was
when it is started again. A build that fails stops none but those that need its wheel; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
from ledger import Ledger
from orchestrator import Orchestrator

from aiocache_engine import CacheEngine, CacheEngineError, Config

EMPTY = "no index"  #: a directory that serves as the index of who is to know none


def directory_of(text: str) -> Path:
    """Make what a directory is to have in it from the first."""
    path = Path(text).absolute()
    try:
        (path / EMPTY).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from error
    return path


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("requirements", nargs="+", metavar="REQ")
    parser.add_argument("-d", "--directory", type=directory_of, default="orchestra", help="where it all goes")
    parser.add_argument("-c", "--constraint", action="append", default=[], metavar="FILE", help="a constraints file")
    parser.add_argument("-j", "--jobs", type=positive, help="backends at the same time")
    parser.add_argument("--overlay", default="orchestrator", help="where builds find each other's wheels")
    parser.add_argument(
        "--prebuilt", action="append", default=[], metavar="NAME", help="take its wheel, to end a circle say"
    )
    return parser.parse_args(words)


async def build(asked: argparse.Namespace) -> bool:
    """Build, and tell whether an environment was made of it."""
    directory: Path = asked.directory
    ledger = Ledger()
    without_index = Config(index_url=(directory / EMPTY).as_uri(), overlays=(asked.overlay,), build_count=asked.jobs)
    async with (
        CacheEngine(environ={**os.environ, "AIOC_OVERLAY": asked.overlay}, reporter=ledger) as outside,
        CacheEngine(config=without_index, reporter=ledger) as workshop,
        workshop.lease(name="orchestrator"),  # what one job brought stays for the next, whatever is pruned meanwhile
    ):
        orchestrator = Orchestrator(
            outside,
            workshop,
            directory,
            ledger,
            overlay=asked.overlay,
            prebuilt=asked.prebuilt,
            constraint_files=asked.constraint,
        )
        pins = await orchestrator.build(asked.requirements)
        failures = orchestrator.failures()
        for failure, lacking in failures.items():
            print(f"failed: {failure}")
            for each in sorted(lacking):
                print(f"  is needed by {each}")
        if not failures:
            await orchestrator.install(pins)
    print(*(f"{name}: {figure}" for name, figure in ledger.figures().items()), sep="\n")
    return not failures


def is_sound(environment: Path) -> bool:
    """Have pip judge an environment."""
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "check"]
    return subprocess.run(command, check=False).returncode == 0


def main(words: Sequence[str] | None = None) -> int:
    asked = arguments(words)
    try:
        is_built = anyio.run(build, asked)
    except* CacheEngineError as group:
        sys.exit("\n".join(map(str, group.exceptions)))
    except* KeyboardInterrupt:
        sys.exit(130)
    return 0 if is_built and is_sound(asked.directory / "environment") else 1


if __name__ == "__main__":
    sys.exit(main())
