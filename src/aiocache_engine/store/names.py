"""Names: the small files that lead to archives. Reading and writing them; who may do it when is said elsewhere."""

from __future__ import annotations

from aiocache_engine.hints import Any
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.records import Pointer
from aiocache_engine.model.value import field_names
from aiocache_engine.store.documents import NewerFormatError, decode, encode, read_document

_FIELDS = field_names(Pointer)


def encode_pointer(pointer: Pointer) -> bytes:
    """Encode the content of a name."""
    return encode({name: getattr(pointer, name) for name in _FIELDS})


def decode_pointer(content: bytes | None) -> Pointer | None:
    """Decode the content of a name; None where it is absent, damaged or of another format."""
    try:
        document: dict[str, Any] | None = decode(content)
        if document is None or not all(isinstance(document[name], str) for name in _FIELDS):
            return None
    except (NewerFormatError, KeyError):
        return None
    pointer = Pointer(**{name: document[name] for name in _FIELDS})
    return pointer if is_object_id(pointer.archive_id) else None


def read_pointer(path: str) -> Pointer | None:
    """Read a name; None where it is absent or damaged: a miss."""
    return decode_pointer(read_document(path))
