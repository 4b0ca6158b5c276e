"""What a wheel says of itself, and whether it says one thing everywhere (binary distribution format, PyPA).

Pure: names and texts in, facts out. Every refusal is an `InvalidWheelError` that names the file and the member.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiocache_engine.errors import InvalidNameError, InvalidWheelError
from aiocache_engine.model.entry_points import EntryPointError, check_script_name, script_entry_points
from aiocache_engine.model.names import WheelName, project_name
from aiocache_engine.model.record import RecordError, RecordRow, format_record, hash_value, parse_record
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.linking.protected import is_reserved

SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_LONGEST_QUOTE = 80  #: characters of a name or version that a message repeats
_SCRIPT_DIRECTORIES = frozenset({"bin", "Scripts"})


@value
class Layout:
    """Where a wheel's own files are."""

    dist_info: str  #: its .dist-info directory
    data: str  #: its .data directory, "" where there is none
    unrecorded: frozenset[str]  #: RECORD and its signatures: not listed in RECORD, and not unpacked


@value
class Record:
    """RECORD, understood."""

    text: str  #: without the rows of RECORD itself and of its signatures
    hashes: dict[str, tuple[str, bytes]]  #: algorithm and digest of every other file


def find_layout(names: Iterable[str], wheel: WheelName) -> Layout:
    """Find the .dist-info and .data directories among the members' names, and check where files would be installed.

    Raises:
        InvalidWheelError: there is not exactly one .dist-info, it belongs to another distribution, or a file in .data
            has no place.
    """
    dist_infos, datas = set(), set()
    for name in names:
        top, slash, rest = name.partition("/")
        if slash and top.endswith(".dist-info"):
            dist_infos.add(top)
        elif slash and top.endswith(".data"):
            datas.add(top)
            _check_data(rest, name, wheel)
    if len(dist_infos) != 1:
        found = ", ".join(sorted(dist_infos)) or "none"
        raise InvalidWheelError(wheel.filename, f"exactly one .dist-info directory is expected, found {found}")
    if len(datas) > 1:
        raise InvalidWheelError(wheel.filename, f"it has two .data directories: {', '.join(sorted(datas))}")
    for directory in (*dist_infos, *datas):
        stem = directory.rpartition(".")[0]
        project, _, version = stem.rpartition("-")
        if not _is_project(project, wheel.project) or not _is_version(version, wheel.version):
            raise InvalidWheelError(wheel.filename, "it belongs to another distribution", member=directory)
    dist_info = dist_infos.pop()
    return Layout(
        dist_info=dist_info,
        data=next(iter(datas), ""),
        unrecorded=frozenset(f"{dist_info}/{name}" for name in ("RECORD", *SIGNATURES)),
    )


def read_metadata(content: bytes, member: str, wheel: WheelName) -> str:
    """Check METADATA against the file name; give the version as it spells it.

    Raises:
        InvalidWheelError: Name or Version is missing, given twice, or not the file name's.
    """
    headers = read_headers(content)
    for field in ("name", "version"):
        if len(headers.get(field, ())) != 1:
            raise InvalidWheelError(wheel.filename, f"it must have one {field.capitalize()}", member=member)
    name, version = headers["name"][0], headers["version"][0]
    if not _is_project(name, wheel.project) or not _is_version(version, wheel.version):
        raise InvalidWheelError(wheel.filename, f"it is for {shortened(name)} {shortened(version)}", member=member)
    return version


def read_wheel(content: bytes, member: str, wheel: WheelName) -> bool:
    """Check WHEEL; tell whether the wheel's root goes to purelib.

    Raises:
        InvalidWheelError: the format's version is not 1.x, or Root-Is-Purelib is missing.
    """
    headers = read_headers(content)
    formats, roots = headers.get("wheel-version", []), headers.get("root-is-purelib", [])
    if len(formats) != 1 or formats[0].partition(".")[0] != "1":
        raise InvalidWheelError(wheel.filename, f"Wheel-Version {' '.join(formats)} is not 1.x", member=member)
    if len(roots) != 1 or roots[0].lower() not in {"true", "false"}:
        raise InvalidWheelError(wheel.filename, "Root-Is-Purelib must be true or false", member=member)
    return roots[0].lower() == "true"


