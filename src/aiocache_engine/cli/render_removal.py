"""The report of a clean or prune, as document (JSON) and as text, both from the same value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from aiocache_engine.cli.terminal import printable
from aiocache_engine.cli.units import count_of, duration_of, size_of, table
from aiocache_engine.hints import Any
from aiocache_engine.model.removal import (
    EVERY_PROJECT,
    CleanTarget,
    KeepCode,
    KeepReason,
    Kept,
    KeptSdist,
    Removal,
    Removed,
    StoredSdist,
    TargetKind,
)
from aiocache_engine.model.snapshot import SeenEnvironment, SeenObject

_NAMED = frozenset({KeepCode.POINTER, KeepCode.ENVIRONMENT})  #: that it is there to be used again, no more
_USERS_SAID = 5
_NAMES_SAID = 5
_ROWS_WITHOUT_PROJECT = {
    "pointer": "(names and pages)",
    "bytecode": "(compiled modules)",
    "pin": "(pins)",
    "leftover": "(leftovers)",
    "format": "(older formats)",
}


def removal_document(removal: Removal) -> Mapping[str, Any]:
    """Give `aioc.removal/1`."""
    return {
        "schema": "aioc.removal/1",
        "command": removal.command,
        "dry_run": removal.is_dry_run,
        "summary": {
            "entries": len(removal.removed),
            "files": sum(each.file_count for each in removal.removed),
            "bytes_logical": sum(each.size_bytes for each in removal.removed),
            "bytes_freed": removal.freed_bytes,
            "bytes_freed_exact": removal.is_freed_exact,
            "kept": len(removal.kept) + len(removal.sdists),
            "goal_met": removal.is_goal_met,
        },
        "removed": [
            {
                "kind": each.kind,
                "project": each.project,
                "version": each.version,
                "id": each.id,
                "files": each.file_count,
                "bytes_logical": each.size_bytes,
                "bytes_freed": each.freed_bytes,
                "reason": each.reason.value,
                "tool": each.tool,
            }
            for each in removal.removed
        ],
        "kept": [*map(_kept, removal.kept), *map(_kept, removal.sdists)],
        "unmatched": [_called(target) for target in removal.unmatched],
        "near_names": list(removal.near_names),
        "waited_seconds": removal.waited_seconds,
        "longest_hold_seconds": removal.longest_hold_seconds,
        "warnings": list(removal.warnings),
    }


def removal_text(removal: Removal, *, verbosity: int) -> str:
    """Give a table per project, what was kept and by whom, and last what was freed."""
    lines = _removed_lines(removal.removed)
    lines += _kept_lines(removal, shows_names=verbosity > 0)
    if verbosity:
        lines.append(
            f"waited {duration_of(removal.waited_seconds)}, longest hold {duration_of(removal.longest_hold_seconds)}"
        )
    freed = f"{'' if removal.is_freed_exact else 'up to '}{size_of(removal.freed_bytes)}"
    if not removal.removed:
        lines.append("Nothing to remove")
    else:
        files = count_of(sum(each.file_count for each in removal.removed), "file")
        lines.append(f"Would free {freed} ({files})" if removal.is_dry_run else f"Freed {freed} ({files})")
    return "\n".join(lines)


def goal_text(removal: Removal) -> str:
    """Say by how much a goal was missed, and who is in the way."""
    users: dict[str, int] = defaultdict(int)
    for kept in removal.kept:
        found = {reason_text(reason) for reason in kept.reasons if reason.code not in _NAMED}
        if not found and all(reason.code is KeepCode.POINTER for reason in kept.reasons):
            found = {"links from elsewhere to files of the cache"}
        for user in found:
            users[user] += _own_bytes(kept.object)
    first = sorted(users, key=lambda user: (-users[user], user))
    said = [f"{user} ({size_of(users[user])})" for user in first[:_USERS_SAID]]
    said += [f"{len(first) - len(said)} more"] if len(first) > len(said) else []
    missed = f"the goal was missed by {size_of(removal.missing_bytes)}"
    return f"{missed}; in the way: {', '.join(said)}" if said else f"{missed}; nothing in the cache is in the way"


def _own_bytes(seen: SeenObject) -> int:
    """Give the size of an object, without what an environment shares with archives, which are kept with it."""
    if isinstance(seen, SeenEnvironment):
        return seen.manifest.own_bytes if seen.manifest is not None else 0
    return seen.size_bytes


def unmatched_text(removal: Removal) -> str:
    """Say which names matched nothing, and what may have been meant."""
    near = f"; near names: {', '.join(removal.near_names)}" if removal.near_names else ""
    return f"nothing in the cache matches {', '.join(map(_called, removal.unmatched))}{near}"


def _removed_lines(removed: Sequence[Removed]) -> list[str]:
    rows: dict[str, list[Removed]] = defaultdict(list)
    for each in removed:
        rows[_row_of(each)].append(each)
    if not rows:
        return []
    return table(
        ["PROJECT", "VERSION", "ENTRIES", "FILES", "SIZE", "FREED", "WHY"],
        [
            [
                project,
                ", ".join(dict.fromkeys(each.version for each in entries if each.version)),
                str(len(entries)),
                str(sum(each.file_count for each in entries)),
                size_of(sum(each.size_bytes for each in entries)),
                size_of(sum(each.freed_bytes for each in entries)),
                ", ".join(dict.fromkeys(each.reason.value for each in entries)),
            ]
            for project, entries in sorted(rows.items())
        ],
        right=(2, 3, 4, 5),
    )


def _row_of(removed: Removed) -> str:
    if removed.tool is not None:
        return f"(environments of {removed.tool})" if removed.tool else "(environments for builds)"
    return removed.project or _ROWS_WITHOUT_PROJECT.get(removed.kind, "(unreadable)")


def _kept_lines(removal: Removal, *, shows_names: bool) -> list[str]:
    """Tell who keeps what; of what is simply there to be used again, only how much it is."""
    everything: list[Kept | KeptSdist] = [*removal.kept, *removal.sdists]
    named = [kept for kept in everything if not kept.is_condemned and {each.code for each in kept.reasons} <= _NAMED]
    in_environments = [kept for kept in everything if kept not in named and _is_plainly_used(kept)]
    sorted_kept = sorted(everything, key=lambda kept: name_of(kept.object))
    if shows_names:
        return [_kept_line([kept]) for kept in sorted_kept]
    by_reasons: dict[str, list[Kept | KeptSdist]] = defaultdict(list)  # what is kept for the same is told together
    for kept in sorted_kept:
        if kept not in named and kept not in in_environments:
            by_reasons[_why_kept(kept)].append(kept)
    lines = [_kept_line(group) for group in by_reasons.values()]
    if in_environments:
        paths = {reason.path for kept in in_environments for reason in kept.reasons if reason.code is KeepCode.REFERRER}
        entries = count_of(len(in_environments), "entry", "entries")
        lines.append(f"kept: {entries} used by {count_of(len(paths), 'environment')} ({_total(in_environments)})")
    if named:
        lines.append(f"kept: {count_of(len(named), 'entry', 'entries')} to be used again ({_total(named)})")
    return lines


def _is_plainly_used(kept: Kept | KeptSdist) -> bool:
    """Tell whether environments outside that have links of their own keep it, and nothing else but names."""
    users = [reason for reason in kept.reasons if reason.code not in _NAMED]
    return bool(users) and all(reason.code is KeepCode.REFERRER and "symlink" not in reason.via for reason in users)


def _kept_line(kept: Sequence[Kept | KeptSdist]) -> str:
    """Tell what is kept for the same reasons."""
    names = [name_of(each.object) for each in kept]
    said = ", ".join(names[:_NAMES_SAID]) + (
        f" and {len(names) - _NAMES_SAID} more" if len(names) > _NAMES_SAID else ""
    )
    return printable(f"kept: {said} ({_total(kept)}) by {_why_kept(kept[0])}")


def _why_kept(kept: Kept | KeptSdist) -> str:
    reasons = [reason for reason in kept.reasons if reason.code is not KeepCode.POINTER] or list(kept.reasons)
    return "; ".join(f"{reason_text(each)}, until {each.release}" for each in reasons)


def reason_text(reason: KeepReason) -> str:
    """Name what keeps something."""
    command = f" ({reason.command})" if reason.command else ""
    said = {
        KeepCode.LEASE: f"lease {reason.path}" if reason.pid is None else f"process {reason.pid}{command}",
        KeepCode.REFERRER: f"environment {reason.path}",
        KeepCode.POINTER: f"its name {reason.path}" if reason.path else f"{' '.join(reason.via[:1])}, which needs it",
        KeepCode.ENVIRONMENT: " ".join(reason.via[:1]),
        KeepCode.PIN: f"pin {' '.join(reason.via)}",
        KeepCode.RUNNING: f"process {reason.pid}{command}, which lives in it",
        KeepCode.RECENTLY_USED: "use that kept changing",
        KeepCode.UNKNOWN: f"{reason.path}, which cannot be read",
    }
    return said[reason.code]


def name_of(seen: SeenObject | StoredSdist) -> str:
    """Call an object as people know it."""
    if isinstance(seen, StoredSdist):
        return f"sdist of {seen.project}{f' {seen.version}' if seen.version else ''}"
    if seen.project is not None:
        return f"{seen.project} {seen.version}"
    if seen.tool is None:
        return seen.id
    return f"environment of {seen.tool} {seen.id}" if seen.tool else f"environment for builds {seen.id}"


def _total(kept: Sequence[Kept | KeptSdist]) -> str:
    return size_of(sum(each.object.size_bytes for each in kept))


def _kept(kept: Kept | KeptSdist) -> Mapping[str, Any]:
    seen = kept.object
    return {
        "kind": seen.kind,
        "project": seen.project,
        "version": seen.version,
        "id": seen.id,
        "tool": seen.tool,
        "bytes_logical": seen.size_bytes,
        "reasons": [reason_document(reason) for reason in kept.reasons],
    }


def reason_document(reason: KeepReason) -> Mapping[str, Any]:
    """Give one of `reasons`."""
    return {
        "code": reason.code.value,
        "pid": reason.pid,
        "command": reason.command,
        "path": reason.path,
        "via": list(reason.via),
        "release": reason.release,
    }


def _called(target: CleanTarget) -> str:
    if target.overlay is not None and target.project == EVERY_PROJECT:
        return f"the overlay {target.overlay}"
    where = f" in the overlay {target.overlay}" if target.overlay is not None else ""
    return f"{'--tool ' if target.kind is TargetKind.TOOL else ''}{target.project}{target.specifier or ''}{where}"
