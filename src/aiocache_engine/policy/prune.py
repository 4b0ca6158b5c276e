"""What a prune takes: leftovers of dead work, what nothing refers to, and what is left of users that are all gone.

A policy says what goes besides that, but never what is in use or linked into an environment outside. Decided is from
the names down: which names keep, then which environments stay, then which archives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from shlex import quote

from aiocache_engine.model.records import NameKind
from aiocache_engine.model.removal import (
    PLAIN,
    KeepCode,
    Kept,
    PlannedObject,
    PlannedPage,
    PrunePolicy,
    RemovalPlan,
    RemovalReason,
)
from aiocache_engine.model.snapshot import (
    PageKind,
    ReferrerState,
    SeenArchive,
    SeenEnvironment,
    SeenObject,
    SeenPage,
    SeenReferrer,
    Snapshot,
)
from aiocache_engine.policy.mark import (
    FORGOTTEN_AFTER_SECONDS,
    SYMLINK,
    Marks,
    by_environment,
    is_given_up,
    keep_sdist,
    left_alone,
)

_DAY_SECONDS = 86_400.0
_BUILDS_IDLE_SECONDS = 7 * _DAY_SECONDS  #: what only builds need, and logs of those that failed
_NOTED_EVERY_SECONDS = _DAY_SECONDS  #: that an environment is there: more often would be writing for nothing


def plan_prune(
    snapshot: Snapshot, policy: PrunePolicy = PLAIN, *, for_room: Collection[str] = frozenset()
) -> RemovalPlan:
    """Plan a prune. Leases and environments keep; so does a name, unless the policy gives up what it leads to.

    Args:
        snapshot: what is there.
        policy: its goal is left to whoever chooses `for_room`.
        for_room: ids of what shall go if nothing but names keeps it, and paths of sdists.
    """
    marks = Marks(snapshot)
    rules = _Rules(snapshot, policy, for_room)
    planned: list[PlannedObject] = []
    staying: dict[str, Kept] = {}
    kept: list[Kept] = []
    for environment in snapshot.environments.values():
        environment_decision = _decide_environment(environment, marks, rules)
        if isinstance(environment_decision, Kept):
            staying[environment.id] = environment_decision
        else:
            planned.append(environment_decision)
    for archive in snapshot.archives.values():
        decision = _decide_archive(archive, marks, staying, rules)
        if isinstance(decision, Kept):
            kept.append(decision)
        else:
            planned.append(decision)
    built = _built(snapshot, planned)
    reasons = ((page, rules.takes_page(page, built)) for page in snapshot.pages)
    going = {page: why for page, why in reasons if why is not None}
    lonely = left_alone(snapshot, planned, pages=going)
    projects = lonely if rules.takes_pages_with_projects else _without(lonely, {*snapshot.pages}.difference(going))
    return RemovalPlan(
        command="prune",
        objects=tuple(planned),
        prune_policy=policy,
        kept=(*staying.values(), *kept),
        dangling=(
            *(name for name in snapshot.names if name.object_id not in snapshot.archives),
            *(name for name in snapshot.tools if name.object_id not in snapshot.environments),
        ),
        projects=projects,
        tools=_tools_left_alone(snapshot, planned),
        overlays=_overlays_left_alone(snapshot, planned),
        pages=tuple(
            PlannedPage(page, why)
            for page, why in going.items()
            if page.project not in projects or page.kind is not PageKind.PAGE
        ),
        sdists=tuple(keep_sdist(page) for page in snapshot.pages if page.kind is PageKind.SDIST and page not in going),
        bytecode=tuple(PlannedObject(each.object, (), RemovalReason.CI) for each in kept if rules.takes_bytecode(each)),
        leftovers=snapshot.leftovers,
        forgotten=tuple(
            seen
            for seen in snapshot.referrers
            if seen.state is ReferrerState.MISSING or is_given_up(seen, snapshot.taken_at)
        ),
        renamed=tuple(
            seen.referrer for seen in snapshot.referrers if seen.state is ReferrerState.ALIVE and seen.is_renamed
        ),
        seen_again=tuple(
            seen.referrer.id
            for seen in snapshot.referrers
            if seen.state is ReferrerState.ALIVE and snapshot.taken_at - seen.last_seen_at > _NOTED_EVERY_SECONDS
        ),
        is_freed_exact=not any(marks.is_cloned(item.object) for item in planned),
        warnings=(*_unreachable(snapshot), *_perhaps_moved(snapshot, planned), *_undescribed(snapshot, staying)),
    )


def _unreachable(snapshot: Snapshot) -> list[str]:
    return [
        f"environment {seen.referrer.path} {_fate(seen, snapshot.taken_at)}"
        for seen in snapshot.referrers
        if seen.state is ReferrerState.UNREACHABLE
    ]


def _fate(seen: SeenReferrer, now: float) -> str:
    if is_given_up(seen, now):
        return f"could not be reached for {FORGOTTEN_AFTER_SECONDS / _DAY_SECONDS:.0f} days and is forgotten"
    path = quote(seen.referrer.path)
    return f"cannot be reached; what it was linked from is kept (if it is gone for good: aioc forget {path})"


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


class _Rules:
    """What one policy gives up of one snapshot, though a name leads to it."""

    def __init__(self, snapshot: Snapshot, policy: PrunePolicy, for_room: Collection[str]) -> None:
        self._policy = policy
        self._for_room = for_room
        self._now = snapshot.taken_at
        self._latest = _latest(snapshot) if policy.keeps_latest else frozenset[str]()
        self.takes_pages_with_projects = policy.is_ci or policy.unused_for_seconds is None

    def takes_environment(self, environment: SeenEnvironment, *, is_for_builds: bool) -> RemovalReason | None:
        """Say why an environment goes that could still be used; None: it stays."""
        policy = self._policy
        if is_for_builds:
            return self._takes_what_builds_need(environment) or self._for_its_size(environment)
        if (policy.takes_tools or policy.keeps_latest) and environment.id not in self._latest:
            return RemovalReason.TOOLS if policy.takes_tools else RemovalReason.SUPERSEDED
        if policy.is_ci:
            return RemovalReason.CI
        return RemovalReason.UNUSED if self._is_idle(environment) else self._for_its_size(environment)

    def takes_archive(self, archive: SeenArchive, *, is_built: bool) -> RemovalReason | None:
        """Say why an archive goes that nothing but names leads to; None: it stays. Building one again takes long."""
        policy = self._policy
        if archive.is_linked and self.takes_pages_with_projects and not is_built:
            return RemovalReason.ENVIRONMENTS_GONE
        if policy.is_ci and not is_built:
            return RemovalReason.CI
        return RemovalReason.UNUSED if self._is_idle(archive) else self._for_its_size(archive)

    def takes_page(self, page: SeenPage, built: Mapping[str, Collection[str]]) -> RemovalReason | None:
        """Say why a page, metadata, an sdist or a log goes, whatever else of its project stays; None: it stays.

        Args:
            page: which one.
            built: the versions of each project of which a wheel that was built here stays.
        """
        if page.kind is PageKind.LOG:
            return self._takes_what_builds_need(page)
        if self._policy.is_ci:
            return RemovalReason.CI
        if self._policy.unused_for_seconds is not None:
            return RemovalReason.UNUSED if self._is_idle(page) else self._for_its_size(page)
        if page.kind is PageKind.SDIST and _is_among(page.version, built.get(page.project, ())):
            return RemovalReason.SUPERSEDED
        return self._for_its_size(page)

    def takes_bytecode(self, kept: Kept) -> bool:
        """Tell whether an archive that stays loses its bytecode: if it stays for environments with own links alone."""
        return self._policy.is_ci and all(
            reason.code is KeepCode.REFERRER and SYMLINK not in reason.via for reason in kept.reasons
        )

    def _takes_what_builds_need(self, seen: SeenObject | SeenPage) -> RemovalReason | None:
        if self._policy.is_ci:
            return RemovalReason.CI
        is_timed = self._policy.unused_for_seconds is not None
        is_idle = self._is_idle(seen) if is_timed else self._now - seen.last_used_at > _BUILDS_IDLE_SECONDS
        return RemovalReason.UNUSED if is_idle else None

    def _for_its_size(self, seen: SeenObject | SeenPage) -> RemovalReason | None:
        called = seen.path if isinstance(seen, SeenPage) else seen.id
        return RemovalReason.SIZE if called in self._for_room else None

    def _is_idle(self, seen: SeenObject | SeenPage) -> bool:
        """Tell whether nobody used it for long enough; where a clock was set, the last use may be in the future."""
        limit = self._policy.unused_for_seconds
        return limit is not None and self._now - seen.last_used_at > limit


def _latest(snapshot: Snapshot) -> frozenset[str]:
    """Give the ids of the environments that were made last for each tool and interpreter."""
    newest: dict[tuple[str, str], tuple[float, str]] = {}
    for seen in snapshot.tools:
        if (
            seen.pointer is None
            or seen.is_for_builds
            or not seen.is_runnable
            or seen.object_id not in snapshot.environments
        ):
            continue
        key = seen.pointer.tool, seen.pointer.executable
        newest[key] = max(newest.get(key, (0.0, "")), (seen.pointer.created_at, seen.pointer.environment_id))
    return frozenset(environment_id for _, environment_id in newest.values())


def _decide_environment(environment: SeenEnvironment, marks: Marks, rules: _Rules) -> PlannedObject | Kept:
    stays = marks.keep(environment)
    names = marks.names(environment.id)
    if stays is None:
        return PlannedObject(environment, names, RemovalReason.SUPERSEDED)
    if any(reason.code is not KeepCode.POINTER for reason in stays.reasons):
        return stays
    why = rules.takes_environment(environment, is_for_builds=marks.is_for_builds(environment))
    return stays if why is None else PlannedObject(environment, names, why)


def _decide_archive(
    archive: SeenArchive, marks: Marks, staying: Mapping[str, Kept], rules: _Rules
) -> PlannedObject | Kept:
    leases, pointers = marks.leases(archive.id), marks.pointers(archive.id)
    referrers = [*marks.pins(archive.id), *marks.referrers(archive.id, symlinks_only=False)]
    containers = marks.containers(archive.id)
    keeping = [each for each in containers if each.id in staying]
    if leases or referrers or keeping:
        environments = [by_environment(each, staying[each.id]) for each in keeping]
        is_referenced = referrers or pointers or not all(staying[each.id].is_condemned for each in keeping)
        return Kept(archive, (*leases, *referrers, *environments), is_condemned=not is_referenced)
    is_built = marks.is_built(archive.id)
    reason = rules.takes_archive(archive, is_built=is_built) if pointers else RemovalReason.UNREACHABLE
    if reason is None:
        return Kept(archive, tuple(pointers), is_condemned=False)
    return PlannedObject(archive, marks.names(archive.id), reason, tuple(each.id for each in containers))


def _without(projects: tuple[str, ...], staying: Iterable[SeenPage]) -> tuple[str, ...]:
    """Leave out the projects of which a page stays."""
    left = {page.project for page in staying}
    return tuple(project for project in projects if project not in left)


def _tools_left_alone(snapshot: Snapshot, planned: list[PlannedObject]) -> tuple[str, ...]:
    """Give the tools that have no name left once those of the planned environments, and those to nothing, are gone."""
    staying = snapshot.environments.keys() - {item.object.id for item in planned}
    tools = (name for name in snapshot.tools if not name.is_for_builds)
    alive = {name.path.split("/")[-2] for name in tools if name.object_id in staying}
    return tuple(sorted(snapshot.tool_directories - alive))


def _overlays_left_alone(snapshot: Snapshot, planned: list[PlannedObject]) -> tuple[str, ...]:
    """Give the overlays that have no name left, as above, and of the others the projects that have none."""
    staying = snapshot.archives.keys() - {item.object.id for item in planned}
    names = [name for name in snapshot.names if name.overlay and name.object_id in staying]
    alive = {name.overlay for name in names} | {f"{name.overlay}/{name.pointer.project}" for name in names}
    lonely = snapshot.overlays - alive
    return tuple(sorted(each for each in lonely if each.rpartition("/")[0] not in lonely))


def _built(snapshot: Snapshot, planned: list[PlannedObject]) -> dict[str, set[str]]:
    """Give the versions of each project of which a wheel that was built here stays."""
    staying = snapshot.archives.keys() - {item.object.id for item in planned}
    built: dict[str, set[str]] = defaultdict(set)
    for name in snapshot.names:
        if name.kind is NameKind.BUILT and name.object_id in staying:
            built[name.pointer.project].add(name.pointer.version)
    return built


def _is_among(version: str | None, versions: Collection[str]) -> bool:
    """Tell whether a version is one of these, however it is written (PEP 440)."""
    if version is None or not versions:
        return False
    if version in versions:
        return True
    from packaging.utils import canonicalize_version  # noqa: PLC0415 - only of what was built, if it is written oddly

    return canonicalize_version(version) in map(canonicalize_version, versions)
