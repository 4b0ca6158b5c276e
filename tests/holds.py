"""What is opened and listed inside the holds of a command, written down as Python itself tells it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiocache_engine.model.locking import LockMode
from aiocache_engine.pipeline.steps import Conductor, InHold
from aiocache_engine.store.cache_dir import CacheDir

_watching: list[list[str]] = []  #: where what is opened and listed is written down
_is_hooked = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str):
        _watching[-1].append(arguments[0])


def is_watching() -> bool:
    """Tell whether it is written down now."""
    return bool(_watching)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Give the paths that are opened and listed meanwhile; as they are said, so relative ones where by descriptor."""
    global _is_hooked  # noqa: PLW0603 - a hook is there for good, and idle while nobody watches
    if not _is_hooked:
        sys.addaudithook(_watch)
        _is_hooked = True
    paths: list[str] = []
    _watching.append(paths)
    try:
        yield paths
    finally:
        _watching.pop()


@contextmanager
def watched_holds(cache: CacheDir, mode: LockMode) -> Iterator[tuple[Conductor, list[list[str]]]]:
    """Give who performs steps, and what is opened and listed in each hold of this mode."""
    holds: list[list[str]] = []

    class Watching(Conductor):
        def _do(self, step: Any) -> Any:
            if not isinstance(step, InHold) or step.mode is not mode:
                return super()._do(step)
            with watched() as paths:
                done = super()._do(step)
            holds.append(paths)
            return done

    yield Watching(cache.lock, timeout_seconds=10), holds
