"""Reports of ls, ps and size, as documents (JSON) and as text, both from the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiocache_engine.cli.terminal import printable
from aiocache_engine.cli.units import count_of, local_time, size_of, table, utc
from aiocache_engine.hints import Any
from aiocache_engine.model.listing import CacheSize, Entry, LeaseInfo, Usage

Document = Mapping[str, Any]


def entries_document(entries: Sequence[Entry]) -> Document:
    """Give `aioc.ls/1`."""
    return {
        "schema": "aioc.ls/1",
        "entries": [
            {
                "kind": entry.kind,
                "project": entry.project,
                "version": entry.version,
                "file": entry.filename,
                "id": entry.id,
                "files": entry.file_count,
                "bytes": entry.size_bytes,
                "last_used": utc(entry.last_used_at),
                "overlays": list(entry.overlays),
                "condemned": entry.is_condemned,
                **(_contents(entry) if entry.kind == "environment" else {}),
            }
            for entry in entries
        ],
    }


def _contents(entry: Entry) -> Document:
    return {
        "tool": entry.tool,
        "distributions": [
            {"name": each.project, "version": each.version, "archive": each.archive_id} for each in entry.distributions
        ],
    }


def entries_text(entries: Sequence[Entry], *, verbosity: int) -> str:
    """Give a table with a line per entry; with -v also file and id."""
    if not entries:
        return ""
    head = ["PROJECT", "VERSION", "FILES", "SIZE", "LAST USED"]
    rows = [
        [
            _called(entry),
            entry.version or "",
            str(entry.file_count),
            size_of(entry.size_bytes),
            local_time(entry.last_used_at),
        ]
        for entry in entries
    ]
    if verbosity:
        head += ["FILE", "ID"]
        rows = [[*row, _file_of(entry), entry.id] for row, entry in zip(rows, entries, strict=True)]
    return "\n".join(table(head, rows, right=(2, 3)))


def _called(entry: Entry) -> str:
    return f"{_kind_of(entry)} (cleaned, in use)" if entry.is_condemned else _kind_of(entry)


def _kind_of(entry: Entry) -> str:
    if entry.kind == "environment":
        if entry.tool is None:
            return "(unreadable environment)"
        return f"(environment of {entry.tool})" if entry.tool else "(environment for builds)"
    if entry.kind == "sdist":
        return f"{entry.project} (sdist)"
    if entry.overlays:
        return f"{entry.project} (overlay {', '.join(entry.overlays)})"
    return entry.project or "(unreadable)"


def _file_of(entry: Entry) -> str:
    return entry.filename or ", ".join(f"{each.project} {each.version}" for each in entry.distributions)


def usage_document(usage: Usage) -> Document:
    """Give `aioc.ps/1`."""
    return {
        "schema": "aioc.ps/1",
        "leases": [
            {
                "id": lease.id,
                "pid": lease.pid,
                "command": lease.command,
                "name": lease.name,
                "since": utc(lease.since),
                "objects": list(lease.objects or ()),
                "objects_known": lease.objects is not None,
                "newer_release": lease.is_of_newer_release,
                "bytes": lease.size_bytes,
            }
            for lease in usage.leases
        ],
        "locks": [
            {"file": lock.file, "mode": lock.mode, "pid": lock.pid, "command": lock.command} for lock in usage.locks
        ],
        "processes": [
            {"pid": each.pid, "command": each.command, "environment": each.environment_id} for each in usage.processes
        ],
    }


def usage_text(usage: Usage, *, verbosity: int) -> str:
    """List leases, and below them who holds lock files."""
    if not (usage.leases or usage.locks or usage.processes):
        return "Nobody uses the cache"
    lines: list[str] = []
    if usage.leases:
        rows = [
            [
                "?" if lease.pid is None else str(lease.pid),
                "?" if lease.since is None else local_time(lease.since),
                "?" if lease.objects is None else str(len(lease.objects)),
                "?" if lease.objects is None else size_of(lease.size_bytes),
                printable(_user(lease)),
            ]
            for lease in usage.leases
        ]
        lines += table(["PID", "SINCE", "OBJECTS", "SIZE", "COMMAND"], rows, right=(0, 2, 3))
        lines += [_unknown(lease) for lease in usage.leases if lease.objects is None]
        if verbosity:
            lines += [f"{lease.pid}: {' '.join(lease.objects)}" for lease in usage.leases if lease.objects]
    if usage.processes:
        lines += [""] if lines else []
        living = [[str(each.pid), each.environment_id, printable(each.command or "")] for each in usage.processes]
        lines += table(["PID", "LIVES IN ENVIRONMENT", "COMMAND"], living, right=(0,))
    if usage.locks:
        lines += [""] if lines else []
        locks = [
            [lock.mode, str(lock.pid), printable(lock.command or ""), printable(lock.file)] for lock in usage.locks
        ]
        lines += table(["LOCK", "PID", "COMMAND", "FILE"], locks, right=(1,))
    return "\n".join(lines)


def _user(lease: LeaseInfo) -> str:
    command = lease.command or "(unknown)"
    return f"{lease.name}: {command}" if lease.name else command


def _unknown(lease: LeaseInfo) -> str:
    """Say of a lease whose objects are not known what follows from that."""
    why = "was written by a newer aioc" if lease.is_of_newer_release else "is damaged or of a newer aioc"
    return f"? The lease {lease.id} {why}: what it covers is unknown, so everything is kept until it ends"


def size_document(size: CacheSize) -> Document:
    """Give `aioc.size/1`."""
    return {
        "schema": "aioc.size/1",
        "bytes": size.size_bytes,
        "files": size.file_count,
        "entries": size.entry_count,
        "buckets": dict(size.buckets),
    }


def size_text(size: CacheSize) -> str:
    """Say it in one line."""
    entries = count_of(size.entry_count, "entry", "entries")
    return f"{size_of(size.size_bytes)} in {count_of(size.file_count, 'file')} of {entries}"
