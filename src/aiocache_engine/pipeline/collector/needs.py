"""Read what the distributions in archives need, from their metadata: for a clean that takes dependencies too."""

from __future__ import annotations

import os
from collections.abc import Iterator

from aiocache_engine.model.snapshot import Need, Snapshot
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.resolution.metadata import MetadataError, needs_of, parse_metadata
from aiocache_engine.store.archives import TREE
from aiocache_engine.store.documents import list_directory, read_document
from aiocache_engine.store.layout import Layout


class NeedsReader:
    """Reads each archive once, however often the cache is scanned: an archive never changes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[Need, ...]] = {}

    def add_to(self, snapshot: Snapshot) -> Snapshot:
        """Give a snapshot with the needs of all its archives. Needs no hold; one that goes meanwhile needs nothing."""
        for archive_id in snapshot.archives.keys() - self._known.keys():
            self._known[archive_id] = tuple(_needs(f"{self._layout.archive(archive_id)}/{TREE}"))
        return replace(snapshot, needs={each: self._known[each] for each in snapshot.archives})


def _needs(tree: str) -> Iterator[Need]:
    """Read the needs of one archive; what cannot be read, since a person changed it, is left out."""
    for name in list_directory(tree):
        if not name.endswith(".dist-info"):
            continue
        content = read_document(os.path.join(tree, name, "METADATA"))
        if content is None:
            continue
        try:
            metadata = parse_metadata(content)
        except MetadataError:
            continue
        yield from (Need(project, specifier) for project, specifier in needs_of(metadata))
