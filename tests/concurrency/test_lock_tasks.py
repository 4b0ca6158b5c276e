"""The cache lock among the tasks and threads of one process: order, cancellation, nesting, loops."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from aiocache_engine.errors import LockTimeoutError, NestedHoldError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock
from concurrency.locking.neighbour import Neighbour
from lock_state import state_of, wait_until_waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.lock"


@pytest.fixture
def lock(path: Path) -> CacheLock:
    return CacheLock.at(path)


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


class Holding:
    """Tasks that hold until told to end, and the order in which they got in."""

    def __init__(self, lock: CacheLock) -> None:
        self.lock = lock
        self.order: list[str] = []
        self.ends: dict[str, anyio.Event] = {}
        self.starts: dict[str, anyio.Event] = {}

    def start(self, tasks: anyio.abc.TaskGroup, name: str, mode: LockMode) -> None:
        self.starts[name], self.ends[name] = anyio.Event(), anyio.Event()
        tasks.start_soon(self._hold, name, mode)

    async def _hold(self, name: str, mode: LockMode) -> None:
        async with self.lock.hold(mode, timeout_seconds=10):
            self.order.append(name)
            self.starts[name].set()
            await self.ends[name].wait()


async def test_readers_of_one_process_share_one_lock_until_the_last_has_left(
    lock: CacheLock, path: Path, neighbour: Neighbour
) -> None:
    holding = Holding(lock)
    async with anyio.create_task_group() as tasks:
        for name in ("first", "second"):
            holding.start(tasks, name, LockMode.SHARED)
            await holding.starts[name].wait()
        assert state_of(lock).reader_count == 2
        holding.ends["first"].set()
        while state_of(lock).reader_count == 2:
            await checkpoint()
        assert not neighbour.can_take(path)
        holding.ends["second"].set()
    assert neighbour.can_take(path)


async def test_a_reader_does_not_join_the_readers_of_a_replaced_file(
    lock: CacheLock, path: Path, neighbour: Neighbour
) -> None:
    holding = Holding(lock)
    async with anyio.create_task_group() as tasks:
        holding.start(tasks, "old", LockMode.SHARED)
        await holding.starts["old"].wait()
        os.unlink(path)
        # The old reader excludes nobody any more: who joined it would read beside the next writer's work.
        with pytest.raises(LockTimeoutError):
            async with lock.hold(LockMode.SHARED, timeout_seconds=0.02):
                pass
        assert neighbour.ask("hold", path, "exclusive") == "yes"
        holding.ends["old"].set()
    neighbour.ask("end", path)
    async with lock.hold(LockMode.SHARED, timeout_seconds=0) as hold:
        hold.ensure_current()


async def test_a_writer_queues_behind_readers_and_before_the_readers_that_come_later(lock: CacheLock) -> None:
    holding = Holding(lock)
    async with anyio.create_task_group() as tasks:
        holding.start(tasks, "reader", LockMode.SHARED)
        await holding.starts["reader"].wait()
        holding.start(tasks, "writer", LockMode.EXCLUSIVE)
        await wait_until_waiting(lock, 1)
        holding.start(tasks, "late reader", LockMode.SHARED)
        await wait_until_waiting(lock, 2)
        holding.ends["reader"].set()
        await holding.starts["writer"].wait()
        assert not holding.starts["late reader"].is_set()
        holding.ends["writer"].set()
        await holding.starts["late reader"].wait()
        holding.ends["late reader"].set()
    assert holding.order == ["reader", "writer", "late reader"]


async def test_a_writer_that_waits_here_keeps_readers_of_other_processes_out(
    lock: CacheLock, path: Path, neighbour: Neighbour
) -> None:
    holding = Holding(lock)
    async with anyio.create_task_group() as tasks:
        holding.start(tasks, "reader", LockMode.SHARED)
        await holding.starts["reader"].wait()
        holding.start(tasks, "writer", LockMode.EXCLUSIVE)
        await wait_until_waiting(lock, 1)
        assert neighbour.ask("take", f"{path}.gate", "shared") == "no"
        holding.ends["reader"].set()
        holding.ends["writer"].set()
    assert neighbour.can_take(f"{path}.gate")


async def test_a_writer_that_gives_up_lets_the_readers_behind_it_in(lock: CacheLock) -> None:
    holding = Holding(lock)
    async with anyio.create_task_group() as tasks:
        holding.start(tasks, "reader", LockMode.SHARED)
        await holding.starts["reader"].wait()
        with pytest.raises(LockTimeoutError, match="held by this process"):
            async with lock.hold(LockMode.EXCLUSIVE, timeout_seconds=0.01):
                pass
        holding.start(tasks, "late reader", LockMode.SHARED)
        await holding.starts["late reader"].wait()
        holding.ends["reader"].set()
        holding.ends["late reader"].set()


@pytest.mark.parametrize("case", list(itertools.product(["turn", "gate", "main"], LockMode, [1, 2, 3])))
async def test_cancelled_at_any_await_of_an_acquisition_nothing_stays(
    lock: CacheLock, path: Path, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch, case: tuple[str, LockMode, int]
) -> None:
    """An acquisition awaits nothing but the sleep between two tries."""
    stage, mode, at_sleep = case
    sleep_count = 0
    scope = anyio.CancelScope()

    async def sleep_and_be_cancelled(seconds: float) -> None:
        nonlocal sleep_count
        sleep_count += 1
        if sleep_count == at_sleep:
            scope.cancel()
        await checkpoint()

    holding = Holding(lock)
    async with anyio.create_task_group() as tasks:
        if stage == "turn":
            holding.start(tasks, "writer", LockMode.EXCLUSIVE)
            await holding.starts["writer"].wait()
        else:
            blocked = path if stage == "main" else f"{path}.gate"
            assert neighbour.ask("take", blocked, "exclusive") == "yes"
        with monkeypatch.context() as patch, scope:
            patch.setattr(anyio, "sleep", sleep_and_be_cancelled)
            async with lock.hold(mode):
                raise AssertionError("it was granted")
        if stage == "turn":
            holding.ends["writer"].set()
        else:
            neighbour.ask("drop", blocked)
    assert scope.cancelled_caught
    assert at_sleep == sleep_count
    assert state_of(lock).waiting_count == 0
    assert neighbour.can_take(path)
    assert neighbour.can_take(f"{path}.gate")
    async with lock.hold(LockMode.EXCLUSIVE, timeout_seconds=0):
        pass


async def test_cancelled_inside_the_block_the_lock_is_released(
    lock: CacheLock, path: Path, neighbour: Neighbour
) -> None:
    with anyio.CancelScope() as scope:
        async with lock.hold(LockMode.EXCLUSIVE):
            scope.cancel()
            await checkpoint()
    assert scope.cancelled_caught
    assert neighbour.can_take(path)


@pytest.mark.parametrize("inner", LockMode)
@pytest.mark.parametrize("outer", LockMode)
async def test_a_hold_inside_a_hold_is_refused_at_once_even_of_another_cache(
    lock: CacheLock, tmp_path: Path, outer: LockMode, inner: LockMode
) -> None:
    other = CacheLock.at(tmp_path / "other.lock")
    async with lock.hold(outer):
        for asked in (lock, other):
            with pytest.raises(NestedHoldError):
                async with asked.hold(inner):
                    pass
    async with other.hold(inner):
        pass


async def test_a_task_or_thread_started_inside_a_hold_may_take_none_before_its_end(lock: CacheLock) -> None:
    async def take() -> None:
        async with lock.hold(LockMode.SHARED):
            pass

    def take_now() -> None:
        with lock.hold_now(LockMode.SHARED):
            pass

    async with lock.hold(LockMode.SHARED):
        task = asyncio.create_task(take())
        with pytest.raises(NestedHoldError):
            await to_thread.run_sync(take_now)
        with pytest.raises(NestedHoldError):
            await task
        late = asyncio.create_task(asyncio.sleep(0))
    await late
    await take()
    await to_thread.run_sync(take_now)


def test_a_hold_inside_a_hold_of_the_same_thread_is_refused(lock: CacheLock) -> None:
    with lock.hold_now(LockMode.SHARED), pytest.raises(NestedHoldError), lock.hold_now(LockMode.SHARED):
        pass
    # An empty context forgets the context variable, not the thread.
    with lock.hold_now(LockMode.SHARED), pytest.raises(NestedHoldError):
        contextvars.Context().run(asyncio.run, hold_once(lock))
    asyncio.run(hold_once(lock))


async def hold_once(lock: CacheLock) -> None:
    async with lock.hold(LockMode.SHARED):
        pass


async def test_the_synchronous_door_is_shut_in_an_event_loop(lock: CacheLock) -> None:
    with pytest.raises(NestedHoldError, match="block the running event loop"), lock.hold_now(LockMode.SHARED):
        pass


async def test_a_second_event_loop_is_refused_while_the_first_holds_and_welcome_after(lock: CacheLock) -> None:
    async with lock.hold(LockMode.SHARED):
        failures: list[BaseException] = []

        def run_second_loop() -> None:
            try:
                asyncio.run(hold_once(lock))
            except NestedHoldError as error:
                failures.append(error)

        thread = threading.Thread(target=run_second_loop)
        thread.start()
        thread.join()
        assert "one event loop at a time per path" in str(failures[0])
    await asyncio.to_thread(asyncio.run, hold_once(lock))


async def test_worker_threads_hold_beside_the_loop_and_are_excluded_by_it(lock: CacheLock) -> None:
    def hold_now(mode: LockMode) -> int:
        with lock.hold_now(mode, timeout_seconds=0.02):
            return state_of(lock).reader_count

    begin = anyio.Event()
    results: list[int] = []

    async def beside() -> None:
        await begin.wait()
        results.append(await to_thread.run_sync(hold_now, LockMode.SHARED))
        with pytest.raises(LockTimeoutError):
            await to_thread.run_sync(hold_now, LockMode.EXCLUSIVE)

    async with anyio.create_task_group() as tasks:
        # Started outside the hold: a task started inside would be a part of it.
        tasks.start_soon(beside)
        async with lock.hold(LockMode.SHARED):
            begin.set()
            while state_of(lock).waiting_count == 0 and not results:
                await checkpoint()
            await wait_until_waiting(lock, 1)
            while state_of(lock).waiting_count:
                await checkpoint()
    assert results == [2]
