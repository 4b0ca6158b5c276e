"""Read the headers of a tar file strictly (POSIX ustar and pax, GNU's long names, the old format without a magic).

What readers are known to understand differently is refused: sparse files, sizes on what has no content, negative and
unreadable numbers, names told twice. Nothing is written here, and names come as they stand: what they may be is the
caller's policy. The standard library's `tarfile` takes no part, neither with its filters nor with its parser.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from aiocache_engine.pipeline.builds.gunzip import Gunzip, UnsafeTarError
from aiocache_engine.pipeline.wheels.zip_directory import UnpackLimits

_BLOCK_BYTES = 512
_LONGEST_EXTENSION = 1024 * 1024  #: bytes of a header that tells of the next one; it is held in memory
_ZEROS = bytes(_BLOCK_BYTES)
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12s")
_SIGNED = struct.Struct("512b")
_POSIX, _GNU, _OLD = b"ustar\x0000", b"ustar  \0", bytes(8)
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_TARGET = b"x", b"g", b"L", b"K"
_EXECUTABLE = 0o111
_USED = frozenset({"path", "linkpath", "size", "mtime"})
_SPARSE = ("GNU.sparse.", "SCHILY.realsize")


class Kind(enum.Enum):
    """What a member is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARD_LINK = "hard link"


_KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"1": Kind.HARD_LINK, b"2": Kind.SYMLINK, b"5": Kind.DIRECTORY}


class TarMember(NamedTuple):
    """One member, as its headers tell of it."""

    name: str  #: as it stands there: safe for nothing
    kind: Kind
    size_bytes: int  #: 0 but of files
    is_executable: bool
    modified_at: float  #: seconds since the epoch; finite, nothing else
    target: str  #: of links, as it stands there


def tar_members(stream: Gunzip, limits: UnpackLimits) -> Iterator[TarMember]:
    """Give member by member; what is not read of a file's content until the next is asked for is left out.

    After the last one the rest of the stream is read, and has to be zeros.

    Raises:
        UnsafeTarError: the file is refused.
    """
    told: dict[str, bytes] = {}
    header_count = 0
    while block := _block(stream):
        header_count += 1
        if header_count > limits.entry_count:
            raise UnsafeTarError(f"it has more than the {limits.entry_count} entries allowed")
        header = _Header(block)
        if header.type in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_TARGET):
            _extend(told, header.type, _extension(stream, header.size_bytes))
            continue
        member = _member(header, told)
        told = {}
        stream.check_room(member.size_bytes)
        end = stream.position + _padded(member.size_bytes)
        yield member
        stream.skip(end - stream.position)
    if told:
        raise UnsafeTarError("its last header tells of a member that is missing")
    while piece := stream.piece(_LONGEST_EXTENSION):
        if piece != bytes(len(piece)):
            raise UnsafeTarError("something follows its end")


def _block(stream: Gunzip) -> bytes:
    """Give the next header; nothing at the end."""
    block = stream.read(_BLOCK_BYTES)
    if block and len(block) < _BLOCK_BYTES:
        raise UnsafeTarError("it is no tar file, or was cut short")
    return b"" if block == _ZEROS else block


class _Header:
    """One block, its checksum compared."""

    __slots__ = ("mode", "modified_at", "name", "size_bytes", "target", "type")

    def __init__(self, block: bytes) -> None:
        (
            name, mode, _, _, size, modified_at, checksum, kind, target,
            magic, _, _, _, _, prefix, rest,
        ) = _HEADER.unpack(block)  # fmt: skip
        magic = block[257:265]
        summed = block[:148] + 8 * b" " + block[156:]
        # Some old tools added the bytes as signed ones.
        if _number(checksum) not in (sum(summed), sum(_SIGNED.unpack(summed))):
            raise UnsafeTarError("it is no tar file, or damaged: a header's checksum is wrong")
        self.type: bytes = kind
        self.name = _text(name)
        if magic == _POSIX:
            if before := _text(prefix):
                self.name = before + b"/" + self.name
        elif magic not in (_GNU, _OLD) or (prefix + rest).strip(b"\0"):
            raise UnsafeTarError("it is of a format that is read in different ways", member=_shown(self.name))
        self.target = _text(target)
        self.mode = _number(mode)
        self.size_bytes = _number(size)
        self.modified_at = 0 if modified_at[:1] == b"\xff" else _number(modified_at)


