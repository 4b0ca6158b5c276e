"""What the orchestrator did: told as it happens, and counted for the figures at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiocache_engine import BuiltWheel, Removal, Reporter, Wait


class Ledger(Reporter):
    """Engines tell it of waits and warnings, the orchestrator of the rest."""

    def __init__(self) -> None:
        """Start the clock."""
        self.built = 0  #: wheels that a backend made in this run
        self.hits = 0  #: wheels that were there before it
        self.freed_bytes = 0
        self._begun: set[str] = set()  #: sdists that a backend began to build, to learn what they need maybe
        self._warnings: set[str] = set()
        self._started = time.monotonic()
        self._uses: list[tuple[float, float]] = []  #: when something was installed, or built in what was installed
        self._cleans: list[tuple[float, float]] = []

    def count(self, wheel: BuiltWheel) -> None:
        is_ours = Path(wheel.source).name in self._begun
        self.built += is_ours
        self.hits += not is_ours

    @contextmanager
    def using(self) -> Iterator[None]:
        """Note that something is installed, or built, in this block."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._uses.append((started, time.monotonic()))

    @contextmanager
    def cleaning(self) -> Iterator[Callable[[Removal], None]]:
        """Note that something is cleaned in this block, which tells what was freed."""

        def freed(removal: Removal) -> None:
            self.freed_bytes += removal.freed_bytes

        started = time.monotonic()
        yield freed
        self._cleans.append((started, time.monotonic()))

    def figures(self) -> dict[str, float]:
        overlapping = [
            start for start, end in self._cleans if any(began < end and start < ended for began, ended in self._uses)
        ]
        return {
            "wall seconds": round(time.monotonic() - self._started, 1),
            "builds": self.built,
            "cache hits": self.hits,
            "cleans and prunes": len(self._cleans),
            "of them beside installs and builds": len(overlapping),
            "MB freed by them": round(self.freed_bytes / 1e6, 1),
        }

    def tell(self, line: str) -> None:
        print(f"{time.monotonic() - self._started:7.1f} s  {line}", flush=True)

    def build_started(self, what: str) -> None:
        self._begun.add(what)
        self.tell(f"building {what}")

    def waits(self, wait: Wait) -> None:
        self.tell(f"waiting for {wait.path}, held by {', '.join(wait.holders) or 'somebody'}")

    def warns(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            self.tell(f"warning: {text}")
