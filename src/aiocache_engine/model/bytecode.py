"""What was compiled from one archive for one kind of interpreter: written once beside the .pyc files.

The file has four lines. The first holds totals and carries the checksum of the two that follow; the second holds what
linking needs; the third, hashes, which only verification reads. The fourth is the boot id of the last check; it may be
written over, and is covered by no checksum.
"""

from __future__ import annotations

from aiocache_engine.hints import Any
from aiocache_engine.model.digests import sha256_of
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.value import field_names, value

FORMAT = 1


class BytecodeError(ValueError):
    """The bytes are no manifest of bytecode, or were damaged."""


@value
class BytecodeTotals:
    """The first line."""

    archive_id: str  #: that the sources belong to
    implementation: str  #: "cpython"
    cache_tag: str  #: "cpython-311"
    magic: str  #: bytecode magic, hexadecimal
    executable: str  #: the interpreter that compiled
    file_count: int  #: .pyc files
    size_bytes: int  #: sum of their sizes
    skipped_count: int  #: modules that this interpreter cannot compile; they are not tried again


@value
class CompiledDirectory:
    """The compiled modules of one directory of the archive's tree."""

    path: str  #: relative to the tree, as in the archive's manifest
    names: tuple[str, ...]  #: of the sources: "module.py"
    sizes: tuple[int, ...]  #: bytes of the .pyc of each
    times: tuple[int, ...]  #: modification time of each source, in whole seconds
    sha256: tuple[str, ...]  #: of the .pyc of each, hexadecimal; empty where the manifest was read without its hashes


@value
class BytecodeManifest:
    """The whole description."""

    totals: BytecodeTotals
    directories: tuple[CompiledDirectory, ...]
    boot_id: str  #: of the machine, when files and sources were last looked at


def dump_bytecode(manifest: BytecodeManifest) -> bytes:
    """Encode a manifest."""
    rest = _line([[d.path, d.names, d.sizes, d.times] for d in manifest.directories])
    rest += _line([d.sha256 for d in manifest.directories])
    totals = manifest.totals
    first: dict[str, Any] = {"format": FORMAT, "rest": sha256_of(rest)}
    first |= {name: getattr(totals, name) for name in field_names(BytecodeTotals)}
    first["self"] = _checksum(first)
    return _line(first) + rest + manifest.boot_id.encode()


def load_bytecode_totals(first_line: bytes) -> BytecodeTotals:
    """Decode the first line alone.

    Raises:
        BytecodeError: it is damaged or of another format.
    """
    return _totals(_first(first_line))


def load_bytecode(content: bytes, *, with_hashes: bool = False) -> BytecodeManifest:
    """Decode a whole manifest, checked against its own checksum.

    Raises:
        BytecodeError: it is damaged or of another format.
    """
    parts = content.split(b"\n", 3)
    if len(parts) != 4:  # noqa: PLR2004 - the lines named above
        raise BytecodeError("it is not whole")
    first = _first(parts[0])
    second, third, boot_id = parts[1:]
    if sha256_of(second + b"\n" + third + b"\n") != first["rest"]:
        raise BytecodeError("it does not match its checksum")
    directories = load(second)
    hashes: Any = load(third) if with_hashes else [()] * len(directories)
    return BytecodeManifest(
        totals=_totals(first),
        directories=tuple(
            CompiledDirectory(path, tuple(names), tuple(sizes), tuple(times), tuple(sha256))
            for (path, names, sizes, times), sha256 in zip(directories, hashes, strict=True)
        ),
        boot_id=boot_id.decode(errors="replace"),
    )


def boot_id_offset(content: bytes) -> int:
    """Tell at which byte of an encoded manifest the boot id begins."""
    return len(content) - len(content.split(b"\n", 3)[3])


def _first(line: bytes) -> dict[str, Any]:
    try:
        first = load(line)
    except ValueError as error:
        raise BytecodeError("its first line is no JSON") from error
    if not isinstance(first, dict) or first.get("format") != FORMAT or first.get("self") != _checksum(first):
        raise BytecodeError("its first line is damaged or of another format")
    return first


def _totals(first: dict[str, Any]) -> BytecodeTotals:
    return BytecodeTotals(**{name: first[name] for name in field_names(BytecodeTotals)})


def _line(content: object) -> bytes:
    return dump(content) + b"\n"


def _checksum(first: dict[str, Any]) -> str:
    return sha256_of(_line({name: each for name, each in first.items() if name != "self"}))[:32]
