"""Which names a clean takes: told by what they say, opened only where the scan has not seen them (rule 36)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from aiocache_engine.model.records import EnvironmentPointer, Pointer
from aiocache_engine.model.removal import CleanTarget
from aiocache_engine.model.snapshot import FileIdentity, SeenName, SeenTool
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.environments import read_environment_pointer
from aiocache_engine.store.layout import HASH_NAMES, Layout
from aiocache_engine.store.names import read_pointer

_POINTER_SUFFIX = ".json"  #: of the names that `Layout.pointer` and `Layout.tool_pointer` give
VersionMatch = Callable[[str, str], bool]  #: (specifier set, version) -> whether it matches


class NameChoice:
    """Tells which names a clean's target takes; opening only what it does not know yet.

    What a name of a file leads to may change, its version never does: a file name, or a wheel's hash, fixes it. The
    name of a tool's environment may come to say anything, so it is known only as long as nobody has replaced it.
    """

    def __init__(
        self, target: CleanTarget, seen: Iterable[SeenName], tools: Iterable[SeenTool], *, matches: VersionMatch
    ) -> None:
        self.target = target
        self._matches = matches
        self._of_version: dict[str, bool] = {}
        self._of_path = {
            n.path: self._matches_version(n.pointer.version) for n in seen if n.pointer.project == target.project
        }
        self._of_tool = {n.path: (n.identity, n.pointer is None or self._matches_environment(n.pointer)) for n in tools}

    def places(self, layout: Layout) -> Iterator[tuple[str | None, str]]:
        """List every file that the target may take, as it is now, with the index it stands under; None for a tool's.

        What a project has is left out where all of it goes: that takes one rename of its directory.
        """
        if self.target.specifier is not None:
            yield from stored_for(layout.project(self.target.project))
        for path in tool_names(layout):
            yield None, path

    def knows(self, path: str) -> bool:
        """Tell whether it can answer without opening the file."""
        return path in self._of_path or (path in self._of_tool and self._of_tool[path][0] == identity(path))

    def takes(self, index: str | None, path: str) -> bool:
        """Tell whether the target takes a file; pages and metadata always: they may still promise what was cleaned."""
        if index is None:
            return self._takes_tool(path)
        taken = self._of_path.get(path)
        if taken is not None:
            return taken
        if not may_be_pointer(index, path):
            return True
        pointer = read_pointer(path)
        if pointer is None:  # it may be whole when somebody looks again
            return True
        taken = self._of_path[path] = self._matches_version(pointer.version)
        return taken

    def _takes_tool(self, path: str) -> bool:
        now = identity(path)
        known, taken = self._of_tool.get(path, (None, False))
        if now is None or now == known:
            return taken
        pointer = read_environment_pointer(path)
        taken = pointer is None or self._matches_environment(pointer)
        self._of_tool[path] = now, taken
        return taken

    def _matches_environment(self, pointer: EnvironmentPointer) -> bool:
        return any(
            member.project == self.target.project and self._matches_version(member.version)
            for member in pointer.members
        )

    def _matches_version(self, version: str) -> bool:
        if self.target.specifier is None:
            return True
        taken = self._of_version.get(version)
        if taken is None:
            taken = self._of_version[version] = self._matches(self.target.specifier, version)
        return taken


def matching_names(layout: Layout, choice: NameChoice) -> list[str]:
    """List the names that a clean's target would take one by one."""
    return [path for index, path in choice.places(layout) if choice.takes(index, path)]


def tool_names(layout: Layout) -> Iterator[str]:
    """List the names of all tools' environments; never through a link."""
    return (path for _, path in stored_for(layout.tools) if path.endswith(_POINTER_SUFFIX))


def stored_for(directory: str) -> Iterator[tuple[str, str]]:
    """Give every file below a directory of directories, with the name of the one that it stands in; through no link."""
    for index in list_directory(directory):
        for name in list_directory(f"{directory}/{index}"):
            yield index, f"{directory}/{index}/{name}"


def pointers_of(directory: str) -> Iterator[tuple[str, Pointer]]:
    """Read every name below a project's directory."""
    for index, path in stored_for(directory):
        if may_be_pointer(index, path) and (pointer := read_pointer(path)) is not None:
            yield path, pointer


def may_be_pointer(index: str, path: str) -> bool:
    """Tell names from pages and metadata without opening them."""
    return index == HASH_NAMES or path.endswith(_POINTER_SUFFIX)


def identity(path: str) -> FileIdentity | None:
    """Give what tells a file from one that replaces it; None where there is none. Ask before reading the file."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
