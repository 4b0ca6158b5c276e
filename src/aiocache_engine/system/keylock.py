"""Key locks: one piece of work (a download, a build, an environment) is done by one at a time.

A key lock saves work and guards no safety: publishing twice is harmless. So a waiter may give up on a holder that makes
no progress and go on without the lock. Held only for that work; the lock order is environment lock, key lock, build
slot, cache lock, so it is never asked for inside a hold of the cache lock. Waiting for another key while one is held is
the caller's fault to avoid; giving up on a stalled holder bounds what it costs.

The file may be unlinked by its holder: whoever waited on the old file notices that the path leads elsewhere.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from weakref import WeakValueDictionary

from aiocache_engine.errors import KeyLockTimeoutError, LockError, NestedHoldError
from aiocache_engine.hints import Final
from aiocache_engine.model.locking import LockMode, Wait
from aiocache_engine.system.descent import remove_file
from aiocache_engine.system.lock import refuse_inside_hold
from aiocache_engine.system.lockfile import (
    NOT_WRITABLE,
    LockFile,
    Patience,
    disk_errors,
    named_in_real_directory,
    refuse_in_event_loop,
)

_PROGRESS_INTERVAL_SECONDS: Final = 0.1


class KeyHold:
    """The right to do a piece of work, for the length of the block."""

    __slots__ = ("_file", "_progress_at", "waited_seconds")

    def __init__(self, file: LockFile | None, *, waited_seconds: float) -> None:
        self.waited_seconds = waited_seconds
        self._file = file
        self._progress_at = 0.0

    @property
    def held(self) -> bool:
        """Whether the lock is ours; False for who went on without it, after the end, and in a forked child."""
        return self._file is not None

    def progress(self) -> None:
        """Show those who wait that the work moves. Cheap: at most ten system calls a second."""
        now = time.monotonic()
        if self._file is None or now - self._progress_at < _PROGRESS_INTERVAL_SECONDS:
            return
        self._progress_at = now
        self._file.touch()

    def end(self) -> None:
        """Let it be true no longer. Its owner's to call; the lock itself goes separately."""
        self._file = None