def _extension(stream: Gunzip, size_bytes: int) -> bytes:
    if size_bytes > _LONGEST_EXTENSION:
        raise UnsafeTarError(f"the header of a member has {size_bytes} bytes")
    content = stream.read(_padded(size_bytes))
    if len(content) != _padded(size_bytes):
        raise UnsafeTarError("it was cut short")
    return content[:size_bytes]


def _extend(told: dict[str, bytes], kind: bytes, content: bytes) -> None:
    """Add what an extension tells of the next member."""
    if kind in (_GNU_NAME, _GNU_TARGET):
        records = {"path" if kind == _GNU_NAME else "linkpath": _text(content)}
    else:
        records = _pax_records(content)
        if kind == _PAX_GLOBAL:
            if _USED.intersection(records) - {"mtime"}:
                raise UnsafeTarError("it tells names or sizes for all of its members at once")
            return
    for key in _USED.intersection(records):
        if key in told:
            raise UnsafeTarError(f"a member's {key} is told twice")
        told[key] = records[key]


def _pax_records(content: bytes) -> dict[str, bytes]:
    """Read "length key=value" lines; a length counts the whole line."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        blank = content.find(b" ", at, at + 8)
        length = content[at:blank]
        if blank < 0 or not length.isdigit():
            raise UnsafeTarError("a pax header is malformed")
        line = content[blank + 1 : at + int(length)]
        at += int(length)
        key, equals, text = line[:-1].partition(b"=")
        if at > len(content) or not line.endswith(b"\n") or not key or not equals:
            raise UnsafeTarError("a pax header is malformed")
        name = key.decode("utf-8", "replace")
        if name in records and name in _USED:
            raise UnsafeTarError(f"a member's {name} is told twice")
        if name.startswith(_SPARSE):
            raise UnsafeTarError("it holds a sparse file")
        records[name] = text
    return records


def _member(header: _Header, told: dict[str, bytes]) -> TarMember:
    name = _decoded(told.get("path", header.name))
    kind = _KINDS.get(header.type)
    if kind is None:
        raise UnsafeTarError(f"it is no file, directory or link (type {_shown(header.type)!r})", member=name)
    if header.type == b"\0" and name.endswith("/"):  # the format without a magic knows no other directories
        kind = Kind.DIRECTORY
    size_bytes = header.size_bytes
    if "size" in told:
        if not told["size"].isdigit() or len(told["size"]) > 20:  # noqa: PLR2004 - digits of what a file may have
            raise UnsafeTarError("its size is malformed", member=name)
        size_bytes = int(told["size"])
    if size_bytes and kind is not Kind.FILE:
        raise UnsafeTarError(f"it is a {kind.value}, and has content", member=name)
    is_link = kind in (Kind.SYMLINK, Kind.HARD_LINK)
    return TarMember(
        name=name,
        kind=kind,
        size_bytes=size_bytes,
        is_executable=bool(header.mode & _EXECUTABLE),
        modified_at=_time(told["mtime"], name) if "mtime" in told else float(header.modified_at),
        target=_decoded(told.get("linkpath", header.target)) if is_link else "",
    )


def _time(text: bytes, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise UnsafeTarError("its time is malformed", member=name) from error
    return seconds if math.isfinite(seconds) else 0.0


def _number(field: bytes) -> int:
    """Read an octal number, or a binary one that is not negative (GNU)."""
    if field[0] == 0x80:  # noqa: PLR2004 - the mark of a binary number
        return int.from_bytes(field[1:], "big")
    digits = _text(field).strip(b" ")
    if digits.strip(b"01234567"):
        raise UnsafeTarError("it is no tar file, or a number in a header is malformed")
    return int(digits or b"0", 8)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnsafeTarError("the name is not UTF-8", member=_shown(name)) from error


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
