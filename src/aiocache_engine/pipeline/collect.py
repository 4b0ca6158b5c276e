"""The collector: scan, mark, plan, detach in short exclusive batches, sweep with no lock held (rules 28-40).

One collector serves clean, prune and the end of every lease. It is written as steps (`aiocache_engine.pipeline.steps`),
so that a command and the engine perform the same ones. A crash at any point leaves an entry whole or in trash.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

from aiocache_engine.errors import KeyLockTimeoutError
from aiocache_engine.hints import TypeVar
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Referrer
from aiocache_engine.model.removal import (
    CleanTarget,
    KeepCode,
    KeepReason,
    Kept,
    PlannedArchive,
    Removal,
    RemovalPlan,
    RemovalReason,
    Removed,
)
from aiocache_engine.model.snapshot import Leftover, ReferrerState, SeenName, Snapshot
from aiocache_engine.model.value import replace, value
from aiocache_engine.pipeline.scan import look_at, scan
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.policy.clean import plan_candidates, plan_clean, plan_condemned
from aiocache_engine.policy.prune import plan_prune
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import (
    Batch,
    NameChoice,
    Verdict,
    condemn,
    detach_archives,
    matching_names,
    name_directories,
    take_dangling,
    take_everything,
    take_names,
    take_paths,
    take_projects,
)
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.leases import LeaseReader
from aiocache_engine.store.notes import read_notes, remove_notes
from aiocache_engine.store.referrers import forget
from aiocache_engine.store.reserve import restore_reserve, spend_reserve
from aiocache_engine.store.trash import Swept, measure, sweep
from aiocache_engine.system.keylock import KeyLock

Item = TypeVar("Item")

PASSES = 5
_NOTHING = Swept(0, 0, 0)
_ITEMS_A_HOLD = 100
_OLD_FORMAT = "format"
_TAKEN_FIRST = frozenset({"temporary", _OLD_FORMAT})  #: leftovers that somebody might still be making or reading
_IN_USE = frozenset({KeepCode.LEASE, KeepCode.RECENTLY_USED})


@value
class _Names:
    """Names and pages that go together, and are reported together."""

    project: str | None  #: None: of several projects
    reason: RemovalReason


class Collector:
    """One clean or prune on one cache dir. Its public methods give steps; use each instance once."""

    def __init__(self, cache: CacheDir) -> None:
        self._cache = cache
        self._leases = LeaseReader(cache.layout.leases)
        self._trashed: list[tuple[str, PlannedArchive | _Names]] = []
        self._kept: dict[str, Kept] = {}
        self._noted: set[str] = set()
        self._warnings: dict[str, None] = {}  #: of every pass, each once: a later one no longer sees what went

    def scan(self) -> Steps[Snapshot]:
        """See what is there."""
        snapshot: Snapshot = yield Outside(partial(scan, self._cache, self._leases))
        return snapshot

    def plan_prune(self) -> Steps[RemovalPlan]:
        """Plan a prune and touch nothing."""
        return plan_prune((yield from self.scan()))

    def plan_clean(self, targets: tuple[CleanTarget, ...]) -> Steps[RemovalPlan]:
        """Plan a clean and touch nothing."""
        return plan_clean((yield from self.scan()), targets, matches=version_matches)

    def prune(self) -> Steps[Removal]:
        """Prune: what nothing uses goes, and what dead work left."""
        self._cache.ensure_writable()
        yield Outside(partial(spend_reserve, self._cache.layout))
        plan = yield from self._collect(plan_prune)
        yield from self._take_dangling(plan)
        yield from self._take_lonely_projects(plan)
        removed = yield from self._sweep()
        removed += yield from self._take_leftovers(plan)
        # Looked at again just before the hold, never in it: a dead mount would stop everybody (rule 26).
        gone: list[Referrer] = yield Outside(partial(_still_missing, plan.forgotten))
        for part in _parts(gone):
            yield InHold(LockMode.EXCLUSIVE, partial(forget, cache=self._cache, referrers=part))
        yield Outside(partial(_unlink_idle_key_locks, self._cache.layout))
        yield Outside(partial(restore_reserve, self._cache.layout))
        return self._removal(plan, removed)

    def clean(self, targets: tuple[CleanTarget, ...]) -> Steps[Removal]:
        """Clean the targets, or everything: names at once, bytes now or when their last user is gone."""
        if targets and self._cache.is_read_only:
            return (yield from self._find_nothing(targets))
        self._cache.ensure_writable()
        yield Outside(partial(spend_reserve, self._cache.layout))
        seen = yield from self.scan()
        named = plan_clean(seen, targets, matches=version_matches)
        if targets:
            yield Outside(self._leases.unlink_dead)  # every later collector would look at them again
            for target in targets:
                yield from self._take_names(target, seen.names)
        else:
            trashed = yield InHold(LockMode.EXCLUSIVE, partial(take_everything, cache=self._cache))
            self._trash(trashed, RemovalReason.NAMED)
        before = {item.archive.id for item in named.archives} | {kept.archive.id for kept in named.kept}

        def decide(snapshot: Snapshot) -> RemovalPlan:
            again = plan_clean(snapshot, targets, matches=version_matches)
            ids = before | {item.archive.id for item in again.archives} | {kept.archive.id for kept in again.kept}
            return plan_candidates(snapshot, _without_names(snapshot, ids), reason=RemovalReason.NAMED)

        yield from self._collect(decide)
        removed = yield from self._sweep()
        if not targets:
            removed += yield from self._take_leftovers(named)
        yield Outside(partial(restore_reserve, self._cache.layout))
        return self._removal(named, removed)

    def _find_nothing(self, targets: tuple[CleanTarget, ...]) -> Steps[Removal]:
        """Give the result of a clean that has nothing to do; of any other, refuse what cannot be done here."""
        plan = yield from self.plan_clean(targets)
        foreseen: Removal = yield Outside(partial(foresee, self._cache, plan))
        if plan.unmatched != targets or foreseen.removed:
            self._cache.ensure_writable()
        return replace(foreseen, is_dry_run=False)

    def free_condemned(self) -> Steps[None]:
        """Free what was condemned while it was leased, now that some lease has ended (rule 35)."""
        if self._cache.is_read_only:
            return
        notes = yield Outside(partial(read_notes, self._cache.layout.condemned))
        if not notes:
            return
        alive, _ = yield Outside(self._leases.part)
        free = {note.object_id for note in notes if not any(lease.covers(note.object_id) for lease in alive)}
        if not free:
            return
        yield from self._collect(partial(plan_condemned, candidates=free))
        yield from self._sweep()
        in_use = {i for i, kept in self._kept.items() if any(reason.code in _IN_USE for reason in kept.reasons)}
        settled = [note for note in notes if note.object_id in free - in_use]
        yield Outside(partial(remove_notes, settled))

    def _collect(self, decide: Callable[[Snapshot], RemovalPlan]) -> Steps[RemovalPlan]:
        """Scan, plan and detach until nothing changes under our hands any more; gives the last plan."""
        for _ in range(PASSES):
            plan = decide((yield from self.scan()))
            self._kept = {kept.archive.id: kept for kept in plan.kept}
            self._warnings |= dict.fromkeys(plan.warnings)
            again = yield from self._detach(plan)
            again |= yield from self._condemn(plan)
            if not again:
                return plan
        for item in plan.archives:
            if item.archive.id in again:
                reason = KeepReason(KeepCode.RECENTLY_USED, release="run the command again")
                self._kept[item.archive.id] = Kept(item.archive, (reason,), is_condemned=False)
        return plan

    def _detach(self, plan: RemovalPlan) -> Steps[set[str]]:
        """Detach what is planned; gives the ids of what changed and has to be scanned again."""
        queue = deque(plan.archives)
        again: set[str] = set()
        while queue:
            work = partial(detach_archives, cache=self._cache, leases=self._leases, queue=queue)
            batch: Batch = yield InHold(LockMode.EXCLUSIVE, work)
            self._trashed += batch.trashed
            again |= {
                item.archive.id for item, verdict in batch.verdicts if verdict in (Verdict.CHANGED, Verdict.LEASED)
            }
        return again

    def _condemn(self, plan: RemovalPlan) -> Steps[set[str]]:
        """Note what only leases keep; gives the ids of what has lost its last lease meanwhile."""
        ids = [kept.archive.id for kept in plan.kept if kept.is_condemned and kept.archive.id not in self._noted]
        self._noted.update(ids)
        again: set[str] = set()
        for part in _parts(ids):
            work = partial(condemn, cache=self._cache, leases=self._leases, archive_ids=part)
            again.update((yield InHold(LockMode.EXCLUSIVE, work)))
        return again

    def _take_names(self, target: CleanTarget, seen: Iterable[SeenName]) -> Steps[None]:
        choice: NameChoice = yield Outside(partial(NameChoice, target, seen, matches=version_matches))
        is_all = False
        while not is_all:
            work = partial(take_names, cache=self._cache, choice=choice)
            trashed, is_all = yield InHold(LockMode.EXCLUSIVE, work)
            self._trash(trashed, RemovalReason.NAMED, project=target.project)

    def _take_dangling(self, plan: RemovalPlan) -> Steps[None]:
        queue = deque(plan.dangling)
        while queue:
            work = partial(take_dangling, cache=self._cache, queue=queue)
            self._trash((yield InHold(LockMode.EXCLUSIVE, work)), RemovalReason.UNREACHABLE)

    def _take_lonely_projects(self, plan: RemovalPlan) -> Steps[None]:
        queue = deque(plan.projects)
        while queue:
            work = partial(take_projects, cache=self._cache, queue=queue)
            self._trash((yield InHold(LockMode.EXCLUSIVE, work)), RemovalReason.UNREACHABLE)

    def _take_leftovers(self, plan: RemovalPlan) -> Steps[list[Removed]]:
        """Sweep what dead work left: what is dead for ever directly, the rest after an exclusive hold."""
        removed: list[Removed] = []
        for leftover in plan.leftovers:
            paths = [leftover.path]
            if leftover.kind in _TAKEN_FIRST:
                paths = yield InHold(LockMode.EXCLUSIVE, partial(take_paths, cache=self._cache, paths=paths))
            for path in paths:
                swept = yield Outside(partial(sweep, path))
                if swept != _NOTHING:
                    removed.append(_leftover_removed(leftover, swept))
        return removed

    def _trash(self, paths: Iterable[str], reason: RemovalReason, *, project: str | None = None) -> None:
        self._trashed += [(path, _Names(project, reason)) for path in paths]

    def _sweep(self) -> Steps[list[Removed]]:
        """Delete what this collector detached; gives one entry per archive, and one per project for all other names."""
        by_archive: dict[str, tuple[PlannedArchive, list[Swept]]] = {}
        by_names: dict[_Names, list[Swept]] = defaultdict(list)
        for path, item in self._trashed:
            swept = yield Outside(partial(sweep, path))
            if isinstance(item, _Names):
                by_names[item].append(swept)
            else:
                by_archive.setdefault(item.archive.id, (item, []))[1].append(swept)
        self._trashed.clear()
        removed = [_archive_removed(item, _sum(parts)) for item, parts in by_archive.values()]
        return _with_names(removed, {names: _sum(parts) for names, parts in by_names.items()})

    def _removal(self, plan: RemovalPlan, removed: list[Removed]) -> Removal:
        return Removal(
            command=plan.command,
            is_dry_run=False,
            removed=tuple(removed),
            kept=tuple(self._kept.values()),
            waited_seconds=0.0,
            longest_hold_seconds=0.0,
            warnings=tuple(self._warnings),
            near_names=plan.near_names,
            unmatched=plan.unmatched,
            is_freed_exact=plan.is_freed_exact,
        )


def foresee(cache: CacheDir, plan: RemovalPlan) -> Removal:
    """Tell what executing the plan now would give, by looking at every file it names and touching none."""
    layout = cache.layout
    is_clean = plan.command == "clean"
    by_names = _names_of_clean(cache, plan) if is_clean else _names_of_prune(cache, plan)
    # A clean takes the names first, so that nothing of them is left to go with the archive.
    with_archive = set() if is_clean else {name.path for item in plan.archives for name in item.names}
    removed: list[Removed] = []
    for item in plan.archives:
        paths = [layout.archive(item.archive.id), *(n.path for n in item.names if n.path in with_archive)]
        removed.append(_archive_removed(item, _sum(measure(path) for path in paths)))
    alone = {names: _sum(measure(p, without=with_archive) for p in paths) for names, paths in by_names.items()}
    removed = _with_names(removed, alone)
    removed += [_leftover_removed(each, measure(each.path)) for each in plan.leftovers]
    return Removal(
        command=plan.command,
        is_dry_run=True,
        removed=tuple(removed),
        kept=plan.kept,
        waited_seconds=0.0,
        longest_hold_seconds=0.0,
        warnings=plan.warnings,
        near_names=plan.near_names,
        unmatched=plan.unmatched,
        is_freed_exact=plan.is_freed_exact,
    )


def _names_of_clean(cache: CacheDir, plan: RemovalPlan) -> dict[_Names, list[str]]:
    """Give the paths that a clean takes before anything else: all that leads to what it names."""
    if plan.is_everything:
        return {_Names(None, RemovalReason.NAMED): list(name_directories(cache.layout))}
    paths: dict[_Names, list[str]] = defaultdict(list)
    for target in plan.targets:
        paths[_Names(target.project, RemovalReason.NAMED)] += (
            [cache.layout.project(target.project)]
            if target.specifier is None
            else matching_names(cache.layout, NameChoice(target, (), matches=version_matches))
        )
    return paths


def _names_of_prune(cache: CacheDir, plan: RemovalPlan) -> dict[_Names, list[str]]:
    """Give the paths that a prune takes by themselves: lonely projects, and names that lead nowhere in the others."""
    lonely = [f"{cache.layout.projects}/{project}" for project in plan.projects]
    others = [name.path for name in plan.dangling if not name.path.startswith(tuple(f"{path}/" for path in lonely))]
    return {_Names(None, RemovalReason.UNREACHABLE): [*lonely, *others]}


def _parts(items: list[Item]) -> Iterator[list[Item]]:
    """Give the items in parts that one short hold is enough for."""
    for start in range(0, len(items), _ITEMS_A_HOLD):
        yield items[start : start + _ITEMS_A_HOLD]


def _unlink_idle_key_locks(layout: Layout) -> None:
    """Remove key lock files that nobody holds, each while it is held; who waits for one notices that it went."""
    for name in list_directory(layout.key_locks):
        path = f"{layout.key_locks}/{name}"
        if os.path.isdir(path) and not os.path.islink(path):  # nobody can hold it, and it stops whoever wants to
            sweep(path)
            continue
        with suppress(KeyLockTimeoutError), KeyLock(path).hold_now(what="its removal", timeout_seconds=0):
            os.unlink(path)


def _still_missing(referrers: Iterable[Referrer]) -> list[Referrer]:
    return [referrer for referrer in referrers if look_at(referrer)[0] is ReferrerState.MISSING]


def _without_names(snapshot: Snapshot, ids: set[str]) -> set[str]:
    """Leave out what a name has come to lead to again: it was published after the clean."""
    named = {name.pointer.archive_id for name in snapshot.names}
    return ids - named


def _archive_removed(item: PlannedArchive, swept: Swept) -> Removed:
    totals = item.archive.totals
    return Removed(
        kind="archive",
        project=totals.project if totals is not None else None,
        version=totals.version if totals is not None else None,
        id=item.archive.id,
        file_count=swept.file_count,
        size_bytes=swept.size_bytes,
        freed_bytes=swept.freed_bytes,
        reason=item.reason,
    )


def _with_names(archives: list[Removed], by_names: dict[_Names, Swept]) -> list[Removed]:
    """Add names and pages to what went. An empty directory is nobody's entry: its bytes are told with an archive's."""
    removed = list(archives)
    for names, swept in by_names.items():
        if swept.file_count:
            removed.append(_names_removed(names, swept))
        elif archives:
            removed[0] = replace(removed[0], freed_bytes=removed[0].freed_bytes + swept.freed_bytes)
    return removed


def _names_removed(names: _Names, swept: Swept) -> Removed:
    return Removed(
        "pointer", names.project, None, None, swept.file_count, swept.size_bytes, swept.freed_bytes, names.reason
    )


def _leftover_removed(leftover: Leftover, swept: Swept) -> Removed:
    is_old = leftover.kind == _OLD_FORMAT
    kind, reason = ("format", RemovalReason.OLD_FORMAT) if is_old else ("leftover", RemovalReason.LEFTOVER)
    return Removed(kind, None, None, None, swept.file_count, swept.size_bytes, swept.freed_bytes, reason)


def _sum(parts: Iterable[Swept]) -> Swept:
    whole = list(parts)
    return Swept(
        sum(part.file_count for part in whole),
        sum(part.size_bytes for part in whole),
        sum(part.freed_bytes for part in whole),
    )
