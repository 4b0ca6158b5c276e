"""What a cache lock is doing in this process: what tests order events by, and look at when all is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anyio.lowlevel import checkpoint

from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock


@dataclass(frozen=True, slots=True)
class LockState:
    """A cache lock at one moment."""

    reader_count: int  #: shared holds
    has_writer: bool  #: an exclusive hold
    waiting_count: int  #: tasks and threads that want one


def state_of(lock: CacheLock) -> LockState:
    with lock._mutex:
        granted = [ticket.mode for ticket in lock._granted_tickets]
        waiting = [ticket for ticket in lock._queue if ticket.hold is None]
    return LockState(granted.count(LockMode.SHARED), LockMode.EXCLUSIVE in granted, len(waiting))


async def wait_until_waiting(lock: CacheLock, count: int) -> None:
    """Wait until so many tasks and threads of this process want the lock."""
    while state_of(lock).waiting_count < count:
        await checkpoint()


@contextmanager
def held_elsewhere(lock: CacheLock) -> Iterator[None]:
    """Hold the lock exclusively in another thread, in a context of its own, for the length of the block."""
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.hold_now(LockMode.EXCLUSIVE):
            is_held.set()
            may_end.wait(120)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert is_held.wait(30)
        yield
    finally:
        may_end.set()
        thread.join()
