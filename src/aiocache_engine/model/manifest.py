"""What one unpacked wheel consists of: written once beside its tree, read by all that links, lists or checks it.

The file has three lines of JSON. The first holds totals, enough for `ls` and `size`; the second holds what linking
needs; the third holds the hashes, which only verification reads. The first line carries the SHA-256 of the rest.
"""

from __future__ import annotations

from aiocache_engine.hints import Any
from aiocache_engine.model.digests import sha256_of
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.value import field_names, value

FORMAT = 1


@value
class Directory:
    """One directory of a tree, with the files that stand directly in it."""

    path: str  #: relative to the tree, with "/" between parts; "" is the tree itself
    names: tuple[str, ...]  #: file names, in the order of `sizes` and `sha256`
    sizes: tuple[int, ...]  #: bytes
    sha256: tuple[str, ...]  #: hexadecimal; empty where the manifest was read without its hashes


@value
class Totals:
    """The first line: what `ls`, `size` and the collector need to know of an archive."""

    project: str  #: normalized
    version: str  #: as METADATA spells it
    filename: str  #: the wheel's file name
    sha256: str  #: of the wheel file, hexadecimal
    file_count: int
    size_bytes: int  #: sum of the sizes of the files in the tree
    boot_id: str  #: of the machine that unpacked it: after a reboot the first use checks sizes


@value
class Manifest:
    """The whole description of one unpacked wheel. Its tree holds every file of the wheel but RECORD."""

    totals: Totals
    directories: tuple[Directory, ...]  #: parents first; every directory that must exist is listed
    executables: frozenset[str]  #: paths of the files that bear the executable bit
    root_is_purelib: bool
    dist_info: str  #: name of the .dist-info directory
    data: str  #: name of the .data directory, "" where the wheel has none
    record: str  #: RECORD as in the wheel, without the rows of RECORD itself and of its signatures
    entry_points: str  #: entry_points.txt, "" where the wheel has none


class ManifestError(ValueError):
    """The bytes are no manifest of ours, or were damaged."""


def dump_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest."""
    body = _line(
        {
            "directories": [[d.path, d.names, d.sizes] for d in manifest.directories],
            "executables": sorted(manifest.executables),
            "root_is_purelib": manifest.root_is_purelib,
            "dist_info": manifest.dist_info,
            "data": manifest.data,
            "record": manifest.record,
            "entry_points": manifest.entry_points,
        }
    )
    rest = body + _line([d.sha256 for d in manifest.directories])
    totals = manifest.totals
    first = {"format": FORMAT, "rest": sha256_of(rest)}
    first |= {name: getattr(totals, name) for name in field_names(Totals)}
    first["self"] = _checksum(first)
    return _line(first) + rest


def load_totals(first_line: bytes) -> Totals:
    """Decode the first line alone.

    Raises:
        ManifestError: it is damaged or of another format.
    """
    return _totals(_first(first_line))


def load_manifest(content: bytes, *, with_hashes: bool = False) -> Manifest:
    """Decode a whole manifest, checked against its own checksum.

    Raises:
        ManifestError: it is damaged or of another format.
    """
    first_line, _, rest = content.partition(b"\n")
    first = _first(first_line)
    if sha256_of(rest) != first["rest"]:
        raise ManifestError("the manifest does not match its checksum")
    second, _, third = rest.partition(b"\n")
    body = load(second)
    hashes: Any = load(third) if with_hashes else [()] * len(body["directories"])
    return Manifest(
        totals=_totals(first),
        directories=tuple(
            Directory(path, tuple(names), tuple(sizes), tuple(sha256))
            for (path, names, sizes), sha256 in zip(body["directories"], hashes, strict=True)
        ),
        executables=frozenset(body["executables"]),
        root_is_purelib=body["root_is_purelib"],
        dist_info=body["dist_info"],
        data=body["data"],
        record=body["record"],
        entry_points=body["entry_points"],
    )


def _line(value: object) -> bytes:
    return dump(value) + b"\n"


def _checksum(first: dict[str, Any]) -> str:
    return sha256_of(_line({k: v for k, v in first.items() if k != "self"}))[:32]


def _first(line: bytes) -> dict[str, Any]:
    try:
        first = load(line)
    except ValueError as error:
        raise ManifestError("the first line is no JSON") from error
    if not isinstance(first, dict) or first.get("format") != FORMAT or first.get("self") != _checksum(first):
        raise ManifestError("the first line is damaged or of another format")
    return first


def _totals(first: dict[str, Any]) -> Totals:
    return Totals(**{name: first[name] for name in field_names(Totals)})
