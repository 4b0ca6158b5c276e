"""One lock file and one try, and the patience of those who wait.

Called by `lock` and `keylock` only. fasteners locks with POSIX record locks, which belong to the process: two handles
of one file in one process do not exclude each other, and closing either drops the lock of both. So a caller never has
more than one `LockFile` of a path at a time; nothing here can check that.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from aiocache_engine.errors import DiskError, LockError, LocksUnsupportedError, NestedHoldError, OutOfSpaceError
from aiocache_engine.hints import Final
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.descent import directory_of
from aiocache_engine.system.lock_mechanism import MECHANISM

#: What a file system answers that has no locks; 524 is Linux's ENOTSUPP, which has no name in `errno`.
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, 524})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
NOT_WRITABLE: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

_FIRST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.020
_PAUSE_GROWTH: Final = 1.25
_TELL_AFTER_SECONDS: Final = 1.0


class LockFile:
    """A taken lock on one file; whoever has it ends it with `release`, and a forked child with `forget`."""

    __slots__ = ("_handle", "_path")

    def __init__(self, path: str, handle: FileIO | None) -> None:
        self._path = path
        self._handle = handle

    @classmethod
    def take(cls, path: str, mode: LockMode) -> LockFile | None:
        """Try once, without waiting; None where another process is in the way or the file was just replaced.

        Creates the file, never its directory. In a read-only cache SHARED is taken through a read-only handle, and
        where there is no file at all the result has nothing behind it (`is_locked` False).

        Raises:
            LocksUnsupportedError: the file system has no locks.
            LockError: a symbolic link stands in the place of the file; nothing is made or locked through it.
            OSError: the file cannot be opened; the caller knows what that means for it.
        """
        handle = _open(path, mode)
        if handle is None:
            return cls(path, None)
        is_taken = False
        try:
            # A lock on a file that no longer has the name excludes nobody.
            is_taken = MECHANISM.trylock(handle, mode is LockMode.EXCLUSIVE) and _is_at(path, handle)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                raise LocksUnsupportedError(path, error.strerror or f"error {error.errno}") from error
            raise
        finally:
            if not is_taken:
                handle.close()
        return cls(path, handle) if is_taken else None

    @property
    def is_locked(self) -> bool:
        """Whether a kernel lock is behind it (not so in a read-only cache without lock files)."""
        return self._handle is not None

    def is_current(self) -> bool:
        """Whether the path still leads to the file that is locked. One stat."""
        return self._handle is None or _is_at(self._path, self._handle)

    def touch(self) -> None:
        """Set the file's mtime through the locked descriptor."""
        if self._handle is not None:
            os.utime(self._handle.fileno())

    def release(self) -> None:
        """Unlock and close."""
        if self._handle is not None:
            MECHANISM.unlock(self._handle)
            self._handle.close()

    def forget(self) -> None:
        """Close the copy of the descriptor that a forked child has. The lock is the parent's and stays."""
        if self._handle is not None:
            self._handle.close()


class Patience:
    """How one waiter waits: short jittered pauses that grow, one deadline, one word after a second."""

    __slots__ = ("_deadline", "_is_told", "_longest_pause_seconds", "_pause_seconds", "_started_at")

    def __init__(self, timeout_seconds: float | None, *, longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS) -> None:
        self._started_at = time.monotonic()
        self._deadline = None if timeout_seconds is None else self._started_at + timeout_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._is_told = False

    @property
    def waited_seconds(self) -> float:
        """Seconds since the first try."""
        return time.monotonic() - self._started_at

    def restart(self) -> None:
        """Begin again with short pauses: a stage was passed, and the next one is expected to be short."""
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def next_pause(self) -> float | None:
        """Return the seconds until the next try; None once the deadline has passed."""
        from random import random  # noqa: PLC0415  (a hold that nobody is in the way of needs no chance)

        left = float("inf") if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0:
            return None
        pause = self._pause_seconds * (0.75 + random() / 4)  # noqa: S311  (spreads the tries of many waiters)
        self._pause_seconds = min(self._pause_seconds * _PAUSE_GROWTH, self._longest_pause_seconds)
        return min(pause, left)

    def is_time_to_tell(self) -> bool:
        """Whether the wait has just become long; true once."""
        if self._is_told or self.waited_seconds < _TELL_AFTER_SECONDS:
            return False
        self._is_told = True
        return True


@contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """Translate what the operating system says of a lock file, where the caller has no better word."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise OutOfSpaceError(path, reason) from error
        raise DiskError(path, reason) from error


def named_in_real_directory(path: str | os.PathLike[str]) -> str:
    """Resolve all links on the way to a lock file, but not one in its place: that is refused when it is opened."""
    directory, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(directory), name)


def refuse_in_event_loop(path: str) -> None:
    """Raise where a synchronous wait would stop a running event loop, and with it perhaps the holder waited for."""
    import sys  # noqa: PLC0415  (one look, on the synchronous road only)

    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise NestedHoldError(path, "hold_now would block the running event loop; use `async with lock.hold(...)` there")


def _open(path: str, mode: LockMode) -> FileIO | None:
    try:
        return FileIO(path, "a+", opener=_open_no_link)
    except OSError as error:
        if error.errno == errno.ELOOP:
            what = "the lock file" if os.path.islink(path) else "a directory of the lock file"
            raise LockError(path, f"a symbolic link stands in the place of {what}; remove it") from error
        if mode is LockMode.EXCLUSIVE or not (error.errno in NOT_WRITABLE or _is_bare_and_read_only(path, error)):
            raise
    try:
        return FileIO(path, "r", opener=_open_no_link)
    except FileNotFoundError:
        return None


def _open_no_link(path: str, flags: int) -> int:
    with directory_of(path) as fd:
        if fd is not None:
            return os.open(os.path.basename(path), flags | os.O_NOFOLLOW, 0o666, dir_fd=fd)
    directory = os.path.dirname(path)
    code = errno.ELOOP if os.path.isdir(directory) else errno.ENOENT
    raise OSError(code, os.strerror(code), path)


def _is_bare_and_read_only(path: str, error: OSError) -> bool:
    """Whether only the lock directory is missing, in a cache dir where nobody can make it."""
    cache_dir = os.path.dirname(os.path.dirname(path))
    return error.errno == errno.ENOENT and os.path.isdir(cache_dir) and not os.access(cache_dir, os.W_OK)


def _is_at(path: str, handle: FileIO) -> bool:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(handle.fileno())
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)
