"""METADATA out of a wheel that is not unpacked: from a file, or from the few parts of it that are needed.

By the strict rules of `pipeline.wheels`: what two readers could understand in two ways is refused. What is read from
parts of a remote file cannot be checked against the file's hash; the wheel itself is, before it is installed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from aiocache_engine.errors import InvalidNameError, InvalidWheelError
from aiocache_engine.model.names import project_name, wheel_name
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.pipeline.wheels.zip_directory import Member, UnpackLimits, UnsafeZipError, read_directory
from aiocache_engine.pipeline.wheels.zip_members import whole_member

_TAIL_BYTES = 64 * 1024
_LARGEST_BYTES = 16 * 1024 * 1024  #: of a METADATA file, packed or not
_END = struct.Struct("<4s4H2IH")
_FULL32 = 0xFFFFFFFF
_NO_RATIO = UnpackLimits(ratio=float("inf"))  #: nothing is unpacked but METADATA


class Part(NamedTuple):
    """Some bytes of a remote file."""

    start: int
    content: bytes
    total_bytes: int  #: of the whole file


#: Gives `length` bytes from `start` (or, with None, the last `length`); None: the server gives no parts.
ReadPart = Callable[[int | None, int], Awaitable[Part | None]]


def metadata_in_file(fd: int, filename: str) -> bytes:
    """Read METADATA from a whole wheel.

    Raises:
        InvalidWheelError: it is malformed.
    """
    return _content(fd, _find(fd, filename), filename)


async def metadata_from_parts(read: ReadPart, filename: str, size_bytes: int | None) -> bytes | None:
    """Read METADATA from the parts of a remote wheel that it takes: mostly its tail alone.

    None: this way does not lead there (no parts, or a giant directory), and the whole wheel has to be fetched.

    Raises:
        InvalidWheelError: what came is no part of a wheel.
    """
    length = _TAIL_BYTES if size_bytes is None else min(_TAIL_BYTES, size_bytes)
    tail = await read(None if size_bytes is None else size_bytes - length, length)
    if tail is None or (size_bytes is not None and tail.total_bytes != size_bytes):
        return None
    if tail.total_bytes > _FULL32:  # its end would say nothing that is followed here, and the hole might be refused
        return None
    import tempfile  # noqa: PLC0415 - only where a wheel lies elsewhere

    # The parts go to their places in a file with holes, so that they are read by the same rules as a whole one.
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        os.truncate(fd, tail.total_bytes)
        os.pwrite(fd, tail.content, tail.start)
        directory_start = _directory_start(tail)
        if directory_start is None or tail.start - directory_start > _LARGEST_BYTES:
            return None
        if directory_start < tail.start and not await _bring(read, fd, directory_start, tail):
            return None
        member = await in_thread(partial(_find, fd, filename))
        if member.offset < tail.start and not await _bring(read, fd, member.offset, tail, end=member.end):
            return None
        return _content(fd, member, filename)


async def _bring(read: ReadPart, fd: int, start: int, tail: Part, *, end: int | None = None) -> bool:
    """Bring what lies between `start` and the tail, or `end` if that comes first; False: it did not come."""
    length = min(tail.start, end or tail.start) - start
    part = await read(start, length)
    if part is None or part.total_bytes != tail.total_bytes or part.start != start or len(part.content) != length:
        return False
    os.pwrite(fd, part.content, start)
    return True


def _directory_start(tail: Part) -> int | None:
    """Give the offset of the central directory; None: the end record says nothing that could be followed."""
    if len(tail.content) < _END.size or tail.start + len(tail.content) != tail.total_bytes:
        return None
    signature, _, _, _, _, length, start, _ = _END.unpack(tail.content[-_END.size :])
    if signature != b"PK\x05\x06" or _FULL32 in (length, start) or start + length > tail.total_bytes:
        return None
    return int(start)


def _content(fd: int, member: Member, filename: str) -> bytes:
    try:
        return bytes(whole_member(member, memoryview(os.pread(fd, member.end - member.offset, member.offset))))
    except UnsafeZipError as error:
        raise InvalidWheelError(filename, error.reason, member=error.member) from error


def _find(fd: int, filename: str) -> Member:
    """Find the one METADATA of the wheel."""
    name = wheel_name(filename)
    try:
        members = read_directory(fd, _NO_RATIO)
    except UnsafeZipError as error:
        raise InvalidWheelError(filename, error.reason, member=error.member) from error
    found = [each for each in members if each.name.endswith(".dist-info/METADATA") and each.name.count("/") == 1]
    if len(found) != 1 or not _belongs(found[0].name, name.project):
        raise InvalidWheelError(filename, "it has no METADATA of its own, or several")
    if max(found[0].size_bytes, found[0].packed_bytes) > _LARGEST_BYTES:
        raise InvalidWheelError(filename, "its METADATA is too large", member=found[0].name)
    return found[0]


def _belongs(path: str, project: str) -> bool:
    try:
        return project_name(path.partition(".dist-info/")[0].rpartition("-")[0]) == project
    except InvalidNameError:
        return False
