"""What is in an overlay: names of wheels that were added by hand. The names themselves are its pages."""

from __future__ import annotations

import os

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.records import Pointer
from aiocache_engine.store.archives import is_present
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.names import read_pointer
from aiocache_engine.system.lock import Hold

_SUFFIX = ".json"


def read_overlay(hold: Hold, layout: Layout, project: str, overlay: str) -> list[Pointer]:
    """Give the wheels of a project in an overlay, by their file names; empty: it has none of it."""
    hold.require(LockMode.SHARED)
    directory = f"{layout.overlay(overlay)}/{project}"
    found = [_usable(layout, directory, name) for name in sorted(list_directory(directory))]
    return [pointer for pointer in found if pointer is not None and pointer.project == project]


def projects_in(layout: Layout, overlay: str) -> list[str]:
    """Give the projects that an overlay has, or had before their wheels were cleaned. Needs no hold."""
    return list_directory(layout.overlay(overlay))


def overlays_in(layout: Layout) -> list[str]:
    """Give the names of the overlays that there are. Needs no hold."""
    return sorted(list_directory(layout.overlays))


def _usable(layout: Layout, directory: str, name: str) -> Pointer | None:
    """Read one name; None where it is damaged, or leads to nothing: a miss (rule 6)."""
    if not name.endswith(_SUFFIX):
        return None
    pointer = read_pointer(os.path.join(directory, name))
    if pointer is None or f"{pointer.filename}{_SUFFIX}" != name or not is_object_id(pointer.archive_id):
        return None
    return pointer if is_present(layout.archive(pointer.archive_id)) else None
