"""Make several environments at once, and prune beside them: `python parallel_environments.py DIR REQ…`.

Each wheel is fetched and unpacked once, whoever asks first; everybody else links it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import anyio

from aiocache_engine import CacheEngine, CacheEngineError, Reporter, TargetChoice

ENVIRONMENTS = 4


class Printer(Reporter):
    """Says what arrives from the index; what is in the cache already is not worth a word."""

    def published(self, filename: str) -> None:
        print(f"fetched and unpacked {filename}")


async def make_environment(engine: CacheEngine, environment: Path, requirements: list[str]) -> None:
    started = time.monotonic()
    report = await engine.install(requirements, target=TargetChoice(venv=str(environment)))
    names = ", ".join(f"{each.project} {each.version}" for each in report.installed)
    print(f"{environment.name}: {names or 'nothing new'} in {time.monotonic() - started:.2f} s by {report.link_mode}")


async def main(directory: Path, requirements: list[str]) -> None:
    async with CacheEngine(reporter=Printer()) as engine:
        async with anyio.create_task_group() as tasks:
            for number in range(ENVIRONMENTS):
                tasks.start_soon(make_environment, engine, directory / f"environment-{number}", requirements)
            tasks.start_soon(engine.prune)
        size = await engine.size()
        print(f"the cache holds {size.entry_count} wheels, {size.size_bytes / 1e6:.1f} MB unpacked, for all of them")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        anyio.run(main, Path(sys.argv[1]), sys.argv[2:])
    except* CacheEngineError as group:
        sys.exit("\n".join(str(error) for error in group.exceptions))
