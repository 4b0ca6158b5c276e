"""Steps performed from an event loop: in one worker thread as far as nothing is waited for, and never left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import from_thread, to_thread

from aiocache_engine.errors import NestedHoldError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.pipeline.steps import (
    Conductor,
    InHold,
    Outside,
    Pause,
    Result,
    Step,
    Steps,
    in_exclusive_hold,
)
from aiocache_engine.pipeline.threads import until_stopped
from aiocache_engine.system.lock import CacheLock
from lock_state import held_elsewhere, state_of, wait_until_waiting

SHARED, EXCLUSIVE = LockMode.SHARED, LockMode.EXCLUSIVE
LOOP_THREAD = threading.main_thread().ident


@pytest.fixture
def lock(tmp_path: Path) -> CacheLock:
    return CacheLock.at(tmp_path / "cache.lock")


@pytest.fixture
def conductor(lock: CacheLock) -> Conductor:
    return Conductor(lock, timeout_seconds=30)


def whose(done: list[str]) -> Generator[Step, int | None, list[str]]:
    """Do one step of each kind, an error among them, and tell whether the loop's thread did one."""
    threads: set[int | None] = {
        (yield Outside(threading.get_ident)),
        (yield InHold(SHARED, lambda _: threading.get_ident())),
    }
    done.append("both")
    yield Pause(0.001)
    threads.add((yield InHold(EXCLUSIVE, lambda _: threading.get_ident())))
    try:
        yield Outside(lambda: 1 // 0)
    except ZeroDivisionError:
        done.append("error")
    done.append("apart" if threads.isdisjoint({LOOP_THREAD}) else "in the way of the event loop")
    return done


async def test_steps_give_the_same_from_the_loop_from_a_worker_and_in_one_thread(conductor: Conductor) -> None:
    right = ["both", "error", "apart"]
    assert await conductor.conduct(whose([])) == right
    assert await to_thread.run_sync(conductor.perform, whose([])) == right
    assert await to_thread.run_sync(in_worker, conductor, whose([])) == right


async def test_an_error_that_the_steps_do_not_handle_reaches_who_has_them_done(conductor: Conductor) -> None:
    def steps() -> Steps[None]:
        yield Outside(lambda: None)
        yield Outside(lambda: 1 // 0)

    for perform in (conductor.perform, partial(in_worker, conductor)):
        with pytest.raises(ZeroDivisionError):
            await to_thread.run_sync(perform, steps())
    with pytest.raises(ZeroDivisionError):
        await conductor.conduct(steps())


async def test_holds_that_are_not_free_are_waited_for_without_a_thread(lock: CacheLock, conductor: Conductor) -> None:
    thread_count = int(to_thread.current_default_thread_limiter().total_tokens)
    done: list[LockMode] = []
    steps = (in_exclusive_hold(lambda hold: done.append(hold.mode)) for _ in range(thread_count + 1))
    async with anyio.create_task_group() as tasks:
        with held_elsewhere(lock):
            for each in steps:
                tasks.start_soon(conductor.conduct, each)
            await wait_until_waiting(lock, thread_count + 1)
            assert await to_thread.run_sync(lambda: "a thread is free") == "a thread is free"
            assert not done
    assert done == [EXCLUSIVE] * (thread_count + 1)


async def test_a_worker_waits_for_its_hold_on_the_event_loop(lock: CacheLock, conductor: Conductor) -> None:
    async with anyio.create_task_group() as tasks:
        with held_elsewhere(lock):
            steps = in_exclusive_hold(lambda hold: hold.mode)
            tasks.start_soon(to_thread.run_sync, in_worker, conductor, steps)
            await wait_until_waiting(lock, 1)
            tasks.cancel_scope.cancel()
    assert state_of(lock).waiting_count == 0


async def test_a_second_event_loop_is_refused_while_the_first_has_steps_done_and_welcome_after(
    conductor: Conductor,
) -> None:
    refusals: list[str] = []

    def in_another_loop() -> None:
        try:
            asyncio.run(conductor.conduct(whose([])))
        except NestedHoldError as error:
            refusals.append(str(error))

    def outside() -> Steps[None]:
        yield Outside(partial(run_in_thread, in_another_loop))

    await conductor.conduct(outside())
    assert ["another event loop is using this cache" in refusal for refusal in refusals] == [True]
    await to_thread.run_sync(in_another_loop)
    assert len(refusals) == 1


@pytest.mark.parametrize("is_native", [False, True], ids=["by a scope", "by the task"])
async def test_a_cancellation_lets_the_step_end_begins_no_other_and_lets_the_steps_clean_up(
    lock: CacheLock, conductor: Conductor, *, is_native: bool
) -> None:
    has_begun, may_end = threading.Event(), threading.Event()
    said: list[object] = []

    def long() -> str:
        has_begun.set()
        assert may_end.wait(30)
        return "done"

    def steps() -> Steps[None]:
        said.append((yield Outside(long)))
        try:
            yield Outside(lambda: said.append("another"))
        except asyncio.CancelledError:
            said.append("cancelled")
            raise

    await cancelled(conductor, steps(), has_begun, may_end.set, is_native=is_native)
    assert said == ["done", "cancelled"]
    assert state_of(lock).reader_count == 0


@pytest.mark.parametrize("is_native", [False, True], ids=["by a scope", "by the task"])
async def test_a_cancellation_stops_long_work_halfway_and_is_what_the_steps_are_told(
    conductor: Conductor, *, is_native: bool
) -> None:
    has_begun, stopping = threading.Event(), threading.Event()
    said: list[type[BaseException]] = []

    def long() -> None:
        has_begun.set()
        for _ in until_stopped(iter(lambda: stopping.wait(0.001), None), stopping.is_set):
            pass

    def steps() -> Steps[None]:
        try:
            yield Outside(long, stopping.set)
        except BaseException as error:
            said.append(type(error))
            raise

    await cancelled(conductor, steps(), has_begun, lambda: None, is_native=is_native)
    assert said == [asyncio.CancelledError]


async def test_steps_that_go_on_after_a_cancellation_do_so_to_their_end(conductor: Conductor) -> None:
    has_begun, may_end = threading.Event(), threading.Event()
    said: list[str] = []

    def long() -> None:
        has_begun.set()
        assert may_end.wait(30)

    def steps() -> Steps[None]:
        try:
            yield Outside(long)
            yield Outside(lambda: said.append("another"))
        finally:
            yield Outside(lambda: said.append("first"))
            yield InHold(SHARED, lambda _: said.append("second"))

    # A task is told once: what it does afterwards it may do to the end.
    await cancelled(conductor, steps(), has_begun, may_end.set, is_native=True)
    assert said == ["first", "second"]


def run_in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def in_worker(conductor: Conductor, steps: Steps[Result]) -> Result:
    return conductor.perform_in_worker(steps, wait_for=from_thread.run)


async def cancelled(
    conductor: Conductor,
    steps: Steps[None],
    has_begun: threading.Event,
    let_end: Callable[[], None],
    *,
    is_native: bool,
) -> None:
    """Have steps done, and cancel that once they have begun; they are told before they may end."""
    ended: list[bool] = []

    async def conduct(scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await conductor.conduct(steps)
            finally:
                ended.append(True)

    scope = anyio.CancelScope()
    task = asyncio.create_task(conduct(scope))
    assert await to_thread.run_sync(has_begun.wait, 30)
    if is_native:
        task.cancel()
    else:
        scope.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    let_end()
    await asyncio.wait([task])
    assert task.cancelled() is is_native
    assert scope.cancelled_caught is not is_native
    assert ended == [True]
