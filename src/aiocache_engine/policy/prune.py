"""What a prune takes: leftovers of dead work, what nothing refers to, and what is left of users that are all gone.

It decides from the names down: which names keep, then which environments stay, then which archives.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiocache_engine.model.removal import Kept, PlannedObject, RemovalPlan, RemovalReason
from aiocache_engine.model.snapshot import ReferrerState, SeenArchive, Snapshot
from aiocache_engine.policy.mark import SYMLINK, Marks, by_environment


def plan_prune(snapshot: Snapshot) -> RemovalPlan:
    """Plan a prune. Leases and environments keep; a name keeps a tool's environment, and what was never linked."""
    marks = Marks(snapshot)
    planned: list[PlannedObject] = []
    staying: dict[str, Kept] = {}
    kept: list[Kept] = []
    for environment in snapshot.environments.values():
        if (stays := marks.keep(environment)) is not None:
            staying[environment.id] = stays
        else:
            planned.append(PlannedObject(environment, marks.names(environment.id), RemovalReason.SUPERSEDED))
    for archive in snapshot.archives.values():
        decision = _decide_archive(archive, marks, staying)
        if isinstance(decision, Kept):
            kept.append(decision)
        else:
            planned.append(decision)
    return RemovalPlan(
        command="prune",
        objects=tuple(planned),
        kept=(*staying.values(), *kept),
        dangling=(
            *(name for name in snapshot.names if name.object_id not in snapshot.archives),
            *(name for name in snapshot.tools if name.object_id not in snapshot.environments),
        ),
        projects=_left_alone(snapshot, planned),
        tools=_tools_left_alone(snapshot, planned),
        leftovers=snapshot.leftovers,
        forgotten=tuple(s.referrer for s in snapshot.referrers if s.state is ReferrerState.MISSING),
        is_freed_exact=not any(marks.is_cloned(item.object) for item in planned),
        warnings=(*_unreachable(snapshot), *_perhaps_moved(snapshot, planned), *_undescribed(snapshot, staying)),
    )


def _unreachable(snapshot: Snapshot) -> list[str]:
    return [
        f"environment {seen.referrer.path} cannot be reached; what it was linked from is kept"
        for seen in snapshot.referrers
        if seen.state is ReferrerState.UNREACHABLE
    ]


def _undescribed(snapshot: Snapshot, staying: Mapping[str, Kept]) -> list[str]:
    return [
        f"the manifest of the cached environment {environment.path} cannot be read; what its name lists is kept"
        for environment in snapshot.environments.values()
        if environment.manifest is None and environment.id in staying
    ]


def _perhaps_moved(snapshot: Snapshot, planned: list[PlannedObject]) -> list[str]:
    """Warn of symlinked environments that this prune breaks if they were moved: that looks as if they were removed."""
    going = {item.object.id for item in planned}
    return [
        f"environment {seen.referrer.path} is gone; if it was moved, install into it again"
        for seen in snapshot.referrers
        if seen.state is ReferrerState.MISSING
        and any(mode == SYMLINK and archive_id in going for archive_id, mode in seen.referrer.archives.items())
    ]


def _decide_archive(archive: SeenArchive, marks: Marks, staying: Mapping[str, Kept]) -> PlannedObject | Kept:
    leases, pointers = marks.leases(archive.id), marks.pointers(archive.id)
    referrers = marks.referrers(archive.id, symlinks_only=False)
    containers = marks.containers(archive.id)
    keeping = [each for each in containers if each.id in staying]
    if leases or referrers or keeping:
        environments = [by_environment(each, staying[each.id]) for each in keeping]
        is_referenced = referrers or pointers or not all(staying[each.id].is_condemned for each in keeping)
        return Kept(archive, (*leases, *referrers, *environments), is_condemned=not is_referenced)
    if pointers and not archive.is_linked:
        return Kept(archive, tuple(pointers), is_condemned=False)
    reason = RemovalReason.ENVIRONMENTS_GONE if pointers else RemovalReason.UNREACHABLE
    return PlannedObject(archive, marks.names(archive.id), reason, tuple(each.id for each in containers))


def _left_alone(snapshot: Snapshot, planned: list[PlannedObject]) -> tuple[str, ...]:
    """Give the projects that have no archive left once the planned ones are gone."""
    staying = snapshot.archives.keys() - {item.object.id for item in planned}
    alive = {name.pointer.project for name in snapshot.names if name.pointer.archive_id in staying}
    return tuple(sorted(snapshot.projects - alive))


def _tools_left_alone(snapshot: Snapshot, planned: list[PlannedObject]) -> tuple[str, ...]:
    """Give the tools that have no name left once those of the planned environments, and those to nothing, are gone."""
    staying = snapshot.environments.keys() - {item.object.id for item in planned}
    alive = {name.path.split("/")[-2] for name in snapshot.tools if name.object_id in staying}
    return tuple(sorted(snapshot.tool_directories - alive))
