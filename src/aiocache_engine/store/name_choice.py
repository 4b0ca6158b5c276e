"""Which names a clean takes: told by what they say, opened only where the scan has not seen them (rule 36)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.names import is_sdist, sdist_name
from aiocache_engine.model.records import EnvironmentPointer, Pointer
from aiocache_engine.model.removal import CleanTarget, TargetKind, VersionMatch
from aiocache_engine.model.snapshot import FileIdentity, PageKind, SeenName, SeenTool
from aiocache_engine.store.archives import read_totals
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.environments import read_environment_pointer
from aiocache_engine.store.generations import Cleaned
from aiocache_engine.store.layout import BUILT, HASH_NAMES, LOG_SUFFIX, OVERLAY, Layout
from aiocache_engine.store.names import read_pointer

POINTER_SUFFIX = ".json"  #: of the names that `Layout.pointer` and `Layout.tool_pointer` give


class NameChoice:
    """Tells which names a clean's target takes; opening only what it does not know yet.

    What a name of a file leads to may change, its version never does: a file name, or a wheel's hash, fixes it. The
    name of a tool's environment may come to say anything, and so may any name where an object is meant, so these are
    known only as long as nobody has replaced them.
    """

    def __init__(
        self, target: CleanTarget, seen: Iterable[SeenName], tools: Iterable[SeenTool], *, matches: VersionMatch
    ) -> None:
        self.target = target
        self._matches = matches
        self._of_version: dict[str, bool] = {}
        self._is_spared: Callable[[str], bool] = _is_never
        self._is_by_id = target.kind is TargetKind.ID
        pointers = () if self._is_by_id else ((n.path, n.pointer) for n in seen if target.takes(n.pointer.project))
        self._of_path = {path: self._takes_version(p.version) for path, p in pointers}
        self._of_identity = {
            n.path: (n.identity, n.pointer is None or self._takes_environment(n.pointer)) for n in tools
        }

    def spare(self, is_spared: Callable[[str], bool]) -> None:
        """Leave out from now on the files of which this is true."""
        self._is_spared = is_spared

    def cleaned(self, layout: Layout) -> tuple[str, Cleaned] | None:
        """Give which generation to bump, and what to say there; None: what goes is one object that nobody remakes."""
        target = self.target
        match target.kind:
            case TargetKind.PATTERN:
                return f"{layout.generations}/global", Cleaned(projects=target.project)
            case TargetKind.TOOL:
                return layout.generation(target.project), Cleaned(is_tools=True)
            case TargetKind.ID:
                totals = read_totals(layout.archive(target.project))
                return None if totals is None else (layout.generation(totals.project), _same_version(totals.version))
            case TargetKind.PROJECT:
                return layout.generation(target.project), Cleaned(target.specifier)

    def own(self, layout: Layout) -> list[str]:
        """List the directories in which there is nothing that it does not take, but for what is spared."""
        target = self.target
        match target.kind:
            case TargetKind.PATTERN:
                places = (layout.projects, *overlays_of(layout))
                return [f"{place}/{each}" for place in places for each in list_directory(place) if target.takes(each)]
            case TargetKind.TOOL:
                return [layout.tool(target.project)]
            case TargetKind.PROJECT if target.specifier is None:
                return list(directories_of(layout, target.project))
            case _:
                return []

    def places(self, layout: Layout) -> Iterator[tuple[str | None, str]]:
        """List every file that the target may take, as it is now, with the index it stands under; None for a tool's.

        What is in directories of its own is left out.
        """
        if self._is_by_id:
            totals = read_totals(layout.archive(self.target.project))
            places = list(project_directories(layout)) if totals is None else directories_of(layout, totals.project)
            for directory in places:
                yield from files_in(layout, directory)
        elif self.target.specifier is not None:
            for directory in directories_of(layout, self.target.project):
                yield from files_in(layout, directory)
        if self.target.kind is not TargetKind.TOOL:
            for path in environment_names(layout):
                yield None, path

    def knows(self, path: str) -> bool:
        """Tell whether it can answer without opening the file."""
        return (
            path in self._of_path
            or self._is_spared(path)
            or (path in self._of_identity and self._of_identity[path][0] == identity(path))
        )

    def takes(self, index: str | None, path: str) -> bool:
        """Tell whether the target takes a file.

        Pages and metadata go with the versions of a project: they may still promise what was cleaned. Logs do, too.
        """
        return not self._is_spared(path) and self._takes(index, path)

    def _takes(self, index: str | None, path: str) -> bool:
        if index is None:
            return self._takes_now(path, self._takes_tool)
        if self._is_by_id:
            return may_be_pointer(index, path) and self._takes_now(path, self._takes_name)
        taken = self._of_path.get(path)
        if taken is not None:
            return taken
        if not may_be_pointer(index, path):
            version = version_of_sdist(self.target.project, path)
            return version is None or self._takes_version(version)
        pointer = read_pointer(path)
        if pointer is None:  # it may be whole when somebody looks again
            return True
        taken = self._of_path[path] = self._takes_version(pointer.version)
        return taken

    def _takes_now(self, path: str, look: Callable[[str], bool]) -> bool:
        now = identity(path)
        known, taken = self._of_identity.get(path, (None, False))
        if now is None or now == known:
            return taken
        taken = look(path)
        self._of_identity[path] = now, taken
        return taken

    def _takes_tool(self, path: str) -> bool:
        pointer = read_environment_pointer(path)
        return not self._is_by_id if pointer is None else self._takes_environment(pointer)

    def _takes_name(self, path: str) -> bool:
        pointer = read_pointer(path)
        return pointer is not None and pointer.archive_id == self.target.project

    def _takes_environment(self, pointer: EnvironmentPointer) -> bool:
        if self._is_by_id:
            return self.target.project in {pointer.environment_id, *(each.archive_id for each in pointer.members)}
        return any(
            self.target.takes(member.project) and self._takes_version(member.version) for member in pointer.members
        )

    def _takes_version(self, version: str) -> bool:
        if self.target.specifier is None:
            return True
        taken = self._of_version.get(version)
        if taken is None:
            taken = self._of_version[version] = self._matches(self.target.specifier, version)
        return taken


def _is_never(_path: str) -> bool:
    return False


def _same_version(version: str) -> Cleaned:
    """Say that one archive was cleaned: work under way may not bring back anything of its version."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - only where an id is cleaned

    with suppress(InvalidSpecifier):
        return Cleaned(str(SpecifierSet(f"=={version}")))
    return Cleaned()


