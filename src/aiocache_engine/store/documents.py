"""Small JSON documents that carry their own checksum. A damaged one reads as absent; a newer one says so."""

from __future__ import annotations

import hashlib
import json
from typing import Any

FORMAT = 1


class NewerFormatError(ValueError):
    """The document is whole, and of a format that only a newer release reads."""


def encode(body: dict[str, Any]) -> bytes:
    """Encode a document: its format, what it says, its checksum, on one line."""
    document = {"format": FORMAT, **body}
    return _dump({**document, "checksum": _checksum(document)}) + b"\n"


def decode(content: bytes | None) -> dict[str, Any] | None:
    """Decode a document; None where there is none or it is damaged.

    Raises:
        NewerFormatError: it was written by a newer release.
    """
    if content is None:
        return None
    try:
        document = json.loads(content)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.pop("checksum", None) != _checksum(document):
        return None
    if document.get("format") != FORMAT:
        raise NewerFormatError(f"format {document.get('format')} is not known to this release")
    return document


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _checksum(document: dict[str, Any]) -> str:
    return hashlib.sha256(_dump(document)).hexdigest()[:32]
