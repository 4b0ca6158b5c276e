"""Pins, as document (JSON) and as text, both from the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiocache_engine.cli.terminal import printable
from aiocache_engine.hints import Any
from aiocache_engine.model.records import Pin


def pins_document(command: str, pins: Sequence[Pin]) -> Mapping[str, Any]:
    """Give `aioc.done/1`, with an entry for every archive of every pin."""
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
            }
            for pin in pins
            for each in pin.archives
        ],
    }


def pins_text(pins: Sequence[Pin]) -> str:
    """Give a line per pin: its name, and what it keeps."""
    return "\n".join(printable(f"{pin.name}: {_contents(pin)}") for pin in pins)


def _contents(pin: Pin) -> str:
    return ", ".join(sorted(f"{each.project} {each.version}" for each in pin.archives)) or "nothing that can be told"
