"""Walk directories below a root by descriptors, component by component, never through a symbolic link.

For work that visits many directories in the order of their paths: what two neighbours have in common stays open.
Not thread-safe; each thread has its own, on the same root descriptor.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
def place_of(path: str, root: str = "", *, make: bool = False, around: int | None = None) -> Iterator[int]:
    """Give a descriptor of the directory that a path stands in, for work on its entries.

    It is the directory that was there in this moment, reached through no link; what becomes of its name later leads
    nobody elsewhere. An error inside that names an entry is raised again with the whole path.

    Args:
        path: of the entry, which need not be there.
        root: the directory from which on no link is followed; "": the one around the directory of the entry.
        make: create directories that are missing below the root.
        around: a descriptor of the directory around that of the entry, where the caller has one.

    Raises:
        FileNotFoundError: a directory is missing (without `make`).
        OSError: a link, or no directory, stands in the place of one.
    """
    directory = path.rpartition("/")[0]
    if around is None:
        fd = _open_place(path, root, make=make)
    else:
        fd = _enter(os.path.basename(directory), around, directory)
    try:
        yield fd
    except OSError as error:
        if isinstance(error.filename, str) and not os.path.isabs(error.filename):
            raise OSError(error.errno, error.strerror, f"{directory}/{error.filename}") from error
        raise
    finally:
        os.close(fd)


@contextmanager
def directory_of(path: str) -> Iterator[int | None]:
    """Give a descriptor of the directory that a path stands in, for work on its entries.

    None where there is none, or where a link stands in its place or in that of the directory around it: what is behind
    is somebody else's.
    """
    try:
        fd = _open_place(path)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        yield None
        return
    try:
        yield fd
    finally:
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


def rename(source: str, path: str, root: str = "") -> None:
    """Rename a file or directory over what `path` names, between directories of `place_of`; errors name `path`."""
    with place_of(source, root) as source_fd, place_of(path, root) as target_fd:
        try:
            os.rename(os.path.basename(source), os.path.basename(path), src_dir_fd=source_fd, dst_dir_fd=target_fd)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error


def make_directory(path: str, root: str = "") -> None:
    """Make a directory, and those between it and the root, as far as they are missing (see `place_of`)."""
    with place_of(f"{path}/.", root, make=True):
        pass


def _open_place(path: str, root: str = "", *, make: bool = False) -> int:
    directory = path.rpartition("/")[0]
    place = root or directory.rpartition("/")[0] or "/"
    below = directory[len(place) :].strip("/")
    fd = _enter(place, None, place)
    for part in below.split("/") if below else ():
        around_fd, place = fd, f"{place}/{part}"
        try:
            fd = _enter(part, around_fd, place, make=make)
        finally:
            os.close(around_fd)
    return fd


def _enter(name: str, around_fd: int | None, place: str, *, make: bool = False) -> int:
    try:
        return os.open(name, PATH_FLAGS, dir_fd=around_fd)
    except OSError as error:
        if make and error.errno == errno.ENOENT:
            with suppress(FileExistsError):  # another one was quicker
                os.mkdir(name, 0o755, dir_fd=around_fd)
            return _enter(name, around_fd, place)
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise OSError(error.errno, error.strerror, place) from error
        raise OSError(errno.ELOOP, "a symbolic link or a file stands where a directory should", place) from error
