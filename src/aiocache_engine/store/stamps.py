"""Stamps: fresh random values written in place, over those before, so that who reads two sees whether one came between.

What is written so is a file of the cache alone: through no link, into no pipe, and not where it has another name, too.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from aiocache_engine.system.disk import NO_PLAIN_FILE

STAMP_BYTES = 16
_WRITING = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def fresh_stamp() -> bytes:
    """Give a value that no stamp ever had."""
    return os.urandom(STAMP_BYTES)


def _put_beside(place_fd: int, name: str) -> None:
    """Put aside what stands in a file's place in an object; it goes with the object."""
    os.rename(name, f"{name}-{os.urandom(8).hex()}", src_dir_fd=place_fd, dst_dir_fd=place_fd)


def stamp_in(
    place_fd: int, name: str, put_aside: Callable[[int, str], None] = _put_beside, *, is_all: bool = False
) -> None:
    """Write a stamp over the one in a file of a directory.

    Where it was lost a new one is made; that of an object knows no boot then, so that the first use checks the files.

    Args:
        place_fd: a descriptor of the directory.
        name: of the file.
        put_aside: takes what is no file, or has another name, too, out of its place.
        is_all: there is nothing but the stamp in the file, and what stands behind it is cut off.
    """
    fd, size_bytes = open_sole(place_fd, name, put_aside)
    try:
        os.pwrite(fd, fresh_stamp(), 0)
        if is_all and size_bytes > STAMP_BYTES:
            os.ftruncate(fd, STAMP_BYTES)
    finally:
        os.close(fd)


def open_sole(place_fd: int, name: str, put_aside: Callable[[int, str], None] = _put_beside) -> tuple[int, int]:
    """Open a file to be written in place, or make it, as `open_to_write`; what else stands there is put aside."""
    try:
        return open_to_write(place_fd, name, flags=os.O_CREAT, is_sole=True)
    except OSError as error:
        if error.errno not in NO_PLAIN_FILE:
            raise
    with suppress(FileNotFoundError):  # another one was quicker
        put_aside(place_fd, name)
    return open_to_write(place_fd, name, flags=os.O_CREAT, is_sole=True)


def open_to_write(place_fd: int, name: str, *, flags: int = 0, is_sole: bool = False) -> tuple[int, int]:
    """Open a regular file of a directory to write in it, without ever waiting; gives its descriptor and its size.

    With `is_sole` it must not have a second name: who else knows the file did not ask for stamps in it.

    Raises:
        OSError: it cannot be opened, or is no such file (one of `NO_PLAIN_FILE`).
    """
    fd = os.open(name, _WRITING | flags, 0o644, dir_fd=place_fd)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and not (is_sole and status.st_nlink > 1):
        return fd, status.st_size
    os.close(fd)
    raise OSError(errno.EINVAL, "it is no regular file of its own", name)
