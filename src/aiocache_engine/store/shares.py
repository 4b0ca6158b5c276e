"""Pipeline leases: one lease that many works, in several processes, put their objects on (rules 8, 9 and 13).

Who made it holds it by the kernel lock, and ends it. Who joins opens the file to append to it, and never locks it. A
pipeline lease is a second protection: every work has its own lease besides, and trusts that alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from _thread import allocate_lock
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from aiocache_engine.model.locking import LockMode
from aiocache_engine.store.leases import Lease, append_change, read_change
from aiocache_engine.system.descent import place_of
from aiocache_engine.system.disk import NO_PLAIN_FILE
from aiocache_engine.system.lock import Hold

_JOINING = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NOT_TO_BE_JOINED = NO_PLAIN_FILE | {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS}


class Share:
    """This process's part in a pipeline lease. From any thread."""

    __slots__ = ("_changes", "_lease", "_mutex", "id", "path")

    def __init__(self, path: str, lease: Lease | None = None) -> None:
        """Keep where it is; nothing is looked at yet.

        Args:
            path: of the lease file.
            lease: where this process made it; None: it is another's, which this one joins.
        """
        self.id = os.path.basename(path)
        self.path = path
        self._lease = lease
        self._changes = _Changes()
        self._mutex = allocate_lock()  # a descriptor must not be closed, and given to another file, while it is used

    def is_alive(self) -> bool:
        """Tell whether its maker still holds it."""
        with self._mutex, self._opened() as fd:
            return fd is not None

    def add(self, hold: Hold, object_ids: Iterable[str]) -> None:
        """Put objects on it, in the hold that looks them up; nothing is done for a pipeline that has ended."""
        hold.require(LockMode.SHARED)
        with self._mutex, self._opened() as fd:
            if fd is None:
                return
            present = self._changes.read(fd)
            fresh = [each for each in object_ids if each not in present]
            if fresh:
                append_change(fd, "add", fresh, self.path)

    def drop(self, object_ids: Collection[str]) -> None:
        """Give objects up, whoever put them on it. Needs no hold."""
        with self._mutex, self._opened() as fd:
            if fd is None:
                return
            given_up = sorted(self._changes.read(fd).intersection(object_ids))
            if given_up:
                append_change(fd, "drop", given_up, self.path)

    def objects(self) -> frozenset[str]:
        """Give the ids of all that is on it now."""
        with self._mutex, self._opened() as fd:
            return frozenset() if fd is None else frozenset(self._changes.read(fd))

    def end(self) -> None:
        """End the lease, if this process made it."""
        with self._mutex:
            if self._lease is not None:
                self._lease.end()

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """Give a descriptor of the living lease's file; None: it has ended, or is not to be joined from here.

        The maker uses the one that it holds it by, and no other: closing one would end it where locks are POSIX locks.
        """
        if self._lease is not None:
            fd = self._lease.fileno()
            yield fd if fd >= 0 else None
            return
        try:
            with place_of(self.path) as place_fd:
                fd = os.open(self.id, _JOINING, dir_fd=place_fd)
        except OSError as error:
            if error.errno not in _NOT_TO_BE_JOINED:
                raise
            yield None
            return
        try:
            yield fd if stat.S_ISREG(os.fstat(fd).st_mode) and _is_held(fd) else None
        finally:
            os.close(fd)


class _Changes:
    """What a lease file says by now. Of a file that only grows, only what is new is read."""

    __slots__ = ("_end", "_objects")

    def __init__(self) -> None:
        self._end = 0
        self._objects: set[str] = set()

    def read(self, fd: int) -> set[str]:
        """Give the ids of the objects on it."""
        size_bytes = os.fstat(fd).st_size
        if size_bytes > self._end:
            whole, newline, _ = os.pread(fd, size_bytes - self._end, self._end).rpartition(b"\n")
            lines = whole.splitlines()
            for line in lines if self._end else lines[1:]:  # the first one tells of the holder
                self._apply(line)
            self._end += len(whole) + len(newline)
        return self._objects

    def _apply(self, line: bytes) -> None:
        change = read_change(line)
        if change is None:  # a newer release's: who reads the file keeps everything, and adding once more does no harm
            return
        verb, object_ids = change
        if verb == "add":
            self._objects.update(object_ids)
        else:
            self._objects.difference_update(object_ids)


def _is_held(fd: int) -> bool:
    """Tell whether somebody holds a lease file; the answer is not kept by this descriptor, which is closed next."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
