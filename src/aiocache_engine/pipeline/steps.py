"""A synchronous core under an asynchronous shell: work is written once, as steps, and performed in either way.

A piece of work is a generator that yields what has to be done next: something short inside a hold of the cache lock, or
something long outside. A warm command performs the steps in its own thread; the engine performs the same steps from the
event loop, each in a worker thread, and can be cancelled between any two.
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import suppress

from aiocache_engine.hints import TYPE_CHECKING, Any, Generic, TypeVar
from aiocache_engine.model.locking import LockMode, Wait
from aiocache_engine.model.value import value
from aiocache_engine.system.disk import translated
from aiocache_engine.system.lock import CacheLock, Hold

if TYPE_CHECKING:
    from aiocache_engine.system.keylock import KeyHold

Result = TypeVar("Result")
Part = TypeVar("Part")


@value
class InHold:
    """Do this inside a hold. It must be short: a few milliseconds."""

    mode: LockMode
    work: Callable[[Hold], Any]


@value
class Outside:
    """Do this with no lock held. It may take as long as it takes."""

    work: Callable[[], Any]
    stop: Callable[[], object] | None = None  #: makes long work end halfway, should it be cancelled


@value
class Pause:
    """Do nothing for so long, with no lock held."""

    seconds: float


Step = InHold | Outside | Pause
Steps = Generator[Step, Any, Result]  #: what is sent back into it is what the step's work returned


def in_shared_hold(work: Callable[[Hold], Result]) -> Steps[Result]:
    """Give the steps that consist of this one hold."""
    result: Result = yield InHold(LockMode.SHARED, work)
    return result


def in_exclusive_hold(work: Callable[[Hold], Result]) -> Steps[Result]:
    """Give the steps that consist of this one hold."""
    result: Result = yield InHold(LockMode.EXCLUSIVE, work)
    return result


class Conductor:
    """Performs steps on one cache lock, and remembers how long was waited and how long the longest hold lasted."""

    def __init__(
        self,
        lock: CacheLock,
        *,
        timeout_seconds: float,
        on_wait: Callable[[Wait], None] | None = None,
        place: str = "the cache dir",
    ) -> None:
        """Keep what the steps need.

        Args:
            lock: the cache lock.
            timeout_seconds: how long each hold is waited for.
            on_wait: told of a long wait.
            place: named by errors of the disk that name no path themselves.
        """
        self._lock = lock
        self._place = place
        self._timeout_seconds = timeout_seconds
        self._on_wait = on_wait
        self.waited_seconds = 0.0  #: in all holds so far
        self.longest_hold_seconds = 0.0  #: of the exclusive holds so far

    def perform(self, steps: Steps[Result]) -> Result:
        """Perform every step in this thread."""
        try:
            step = next(steps)
            while True:
                try:
                    outcome = self._do(step)
                except BaseException as error:  # noqa: BLE001 - the steps themselves decide what an error means
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def _do(self, step: Step) -> Any:
        if isinstance(step, Outside):
            with translated(self._place):
                return step.work()
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        with self._lock.hold_now(step.mode, timeout_seconds=self._timeout_seconds, on_wait=self._on_wait) as hold:
            try:
                with translated(self._place):
                    return step.work(hold)
            finally:
                self._note(hold)

    async def conduct(self, steps: Steps[Result]) -> Result:
        """Perform every step from the event loop, each in a worker thread."""
        try:
            step = next(steps)
            while True:
                try:
                    outcome = await self._do_async(step)
                except BaseException as error:  # noqa: BLE001 - as above; cancellation passes through the steps too
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    async def _do_async(self, step: Step) -> Any:
        if isinstance(step, Outside):
            with translated(self._place):
                return await in_thread(step.work, on_cancel=step.stop)
        if isinstance(step, Pause):
            from anyio import sleep  # noqa: PLC0415 - a warm command has no event loop

            await sleep(step.seconds)
            return None
        work = step.work
        async with self._lock.hold(step.mode, timeout_seconds=self._timeout_seconds, on_wait=self._on_wait) as hold:
            try:
                with translated(self._place):
                    return await in_thread(lambda: work(hold), limiter=_holds_limiter())
            finally:
                self._note(hold)

    def _note(self, hold: Hold) -> None:
        self.waited_seconds += hold.waited_seconds
        if hold.mode is LockMode.EXCLUSIVE:
            self.longest_hold_seconds = max(self.longest_hold_seconds, time.monotonic() - hold.acquired_at)


class StoppedError(Exception):
    """Work was called off halfway."""


def until_stopped(parts: Iterable[Part], is_stopped: Callable[[], bool]) -> Iterator[Part]:
    """Give the parts of long work on, until it is called off.

    Raises:
        StoppedError: it was.
    """
    for part in parts:
        if is_stopped():
            raise StoppedError
        yield part


async def in_thread(
    work: Callable[[], Result], *, limiter: Any = None, on_cancel: Callable[[], object] | None = None
) -> Result:
    """Do this in a worker thread, and never leave it behind.

    Whoever is cancelled waits until the thread is done, however the cancellation came: asyncio's own passes through
    anyio's shields, and a thread that went on would write after its lock, its lease or its staging is gone. Long work
    that can stop halfway is told to by `on_cancel`; its result is lost then.
    """
    from asyncio import CancelledError, Event, get_running_loop  # noqa: PLC0415 - a warm command has no event loop

    from anyio import to_thread  # noqa: PLC0415 - as above

    loop, is_done = get_running_loop(), Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop was closed, and nobody waits
            loop.call_soon_threadsafe(is_done.set)

    errand = _Errand(work, tell)
    try:
        return await to_thread.run_sync(errand, limiter=limiter, abandon_on_cancel=on_cancel is not None)
    except CancelledError:
        if errand.call_off():
            raise
        if on_cancel is not None:
            on_cancel()
        await _until(is_done)
        raise


async def in_thread_surely(work: Callable[[], Any]) -> None:
    """Do this in a worker thread however often it is cancelled: it cleans up. The cancellation is raised afterwards."""
    from asyncio import CancelledError  # noqa: PLC0415 - a warm command has no event loop

    from anyio import CancelScope  # noqa: PLC0415 - as above

    has_begun = False

    def begin() -> None:
        nonlocal has_begun
        has_begun = True
        work()

    cancelled: CancelledError | None = None
    while not has_begun:
        try:
            with CancelScope(shield=True):
                await in_thread(begin)
        except CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def while_showing_life(key_hold: KeyHold, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do this, showing those who wait every second that it goes on (rule 4)."""
    from anyio import create_task_group, sleep  # noqa: PLC0415 - as above

    async def show() -> None:
        while True:
            key_hold.progress()
            await sleep(1)

    outcome: list[Result] = []
    failure: list[Exception] = []
    async with create_task_group() as tasks:
        tasks.start_soon(show)
        try:
            outcome.append(await work())
        except Exception as error:  # noqa: BLE001 - raised below: a task group would wrap it
            failure.append(error)
        tasks.cancel_scope.cancel()
    if failure:
        raise failure[0]
    return outcome[0]


