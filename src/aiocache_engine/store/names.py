"""Names: the small files that lead to archives. Reading and writing them; who may do it when is said elsewhere."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from aiocache_engine.model.records import Pointer
from aiocache_engine.store.documents import NewerFormatError, decode, encode
from aiocache_engine.system.disk import read_bytes

_FIELDS = tuple(field.name for field in fields(Pointer))


def encode_pointer(pointer: Pointer) -> bytes:
    """Encode the content of a name."""
    return encode({name: getattr(pointer, name) for name in _FIELDS})


def decode_pointer(content: bytes | None) -> Pointer | None:
    """Decode the content of a name; None where it is absent, damaged or of another format."""
    try:
        document: dict[str, Any] | None = decode(content)
        return None if document is None else Pointer(**{name: document[name] for name in _FIELDS})
    except (NewerFormatError, KeyError):
        return None


def read_pointer(path: str) -> Pointer | None:
    """Read a name; None where it is absent or damaged: a miss."""
    return decode_pointer(read_bytes(path))
