"""What a clean takes: what it names. Names go at once; bytes that are in use go when their last user is gone."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection

from aiocache_engine.model.removal import CleanTarget, Kept, PlannedArchive, RemovalPlan, RemovalReason
from aiocache_engine.model.snapshot import SeenArchive, Snapshot
from aiocache_engine.policy.mark import Marks

VersionMatch = Callable[[str, str], bool]  #: (specifier set, version) -> whether it matches


def plan_clean(snapshot: Snapshot, targets: tuple[CleanTarget, ...], *, matches: VersionMatch) -> RemovalPlan:
    """Plan a clean of the targets; no targets: of everything.

    A live lease keeps the bytes, and so does an environment that links to them by symlink. Whatever keeps them, the
    names go.
    """
    marks = Marks(snapshot)
    named = [archive for archive in snapshot.archives.values() if _is_named(archive, targets, marks, matches)]
    plan = plan_candidates(snapshot, {archive.id for archive in named}, reason=RemovalReason.NAMED)
    unmatched = _unmatched(snapshot, targets, named, marks, matches)
    return RemovalPlan(
        command="clean",
        archives=plan.archives,
        kept=plan.kept,
        targets=targets,
        is_everything=not targets,
        leftovers=snapshot.leftovers if not targets else (),
        is_freed_exact=plan.is_freed_exact,
        unmatched=unmatched,
        near_names=_near_names(snapshot, unmatched),
    )


def plan_candidates(snapshot: Snapshot, candidates: Collection[str], *, reason: RemovalReason) -> RemovalPlan:
    """Plan the removal of objects that a clean named or a note condemned, where only leases and symlinks keep."""
    marks = Marks(snapshot)
    planned: list[PlannedArchive] = []
    kept: list[Kept] = []
    for archive_id in sorted(candidates):
        archive = snapshot.archives.get(archive_id)
        if archive is None:
            continue
        leases = marks.leases(archive_id)
        referrers = marks.referrers(archive_id, symlinks_only=True)
        if leases or referrers:
            kept.append(Kept(archive, (*leases, *referrers), is_condemned=not referrers))
        else:
            planned.append(PlannedArchive(archive, marks.names(archive_id), reason))
    is_exact = not any(marks.is_cloned(item.archive.id) for item in planned)
    return RemovalPlan(command="clean", archives=tuple(planned), kept=tuple(kept), is_freed_exact=is_exact)


def plan_condemned(snapshot: Snapshot, candidates: Collection[str]) -> RemovalPlan:
    """Plan the removal of condemned objects; one that a name has come to lead to again is kept by it."""
    marks = Marks(snapshot)
    nameless = [archive_id for archive_id in candidates if not marks.pointers(archive_id)]
    return plan_candidates(snapshot, nameless, reason=RemovalReason.UNREACHABLE)


def _is_named(archive: SeenArchive, targets: tuple[CleanTarget, ...], marks: Marks, matches: VersionMatch) -> bool:
    if not targets:
        return True
    called = {(name.pointer.project, name.pointer.version) for name in marks.names(archive.id)}
    if archive.totals is not None:
        called.add((archive.totals.project, archive.totals.version))
    return any(
        target.project == project and (target.specifier is None or matches(target.specifier, version))
        for target in targets
        for project, version in called
    )


def _unmatched(
    snapshot: Snapshot,
    targets: tuple[CleanTarget, ...],
    named: list[SeenArchive],
    marks: Marks,
    matches: VersionMatch,
) -> tuple[CleanTarget, ...]:
    return tuple(
        target
        for target in targets
        if not any(_is_named(archive, (target,), marks, matches) for archive in named)
        and not (target.specifier is None and target.project in snapshot.projects)
    )


def _near_names(snapshot: Snapshot, unmatched: tuple[CleanTarget, ...]) -> tuple[str, ...]:
    known = set(snapshot.projects)
    known |= {archive.totals.project for archive in snapshot.archives.values() if archive.totals is not None}
    near: list[str] = []
    for target in unmatched:
        if target.project not in known:
            near += difflib.get_close_matches(target.project, sorted(known), n=3)
    return tuple(dict.fromkeys(near))
