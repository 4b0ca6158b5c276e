"""Small JSON documents that carry their own checksum. A damaged one reads as absent; a newer one says so."""

from __future__ import annotations

import errno
import os

from aiocache_engine.hints import Any
from aiocache_engine.model.digests import sha256_of
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.system.disk import NO_PLAIN_FILE, open_plain, read_bytes

FORMAT = 1
_FIRST_LINE_BYTES = 8192
#: what opening a file of ours says where there is none, or something else in its place
ABSENT = NO_PLAIN_FILE | {errno.ENOENT, errno.ENOTDIR}


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
        document = load(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.pop("checksum", None) != _checksum(document):
        return None
    if document.get("format") != FORMAT:
        raise NewerFormatError(f"format {document.get('format')} is not known to this release")
    return document


def read_document(path: str) -> bytes | None:
    """Read a small file of ours; None where there is none. What is no regular file is none of ours."""
    try:
        return read_bytes(path)
    except OSError as error:
        if error.errno in NO_PLAIN_FILE:
            return None
        raise


def read_first_line(path: str) -> bytes | None:
    """Read the first line of a file of ours, whose rest may be long; None where there is none, or it has no end."""
    try:
        fd = open_plain(path)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    try:
        line, newline, _ = os.pread(fd, _FIRST_LINE_BYTES, 0).partition(b"\n")
    finally:
        os.close(fd)
    return line if newline else None


def open_directory(path: str) -> int | None:
    """Open a directory of ours for listing; None where there is none. What lies behind a link is none of ours."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def list_directory(path: str) -> list[str]:
    """List a directory of ours; empty where there is none. What lies behind a link is none of ours."""
    fd = open_directory(path)
    if fd is None:
        return []
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _dump(document: dict[str, Any]) -> bytes:
    return dump(document)


def _checksum(document: dict[str, Any]) -> str:
    return sha256_of(_dump(document))[:32]
