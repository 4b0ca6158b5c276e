"""Reports of install and fetch, as documents (JSON) and as text, both from the same values."""

from __future__ import annotations

from collections.abc import Mapping

from aiocache_engine.cli.terminal import printable
from aiocache_engine.cli.units import count_of, duration_of
from aiocache_engine.hints import Any
from aiocache_engine.model.outcome import FetchReport, InstallReport, Named, Obtained

Document = Mapping[str, Any]


def install_document(report: InstallReport) -> Document:
    """Give `aioc.install/1`."""
    return {
        "schema": "aioc.install/1",
        "dry_run": report.is_dry_run,
        "target": report.target,
        "target_created": report.is_target_new and not report.is_dry_run,
        "link_mode": report.link_mode,
        "installed": [_obtained(each) for each in report.installed],
        "removed": [_named(each) for each in report.removed],
        "unchanged": [_named(each) for each in report.unchanged],
        "warnings": list(report.warnings),
        "seconds": {
            "resolve": report.resolve_seconds,
            "fetch": report.fetch_seconds,
            "link": report.link_seconds,
            "total": report.total_seconds,
        },
    }


def install_text(report: InstallReport, *, place: str, verbosity: int) -> str:
    """Say what was installed, as lines of `+` and `-`.

    Args:
        report: what.
        place: what its target is: "environment" or "directory".
        verbosity: how often -v was given.
    """
    would = report.is_dry_run
    lines: list[str] = []
    if report.is_target_new:
        lines.append(f"{'Would make' if would else 'Made'} the {place} {printable(report.target)}")
    if report.installed or report.removed:
        what = count_of(len(report.installed), "distribution")
        into = f"{what} into {printable(report.target)}"
        lines.append(f"Would install {into}" if would else f"Installed {into} in {duration_of(report.total_seconds)}")
        lines += _changes(report)
    if report.unchanged:
        lines.append(f"{count_of(len(report.unchanged), 'distribution')} already there")
    if verbosity and not would:
        way = f" by {report.link_mode}" if report.link_mode else ""
        lines.append(
            f"resolve {duration_of(report.resolve_seconds)}, fetch {duration_of(report.fetch_seconds)}, "
            f"link {duration_of(report.link_seconds)}{way}"
        )
    return "\n".join(lines) or "Nothing to install"


def _changes(report: InstallReport) -> list[str]:
    changes = [(each.project, 0, f" - {each.project} {each.version}") for each in report.removed]
    changes += [(each.project, 1, f" + {each.project} {each.version}") for each in report.installed]
    return [line for _, _, line in sorted(changes)]


def fetch_document(report: FetchReport) -> Document:
    """Give `aioc.fetch/1`."""
    return {
        "schema": "aioc.fetch/1",
        "fetched": [_obtained(each) for each in report.fetched],
        "warnings": list(report.warnings),
        "seconds": {
            "resolve": report.resolve_seconds,
            "fetch": report.fetch_seconds,
            "total": report.total_seconds,
        },
    }


def fetch_text(report: FetchReport, *, verbosity: int) -> str:
    """Say what came, and what was there already."""
    came = [each for each in report.fetched if each.origin not in ("cache", "overlay")]
    there = len(report.fetched) - len(came)
    lines = []
    if came:
        lines.append(f"Fetched {count_of(len(came), 'wheel')} in {duration_of(report.total_seconds)}")
        lines += [f" + {each.project} {each.version}" for each in sorted(came, key=lambda each: each.project)]
    if there:
        lines.append(f"{count_of(there, 'wheel')} already in the cache")
    if verbosity:
        lines.append(f"resolve {duration_of(report.resolve_seconds)}, fetch {duration_of(report.fetch_seconds)}")
    return "\n".join(lines) or "Nothing to fetch"


def _obtained(each: Obtained) -> Document:
    return {"name": each.project, "version": each.version, "archive": each.archive_id, "from": each.origin}


def _named(each: Named) -> Document:
    return {"name": each.project, "version": each.version}