class KeyLock:
    """An exclusive lock named by a file. Any number of objects of one path make one lock."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the lock. The file is made by the first hold; its directory must be there by then."""
        self._path = named_in_real_directory(path)
        self._is_real = self._path == os.fspath(path)
        self._key = _keys.at(self._path)

    @asynccontextmanager
    async def hold(
        self,
        *,
        what: str,
        stall_seconds: float | None = 60.0,
        timeout_seconds: float | None = None,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> AsyncIterator[KeyHold]:
        """Hold the key lock for the length of the block.

        Args:
            what: the work, as a person who waits is told of it ("the download of …").
            stall_seconds: go on without the lock when its holder has shown no progress for so long; None: never.
            timeout_seconds: give up altogether after so long; None: never.
            on_wait: called once, when the wait passes a second.

        Raises:
            KeyLockTimeoutError: not obtained within `timeout_seconds`.
            NestedHoldError: asked for inside a hold of the cache lock.
            LocksUnsupportedError: the file system has no locks.
            LockError: the lock file cannot be opened.
        """
        refuse_inside_hold(self._path)
        ticket = _Ticket(what, stall_seconds, timeout_seconds)
        try:
            with closing(self._waits(ticket, on_wait)) as pauses:
                for pause in pauses:
                    from anyio import sleep  # noqa: PLC0415  (only a wait needs it)

                    await sleep(pause)
            yield ticket.granted()
        finally:
            self._key.leave(ticket)

    @contextmanager
    def hold_now(
        self,
        *,
        what: str,
        stall_seconds: float | None = 60.0,
        timeout_seconds: float | None = None,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> Iterator[KeyHold]:
        """Hold the key lock in a thread that runs no event loop; else as `hold`."""
        refuse_inside_hold(self._path)
        refuse_in_event_loop(self._path)
        ticket = _Ticket(what, stall_seconds, timeout_seconds)
        try:
            with closing(self._waits(ticket, on_wait)) as pauses:
                for pause in pauses:
                    time.sleep(pause)
            yield ticket.granted()
        finally:
            self._key.leave(ticket)

    def remove_now(self) -> None:
        """Remove the file while holding the lock, in a thread that runs no event loop. Who waits for it notices.

        Nothing is made or removed where a link has come into the path since it was named.

        Raises:
            KeyLockTimeoutError: somebody holds it.
            LockError: as `hold`.
        """
        if self._is_real:
            with self.hold_now(what="its removal", timeout_seconds=0):
                remove_file(self._path)

    def _waits(self, ticket: _Ticket, on_wait: Callable[[Wait], None] | None) -> Generator[float]:
        """Try until the ticket is granted; yields the seconds to sleep before the next try."""
        self._key.enter(ticket)
        while not self._key.try_now(ticket):
            if ticket.is_stalled(self._path):
                self._key.leave(ticket)
                ticket.hold = KeyHold(None, waited_seconds=ticket.patience.waited_seconds)
                return
            pause = ticket.patience.next_pause()
            if pause is None:
                waited = round(ticket.patience.waited_seconds, 3)
                raise KeyLockTimeoutError(self._path, ticket.what, waited_seconds=waited, holders=self._holders())
            if on_wait is not None and ticket.patience.is_time_to_tell():
                on_wait(Wait(self._path, ticket.what, ticket.patience.waited_seconds, self._holders()))
            yield pause

    def _holders(self) -> tuple[str, ...]:
        from aiocache_engine.system.process import holders_of  # noqa: PLC0415  (long waits only)

        return holders_of(self._path)


class _Ticket:
    """One wish for a key, from its arrival to its end."""

    __slots__ = ("_seen", "_seen_at", "_stall_seconds", "hold", "patience", "what")

    def __init__(self, what: str, stall_seconds: float | None, timeout_seconds: float | None) -> None:
        self.what = what
        self.patience = Patience(timeout_seconds)
        self.hold: KeyHold | None = None
        self._stall_seconds = stall_seconds
        self._seen: tuple[int, int] | None = None
        self._seen_at = time.monotonic()

    def granted(self) -> KeyHold:
        if self.hold is None:
            raise NestedHoldError(self.what, "the hold was lost")
        return self.hold

    def is_stalled(self, path: str) -> bool:
        """Whether the file has shown no progress since this waiter has watched it.

        Our own monotonic clock decides: the mtime may be of another machine's clock, or of before a suspend.
        """
        if self._stall_seconds is None:
            return False
        try:
            there = os.lstat(path)
        except OSError:
            return False  # just unlinked: the next try makes a new one
        now = time.monotonic()
        seen = (there.st_ino, there.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        return now - self._seen_at >= self._stall_seconds


class _Key:
    """The one owner of a key lock file in this process: a queue whose first may have the file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mutex = threading.Lock()  #: guards all below; never held while waiting
        self._queue: list[_Ticket] = []  #: in order of arrival; a holder stays first until its end
        self._file: LockFile | None = None

    def enter(self, ticket: _Ticket) -> None:
        with self._mutex:
            self._queue.append(ticket)

    def try_now(self, ticket: _Ticket) -> bool:
        with self._mutex, disk_errors(self._path):
            if ticket not in self._queue:
                raise LockError(self._path, "this process was forked during a wait; the child must ask anew")
            if self._queue[0] is not ticket:
                return False
            try:
                self._file = LockFile.take(self._path, LockMode.EXCLUSIVE)
            except FileNotFoundError as error:
                reason = "the directory of the lock file is missing: it was removed while in use; run the command again"
                raise LockError(self._path, reason) from error
            except OSError as error:
                if error.errno not in NOT_WRITABLE:
                    raise
                raise LockError(self._path, f"the lock file cannot be written ({error.strerror})") from error
            if self._file is None:
                return False
            self._file.touch()
            ticket.hold = KeyHold(self._file, waited_seconds=ticket.patience.waited_seconds)
            return True

    def leave(self, ticket: _Ticket) -> None:
        """End what the ticket holds, or take it out of the queue; nothing if neither."""
        with self._mutex:
            if ticket not in self._queue:
                return
            self._queue.remove(ticket)
            if ticket.hold is not None and self._file is not None:
                ticket.hold.end()
                file, self._file = self._file, None
                file.release()

    def forget_in_child(self) -> None:
        self._mutex = threading.Lock()
        for ticket in self._queue:
            if ticket.hold is not None:
                ticket.hold.end()
        self._queue = []
        if self._file is not None:
            self._file.forget()
            self._file = None


class _Keys:
    """The owners of this process, each kept for as long as somebody names it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._keys: WeakValueDictionary[str, _Key] = WeakValueDictionary()

    def at(self, path: str) -> _Key:
        with self._mutex:
            key = self._keys.get(path)
            if key is None:
                key = self._keys[path] = _Key(path)
            return key

    def forget_in_child(self) -> None:
        self._mutex = threading.Lock()
        for key in self._keys.values():
            key.forget_in_child()


_keys = _Keys()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keys.forget_in_child)
