"""Turn the packed bytes of a zip's members into those that the directory promises: exactly these, or an error.

Never more than promised is inflated, so that no bomb goes off, and memory is bounded by what the caller hands in (small
members, whole) or by one piece (big ones).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.pipeline.wheels.zip_directory import (
    DEFLATED,
    LONGEST_DESCRIPTOR,
    LONGEST_LOCAL_HEADER,
    Member,
    UnsafeZipError,
    check_descriptor,
    data_start,
)

if TYPE_CHECKING:
    import zlib
else:
    try:
        from isal import isal_zlib as zlib  # the same interface; twice as fast, and the CRC for next to nothing
    except ImportError:  # no wheel of it for this machine
        import zlib

_MIB = 1024 * 1024
_READ_BYTES = _MIB // 4  #: packed, read at a time
_PIECE_BYTES = _MIB  #: inflated, at most, at a time
_RAW = -15  #: deflate without header, the biggest window


def whole_member(member: Member, extent: memoryview) -> bytes | memoryview:
    """Give the content of a member from all the bytes between `member.offset` and `member.end`.

    Raises:
        UnsafeZipError: they are damaged, or not what the directory says.
    """
    start = data_start(member, extent)
    end = start + member.packed_bytes
    packed, tail = extent[start:end], extent[end:]
    check_descriptor(member, tail)
    content: bytes | memoryview = packed
    if member.method == DEFLATED:
        inflate = zlib.decompressobj(_RAW)
        # One byte more than promised is asked for, so that too much is seen and never made.
        try:
            content = inflate.decompress(packed, member.size_bytes + 1)
        except zlib.error as error:
            raise UnsafeZipError(f"its packed bytes are damaged ({error})", member=member.name) from error
        if not inflate.eof or inflate.unused_data:
            raise _not_promised(member)
    if len(content) != member.size_bytes or zlib.crc32(content) != member.crc32:
        raise _not_promised(member)
    return content


def member_pieces(fd: int, member: Member) -> Iterator[bytes]:
    """Give the content of a member in pieces of about 1 MiB. The last check comes after the last piece.

    Raises:
        UnsafeZipError: its bytes are damaged, or not what the directory says.
    """
    start = member.offset + data_start(
        member, os.pread(fd, min(LONGEST_LOCAL_HEADER, member.end - member.offset), member.offset)
    )
    end = start + member.packed_bytes
    check_descriptor(member, os.pread(fd, min(LONGEST_DESCRIPTOR + 1, member.end - end), end))
    packed = _packed_pieces(fd, start, end)
    crc32 = 0
    left = member.size_bytes
    for piece in _inflated(packed, member) if member.method == DEFLATED else packed:
        left -= len(piece)
        if left < 0:
            break
        crc32 = zlib.crc32(piece, crc32)
        yield piece
    if left or crc32 != member.crc32:
        raise _not_promised(member)


def _packed_pieces(fd: int, start: int, end: int) -> Iterator[bytes]:
    while start < end and (packed := os.pread(fd, min(_READ_BYTES, end - start), start)):
        start += len(packed)
        yield packed


def _inflated(packed_pieces: Iterator[bytes], member: Member) -> Iterator[bytes]:
    inflate = zlib.decompressobj(_RAW)
    try:
        for packed in packed_pieces:
            left = packed
            while True:
                piece = inflate.decompress(left, _PIECE_BYTES)
                yield piece
                left = inflate.unconsumed_tail
                # A full piece may have left input unread, or output in the decoder alone. At its end the standard
                # library's decoder keeps an unconsumed tail for ever, so eof is asked first.
                if inflate.eof or (len(piece) < _PIECE_BYTES and not left):
                    break
            if inflate.eof:
                break
    except zlib.error as error:
        raise UnsafeZipError(f"its packed bytes are damaged ({error})", member=member.name) from error
    if not inflate.eof or inflate.unused_data or next(packed_pieces, b""):
        raise _not_promised(member)


def _not_promised(member: Member) -> UnsafeZipError:
    return UnsafeZipError("its bytes are not those that the directory promises", member=member.name)