class _Errand(Generic[Result]):
    """Work for another thread, which can be called off until it begins."""

    def __init__(self, work: Callable[[], Result], tell: Callable[[], None]) -> None:
        self._work = work
        self._tell = tell
        self._mutex = allocate_lock()
        self._has_begun = self._is_called_off = False

    def __call__(self) -> Result:
        with self._mutex:
            self._has_begun = True
            if self._is_called_off:
                raise RuntimeError("this was called off")
        try:
            return self._work()
        finally:
            self._tell()

    def call_off(self) -> bool:
        """Keep it from beginning; False if it has begun."""
        with self._mutex:
            self._is_called_off = not self._has_begun
            return self._is_called_off


async def _until(event: Any) -> None:
    from asyncio import CancelledError  # noqa: PLC0415 - as above

    from anyio import CancelScope  # noqa: PLC0415 - as above

    while not event.is_set():
        with CancelScope(shield=True), suppress(CancelledError):  # the first cancellation is on its way already
            await event.wait()


def _holds_limiter() -> Any:
    """Give a limiter that never makes a hold wait for a thread: everybody else would wait with it."""
    import math  # noqa: PLC0415 - as below

    from anyio import CapacityLimiter  # noqa: PLC0415 - a warm command has no event loop

    return CapacityLimiter(math.inf)
