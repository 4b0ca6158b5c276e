"""Pins, as document (JSON) and as text, both from the same values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from aiocache_engine.cli.terminal import printable
from aiocache_engine.hints import Any
from aiocache_engine.model.records import Pin


def pins_document(command: str, pins: Sequence[Pin], *, gone: Collection[str] = ()) -> Mapping[str, Any]:
    """Give `aioc.done/1`, with an entry for every archive of every pin; `gone` says which of them are not there."""
    return {
        "schema": "aioc.done/1",
        "command": command,
        "entries": [
            {
                "kind": "archive",
                "project": each.project,
                "version": each.version,
                "id": each.archive_id,
                "name": pin.name,
                "path": None,
                "present": each.archive_id not in gone,
            }
            for pin in pins
            for each in pin.archives
        ],
    }


def pins_text(pins: Sequence[Pin], *, gone: Collection[str] = ()) -> str:
    """Give a line per pin: its name, and what it keeps, or would if it were there."""
    return "\n".join(printable(f"{pin.name}: {_contents(pin, gone)}") for pin in pins)


def _contents(pin: Pin, gone: Collection[str]) -> str:
    names = {f"{each.project} {each.version}{' (gone)' if each.archive_id in gone else ''}" for each in pin.archives}
    return ", ".join(sorted(names)) or "nothing that can be told"
