"""A process of the stress and liveness tests: tasks and a thread that hold the lock at random until a given moment.

Arguments: LOCK JOURNAL KIND UNTIL SEED, with KIND `mixed` (our lock, every way to give up), `readers` (our lock, shared
holds that overlap without a gap), `naive` (fasteners used as it comes), UNTIL in monotonic seconds.
At its end it prints one JSON object that says what it still holds.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import fasteners

from aiocache_engine.errors import LockTimeoutError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock
from concurrency.locking.journal import Journal
from lock_state import state_of


@asynccontextmanager
async def naive_hold(path: str, mode: LockMode, timeout_seconds: float) -> AsyncIterator[None]:
    lock = fasteners.InterProcessReaderWriterLock(path)
    is_shared = mode is LockMode.SHARED
    acquire = lock.acquire_read_lock if is_shared else lock.acquire_write_lock
    release = lock.release_read_lock if is_shared else lock.release_write_lock
    if not await anyio.to_thread.run_sync(lambda: acquire(timeout=timeout_seconds)):
        raise LockTimeoutError(path, mode.value, waited_seconds=timeout_seconds)
    try:
        yield
    finally:
        release()


class Worker:
    def __init__(self, path: str, journal: str, kind: str, until: float, seed: int) -> None:
        self.path = path
        self.lock = CacheLock.at(path)
        self.journal = Journal(journal)
        self.kind = kind
        self.until = until
        self.chance = random.Random(seed)
        self.given_up_count = 0

    def mode(self) -> LockMode:
        return LockMode.EXCLUSIVE if self.chance.random() < 0.3 else LockMode.SHARED

    def hold(self, mode: LockMode, timeout_seconds: float) -> AbstractAsyncContextManager[object]:
        if self.kind == "naive":
            return naive_hold(self.path, mode, timeout_seconds)
        return self.lock.hold(mode, timeout_seconds=timeout_seconds)

    async def task(self) -> None:
        while time.monotonic() < self.until:
            mode = self.mode()
            patience = self.chance.choice((0.003, 0.02, 10))
            with anyio.move_on_after(patience) as scope:
                await self.try_once(mode)
            self.given_up_count += scope.cancelled_caught
            await anyio.sleep(self.chance.random() * 0.002)

    async def try_once(self, mode: LockMode) -> None:
        try:
            async with self.hold(mode, self.chance.choice((0, 0.01, 10))):
                await self.stay(mode, self.chance.uniform(0, 0.003))
        except LockTimeoutError:
            self.given_up_count += 1

    async def stay(self, mode: LockMode, seconds: float) -> None:
        with self.journal.inside(mode.value):
            await anyio.sleep(seconds)

    async def reader(self) -> None:
        while time.monotonic() < self.until:
            async with self.hold(LockMode.SHARED, 20):
                await self.stay(LockMode.SHARED, self.chance.uniform(0.01, 0.03))

    def try_now(self, mode: LockMode) -> None:
        try:
            with self.lock.hold_now(mode, timeout_seconds=self.chance.choice((0, 0.01, 10))) as hold:
                hold.ensure_current()
                self.stay_now(mode, self.chance.uniform(0, 0.003))
        except LockTimeoutError:
            self.given_up_count += 1

    def stay_now(self, mode: LockMode, seconds: float) -> None:
        with self.journal.inside(mode.value):
            time.sleep(seconds)

    def thread(self) -> None:
        while time.monotonic() < self.until:
            self.try_now(self.mode())
            time.sleep(self.chance.random() * 0.002)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(self.reader if self.kind == "readers" else self.task)
            if self.kind == "mixed":
                tasks.start_soon(anyio.to_thread.run_sync, self.thread)

    def left_over(self) -> dict[str, int]:
        state = state_of(self.lock)
        open_files = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        return {
            "held": state.reader_count + state.has_writer,
            "waiting": state.waiting_count,
            "open": sum(path.startswith(self.path) for path in open_files),
            "given_up": self.given_up_count,
        }


def main() -> None:
    lock, journal, kind, until, seed = sys.argv[1:]
    worker = Worker(lock, journal, kind, float(until), int(seed))
    anyio.run(worker.run)
    print(json.dumps(worker.left_over()))


if __name__ == "__main__":
    main()
