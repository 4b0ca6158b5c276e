"""The door to the disk: whole-file reads and writes that are complete or absent, and streams for downloads.

Small files are written beside nothing: the caller names a temporary path in staging, and one rename makes the file
visible. Only this module imports aiofiles, and only for the streams of the asynchronous shell.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiocache_engine.errors import CacheEngineError, DiskError, OutOfSpaceError, ReadOnlyCacheError
from aiocache_engine.hints import TYPE_CHECKING, Protocol
from aiocache_engine.system.descent import place_of

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncBufferedIOBase

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
#: what `open_plain` and `read_bytes` say of a link, a directory, a pipe or device, and a socket
NO_PLAIN_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO})
_NOT_LINKED = frozenset({errno.EEXIST, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
#: nobody waits here for the other end of a pipe
_PLAIN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_plain(path: str, *, dir_fd: int | None = None) -> int:
    """Open a regular file for reading, without ever waiting; gives its descriptor.

    Raises:
        OSError: it cannot be opened, or is no regular file (one of `NO_PLAIN_FILE`).
    """
    fd = os.open(path, _PLAIN, dir_fd=dir_fd)
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind):
        return fd
    os.close(fd)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "it is no regular file", path)


def read_bytes(path: str, *, dir_fd: int | None = None) -> bytes | None:
    """Read a whole regular file; None if there is none.

    Raises:
        OSError: it cannot be read, or something else stands in its place (one of `NO_PLAIN_FILE`).
    """
    try:
        fd = open_plain(path, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        size = os.fstat(fd).st_size
        content = os.read(fd, size + 1)
        while len(content) < size and (more := os.read(fd, size - len(content))):
            content += more
        return content
    finally:
        os.close(fd)


def write_bytes(
    path: str, content: bytes, *, mode: int = 0o644, flags: int = os.O_EXCL, dir_fd: int | None = None
) -> None:
    """Write a new file; what cannot be written whole is removed again."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, mode, dir_fd=dir_fd)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.unlink(path, dir_fd=dir_fd)
        raise
    finally:
        os.close(fd)


def write_in_place(path: str, content: bytes, root: str = "") -> None:
    """Write a new file where no link leads to: see `place_of`, also for `root`."""
    with place_of(path, root) as fd:
        write_bytes(os.path.basename(path), content, dir_fd=fd)


def replace_bytes(path: str, content: bytes, *, by_way_of: str, root: str = "") -> None:
    """Write a file under the temporary path `by_way_of` (same file system) and rename it over `path`.

    No link leads to either: see `place_of`, also for `root`.
    """
    with place_of(path, root) as fd, place_of(by_way_of, root) as temporary_fd:
        temporary = os.path.basename(by_way_of)
        write_bytes(temporary, content, dir_fd=temporary_fd)
        try:
            os.replace(temporary, os.path.basename(path), src_dir_fd=temporary_fd, dst_dir_fd=fd)
        except OSError as error:
            os.unlink(temporary, dir_fd=temporary_fd)
            # It would name the temporary path, which was fine a moment ago and is gone now.
            raise OSError(error.errno, error.strerror, path) from error
        except BaseException:
            os.unlink(temporary, dir_fd=temporary_fd)
            raise


def put_new(temporary: str, path: str, root: str = "") -> bool:
    """Give a file the name `path` in the place of its own, unless something has that name; tells if it was given.

    False, too, where the file system has no hard links. No link leads to either: see `place_of`, also for `root`.
    """
    name, new_name = os.path.basename(temporary), os.path.basename(path)
    with place_of(temporary, root) as temporary_fd, place_of(path, root) as fd:
        try:
            os.link(name, new_name, src_dir_fd=temporary_fd, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_LINKED:
                raise OSError(error.errno, error.strerror, path) from error
            return False
        os.unlink(name, dir_fd=temporary_fd)
    return True


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn an `OSError` inside into an error of ours that names the path and the reason."""
    try:
        yield
    except CacheEngineError:
        raise
    except OSError as error:
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: str) -> CacheEngineError:
    """Give the error of ours that an `OSError` stands for."""
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
    reason = error.strerror or str(error)
    if error.errno in _NO_SPACE:
        return OutOfSpaceError(place, reason)
    if error.errno == errno.EROFS:
        return ReadOnlyCacheError(place, "the file system is read-only")
    return DiskError(place, reason)


class ByteStream(Protocol):
    """An open file of the asynchronous shell."""

    async def write(self, chunk: bytes) -> None:
        """Append the chunk; callers hand over about 1 MiB at a time."""


class _File:
    def __init__(self, file: AsyncBufferedIOBase) -> None:
        self._file = file

    async def write(self, chunk: bytes) -> None:
        import anyio  # noqa: PLC0415 - as below

        # A write that is left behind would go on in its thread while the file is closed and removed.
        with anyio.CancelScope(shield=True):
            await self._file.write(chunk)


def _open_in_place(path: str, flags: int) -> int:
    with place_of(path) as fd:
        return os.open(os.path.basename(path), flags | os.O_NOFOLLOW, 0o666, dir_fd=fd)


@asynccontextmanager
async def open_stream(path: str, *, append: bool = False) -> AsyncIterator[ByteStream]:
    """Open a file for writing from the event loop; every write is one job in a thread. No link leads to it.

    Errors of the disk are raised as `DiskError` or `OutOfSpaceError`. A cancelled user finds the file closed.
    """
    import aiofiles  # noqa: PLC0415 - a warm command opens no stream
    import anyio  # noqa: PLC0415 - as above

    with translated(path):
        with anyio.CancelScope(shield=True):
            file = await aiofiles.open(path, "ab" if append else "xb", opener=_open_in_place)
        try:
            yield _File(file)
        finally:
            with anyio.CancelScope(shield=True):
                await file.close()
