"""The door to time: ages and stamps ask here, so that a test can say what time it is."""

from __future__ import annotations

import time

from aiocache_engine.hints import Protocol


class Clock(Protocol):
    """Two ways to ask for the time."""

    def now(self) -> float:
        """Give seconds since the epoch; may jump when somebody sets the machine's clock."""

    def monotonic(self) -> float:
        """Give seconds that only ever grow, for measuring how long something took."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Give seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Give seconds since some moment of this boot."""
        return time.monotonic()
