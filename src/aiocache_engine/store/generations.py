"""Generations: what keeps work begun before a clean from bringing back what was cleaned (rules 5, 14, 20, 36).

A generation file holds its last 256 lines, each a fresh random value and what was cleaned then. A work reads the last
value at its first look-up. It may publish as long as that value is still in the file and no line after it matches.
Reading needs the shared lock, bumping the exclusive one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from aiocache_engine.hints import Any
from aiocache_engine.model.names import fits
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.value import value
from aiocache_engine.store.documents import read_document
from aiocache_engine.system.descent import make_directory
from aiocache_engine.system.disk import replace_bytes

LINES_KEPT = 256
_DAMAGED = "damaged"  #: stands for a file that cannot be read: what began since is allowed, until the next bump
NONE = "none"  #: what a work reads where there is no file, and the first line of every file when it is made


@value
class Generation:
    """The values that a work read for one project at its first look-up."""

    everything: str
    project: str


@value
class Cleaned:
    """What one bump says was cleaned: everything, or of one project the versions that match."""

    specifier: str | None = None  #: PEP 440 specifier set; None: every version
    projects: str | None = None  #: a pattern, in the file of everything: of projects that fit it alone
    is_tools: bool = False  #: only the environments that were made for the project as a tool
    overlay: str | None = None  #: only what was added to this overlay, and environments: they may have some of it

    def matches(
        self, version: str | None, *, project: str = "", is_tool: bool = False, is_environment: bool = False
    ) -> bool:
        """Tell whether this was cleaned; a page, which has no version, by every bump that is of its project."""
        if (self.is_tools and not is_tool) or (self.projects is not None and not fits(self.projects, project)):
            return False
        if self.overlay is not None and not is_environment:  # who adds to one counts as begun again (rule 21)
            return False
        return version is None or self.specifier is None or version_matches(self.specifier, version)


def version_matches(specifier: str, version: str) -> bool:
    """Tell whether a version is in a specifier set (PEP 440), pre-releases included; an odd version never is."""
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - only where single versions are cleaned
    from packaging.version import InvalidVersion  # noqa: PLC0415 - as above

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidVersion:
        return False


def read_value(path: str) -> str:
    """Give the present value of a generation file."""
    lines = _lines(path)
    return lines[-1][0] if lines else NONE


def allows(
    path: str,
    value: str,
    *,
    version: str | None,
    project: str = "",
    is_tool: bool = False,
    is_environment: bool = False,
) -> bool:
    """Tell whether a work that read `value` may still publish that version.

    Args:
        path: the generation file.
        value: what the work read.
        version: None: a page, refused by any bump but of tools and overlays.
        project: whose version it is, where the file is of more than one.
        is_tool: what is published is the environment of this project as a tool.
        is_environment: what is published is an environment that it is in.
    """
    lines = _lines(path)
    if not lines:
        return value == NONE
    values = [line_value for line_value, _ in lines]
    if value not in values:
        return False
    since = lines[values.index(value) + 1 :]
    return not any(
        cleaned.matches(version, project=project, is_tool=is_tool, is_environment=is_environment)
        for _, cleaned in since
    )


def bump(path: str, cleaned: Cleaned, *, by_way_of: str, root: str = "") -> None:
    """Add a line. The caller holds the exclusive lock, and renames nothing before this.

    Args:
        path: the generation file.
        cleaned: what is being cleaned.
        by_way_of: a temporary path on the same file system.
        root: the directory from which on no link is followed (see `place_of`).
    """
    content = _bumped(path, (cleaned,))
    make_directory(os.path.dirname(path), root)  # a full clean that died may have left none
    replace_bytes(path, content, by_way_of=by_way_of, root=root)


def size_after(path: str, cleaned: Iterable[Cleaned]) -> int:
    """Give the size in bytes that the file will have after these bumps."""
    return len(_bumped(path, cleaned))


def _bumped(path: str, cleaned: Iterable[Cleaned]) -> bytes:
    lines = [line for line in _lines(path) if line[0] != _DAMAGED] or [(NONE, Cleaned())]
    lines += [(os.urandom(16).hex(), each) for each in cleaned]
    return b"".join(_line(value, what) for value, what in lines[-LINES_KEPT:])


def _line(value: str, cleaned: Cleaned) -> bytes:
    # An older release knows no other keys, and takes such a line for one that says more: it refuses more.
    special = {"projects": cleaned.projects, "tools": cleaned.is_tools or None, "overlay": cleaned.overlay}
    said = {name: content for name, content in special.items() if content is not None}
    return dump({"value": value, "specifier": cleaned.specifier, **said}) + b"\n"


def _cleaned(document: dict[str, Any]) -> Cleaned:
    projects, overlay = document.get("projects"), document.get("overlay")
    if not (isinstance(projects, str | None) and isinstance(overlay, str | None)):
        raise TypeError("a pattern is a text, and so is the name of an overlay")
    return Cleaned(document["specifier"], projects, document.get("tools") is True, overlay)


def _lines(path: str) -> list[tuple[str, Cleaned]]:
    content = read_document(path)
    if content is None:
        return []
    try:
        documents: list[dict[str, Any]] = [load(line) for line in content.splitlines()]
        lines = [(document["value"], _cleaned(document)) for document in documents]
    except (ValueError, KeyError, TypeError, RecursionError):
        return [(_DAMAGED, Cleaned())]
    is_sound = all(isinstance(value, str) and isinstance(what.specifier, str | None) for value, what in lines)
    return lines if is_sound else [(_DAMAGED, Cleaned())]