def read_record(content: bytes, sizes: dict[str, int], layout: Layout, wheel: WheelName) -> Record:
    """Check RECORD against the files that are there; `sizes` gives their bytes by path, unrecorded files left out.

    Raises:
        InvalidWheelError: a file is missing, extra, listed twice, of another size, or has no hash of a good kind.
    """
    member = f"{layout.dist_info}/RECORD"
    try:
        rows = [row for row in parse_record(_text(content, member, wheel)) if row.path not in layout.unrecorded]
        hashes = {row.path: _hash(row, sizes, wheel) for row in rows}
    except RecordError as error:
        raise InvalidWheelError(wheel.filename, str(error), member=member) from error
    if len(hashes) != len(rows):
        raise InvalidWheelError(wheel.filename, "it lists a file twice", member=member)
    if len(hashes) != len(sizes):
        missing = min(sizes.keys() - hashes.keys())
        raise InvalidWheelError(wheel.filename, "it is not listed in RECORD", member=missing)
    return Record(text=format_record(rows), hashes=hashes)


def read_entry_points(content: bytes, member: str, wheel: WheelName) -> str:
    """Check entry_points.txt; give its text.

    Raises:
        InvalidWheelError: a script must not be made.
    """
    text = _text(content, member, wheel)
    try:
        script_entry_points(text)
    except EntryPointError as error:
        raise InvalidWheelError(wheel.filename, str(error), member=member) from error
    return text


def _check_data(rest: str, name: str, wheel: WheelName) -> None:
    """Refuse what lies outside the five schemes, and what would replace the environment itself."""
    scheme, slash, path = rest.partition("/")
    if not rest:
        return
    if scheme not in SCHEMES or not slash:
        raise InvalidWheelError(wheel.filename, "it lies in no known scheme of .data", member=name)
    first, _, below = path.partition("/")
    if scheme in {"purelib", "platlib"} and first.endswith(".dist-info"):
        raise InvalidWheelError(wheel.filename, "it would become part of another distribution", member=name)
    if scheme == "data" and is_reserved(path):
        raise InvalidWheelError(wheel.filename, "it would replace the environment's own file", member=name)
    is_script = scheme == "scripts" or (scheme == "data" and first in _SCRIPT_DIRECTORIES)
    script = path if scheme == "scripts" else below
    if is_script and script and "/" not in script:
        try:
            check_script_name(script)
        except EntryPointError as error:
            raise InvalidWheelError(wheel.filename, str(error), member=name) from error


def _hash(row: RecordRow, sizes: dict[str, int], wheel: WheelName) -> tuple[str, bytes]:
    if row.path not in sizes:
        raise InvalidWheelError(wheel.filename, "RECORD lists it, and it is not there", member=row.path)
    try:
        hash_ = hash_value(row.hash)
    except RecordError as error:
        raise InvalidWheelError(wheel.filename, f"in RECORD {error}", member=row.path) from error
    if row.size_bytes not in (None, sizes[row.path]):
        raise InvalidWheelError(wheel.filename, "RECORD gives another size", member=row.path)
    return hash_


def read_headers(content: bytes) -> dict[str, list[str]]:
    """Read the header lines (RFC 822); folded lines belong to fields that are not looked at here."""
    headers: dict[str, list[str]] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            headers.setdefault(key.strip().lower(), []).append(value.strip())
    return headers


def shortened(text: str) -> str:
    """Give what is told of a text that may be without end."""
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _text(content: bytes, member: str, wheel: WheelName) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidWheelError(wheel.filename, "it is not UTF-8", member=member) from error


def _is_project(text: str, expected: str) -> bool:
    try:
        return project_name(text) == expected
    except InvalidNameError:
        return False


def _is_version(text: str, expected: str) -> bool:
    text = text.replace("_", "-")
    if text == expected:
        return True
    from packaging.version import InvalidVersion  # noqa: PLC0415 - most wheels spell it one way everywhere

    from aiocache_engine.pipeline.inputs.pep440 import read_version  # noqa: PLC0415 - as above

    try:
        return read_version(text) == read_version(expected)
    except InvalidVersion:
        return False
