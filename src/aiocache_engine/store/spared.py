"""What a clean of names leaves where it is: what pins keep now, and what it was told to leave besides.

Asked in every exclusive hold anew (rule 36), so it costs little there: it looks only into the projects that it is asked
about, and opens only names and pins that it has not read before, outside a hold perhaps.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from aiocache_engine.model.snapshot import FileIdentity
from aiocache_engine.store.layout import METADATA_SUFFIX, PAGE, Layout
from aiocache_engine.store.name_choice import POINTER_SUFFIX, NameChoice, files_in, files_of, identity, may_be_pointer
from aiocache_engine.store.names import read_pointer
from aiocache_engine.store.pins import PinReader


class Spared:
    """Tells which names, pages and metadata stay."""

    def __init__(self, layout: Layout, *, besides: Collection[str] = (), without: frozenset[str] = frozenset()) -> None:
        """Read nothing yet.

        Args:
            layout: of the cache dir.
            besides: paths of what stays whether pinned or not.
            without: archives that count as pinned no more.
        """
        #: Directories in which nothing is left that may go, as long as the pins stay; for whoever takes it.
        self.settled: set[str] = set()
        self._layout = layout
        self._besides = frozenset(besides)
        self._around = {each for path in self._besides for each in _around(path)}
        self._without = without
        self._pins = PinReader(layout)
        self._ids: frozenset[str] = frozenset()
        self._projects: frozenset[str] = frozenset()
        self._is_everything_pinned = False
        self._leads_to: dict[str, tuple[FileIdentity, str | None]] = {}
        self._kept: dict[str, frozenset[str]] = {}

    def look_again(self) -> None:
        """Read the pins as they are now. Whoever relies on the answers is in the same hold."""
        before = self._ids, self._is_everything_pinned
        pins = self._pins.read().without(self._without)
        members = [each for pin in pins.readable for each in pin.archives]
        self._ids = frozenset(each.archive_id for each in members)
        self._projects = frozenset(each.project for each in members)
        self._is_everything_pinned = bool(pins.unreadable)
        self._kept.clear()
        if (self._ids, self._is_everything_pinned) != before:
            self.settled.clear()  # what a pin kept there may go now

    @property
    def has_pins(self) -> bool:
        """Tell whether a pin keeps anything."""
        return self._is_everything_pinned or bool(self._ids)

    def keeps(self, path: str) -> bool:
        """Tell whether a file stays."""
        return path in self._besides or path in self._pinned_in(self._directory_around(path))

    def keeps_in(self, directory: str) -> bool:
        """Tell whether anything stays in the directory of a project or tool; or may stay, in that of them all.

        What was learnt of interpreters and index settings stays with any pin: what is pinned is looked up by that, too.
        """
        buckets = (self._layout.projects, self._layout.overlays, self._layout.interpreters)
        if directory in self._around or (directory in buckets and self.has_pins):
            return True
        return bool(self._pinned_in(directory))

    def _directory_around(self, path: str) -> str:
        """Give the directory of the project that a name stands in."""
        inner = os.path.dirname(path)
        outer = os.path.dirname(inner)
        return inner if os.path.dirname(outer) == self._layout.overlays else outer

    def _pinned_in(self, directory: str) -> frozenset[str]:
        """Give what pins keep of a project: names that lead to pinned archives, and what these are looked up by."""
        bucket, project = os.path.split(directory)
        is_of_project = bucket == self._layout.projects or os.path.dirname(bucket) == self._layout.overlays
        if not is_of_project or not (self._is_everything_pinned or project in self._projects):
            return frozenset()
        kept = self._kept.get(directory)
        if kept is None:
            names = (path for index, path in files_in(self._layout, directory) if may_be_pointer(index, path))
            kept = frozenset(each for path in names if self._is_pinned(path) for each in _looked_up_by(path))
            self._kept[directory] = kept
        return kept

    def _is_pinned(self, path: str) -> bool:
        now = identity(path)
        if now is None:
            return False
        known, archive_id = self._leads_to.get(path, (None, None))
        if known != now:
            pointer = read_pointer(path)
            archive_id = None if pointer is None else pointer.archive_id
            self._leads_to[path] = now, archive_id
        return archive_id is not None and (self._is_everything_pinned or archive_id in self._ids)


def matching_names(layout: Layout, choice: NameChoice, spared: Spared) -> list[str]:
    """List the names that a clean's target would take one by one."""
    choice.spare(spared.keeps)
    partly = filter(spared.keeps_in, choice.own(layout))
    beside = [path for directory in partly for path in files_of(layout, directory) if not spared.keeps(path)]
    return [*beside, *(path for index, path in choice.places(layout) if choice.takes(index, path))]


def _looked_up_by(path: str) -> tuple[str, ...]:
    """Give the path of a name, and of what its archive is looked up by beside it: its metadata, its index's page."""
    if not path.endswith(POINTER_SUFFIX):
        return (path,)
    return path, f"{path.removesuffix(POINTER_SUFFIX)}{METADATA_SUFFIX}", f"{os.path.dirname(path)}/{PAGE}"


def _around(path: str) -> list[str]:
    """Give the directories that a name stands in: of its index or tool, of its project, of them all."""
    places = [os.path.dirname(path)]
    for _ in range(2):
        places.append(os.path.dirname(places[-1]))
    return places
