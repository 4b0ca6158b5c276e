"""Event loops that threads share: one for everything in a process that works on one cache dir.

A cache lock serves one loop at a time, hence one for all. Each lives in a thread of its own from its first user to its
last, and dies with a fork. Whoever waits for a call and is interrupted cancels it, and waits until it has cleaned up.
"""

from __future__ import annotations

import os
import threading
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from anyio import CancelScope, get_cancelled_exc_class, run
from anyio.from_thread import BlockingPortal

from aiocache_engine.errors import UsageError
from aiocache_engine.hints import Generic, TypeVar
from aiocache_engine.system.disk import translated

Result = TypeVar("Result")


class SharedCall(Generic[Result]):
    """One call: done on the loop by a task, waited for in a thread."""

    def __init__(self, work: Callable[[], Awaitable[Result]]) -> None:
        self.outcome: Future[Result] = Future()  #: running from the task's begin to its very end, clean-up included
        self._work = work
        self._scope: CancelScope | None = None

    async def perform(self) -> None:
        """Do it; however it ends is told to the thread that waits, and to nobody else on the loop."""
        with CancelScope() as self._scope:
            if not self.outcome.set_running_or_notify_cancel():
                return
            try:
                result = await self._work()
            except get_cancelled_exc_class() as error:
                self.outcome.set_exception(error)
                raise
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
                self.outcome.set_exception(error)
            else:
                self.outcome.set_result(result)

    def cancel(self) -> None:
        """Ask it to end, on the loop."""
        if self._scope is not None:
            self._scope.cancel()


class SharedLoop:
    """An event loop in a thread of its own, for all engines of this process on one cache dir."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.user_count = 0  #: engines that are open; guarded by the registry's mutex
        self.is_of_parent = False  #: this is a forked child, in which the thread does not exist
        self._pid = os.getpid()
        self._portal: Future[BlockingPortal] = Future()
        # A daemon: an engine that nobody closes must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"aiocache-engine {path}", daemon=True)
        self._thread.start()

    def refuse_fork(self) -> None:
        """Raise in a forked child, which has a copy of this object and nothing behind it."""
        if self.is_of_parent:
            raise UsageError(
                f"this BlockingCacheEngine was opened by process {self._pid}, and this is a fork of it;"
                " make a new BlockingCacheEngine here"
            )

    def wait_for(self, call: SharedCall[Result]) -> Result:
        """Have the call done and give its result. Whatever interrupts the wait cancels the call."""
        portal = self._portal.result()
        try:
            portal.start_task_soon(call.perform)
            call.outcome.exception()
        except BaseException:
            if not call.outcome.cancel():  # it has begun: nothing of it may be left when its caller goes on
                portal.start_task_soon(call.cancel)
                call.outcome.exception()
            raise
        return call.outcome.result()

    def stop(self) -> None:
        """End the loop, and wait until its thread has ended."""
        if self._portal.exception() is None:
            portal = self._portal.result()
            portal.start_task_soon(portal.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            with translated(self.path):
                run(self._live)
        except BaseException as error:
            if self._portal.done():
                raise
            self._portal.set_exception(error)  # no descriptors left for a loop, say: told to who opens the engine

    async def _live(self) -> None:
        async with BlockingPortal() as portal:
            self._portal.set_result(portal)
            await portal.sleep_until_stopped()


class Loops:
    """The shared loops of this process, by real path of the cache dir."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()  #: held for a few lines, never while waiting for a call
        self._loops: dict[str, SharedLoop] = {}

    def join(self, path: str) -> SharedLoop:
        """Give the loop of a cache dir, started if need be. Whoever joins leaves."""
        with self.mutex:
            loop = self._loops.get(path)
            if loop is None:
                loop = self._loops[path] = SharedLoop(path)
            loop.user_count += 1
            return loop

    def leave(self, loop: SharedLoop) -> None:
        """Stop the loop if this was its last user, who has no call under way."""
        with self.mutex:
            loop.user_count -= 1
            if loop.user_count:
                return
            del self._loops[loop.path]
        loop.stop()

    def forget_in_child(self) -> None:
        """Begin anew in a forked child."""
        self.mutex = threading.Lock()
        for loop in self._loops.values():
            loop.is_of_parent = True
        self._loops = {}


def refuse_event_loop() -> None:
    """Raise in a thread that runs an event loop: waiting would stop it.

    Raises:
        UsageError: it does.
    """
    try:
        get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        "BlockingCacheEngine would stop the event loop that runs in this thread;"
        " use CacheEngine there: `async with CacheEngine(…) as engine:`"
    )


LOOPS = Loops()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LOOPS.forget_in_child)
