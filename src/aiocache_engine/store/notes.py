"""Notes on condemned objects: "nothing refers to this one any more; free it when its last lease ends" (rules 33, 35).

A note is a hint and never a licence to delete. Each is a file of its own, so that removing those one has read can never
remove one that another wrote meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.value import value
from aiocache_engine.store.documents import list_directory
from aiocache_engine.system.descent import remove_file
from aiocache_engine.system.disk import write_in_place


@value
class Note:
    """One note that was read."""

    object_id: str
    path: str


def write_note(directory: str, object_id: str) -> None:
    """Write a note of one's own. Needs a hold of the cache lock."""
    path = f"{directory}/{object_id}-{os.urandom(8).hex()}"
    write_in_place(path, b"")


def read_notes(directory: str) -> list[Note]:
    """List the notes there are."""
    notes: list[Note] = []
    for name in list_directory(directory):
        object_id, _, _ = name.partition("-")
        if is_object_id(object_id):
            notes.append(Note(object_id, f"{directory}/{name}"))
    return notes


def remove_notes(notes: Iterable[Note]) -> None:
    """Remove notes that were read before the scan which settled them began."""
    for note in notes:
        try:
            remove_file(note.path)
        except (IsADirectoryError, PermissionError):  # which of the two a directory gives depends on the system
            if not os.path.isdir(note.path):
                raise
            from aiocache_engine.store.trash import sweep  # noqa: PLC0415 - no note of ours is a directory

            sweep(note.path)
