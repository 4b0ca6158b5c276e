"""Read what a gzip file holds (RFC 1952) from front to back: never more than allowed, and a small piece at a time.

Several gzip members in a row are one content, as all readers take them; zeros may pad it. All else that follows the
last member is refused, as is what was cut short or damaged: lengths and CRCs are checked.
"""

from __future__ import annotations

import os
import zlib

from aiocache_engine.pipeline.wheels.zip_directory import UnpackLimits

_MIB = 1024 * 1024
_READ_BYTES = _MIB // 4  #: packed, read at a time
_PIECE_BYTES = _MIB // 4  #: inflated, at most, at a time
_WITH_GZIP_HEADER = 31
_MAGIC = b"\x1f\x8b"


class UnsafeTarError(ValueError):
    """A packed tar file that is damaged, or asks for what is not done."""

    def __init__(self, reason: str, *, member: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.member = member


class Gunzip:
    """The content of a gzip file. Every method raises `UnsafeTarError` where the file is refused, and `OSError`."""

    __slots__ = (
        "_fd",
        "_inflate",
        "_limits",
        "_member_count",
        "_most_bytes",
        "_packed",
        "_piece",
        "_read_to",
        "position",
    )

    def __init__(self, fd: int, limits: UnpackLimits) -> None:
        """Begin at the start of the file; the descriptor stays the caller's, and its offset is not used."""
        if os.pread(fd, len(_MAGIC), 0) != _MAGIC:
            raise UnsafeTarError("it is no gzip file")
        file_bytes = os.fstat(fd).st_size
        self._fd = fd
        self._limits = limits
        self._most_bytes = min(limits.total_bytes, max(limits.ratio_from_bytes, int(limits.ratio * file_bytes)))
        self._read_to = 0
        self._packed = b""  #: read and not yet inflated
        self._piece = memoryview(b"")  #: inflated and not yet handed out
        self._member_count = 0
        self._inflate = zlib.decompressobj(_WITH_GZIP_HEADER)
        self.position = 0  #: bytes handed out

    def check_room(self, size_bytes: int) -> None:
        """Refuse what announces more content than is allowed, before any of it is made."""
        if self.position + size_bytes > self._most_bytes:
            raise UnsafeTarError(f"it unpacks to more than the {self._most_bytes} bytes allowed for its size")

    def piece(self, most_bytes: int) -> memoryview:
        """Give what comes next, up to so many bytes; nothing at the end alone."""
        while not self._piece:
            inflated = self._inflated()
            if inflated is None:
                break
            self._piece = memoryview(inflated)
        given, self._piece = self._piece[:most_bytes], self._piece[most_bytes:]
        self.position += len(given)
        self.check_room(0)
        return given

    def read(self, size_bytes: int) -> bytes:
        """Give the next bytes, fewer only at the end. They are held in memory: it is the caller who keeps them few."""
        parts = []
        while size_bytes and (part := self.piece(size_bytes)):
            parts.append(part)
            size_bytes -= len(part)
        return b"".join(parts)

    def skip(self, size_bytes: int) -> None:
        """Leave out so many bytes."""
        while size_bytes:
            part = self.piece(size_bytes)
            if not part:
                raise UnsafeTarError("it was cut short")
            size_bytes -= len(part)

    def _inflated(self) -> bytes | None:
        """Inflate a little; None at the end."""
        if self._inflate.eof and not self._begin_member():
            return None
        if not self._packed and not self._fill():
            raise UnsafeTarError("it was cut short")
        try:
            inflated = self._inflate.decompress(self._packed, _PIECE_BYTES)
        except zlib.error as error:
            raise UnsafeTarError(f"its packed bytes are damaged ({error})") from error
        self._packed = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return inflated

    def _begin_member(self) -> bool:
        """Go on to the next gzip member; False if only zeros follow."""
        while not (packed := self._packed.lstrip(b"\0")):
            if not self._fill():
                return False
        self._packed = packed
        self._member_count += 1
        if self._member_count > self._limits.entry_count:
            raise UnsafeTarError(f"it has more than the {self._limits.entry_count} gzip members allowed")
        self._inflate = zlib.decompressobj(_WITH_GZIP_HEADER)
        return True

    def _fill(self) -> bool:
        self._packed = os.pread(self._fd, _READ_BYTES, self._read_to)
        self._read_to += len(self._packed)
        return bool(self._packed)
