"""What was added to an overlay, as document (JSON) and as text, both from the same value."""

from __future__ import annotations

from collections.abc import Mapping

from aiocache_engine.cli.terminal import printable
from aiocache_engine.cli.units import count_of, duration_of
from aiocache_engine.hints import Any
from aiocache_engine.model.outcome import AddReport


def added_document(report: AddReport) -> Mapping[str, Any]:
    """Give `aioc.done/1`, with an entry for every wheel; its `name` is that of the overlay."""
    return {
        "schema": "aioc.done/1",
        "command": "add",
        "entries": [
            {
                "kind": "archive",
                "project": each.project,
                "version": each.version,
                "id": each.archive_id,
                "name": each.overlay,
                "path": each.path,
            }
            for each in report.added
        ],
    }


def added_text(report: AddReport) -> str:
    """Say what was added, and where to."""
    what = count_of(len(report.added), "wheel")
    lines = [f"Added {what} to the overlay {report.overlay} in {duration_of(report.total_seconds)}"]
    lines += [printable(f" + {each.project} {each.version}") for each in report.added]
    return "\n".join(lines)
