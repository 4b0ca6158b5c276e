"""Write zip files byte by byte, right ones and wrong ones: every field can be given another value than the true one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STORED, DEFLATED = 0, 8
_DATE_1980 = 0x21
_FULL16 = 0xFFFF
_UNIX = 3 << 8
_VERSION = 20  #: of the zip format: what deflate needs


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One entry. What is left alone is true."""

    name: str | bytes
    content: bytes = b""
    mode: int = 0o100644  #: Unix file type and permissions
    method: int = DEFLATED
    flags: int | None = None  #: None: those that the name and the descriptor need
    packed: bytes | None = None  #: None: `content`, packed by `method`
    descriptor: bytes | None = None  #: what follows the packed bytes; None: nothing
    local_extra: bytes = b""
    central_extra: bytes = b""
    local: Mapping[str, int | bytes] = field(default_factory=dict)  #: fields of the local header to be told otherwise
    central: Mapping[str, int | bytes] = field(default_factory=dict)  #: fields of the directory to be told otherwise


def zip_bytes(
    entries: Sequence[ZipEntry],
    *,
    prefix: bytes = b"",
    before_directory: bytes = b"",
    before_end: bytes = b"",
    comment: bytes = b"",
    suffix: bytes = b"",
    end: Mapping[str, int] | None = None,
) -> bytes:
    """Give the bytes of a zip file, in zip64 where there are too many entries; `end` tells fields of the end otherwise.

    Field names: `version_needed`, `name`, `flags`, `method`, `crc32`, `packed_bytes`, `size_bytes`, `offset`,
    `attributes`, `disk` of entries; `entry_count`, `disk_count`, `directory_bytes`, `directory_offset`,
    `comment_bytes`, `disk` of the end.
    """
    body = bytearray(prefix)
    directory = bytearray()
    for entry in entries:
        fields = _fields(entry, len(body))
        packed = fields.pop("packed")
        body += _local_header(fields | dict(entry.local), entry.local_extra) + packed + (entry.descriptor or b"")
        directory += _central_header(fields | dict(entry.central), entry.central_extra)
    body += before_directory
    if len(entries) > _FULL16:
        before_end += end64_records(
            entry_count=len(entries), directory_bytes=len(directory), directory_offset=len(body)
        )
    told = {
        "disk": 0,
        "disk_count": min(len(entries), _FULL16),
        "entry_count": min(len(entries), _FULL16),
        "directory_bytes": len(directory),
        "directory_offset": len(body),
        "comment_bytes": len(comment),
    } | dict(end or {})
    record = struct.pack(
        "<4s4H2IH",
        b"PK\x05\x06",
        told["disk"],
        told["disk"],
        told["disk_count"],
        told["entry_count"],
        told["directory_bytes"],
        told["directory_offset"],
        told["comment_bytes"],
    )
    return bytes(body + directory + before_end + record + comment + suffix)


def end64_records(*, entry_count: int, directory_bytes: int, directory_offset: int) -> bytes:
    """Give the zip64 end record and its locator, to stand `before_end`."""
    at = directory_offset + directory_bytes
    record = struct.pack(
        "<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entry_count, entry_count, directory_bytes, directory_offset
    )
    return record + struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)


def deflated(content: bytes, *, level: int = 6) -> bytes:
    """Give the raw deflate stream of the content."""
    deflate = zlib.compressobj(level, wbits=-15)
    return deflate.compress(content) + deflate.flush()


def _fields(entry: ZipEntry, offset: int) -> dict[str, Any]:
    name = entry.name if isinstance(entry.name, bytes) else entry.name.encode()
    packed = entry.packed
    if packed is None:
        packed = deflated(entry.content) if entry.method == DEFLATED else entry.content
    flags = entry.flags
    if flags is None:
        flags = (0 if name.isascii() else 0x800) | (0 if entry.descriptor is None else 0x8)
    return {
        "version_needed": _VERSION,
        "name": name,
        "flags": flags,
        "method": entry.method,
        "crc32": zlib.crc32(entry.content),
        "packed_bytes": len(packed),
        "size_bytes": len(entry.content),
        "offset": offset,
        "attributes": entry.mode << 16,
        "disk": 0,
        "packed": packed,
    }


def _local_header(told: Mapping[str, Any], extra: bytes) -> bytes:
    name: bytes = told["name"]
    return (
        struct.pack(
            "<4s5H3I2H",
            b"PK\x03\x04",
            told["version_needed"],
            told["flags"],
            told["method"],
            0,
            _DATE_1980,
            told["crc32"],
            told["packed_bytes"],
            told["size_bytes"],
            len(name),
            len(extra),
        )
        + name
        + extra
    )


def _central_header(told: Mapping[str, Any], extra: bytes) -> bytes:
    name: bytes = told["name"]
    return (
        struct.pack(
            "<4s6H3I5H2I",
            b"PK\x01\x02",
            _UNIX | _VERSION,
            told["version_needed"],
            told["flags"],
            told["method"],
            0,
            _DATE_1980,
            told["crc32"],
            told["packed_bytes"],
            told["size_bytes"],
            len(name),
            len(extra),
            0,
            told["disk"],
            0,
            told["attributes"],
            told["offset"],
        )
        + name
        + extra
    )
