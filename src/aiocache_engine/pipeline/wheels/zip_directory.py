"""Read a zip file so that there is only one way to understand it.

The central directory is read once; every entry must agree with the local header in front of its bytes, and the entries
must cover the file from its first byte to the directory without gap or overlap. What two readers could understand in
two ways (prefixes, comments, second directories, names cut at NUL, spare fields, …) is refused, never repaired.
Entries are stored or deflated. Nothing is written here; whoever writes gets only names that stay inside a directory.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from aiocache_engine.model.value import value

_MIB = 1024 * 1024

STORED, DEFLATED = 0, 8
_HAS_DESCRIPTOR, _IS_UTF8 = 0x0008, 0x0800
#: bits 1 and 2 tell the compression level; all others stand for encryption, patches and the like
_KNOWN_FLAGS = 0x0006 | _HAS_DESCRIPTOR | _IS_UTF8

_NEWEST_VERSION = 45  #: of the zip format: what zip64 needs

_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_LOCAL_ZIP64 = struct.Struct("<QQ")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_EXTRA_ZIP64, _EXTRA_UNICODE_PATH = 0x0001, 0x7075
LONGEST_LOCAL_HEADER = _LOCAL.size + 2 * _FULL16  #: bytes
LONGEST_DESCRIPTOR = 24  #: bytes
_DOS_DIRECTORY = 0x10

# A part never ends in a dot or a space, which also shuts out "." and ".."; empty parts match nothing.
_PART = r"[^\x00-\x1f\x7f-\x9f\\:/]*[^\x00-\x1f\x7f-\x9f\\:/. ]"
_NAME = re.compile(rf"(?:{_PART}/)*{_PART}/?")
_LONGEST_NAME = 2048  #: bytes
_LONGEST_PART = 255  #: bytes; what file systems take


@value
class UnpackLimits:
    """How much a zip file may claim and give. Every real wheel met so far stays far below."""

    total_bytes: int = 64 * 1024 * _MIB  #: of all files unpacked
    entry_count: int = 100_000
    directory_bytes: int = 32 * _MIB  #: of the zip's own directory, which is held in memory
    depth: int = 64  #: parts of a name
    ratio: float = 50.0  #: unpacked to packed size of the whole file, asked from `ratio_from_bytes` on
    ratio_from_bytes: int = 64 * _MIB


DEFAULT_LIMITS = UnpackLimits()


class UnsafeZipError(ValueError):
    """A zip file that is damaged, or that could be understood in more than one way."""

    def __init__(self, reason: str, *, member: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.member = member


# A NamedTuple: a giant wheel has tens of thousands of these, and a frozen dataclass takes four times as long to make.
class Member(NamedTuple):
    """One entry, as the central directory tells of it."""

    name: str  #: safe as a relative path; directories end in "/"
    offset: int  #: of its local header
    end: int  #: offset behind its last byte; the next entry, or the directory, begins there
    flags: int
    method: int
    crc32: int
    packed_bytes: int
    size_bytes: int
    is_executable: bool

    @property
    def is_directory(self) -> bool:
        """Tell whether the entry only names a directory."""
        return self.name.endswith("/")


def read_directory(fd: int, limits: UnpackLimits = DEFAULT_LIMITS) -> list[Member]:
    """Read the central directory and check all that can be known without the entries' own bytes.

    Gives the members in the order of their bytes. Totals are capped here, before anything is unpacked.

    Raises:
        UnsafeZipError: the file is refused.
        OSError: it cannot be read.
    """
    file_bytes = os.fstat(fd).st_size
    entry_count, start, length = _find_directory(fd, file_bytes)
    if entry_count > limits.entry_count or length > limits.directory_bytes:
        raise UnsafeZipError(f"it claims {entry_count} entries, more than the {limits.entry_count} allowed")
    directory = os.pread(fd, length, start)
    if len(directory) != length:
        raise UnsafeZipError("it changed while being read")
    members = _with_ends(sorted(_entries(directory, entry_count), key=lambda member: member.offset), start)
    _check_names([member.name for member in members], limits)
    total = sum(member.size_bytes for member in members)
    if total > limits.total_bytes:
        raise UnsafeZipError(f"it claims to unpack to {total} bytes, more than the {limits.total_bytes} allowed")
    if total > limits.ratio_from_bytes and total > limits.ratio * file_bytes:
        raise UnsafeZipError(f"it claims to unpack to {total // max(file_bytes, 1)} times its size")
    return members


def data_start(member: Member, extent: bytes | memoryview) -> int:
    """Check the local header against the member; give the offset of its packed bytes in `extent`.

    `extent` begins at `member.offset`; it may end before the member does, but not within the header.

    Raises:
        UnsafeZipError: header and directory disagree, or the entry does not fill its place exactly.
    """
    if len(extent) < _LOCAL.size:
        raise UnsafeZipError("its local header is missing", member=member.name)
    signature, _, flags, method, _, _, crc32, packed, size, name_length, extra_length = _LOCAL.unpack_from(extent)
    start: int = _LOCAL.size + name_length + extra_length
    if signature != b"PK\x03\x04" or len(extent) < start:
        raise UnsafeZipError("its local header is missing", member=member.name)
    if extent[_LOCAL.size : _LOCAL.size + name_length] != member.name.encode():
        raise UnsafeZipError("its local header bears another name", member=member.name)
    if flags != member.flags or method != member.method:
        raise UnsafeZipError("its local header and the directory disagree in flags or method", member=member.name)
    if extra_length:
        extra = _zip64_extra(bytes(extent[start - extra_length : start]), member.name)
        if extra is not None:
            if len(extra) != _LOCAL_ZIP64.size:
                raise UnsafeZipError("its zip64 sizes are malformed", member=member.name)
            size64, packed64 = _LOCAL_ZIP64.unpack(extra)
            size, packed = _widened(size, size64, member), _widened(packed, packed64, member)
    told = (crc32, packed, size)
    # With a data descriptor the sizes were not known when the header was written: zeros are right, too. Not for stored
    # entries: who reads from the front could not tell where they end.
    may_be_unknown = flags & _HAS_DESCRIPTOR and method == DEFLATED
    if told != (member.crc32, member.packed_bytes, member.size_bytes) and not (may_be_unknown and told == (0, 0, 0)):
        raise UnsafeZipError("its local header and the directory disagree in size or CRC", member=member.name)
    rest = member.end - member.offset - start - member.packed_bytes
    if rest < 0 or (rest > 0 and not flags & _HAS_DESCRIPTOR):
        raise UnsafeZipError("its bytes do not fill their place exactly", member=member.name)
    return start


def check_descriptor(member: Member, tail: bytes | memoryview) -> None:
    """Check what follows the packed bytes up to `member.end`: the data descriptor, or nothing.

    Raises:
        UnsafeZipError: it does not say what the directory says.
    """
    if not member.flags & _HAS_DESCRIPTOR and not tail:
        return
    told = (member.crc32, member.packed_bytes, member.size_bytes)
    narrow = struct.pack("<3I", *told) if max(told) <= _FULL32 else b""
    wide = struct.pack("<I2Q", *told)
    if not member.flags & _HAS_DESCRIPTOR or bytes(tail) not in {
        form for plain in (narrow, wide) if plain for form in (plain, b"PK\x07\x08" + plain)
    }:
        raise UnsafeZipError("its data descriptor and the directory disagree", member=member.name)


def _find_directory(fd: int, file_bytes: int) -> tuple[int, int, int]:
    """Give number of entries, offset and length of the central directory. It must end where the end records begin."""
    longest = _END.size + _END64_LOCATOR.size + _END64.size
    tail = os.pread(fd, min(longest, file_bytes), max(0, file_bytes - longest))
    if len(tail) < _END.size:
        raise UnsafeZipError("it is no zip file, or was cut short")
    signature, disk, start_disk, disk_count, entry_count, length, start, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\x05\x06" or comment:
        raise UnsafeZipError("it is no zip file, was cut short, or something follows its end record")
    records_start = file_bytes - _END.size
    narrow = (disk, start_disk, disk_count, entry_count, length, start)
    has_locator = tail[-_END.size - _END64_LOCATOR.size :].startswith(b"PK\x06\x07")
    if has_locator:
        records_start -= _END64_LOCATOR.size + _END64.size
        wide = _end64(tail, records_start)
        for seen, full, meant in zip(narrow, (_FULL16,) * 4 + (_FULL32,) * 2, wide, strict=True):
            if seen not in (full, meant):
                raise UnsafeZipError("its two end records disagree")
        disk, start_disk, disk_count, entry_count, length, start = wide
    if disk or start_disk or disk_count != entry_count:
        raise UnsafeZipError("it is one part of a split archive")
    if start + length != records_start:
        raise UnsafeZipError("its directory is not where the end record says")
    return entry_count, start, length


def _end64(tail: bytes, records_start: int) -> tuple[int, int, int, int, int, int]:
    if len(tail) < _END.size + _END64_LOCATOR.size + _END64.size:
        raise UnsafeZipError("its zip64 end record is missing")
    _, locator_disk, offset, disks = _END64_LOCATOR.unpack_from(tail, _END64.size)
    signature, size, _, _, *fields = _END64.unpack_from(tail)
    if signature != b"PK\x06\x06" or size != _END64.size - 12 or offset != records_start or locator_disk or disks != 1:
        raise UnsafeZipError("its zip64 end record is malformed")
    disk, start_disk, disk_count, entry_count, length, start = fields
    return disk, start_disk, disk_count, entry_count, length, start


def _entries(directory: bytes, entry_count: int) -> Iterator[Member]:
    """Decode the directory; `end` is still unknown and given as 0."""
    position = 0
    end = len(directory)
    for _ in range(entry_count):
        if position + _CENTRAL.size > end:
            raise UnsafeZipError("its directory holds fewer entries than it claims")
        (
            signature, _, version_needed, flags, method, _, _, crc32, packed, size,
            name_length, extra_length, comment_length, disk, _, attributes, offset,
        ) = _CENTRAL.unpack_from(directory, position)  # fmt: skip
        name_start = position + _CENTRAL.size
        extra_start = name_start + name_length
        position = extra_start + extra_length + comment_length
        if signature != b"PK\x01\x02" or position > end:
            raise UnsafeZipError("its directory is damaged")
        name = _name(directory[name_start:extra_start], flags)
        if extra_length:
            extra = _zip64_extra(directory[extra_start : extra_start + extra_length], name)
            if extra is not None:
                size, packed, offset, disk = _zip64_fields(extra, name, (size, packed, offset, disk))
        if disk:
            raise UnsafeZipError("it lies in another part of a split archive", member=name)
        if flags & ~_KNOWN_FLAGS or method not in (STORED, DEFLATED) or version_needed > _NEWEST_VERSION:
            raise UnsafeZipError(f"it is encrypted or packed in a way that wheels do not use ({method})", member=name)
        if method == STORED and packed != size:
            raise UnsafeZipError("it is stored, and its two sizes differ", member=name)
        executable = _is_executable(name, attributes, size)
        yield Member(name, offset, 0, flags, method, crc32, packed, size, executable)
    if position != end:
        raise UnsafeZipError("its directory holds more than the entries it claims")


def _name(raw: bytes, flags: int) -> str:
    # Without the flag some readers take code page 437 and others UTF-8; only ASCII means the same to both.
    try:
        name = raw.decode("utf-8" if flags & _IS_UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise UnsafeZipError(f"the name {raw!r} is not UTF-8, or not said to be") from error
    if len(raw) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise UnsafeZipError("the name is not a safe relative path", member=name)
    return name


def _is_executable(name: str, attributes: int, size_bytes: int) -> bool:
    """Give the executable bit; refuse whatever is neither a plain file nor a directory."""
    mode = attributes >> 16
    kind = stat.S_IFMT(mode)
    if name.endswith("/"):
        if kind not in (0, stat.S_IFDIR) or size_bytes:
            raise UnsafeZipError("it has a directory's name and is none", member=name)
        return False
    if kind not in (0, stat.S_IFREG) or attributes & _DOS_DIRECTORY:
        raise UnsafeZipError("it is a link, a device or a directory in disguise", member=name)
    return kind == stat.S_IFREG and bool(mode & 0o111)


def _zip64_extra(extra: bytes, name: str) -> bytes | None:
    """Give the content of the zip64 field. Fields of other kinds (times, owners) say nothing that is used here."""
    found = None
    position = 0
    while position < len(extra):
        if position + 4 > len(extra):
            raise UnsafeZipError("its extra fields are malformed", member=name)
        kind, length = struct.unpack_from("<HH", extra, position)
        position += 4 + length
        if position > len(extra) or kind == _EXTRA_UNICODE_PATH or (kind == _EXTRA_ZIP64 and found is not None):
            raise UnsafeZipError("its extra fields are malformed or give it a second name", member=name)
        if kind == _EXTRA_ZIP64:
            found = extra[position - length : position]
    return found


def _zip64_fields(extra: bytes, name: str, narrow: tuple[int, int, int, int]) -> tuple[int, ...]:
    """Fill in what was too big for its place: size, packed size, offset, disk. The extra holds these, nothing else."""
    too_big = [value == full for value, full in zip(narrow, (_FULL32, _FULL32, _FULL32, _FULL16), strict=True)]
    form = "<" + "".join(letter for letter, is_missing in zip("QQQI", too_big, strict=True) if is_missing)
    if len(extra) != struct.calcsize(form):
        raise UnsafeZipError("its zip64 fields are not those that are needed", member=name)
    wide = iter(struct.unpack(form, extra))
    return tuple(next(wide) if is_missing else value for value, is_missing in zip(narrow, too_big, strict=True))


def _widened(narrow: int, wide: int, member: Member) -> int:
    if narrow not in (_FULL32, wide):
        raise UnsafeZipError("its zip64 sizes and the plain ones disagree", member=member.name)
    return wide


def _with_ends(members: list[Member], directory_start: int) -> list[Member]:
    """Let each member end where the next begins; the first begins the file, the last ends at the directory."""
    if (members[0].offset if members else directory_start) != 0:
        raise UnsafeZipError("something stands before its first entry")
    offsets = [*(member.offset for member in members), directory_start][1:]
    for member, end in zip(members, offsets, strict=True):
        # Less cannot hold the entry: they overlap, or two directory entries share one place.
        if end - member.offset < _LOCAL.size + len(member.name) + member.packed_bytes:
            raise UnsafeZipError("it overlaps the next entry or the directory", member=member.name)
    return [member._replace(end=end) for member, end in zip(members, offsets, strict=True)]


def _check_names(names: list[str], limits: UnpackLimits) -> None:
    """Refuse names that some file system takes for one, and files that are also directories."""
    directories: dict[str, str] = {}
    files: set[str] = set()
    for name in names:
        parent, _, base = name.rpartition("/")
        if base:
            key = folded(name)
            if key in files:
                raise UnsafeZipError("the name occurs twice, or differs only in case or accents", member=name)
            files.add(key)
            if len(base) > _LONGEST_PART // 4 and len(base.encode()) > _LONGEST_PART:
                raise UnsafeZipError("the name is too long", member=name)
        if parent and parent not in directories:
            _check_directory(parent, name, limits)
            parts = parent.split("/")
            for count in range(1, len(parts) + 1):
                path = "/".join(parts[:count])
                directories.setdefault(path, folded(path))
    spellings = set(directories.values())
    if len(spellings) != len(directories):
        raise UnsafeZipError("the names of two directories differ only in case or accents")
    if both := files.intersection(spellings):
        raise UnsafeZipError("it is a file and a directory", member=min(both))


def _check_directory(path: str, name: str, limits: UnpackLimits) -> None:
    parts = path.split("/")
    if len(parts) >= limits.depth:
        raise UnsafeZipError(f"it lies deeper than the {limits.depth} levels allowed", member=name)
    if any(len(part.encode()) > _LONGEST_PART for part in parts):
        raise UnsafeZipError("the name is too long", member=name)


def folded(name: str) -> str:
    """Give what two names have in common that some file system takes for one: case and form of accents left out."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
