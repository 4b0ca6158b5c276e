"""What a clean takes: what it names. Names go at once; bytes that are in use go when their last user is gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from shlex import quote

from aiocache_engine.model.records import NameKind
from aiocache_engine.model.removal import (
    NAMED_ALONE,
    CleanPolicy,
    CleanTarget,
    KeepCode,
    KeepReason,
    Kept,
    PlannedObject,
    RemovalPlan,
    RemovalReason,
    TargetKind,
    VersionMatch,
)
from aiocache_engine.model.snapshot import (
    PageKind,
    SeenArchive,
    SeenEnvironment,
    SeenName,
    SeenObject,
    SeenTool,
    Snapshot,
)
from aiocache_engine.model.value import replace
from aiocache_engine.policy.dependencies import Dependencies
from aiocache_engine.policy.mark import Marks, by_environment, keep_new, left_alone


def plan_clean(
    snapshot: Snapshot,
    targets: tuple[CleanTarget, ...],
    *,
    matches: VersionMatch,
    policy: CleanPolicy = NAMED_ALONE,
) -> RemovalPlan:
    """Plan a clean of the targets; no targets: of everything.

    A live lease keeps the bytes, and so does an environment that links to them by symlink. Whatever keeps them, the
    names go; but a pin keeps both. A cached environment with something of a target in it goes, too. None of this keeps
    anything where the policy takes what is in use.
    """
    marks = Marks(snapshot)
    everything: tuple[SeenObject, ...] = (*snapshot.environments.values(), *snapshot.archives.values())
    named = [seen for seen in everything if _is_named(seen, targets, marks, matches)]
    ids = frozenset(seen.id for seen in named)
    nameless = ids | _led_to_by_overlays(snapshot, targets, matches)
    released = pins_released(snapshot, nameless) if policy.takes_in_use else ()
    if policy.takes_in_use:
        snapshot = _without_pins_on(snapshot, nameless)
        marks = Marks(snapshot)
    takes_more = policy.takes_dependencies and targets
    needed = _dependencies(snapshot, marks, ids, matches).find() - ids if takes_more else frozenset[str]()
    plan = plan_named(snapshot, ids, needed, matches=matches, policy=policy)
    unmatched = _unmatched(snapshot, targets, named, marks, matches)
    return replace(
        plan,
        named=nameless,
        targets=targets,
        is_everything=not targets,
        # Every later collector would look at dead leases again.
        leftovers=tuple(
            each for each in snapshot.leftovers if not targets or (each.kind == "lease" and unmatched != targets)
        ),
        warnings=(*released, *plan.warnings),
        unmatched=unmatched,
        near_names=_near_names(snapshot, unmatched, marks),
    )


def plan_named(
    snapshot: Snapshot,
    named: frozenset[str],
    dependencies: frozenset[str],
    *,
    matches: VersionMatch,
    policy: CleanPolicy = NAMED_ALONE,
) -> RemovalPlan:
    """Plan the removal of objects that a clean named, and of those of their dependencies that nothing else needs."""
    plan_all = partial(plan_candidates, snapshot, named, reason=RemovalReason.NAMED, is_forced=policy.takes_in_use)
    if not dependencies:
        return replace(plan_all(), named=named, clean_policy=policy)
    free, kept = _dependencies(snapshot, Marks(snapshot), named, matches).part(dependencies)
    plan = plan_all(dependencies=free)
    # What nothing led to but what goes is decided on already: it goes, or waits for those who use it.
    decided = {each.object.id for each in plan.objects} | {each.object.id for each in plan.kept}
    projects = {snapshot.archives[each].project for each in free}
    in_use = sorted(each.object.id for each in plan.kept if each.object.id in free and each.is_condemned)
    return replace(
        plan,
        kept=(*plan.kept, *(each for each in kept if each.object.id not in decided)),
        named=named,
        clean_policy=policy,
        dependencies=dependencies,
        dependencies_in_use=tuple(CleanTarget(each, None, TargetKind.ID) for each in in_use),
        projects=tuple(each for each in left_alone(snapshot, plan.objects) if each in projects),
    )


def _dependencies(snapshot: Snapshot, marks: Marks, named: frozenset[str], matches: VersionMatch) -> Dependencies:
    """Ask about those of what goes: what is pinned, or too new to be judged, stays and goes on needing its own."""
    new = {each.id for each in snapshot.environments.values() if each.is_new}
    return Dependencies(snapshot, marks, {each for each in named - new if not marks.pins(each)}, matches=matches)


def plan_candidates(
    snapshot: Snapshot,
    candidates: Collection[str],
    *,
    reason: RemovalReason,
    dependencies: frozenset[str] = frozenset(),
    is_forced: bool = False,
) -> RemovalPlan:
    """Plan the removal of objects that a clean named or a note condemned, where only users and symlinks keep.

    What was in an environment among them goes with it if nothing at all refers to it any more.

    Args:
        snapshot: what is there.
        candidates: ids of what shall go.
        reason: why.
        dependencies: ids of archives that go with it.
        is_forced: they go whoever uses them; pins keep them all the same.
    """
    marks = Marks(snapshot)
    candidates = {*candidates, *dependencies}
    chosen = {*candidates, *_abandoned(snapshot, candidates, marks)}
    environments = [snapshot.environments[each] for each in sorted(chosen & snapshot.environments.keys())]
    decisions: list[PlannedObject | Kept | None] = [
        _decide_environment(each, marks, reason, is_forced=is_forced) for each in environments
    ]
    staying = {each.object.id: each for each in decisions if isinstance(each, Kept)}
    for each in snapshot.environments.values():
        if each.id not in chosen and (kept := marks.keep(each)) is not None:
            staying[each.id] = kept
    inside = {
        member.archive_id
        for each in environments
        for member in marks.members(each)
        if chosen.issuperset(other.id for other in marks.containers(member.archive_id))
    }
    reasons = dict.fromkeys(chosen, reason) | dict.fromkeys(dependencies, RemovalReason.DEPENDENCY)
    decisions += [
        _decide_archive(snapshot.archives[each], marks, staying, reasons.get(each), is_forced=is_forced)
        for each in sorted((chosen | inside) & snapshot.archives.keys())
    ]
    planned = tuple(each for each in decisions if isinstance(each, PlannedObject))
    return RemovalPlan(
        command="clean",
        objects=planned,
        kept=tuple(each for each in decisions if isinstance(each, Kept)),
        warnings=_in_spite_of(planned),
        is_freed_exact=not any(marks.is_cloned(item.object) for item in planned),
    )


def plan_condemned(snapshot: Snapshot, candidates: Collection[str]) -> RemovalPlan:
    """Plan the removal of condemned objects; one that a name has come to lead to again is kept by it."""
    marks = Marks(snapshot)
    nameless = [object_id for object_id in candidates if not marks.pointers(object_id)]
    return plan_candidates(snapshot, nameless, reason=RemovalReason.UNREACHABLE)


def _abandoned(snapshot: Snapshot, candidates: Collection[str], marks: Marks) -> list[str]:
    """Give the environments around candidates that nothing keeps: they have to go first (rules 30 and 33)."""
    archives = [archive_id for archive_id in candidates if archive_id in snapshot.archives]
    return [each.id for archive_id in archives for each in marks.containers(archive_id) if marks.keep(each) is None]


def pins_released(snapshot: Snapshot, ids: frozenset[str]) -> tuple[str, ...]:
    """Tell of every pin that is taken off some of these, or off altogether."""
    lost = {
        pin.name: [f"{e.project} {e.version}" for e in pin.archives if e.archive_id in ids] for pin in snapshot.pins
    }
    return tuple(
        f"pin {quote(name)} keeps no longer what is removed: {', '.join(sorted({*what}))}"
        for name, what in sorted(lost.items())
        if what
    )


def _without_pins_on(snapshot: Snapshot, ids: frozenset[str]) -> Snapshot:
    """Give the snapshot as it is once the pins on these are released."""
    return replace(snapshot, pins=tuple(pin for each in snapshot.pins if (pin := each.without(ids)).archives))


def _in_spite_of(planned: Iterable[PlannedObject]) -> tuple[str, ...]:
    """Tell whoever uses what is forced to go."""
    lost: dict[str, list[str]] = {}
    for item in planned:
        seen = item.object
        environment = f"environment of {seen.tool}" if seen.tool else "environment for builds"
        called = f"{seen.project} {seen.version}" if seen.project is not None else environment
        for reason in item.in_spite_of:
            lost.setdefault(_user(reason), []).append(called)
    return tuple(f"{user} what is removed: {', '.join(sorted({*what}))}" for user, what in sorted(lost.items()))


def _user(reason: KeepReason) -> str:
    if reason.code is KeepCode.REFERRER:
        return f"environment {reason.path}, which breaks until it is installed into again, links to"
    command = f" ({reason.command})" if reason.command else ""
    return f"lease {reason.path} covers" if reason.pid is None else f"process {reason.pid}{command} uses"


def _decide_environment(
    environment: SeenEnvironment, marks: Marks, reason: RemovalReason, *, is_forced: bool
) -> PlannedObject | Kept:
    users, names = tuple(marks.users(environment.id)), marks.names(environment.id)
    if is_forced:
        return PlannedObject(environment, names, reason, is_forced=True, in_spite_of=users)
    if environment.is_new:
        return keep_new(environment)
    return Kept(environment, users, is_condemned=True) if users else PlannedObject(environment, names, reason)


def _decide_archive(
    archive: SeenArchive, marks: Marks, staying: Mapping[str, Kept], reason: RemovalReason | None, *, is_forced: bool
) -> PlannedObject | Kept | None:
    """Decide on an archive; without a reason to take it, it goes if nothing at all refers to it."""
    containers = marks.containers(archive.id)
    keeping = [each for each in containers if each.id in staying]
    is_in_use = not all(staying[each.id].is_condemned for each in keeping)
    pins = marks.pins(archive.id)
    others = (is_in_use, pins, marks.pointers(archive.id), marks.referrers(archive.id, symlinks_only=False))
    if reason is None and any(others):
        return None
    leases = marks.leases(archive.id)
    referrers = marks.referrers(archive.id, symlinks_only=True)
    inside = tuple(each.id for each in containers)
    if is_forced and reason is not None and not (pins or keeping):
        users = tuple(each for each in (*leases, *referrers) if each.code is not KeepCode.UNKNOWN)
        return PlannedObject(archive, marks.names(archive.id), reason, inside, is_forced=True, in_spite_of=users)
    referrers = [*pins, *referrers]
    if leases or referrers or keeping:
        environments = [by_environment(each, staying[each.id]) for each in keeping]
        return Kept(archive, (*leases, *referrers, *environments), is_condemned=not (referrers or is_in_use))
    why = reason or RemovalReason.UNREACHABLE
    return PlannedObject(archive, marks.names(archive.id), why, inside)


def _is_named(seen: SeenObject, targets: tuple[CleanTarget, ...], marks: Marks, matches: VersionMatch) -> bool:
    if not targets:
        return True
    called = _called(seen, marks)
    return any(
        target.overlay is None and _takes(target, project, version, matches)
        for target in targets
        for project, version in called
    ) or any(
        _is_otherwise_named(seen, target, marks)
        if target.overlay is None
        else _is_named_in_overlay(seen, target, marks, matches)
        for target in targets
    )


def _takes(target: CleanTarget, project: str, version: str, matches: VersionMatch) -> bool:
    return target.takes(project) and (target.specifier is None or matches(target.specifier, version))


def _led_to_by_overlays(snapshot: Snapshot, targets: tuple[CleanTarget, ...], matches: VersionMatch) -> frozenset[str]:
    """Give the archives that lose a name in an overlay, wherever else they have one."""
    return frozenset(
        name.object_id
        for target in targets
        for name in snapshot.names
        if target.overlay is not None and _is_meant(name, target, matches)
    )


def _is_meant(name: SeenName, target: CleanTarget, matches: VersionMatch) -> bool:
    """Tell whether a clean of an overlay names this one."""
    return name.overlay == target.overlay and _takes(target, name.pointer.project, name.pointer.version, matches)


def _is_named_in_overlay(seen: SeenObject, target: CleanTarget, marks: Marks, matches: VersionMatch) -> bool:
    """Tell whether a clean of an overlay names an archive that is nowhere else, or an environment with any of it."""
    if isinstance(seen, SeenEnvironment):
        names = (name for member in marks.members(seen) for name in marks.names(member.archive_id))
        return any(isinstance(name, SeenName) and _is_meant(name, target, matches) for name in names)
    keeping = [n for n in marks.names(seen.id) if isinstance(n, SeenName) and n.kind is not NameKind.HASH]
    return bool(keeping) and all(_is_meant(name, target, matches) for name in keeping)


def _called(seen: SeenObject, marks: Marks) -> set[tuple[str, str]]:
    """Give project and version of an archive, or of all that is in an environment."""
    if isinstance(seen, SeenEnvironment):
        return {(member.project, member.version) for member in marks.members(seen)}
    pointers = [name.pointer for name in marks.names(seen.id) if isinstance(name, SeenName)]
    called = {(pointer.project, pointer.version) for pointer in pointers}
    if seen.totals is not None:
        called.add((seen.totals.project, seen.totals.version))
    return called


def _is_otherwise_named(seen: SeenObject, target: CleanTarget, marks: Marks) -> bool:
    """Tell whether a target names an object by its id, that of something in it, or the tool that it was made for."""
    if target.kind is TargetKind.ID and seen.id == target.project:
        return True
    if not isinstance(seen, SeenEnvironment):
        return False
    if target.kind is TargetKind.ID:
        return any(member.archive_id == target.project for member in marks.members(seen))
    return target.kind is TargetKind.TOOL and target.project in _tools_of(seen, marks)


def _tools_of(environment: SeenEnvironment, marks: Marks) -> set[str | None]:
    pointers = [name.pointer for name in marks.names(environment.id) if isinstance(name, SeenTool)]
    return {environment.tool, *(pointer.tool for pointer in pointers if pointer is not None)}


def _unmatched(
    snapshot: Snapshot,
    targets: tuple[CleanTarget, ...],
    named: list[SeenObject],
    marks: Marks,
    matches: VersionMatch,
) -> tuple[CleanTarget, ...]:
    return tuple(
        target
        for target in targets
        if not any(_is_named(seen, (target,), marks, matches) for seen in named)
        and not _is_known(target, snapshot, matches)
        and not (target.kind is TargetKind.TOOL and target.project in snapshot.tool_directories)
    )


def _is_known(target: CleanTarget, snapshot: Snapshot, matches: VersionMatch) -> bool:
    """Tell whether anything is stored that a target takes, though it may be no object."""
    if target.overlay is not None:
        names = (name.pointer for name in snapshot.names if name.overlay == target.overlay)
        return any(_takes(target, pointer.project, pointer.version, matches) for pointer in names)
    if target.specifier is None:
        return any(map(target.takes, snapshot.projects))
    sdists = ((page.project, page.version) for page in snapshot.pages if page.kind is PageKind.SDIST)
    return any(version is not None and _takes(target, project, version, matches) for project, version in sdists)


def _near_names(snapshot: Snapshot, unmatched: tuple[CleanTarget, ...], marks: Marks) -> tuple[str, ...]:
    if not unmatched:
        return ()
    from difflib import get_close_matches  # noqa: PLC0415 - only where somebody may have mistyped

    known = set(snapshot.projects)
    overlays = {each for each in snapshot.overlays if "/" not in each}
    known |= {archive.totals.project for archive in snapshot.archives.values() if archive.totals is not None}
    known |= {member.project for seen in snapshot.environments.values() for member in marks.members(seen)}
    tools = {tool for seen in snapshot.environments.values() for tool in _tools_of(seen, marks) if tool}
    among = {TargetKind.PROJECT: known, TargetKind.TOOL: tools}
    near: list[str] = []
    for target in unmatched:
        is_strange = target.overlay is not None and target.overlay not in overlays
        names = overlays if is_strange else among.get(target.kind, set())
        called = target.overlay if target.overlay is not None and is_strange else target.project
        if called not in names:
            near += get_close_matches(called, sorted(names), n=3)
    return tuple(dict.fromkeys(near))
