"""RECORD: the list of a distribution's files with their hashes and sizes ("Recording installed projects", PyPA).

Rows keep the hash as the file spells it, so that parsing and formatting give back what was there.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterable
from typing import NamedTuple

_DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}
_URL_SAFE = str.maketrans("-_", "+/")


# A NamedTuple, since a giant wheel has tens of thousands of rows and linking writes them all again.
class RecordRow(NamedTuple):
    """One line of RECORD."""

    path: str  #: with "/" between parts, relative to the directory that holds the .dist-info
    hash: str  #: "sha256=" and the digest in URL-safe base64 without padding; "" where none is given
    size_bytes: int | None  #: None where none is given


class RecordError(ValueError):
    """The text is no RECORD."""


def parse_record(text: str) -> list[RecordRow]:
    """Read RECORD.

    Raises:
        RecordError: a line is malformed.
    """
    rows = []
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in lines:
            if len(row) == 3:  # noqa: PLR2004 - path, hash and size
                path, hash_, size = row
                rows.append(RecordRow(path, hash_, _size(size) if size else None))
            elif row:
                raise RecordError(f"line {lines.line_num} has {len(row)} fields, three are expected")
    except csv.Error as error:
        raise RecordError(f"line {lines.line_num}: {error}") from error
    return rows


def format_record(rows: Iterable[RecordRow]) -> str:
    """Write RECORD, one line per row, in their order."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def hash_field(algorithm: str, digest: bytes) -> str:
    """Give a digest as RECORD spells it: "sha256=…"."""
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def hash_value(field: str) -> tuple[str, bytes]:
    """Take a hash field apart into algorithm and digest. Hexadecimal digests are taken too: some builders write them.

    Raises:
        RecordError: it is not "algorithm=digest", or the algorithm is not sha256 or better.
    """
    algorithm, _, text = field.partition("=")
    digest_bytes = _DIGEST_BYTES.get(algorithm, 0)
    try:
        if len(text) == 2 * digest_bytes:
            digest = bytes.fromhex(text)
        else:
            digest = binascii.a2b_base64(text.translate(_URL_SAFE) + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError as error:
        raise RecordError(f"{field!r} is no hash") from error
    if not digest_bytes or len(digest) != digest_bytes:
        raise RecordError(f"{field!r} is no hash of sha256 or better")
    return algorithm, digest


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise RecordError(f"{text!r} is no size")
    return int(text)
