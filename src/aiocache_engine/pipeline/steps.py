"""A synchronous core under an asynchronous shell: work is written once, as steps, and performed in either way.

A piece of work is a generator that yields what has to be done next: something short inside a hold of the cache lock, or
something long outside. A warm command performs the steps in its own thread; the engine performs the same steps from the
event loop in a worker thread, which it leaves for every wait, and can be cancelled between any two.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from functools import partial

from aiocache_engine.hints import Any, Generic, TypeVar
from aiocache_engine.model.locking import LockMode, Wait
from aiocache_engine.model.value import value
from aiocache_engine.system.disk import translated
from aiocache_engine.system.lock import CacheLock, Hold

Result = TypeVar("Result")


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
        """Perform every step in this thread, which runs no event loop."""
        run = _Run(steps)
        run.go_on(self._do)
        return run.result

    async def conduct(self, steps: Steps[Result]) -> Result:
        """Perform every step from the event loop: in a worker thread, but for waits, which take none."""
        with self._lock.for_one_loop():
            run = _Run(steps)
            await self._finish(run)
        return run.result

    def perform_in_worker(
        self, steps: Steps[Result], *, wait_for: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> Result:
        """Perform every step in this worker thread of an event loop, on which `wait_for` has done what has to wait."""
        run = _Run(steps)
        if run.go_on(self._do_at_once) is not None:
            wait_for(partial(self._finish, run))
        return run.result

    async def _finish(self, run: _Run[Any]) -> None:
        from aiocache_engine.pipeline.threads import in_thread  # noqa: PLC0415 - a warm command has no event loop

        while not run.is_done:
            run.begin()
            try:
                waiting = await in_thread(partial(run.go_on, self._do_at_once), on_cancel=run.stop)
                if waiting is None:
                    break
                outcome = await self._wait_and_do(waiting)
            except BaseException as error:  # noqa: BLE001 - the steps themselves decide what an error or the cancellation means
                run.fail(error)
            else:
                run.succeed(outcome)

    def _do(self, step: Step) -> Any:
        if isinstance(step, InHold):
            with self._lock.hold_now(step.mode, timeout_seconds=self._timeout_seconds, on_wait=self._on_wait) as hold:
                return self._do_in(hold, step)
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        with translated(self._place):
            return step.work()

    def _do_at_once(self, step: Step) -> Any:
        if isinstance(step, Pause):
            raise _MustWaitError(step)
        if isinstance(step, InHold):
            with self._lock.hold_if_free(step.mode) as hold:
                if hold is None:
                    raise _MustWaitError(step)
                return self._do_in(hold, step)
        return self._do(step)

    async def _wait_and_do(self, step: InHold | Pause) -> Any:
        from anyio import sleep  # noqa: PLC0415 - as above

        from aiocache_engine.pipeline.threads import in_thread  # noqa: PLC0415 - as above

        if isinstance(step, Pause):
            await sleep(step.seconds)
            return None
        async with self._lock.hold(step.mode, timeout_seconds=self._timeout_seconds, on_wait=self._on_wait) as hold:
            return await in_thread(partial(self._do_in, hold, step), limiter=_holds_limiter())

    def _do_in(self, hold: Hold, step: InHold) -> Any:
        try:
            with translated(self._place):
                return step.work(hold)
        finally:
            self.waited_seconds += hold.waited_seconds
            if hold.mode is LockMode.EXCLUSIVE:
                self.longest_hold_seconds = max(self.longest_hold_seconds, time.monotonic() - hold.acquired_at)


class _MustWaitError(Exception):
    """A step cannot be done at once."""

    def __init__(self, step: InHold | Pause) -> None:
        super().__init__(step)
        self.step = step


class _Run(Generic[Result]):
    """Steps on their way: what is to be done next, and how they go on from there."""

    result: Result  #: once it is done

    def __init__(self, steps: Steps[Result]) -> None:
        self._steps = steps
        self._step: Step | None = None
        self._is_stopped = False
        self._advance(partial(next, steps))

    @property
    def is_done(self) -> bool:
        """Tell whether no step is left."""
        return self._step is None

    def begin(self) -> None:
        """Forget that it was stopped: what steps do after a cancellation they do to its end."""
        self._is_stopped = False

    def go_on(self, do: Callable[[Step], Any]) -> InHold | Pause | None:
        """Do one step after the other; gives the one that must be waited for, or None at the end or when stopped."""
        while self._step is not None and not self._is_called_off():
            try:
                outcome = do(self._step)
            except _MustWaitError as wait:
                return wait.step
            except BaseException as error:  # noqa: BLE001 - the steps themselves decide what an error means
                if self._is_called_off():  # the cancellation is what they are told
                    return None
                self.fail(error)
            else:
                self.succeed(outcome)
        return None

    def stop(self) -> None:
        """Let `go_on`, in another thread, end after the step that it is at; long work that can stop halfway does."""
        self._is_stopped = True
        step = self._step
        if isinstance(step, Outside) and step.stop is not None:
            step.stop()

    def succeed(self, outcome: Any) -> None:
        """Tell the steps what the step gave."""
        self._advance(partial(self._steps.send, outcome))

    def fail(self, error: BaseException) -> None:
        """Tell the steps what went wrong; raises what they do not handle."""
        self._advance(partial(self._steps.throw, error))

    def _is_called_off(self) -> bool:
        return self._is_stopped

    def _advance(self, resume: Callable[[], Step]) -> None:
        try:
            self._step = resume()
        except StopIteration as stop:
            self._step, self.result = None, stop.value


def _holds_limiter() -> Any:
    """Give a limiter that never makes a hold wait for a thread: everybody else would wait with it."""
    import math  # noqa: PLC0415 - as below

    from anyio import CapacityLimiter  # noqa: PLC0415 - a warm command has no event loop

    return CapacityLimiter(math.inf)
