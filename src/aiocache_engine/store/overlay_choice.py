"""Which names a clean of an overlay takes: those that stand in it, and all that is made of what only they gave away.

Besides them these are the hash names of the same archives, which an index may name as well, and the names of cached
environments with one of them in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.records import EnvironmentPointer, Pointer
from aiocache_engine.model.removal import EVERY_PROJECT, CleanTarget, TargetKind, VersionMatch
from aiocache_engine.model.snapshot import SeenName, SeenTool
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.generations import Cleaned
from aiocache_engine.store.layout import HASH_NAMES, OVERLAY, Layout
from aiocache_engine.store.name_choice import NameChoice, environment_names
from aiocache_engine.store.names import read_pointer


class OverlayChoice(NameChoice):
    """Tells which names a clean of an overlay takes; opening only what it does not know yet."""

    def __init__(
        self, target: CleanTarget, seen: Iterable[SeenName], tools: Iterable[SeenTool], *, matches: VersionMatch
    ) -> None:
        #: What names in the overlay lead to, or led to before they were taken.
        self.archive_ids: set[str] = set()
        self._tools = list(tools)
        self._empty: set[str] = set()  #: directories in which nothing was left: what comes there now began after that
        inside = [name for name in seen if name.overlay == target.overlay]
        super().__init__(target, inside, (), matches=matches)
        self._learn({name.object_id for name in inside if self._of_path.get(name.path)})

    def cleaned(self, layout: Layout) -> tuple[str, Cleaned] | None:
        """Give which generation to bump, and what to say there: environments with something of it are refused."""
        target = self.target
        if target.kind is TargetKind.PATTERN:
            pattern = None if target.project == EVERY_PROJECT else target.project
            return f"{layout.generations}/global", Cleaned(projects=pattern, overlay=target.overlay)
        return layout.generation(target.project), Cleaned(target.specifier, overlay=target.overlay)

    def own(self, layout: Layout) -> list[str]:  # noqa: ARG002 - as every choice
        """List nothing: what stands in the overlay tells what else goes, so it is taken one by one."""
        return []

    def places(self, layout: Layout) -> Iterator[tuple[str | None, str]]:
        """List what the target may take, as it is now.

        Environments come first: what is in them is known from the overlay's names. They come again where the scan had
        not seen all of these. Hash names come before those, too, since these alone tell them.
        """
        known = set(self.archive_ids)
        yield from ((None, path) for path in environment_names(layout))
        for path in self._inside(layout):
            if not self.takes(OVERLAY, path):
                continue
            if (pointer := read_pointer(path)) is not None:
                self._learn({pointer.archive_id})
                if (hash_name := _hash_name(layout, pointer)) is not None:
                    yield HASH_NAMES, hash_name
            yield OVERLAY, path
        if known != self.archive_ids:
            yield from ((None, path) for path in environment_names(layout))

    def _learn(self, archive_ids: set[str]) -> None:
        if not archive_ids <= self.archive_ids:
            self.archive_ids |= archive_ids
            self._of_identity = {
                name.path: (name.identity, name.pointer is None or self._takes_environment(name.pointer))
                for name in self._tools
            }

    def _takes(self, index: str | None, path: str) -> bool:
        if index is None:
            return self._takes_now(path, self._takes_tool)
        if index == HASH_NAMES:
            return True
        taken = self._of_path.get(path)
        if taken is not None:
            return taken
        pointer = read_pointer(path)
        if pointer is None:  # it may be whole when somebody looks again
            return True
        taken = self._of_path[path] = self._takes_version(pointer.version)
        return taken

    def _takes_environment(self, pointer: EnvironmentPointer) -> bool:
        return any(each.archive_id in self.archive_ids for each in pointer.members)

    def _inside(self, layout: Layout) -> Iterator[str]:
        overlay = layout.overlay(self.target.overlay or "")
        for project in list_directory(overlay):
            directory = f"{overlay}/{project}"
            if directory in self._empty or not self.target.takes(project):
                continue
            names = list_directory(directory)
            if not names:
                self._empty.add(directory)
            yield from (f"{directory}/{name}" for name in names)


def name_choice(
    target: CleanTarget, seen: Iterable[SeenName], tools: Iterable[SeenTool], *, matches: VersionMatch
) -> NameChoice:
    """Give what tells which names a target takes."""
    kind = NameChoice if target.overlay is None else OverlayChoice
    return kind(target, seen, tools, matches=matches)


def _hash_name(layout: Layout, pointer: Pointer) -> str | None:
    """Give the hash name that leads to the same archive, if there is one."""
    try:
        path = layout.hash_name(pointer.project, pointer.sha256)
    except InvalidNameError:  # whoever wrote that name was not us
        return None
    found = read_pointer(path)
    return path if found is not None and found.archive_id == pointer.archive_id else None
