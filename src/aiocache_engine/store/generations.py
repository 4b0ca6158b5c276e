"""Generations: what keeps work begun before a clean from bringing back what was cleaned (rules 5, 14, 20, 36).

A generation file holds its last 256 lines, each a fresh random value and what was cleaned then. A work reads the last
value at its first look-up. It may publish as long as that value is still in the file and no line after it matches.
Reading needs the shared lock, bumping the exclusive one.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from aiocache_engine.system.disk import read_bytes, replace_bytes

LINES_KEPT = 256
_DAMAGED = (
    "damaged"  #: stands for a file that cannot be read: it allows what began since, and no longer than the next bump
)
NONE = "none"  #: what a work reads where there is no file, and the first line of every file when it is made


@dataclass(frozen=True, slots=True)
class Generation:
    """The values that a work read for one project at its first look-up."""

    everything: str
    project: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one bump says was cleaned: everything, or of one project the versions that match."""

    specifier: str | None = None  #: PEP 440 specifier set; None: every version

    def matches(self, version: str) -> bool:
        """Tell whether this version was cleaned."""
        if self.specifier is None:
            return True
        from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - only after a clean of the same project

        return SpecifierSet(self.specifier).contains(version, prereleases=True)


def read_value(path: str) -> str:
    """Give the present value of a generation file."""
    lines = _lines(path)
    return lines[-1][0] if lines else NONE


def allows(path: str, value: str, *, version: str | None) -> bool:
    """Tell whether a work that read `value` may still publish that version; None: a page, refused by any bump."""
    lines = _lines(path)
    if not lines:
        return value == NONE
    values = [line_value for line_value, _ in lines]
    if value not in values:
        return False
    since = lines[values.index(value) + 1 :]
    return not any(version is None or cleaned.matches(version) for _, cleaned in since)


def bump(path: str, cleaned: Cleaned, *, by_way_of: str) -> None:
    """Add a line. The caller holds the exclusive lock, and renames nothing before this.

    Args:
        path: the generation file.
        cleaned: what is being cleaned.
        by_way_of: a temporary path on the same file system.
    """
    lines = [line for line in _lines(path) if line[0] != _DAMAGED] or [(NONE, Cleaned())]
    lines.append((secrets.token_hex(16), cleaned))
    content = b"".join(_line(value, what) for value, what in lines[-LINES_KEPT:])
    replace_bytes(path, content, by_way_of=by_way_of)


def _line(value: str, cleaned: Cleaned) -> bytes:
    return json.dumps({"value": value, "specifier": cleaned.specifier}).encode() + b"\n"


def _lines(path: str) -> list[tuple[str, Cleaned]]:
    content = read_bytes(path)
    if content is None:
        return []
    try:
        documents: list[dict[str, Any]] = [json.loads(line) for line in content.splitlines()]
        return [(document["value"], Cleaned(document["specifier"])) for document in documents]
    except (ValueError, KeyError):
        return [(_DAMAGED, Cleaned())]
