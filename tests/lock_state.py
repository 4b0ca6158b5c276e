"""What a cache lock is doing in this process: what tests order events by, and look at when all is over."""

from __future__ import annotations

from dataclasses import dataclass

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