def version_of_sdist(project: str, path: str) -> str | None:
    """Give the version of a stored sdist as its file name tells it; None: it does not, or the file is none."""
    filename = os.path.basename(path)
    if not is_sdist(filename):
        return None
    try:
        return sdist_name(filename, project).version
    except InvalidNameError:
        return None


def environment_names(layout: Layout) -> Iterator[str]:
    """List the names of all cached environments, those for builds included; never through a link."""
    for _, path in stored_for(layout.tools):
        if path.endswith(POINTER_SUFFIX):
            yield path
    yield from (f"{layout.builds}/{name}" for name in list_directory(layout.builds) if name.endswith(POINTER_SUFFIX))


def overlays_of(layout: Layout) -> list[str]:
    """Give the directories of all overlays."""
    return [f"{layout.overlays}/{name}" for name in list_directory(layout.overlays)]


def directories_of(layout: Layout, project: str) -> tuple[str, ...]:
    """Give the directories of a project: of its indexes, and in every overlay that has it."""
    inside = (f"{overlay}/{project}" for overlay in overlays_of(layout))
    return layout.project(project), *(each for each in inside if os.path.lexists(each))


def project_directories(layout: Layout) -> Iterator[str]:
    """Give the directories of all projects, those in overlays included."""
    for bucket in (layout.projects, *overlays_of(layout)):
        yield from (f"{bucket}/{name}" for name in list_directory(bucket))


def files_in(layout: Layout, directory: str) -> Iterator[tuple[str, str]]:
    """Give every file of the directory of a project, with the index that it stands under; through no link."""
    if os.path.dirname(os.path.dirname(directory)) == layout.overlays:
        return ((OVERLAY, f"{directory}/{name}") for name in list_directory(directory))
    return stored_for(directory)


def files_of(layout: Layout, directory: str) -> Iterator[str]:
    """Give every file of the directory of a project or of a tool, or of that of what builds need."""
    if os.path.dirname(directory) == layout.tools or directory == layout.builds:
        return (f"{directory}/{name}" for name in list_directory(directory))
    return (path for _, path in files_in(layout, directory))


def stored_for(directory: str) -> Iterator[tuple[str, str]]:
    """Give every file below a directory of directories, with the name of the one that it stands in; through no link."""
    for index in list_directory(directory):
        for name in list_directory(f"{directory}/{index}"):
            yield index, f"{directory}/{index}/{name}"


def pointers_of(layout: Layout, directory: str) -> Iterator[tuple[str, Pointer]]:
    """Read every name below a project's directory."""
    for index, path in files_in(layout, directory):
        if may_be_pointer(index, path) and (pointer := read_pointer(path)) is not None:
            yield path, pointer


def may_be_pointer(index: str, path: str) -> bool:
    """Tell names from pages and metadata without opening them."""
    return index == HASH_NAMES or path.endswith(POINTER_SUFFIX)


def page_kind(index: str, path: str) -> PageKind:
    """Tell what a file is that is no name, by where it stands and what it is called."""
    if index == BUILT:
        return PageKind.LOG if path.endswith(LOG_SUFFIX) else PageKind.PAGE
    return PageKind.SDIST if index not in (HASH_NAMES, OVERLAY) and is_sdist(path) else PageKind.PAGE


def identity(path: str) -> FileIdentity | None:
    """Give what tells a file from one that replaces it; None where there is none. Ask before reading the file."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
