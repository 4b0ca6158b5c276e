"""Walk directories below a root by descriptors, component by component, never through a symbolic link.

For work that visits many directories in the order of their paths: what two neighbours have in common stays open.
Not thread-safe; each thread has its own, on the same root descriptor.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from aiocache_engine.errors import TargetError
from aiocache_engine.hints import Self

PATH_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STRANGE = frozenset({"", ".", ".."})
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Descent:
    """Gives descriptors of directories below a root."""

    __slots__ = ("_fds", "_parts", "_root", "_root_fd")

    def __init__(self, root_fd: int, root: str) -> None:
        """Keep the root; its descriptor stays the caller's, its path is for messages."""
        self._root_fd = root_fd
        self._root = root
        self._parts: list[str] = []
        self._fds: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enter(self, path: str, *, make: bool = False) -> int:
        """Give a descriptor of the directory `path` ("" is the root), valid until the next call.

        With `make`, missing directories are created, and one that another thread creates meanwhile is fine.

        Raises:
            FileNotFoundError: a component is missing (without `make`).
            TargetError: a component is a symbolic link or no directory.
        """
        parts = path.split("/") if path else []
        shared = 0
        for ours, theirs in zip(self._parts, parts, strict=False):
            if ours != theirs:
                break
            shared += 1
        self._close_from(shared)
        for part in parts[shared:]:
            self._step(part, path, make=make)
        return self._fds[-1] if self._fds else self._root_fd

    def close(self) -> None:
        """Close every descriptor but the root's."""
        self._close_from(0)

    def _step(self, part: str, path: str, *, make: bool) -> None:
        if part in _STRANGE:
            raise TargetError(os.path.join(self._root, path), "it is no plain path below the target")
        parent = self._fds[-1] if self._fds else self._root_fd
        if make:
            try:  # noqa: SIM105 - once per directory of a big tree, and `suppress` costs as much as the call
                os.mkdir(part, 0o777, dir_fd=parent)
            except FileExistsError:
                pass
        try:
            fd = os.open(part, PATH_FLAGS, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            where = os.path.join(self._root, *self._parts, part)
            raise TargetError(
                where, "it is a symbolic link or no directory; nothing is written or removed through it"
            ) from error
        self._fds.append(fd)
        self._parts.append(part)

    def _close_from(self, count: int) -> None:
        while len(self._fds) > count:
            os.close(self._fds.pop())
            self._parts.pop()


@contextmanager
def directory_of(path: str) -> Iterator[int | None]:
    """Give a descriptor of the directory that a path stands in, for work on its entries.

    None where there is none, or where a link stands in its place or in that of the directory around it: what is behind
    is somebody else's.
    """
    fd = _open_directory_of(path)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def remove_file(path: str) -> bool:
    """Unlink a file or link; False if it is gone, or lies behind a link (see `directory_of`)."""
    with directory_of(path) as fd:
        if fd is None:
            return False
        try:
            os.unlink(os.path.basename(path), dir_fd=fd)
        except FileNotFoundError:
            return False
        return True


def _open_directory_of(path: str) -> int | None:
    around, name = os.path.split(os.path.dirname(path))
    try:
        around_fd = os.open(around, PATH_FLAGS)
        try:
            return os.open(name, PATH_FLAGS, dir_fd=around_fd)
        finally:
            os.close(around_fd)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
