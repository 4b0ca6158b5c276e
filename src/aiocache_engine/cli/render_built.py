"""What became of builds, as document (JSON) and as text, both from the same value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiocache_engine.cli.terminal import printable
from aiocache_engine.cli.units import count_of, duration_of
from aiocache_engine.hints import Any
from aiocache_engine.model.outcome import BuildReport, BuiltWheel, FailedBuild


def built_document(report: BuildReport) -> Mapping[str, Any]:
    """Give `aioc.build/1`."""
    return {
        "schema": "aioc.build/1",
        "built": [_built(each) for each in report.built],
        "failed": [
            {"source": each.source, "message": each.message, "log": each.log, "last_lines": list(each.last_lines)}
            for each in report.failed
        ],
        "seconds": {"total": report.total_seconds},
    }


def _built(each: BuiltWheel) -> Mapping[str, Any]:
    return {
        "source": each.source,
        "name": each.project,
        "version": each.version,
        "file": each.path,
        "from": each.origin,
        "log": each.log,
        "seconds": each.seconds,
    }


def built_text(report: BuildReport) -> str:
    """Say which wheels are there, and how many were built now."""
    new = sum(each.origin == "built" for each in report.built)
    there = len(report.built) - new
    lines = []
    if new:
        lines.append(f"Built {count_of(new, 'wheel')} in {duration_of(report.total_seconds)}")
    if there:
        lines.append(f"{count_of(there, 'wheel')} already built")
    lines += [printable(f" + {each.path}") for each in report.built]
    return "\n".join(lines)


def failed_lines(failed: FailedBuild) -> Iterator[str]:
    """Say why one source was not built: the first line says all, the others show what its backend printed."""
    yield f"error: {failed.message}"
    yield from (f"  {line}" for line in failed.last_lines)
    if failed.log is not None:
        yield f"note: all of its output: {failed.log}"
