"""Work in worker threads of an event loop, which is never left behind there: whoever is cancelled waits for its end.

Long work looks now and then whether it was called off, and then stops halfway.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress

from aiocache_engine.hints import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from aiocache_engine.system.keylock import KeyHold

Result = TypeVar("Result")
Part = TypeVar("Part")


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
