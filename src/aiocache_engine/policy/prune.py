"""What a prune takes: leftovers of dead work, what nothing refers to, and archives whose environments are all gone."""

from __future__ import annotations

from aiocache_engine.model.removal import Kept, PlannedArchive, RemovalPlan, RemovalReason
from aiocache_engine.model.snapshot import ReferrerState, SeenArchive, Snapshot
from aiocache_engine.policy.mark import SYMLINK, Marks


def plan_prune(snapshot: Snapshot) -> RemovalPlan:
    """Plan a prune. Leases and environments keep; a name keeps what was never linked."""
    marks = Marks(snapshot)
    planned: list[PlannedArchive] = []
    kept: list[Kept] = []
    for archive in snapshot.archives.values():
        decision = _decide(archive, marks)
        if isinstance(decision, Kept):
            kept.append(decision)
        else:
            planned.append(decision)
    return RemovalPlan(
        command="prune",
        archives=tuple(planned),
        kept=tuple(kept),
        dangling=tuple(name for name in snapshot.names if name.pointer.archive_id not in snapshot.archives),
        projects=_left_alone(snapshot, planned),
        leftovers=snapshot.leftovers,
        forgotten=tuple(s.referrer for s in snapshot.referrers if s.state is ReferrerState.MISSING),
        warnings=(*_unreachable(snapshot), *_perhaps_moved(snapshot, planned)),
    )


def _unreachable(snapshot: Snapshot) -> list[str]:
    return [
        f"environment {seen.referrer.path} cannot be reached; what it was linked from is kept"
        for seen in snapshot.referrers
        if seen.state is ReferrerState.UNREACHABLE
    ]


def _perhaps_moved(snapshot: Snapshot, planned: list[PlannedArchive]) -> list[str]:
    """Warn of symlinked environments that this prune breaks if they were moved: that looks as if they were removed."""
    going = {item.archive.id for item in planned}
    return [
        f"environment {seen.referrer.path} is gone; if it was moved, install into it again"
        for seen in snapshot.referrers
        if seen.state is ReferrerState.MISSING
        and any(mode == SYMLINK and archive_id in going for archive_id, mode in seen.referrer.archives.items())
    ]


def _decide(archive: SeenArchive, marks: Marks) -> PlannedArchive | Kept:
    leases = marks.leases(archive.id)
    referrers = marks.referrers(archive.id, symlinks_only=False)
    pointers = marks.pointers(archive.id)
    if leases or referrers:
        return Kept(archive, (*leases, *referrers), is_condemned=not (referrers or pointers))
    if not pointers:
        return PlannedArchive(archive, marks.names(archive.id), RemovalReason.UNREACHABLE)
    if archive.is_linked:
        return PlannedArchive(archive, marks.names(archive.id), RemovalReason.ENVIRONMENTS_GONE)
    return Kept(archive, tuple(pointers), is_condemned=False)


def _left_alone(snapshot: Snapshot, planned: list[PlannedArchive]) -> tuple[str, ...]:
    """Give the projects that have no archive left once the planned ones are gone."""
    staying = snapshot.archives.keys() - {item.archive.id for item in planned}
    alive = {name.pointer.project for name in snapshot.names if name.pointer.archive_id in staying}
    return tuple(sorted(snapshot.projects - alive))
