"""The collector: scan, mark, plan, detach in short exclusive batches, sweep with no lock held (rules 28-40).

One collector serves clean, prune and the end of every lease. It is written as steps (`aiocache_engine.pipeline.steps`),
so that a command and the engine perform the same ones. A crash at any point leaves an entry whole or in trash.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial

from aiocache_engine.errors import KeyLockTimeoutError
from aiocache_engine.hints import TypeVar
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Referrer
from aiocache_engine.model.removal import (
    NAMED_ALONE,
    PLAIN,
    CleanPolicy,
    CleanTarget,
    KeepCode,
    KeepReason,
    Kept,
    PlannedObject,
    PrunePolicy,
    Removal,
    RemovalPlan,
    RemovalReason,
    Removed,
)
from aiocache_engine.model.snapshot import SeenEnvironment, SeenProcess, SeenReferrer, Snapshot
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.account import (
    OLD_FORMAT,
    Names,
    foresee,
    leftover_removed,
    names_of,
    object_removed,
    total,
    with_names,
)
from aiocache_engine.pipeline.collector.room import Choice, choose_for_room, missing_bytes
from aiocache_engine.pipeline.collector.scan import find_processes, scan
from aiocache_engine.pipeline.collector.whereabouts import Whereabouts
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.policy.clean import plan_clean, plan_condemned, plan_named
from aiocache_engine.policy.prune import plan_prune
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import (
    Batch,
    Trashed,
    Verdict,
    condemn,
    detach_objects,
    take_bytecode,
    take_dangling,
    take_everything,
    take_lonely,
    take_names,
    take_paths,
)
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.leases import LeaseReader
from aiocache_engine.store.name_choice import NameChoice
from aiocache_engine.store.notes import read_notes, remove_notes
from aiocache_engine.store.pins import release_pins
from aiocache_engine.store.referrers import forget, note_seen
from aiocache_engine.store.reserve import restore_reserve, spend_reserve
from aiocache_engine.store.stored_pages import PAGE_KIND, take_pages
from aiocache_engine.store.trash import Swept, sweep
from aiocache_engine.system.keylock import KeyLock

Item = TypeVar("Item")

PASSES = 5
_NOTHING = Swept(0, 0, 0)
_ITEMS_A_HOLD = 100
_TAKEN_FIRST = frozenset({"temporary", OLD_FORMAT})  #: leftovers that somebody might still be making or reading
_IN_USE = frozenset({KeepCode.LEASE, KeepCode.RUNNING, KeepCode.RECENTLY_USED})


class Collector:
    """One clean or prune on one cache dir. Its public methods give steps; use each instance once."""

    def __init__(self, cache: CacheDir) -> None:
        self._cache = cache
        self._leases = LeaseReader(cache.layout.leases)
        self._trashed: list[Trashed | tuple[str, Names]] = []
        self._gone: set[str] = set()
        self._kept: dict[str, Kept] = {}
        self._noted: set[str] = set()
        self._warnings: dict[str, None] = {}  #: of every pass, each once: a later one no longer sees what went
        self._add_needs: Callable[[Snapshot], Snapshot] | None = None  #: where dependencies are to go

    def scan(self) -> Steps[Snapshot]:
        """See what is there."""
        snapshot: Snapshot = yield Outside(partial(scan, self._cache, self._leases))
        if self._add_needs is not None:
            snapshot = yield Outside(partial(self._add_needs, snapshot))
        return snapshot

    def plan_prune(self, policy: PrunePolicy = PLAIN) -> Steps[RemovalPlan]:
        """Plan a prune and touch nothing."""
        if not policy.has_goal:
            return (yield from self._plan(partial(plan_prune, policy=policy)))
        choice = yield from self._choose(policy)
        plan = yield from self._plan(partial(plan_prune, policy=policy, for_room=choice.ids))
        return replace(plan, missing_bytes=choice.missing_bytes)

    def plan_clean(self, targets: tuple[CleanTarget, ...], policy: CleanPolicy = NAMED_ALONE) -> Steps[RemovalPlan]:
        """Plan a clean and touch nothing."""
        return (yield from self._plan(self._cleaning(targets, policy)))

    def _cleaning(self, targets: tuple[CleanTarget, ...], policy: CleanPolicy) -> Callable[[Snapshot], RemovalPlan]:
        """Give what decides on a clean, and read with every scan what that needs to know."""
        if policy.takes_dependencies and targets:
            from aiocache_engine.pipeline.collector.needs import NeedsReader  # noqa: PLC0415 - metadata need `packaging`

            self._add_needs = NeedsReader(self._cache.layout).add_to
        return partial(plan_clean, targets=targets, matches=version_matches, policy=policy)

    def prune(self, policy: PrunePolicy = PLAIN) -> Steps[Removal]:
        """Prune: what nothing uses goes, what dead work left, and what the policy gives up."""
        self._cache.ensure_writable()
        yield Outside(partial(spend_reserve, self._cache.layout))
        plan = yield from self._collect(partial(plan_prune, policy=policy))
        yield from self._take_dangling(plan)
        yield from self._take_lonely(plan)
        yield from self._take_pages(plan)
        yield from self._take_bytecode(plan)
        removed = yield from self._sweep()
        removed += yield from self._take_leftovers(plan)
        # Looked at again just before the hold, never in it: a dead mount would stop everybody (rule 26).
        gone: list[Referrer] = yield Outside(partial(_still_so, plan.forgotten))
        for part in _parts(gone):
            yield InHold(LockMode.EXCLUSIVE, partial(forget, cache=self._cache, referrers=part))
        yield Outside(partial(note_seen, self._cache.layout, plan.seen_again))
        yield Outside(partial(_unlink_idle_key_locks, self._cache.layout))
        yield Outside(partial(restore_reserve, self._cache.layout))
        if policy.has_goal:
            plan, more = yield from self._make_room(policy, plan)
            removed += more
        return self._removal(plan, removed)

    def _make_room(self, policy: PrunePolicy, plan: RemovalPlan) -> Steps[tuple[RemovalPlan, list[Removed]]]:
        """Go on until the goal is reached, or nothing is left that may go; gives the last plan, and what went."""
        removed: list[Removed] = []
        for _ in range(PASSES):
            choice = yield from self._choose(policy)
            if not choice.ids:
                break
            last = yield from self._collect(partial(plan_prune, policy=policy, for_room=choice.ids))
            plan = replace(last, is_freed_exact=plan.is_freed_exact and last.is_freed_exact)
            yield from self._take_lonely(plan)
            removed += yield from self._sweep()
        missing: int = yield Outside(partial(missing_bytes, self._cache, policy))
        return replace(plan, missing_bytes=missing), removed

    def _choose(self, policy: PrunePolicy) -> Steps[Choice]:
        snapshot = yield from self.scan()
        processes = yield from self._find_processes(snapshot.environments)
        snapshot = replace(snapshot, processes=processes)
        choice: Choice = yield Outside(partial(choose_for_room, self._cache, snapshot, policy))
        return choice

    def clean(self, targets: tuple[CleanTarget, ...], policy: CleanPolicy = NAMED_ALONE) -> Steps[Removal]:
        """Clean the targets, or everything: names at once, bytes now or when their last user is gone."""
        if targets and self._cache.is_read_only:
            return (yield from self._find_nothing(targets, policy))
        self._cache.ensure_writable()
        yield Outside(partial(spend_reserve, self._cache.layout))
        cleaning = self._cleaning(targets, policy)
        seen = yield from self.scan()
        named = cleaning(seen)
        if named.dependencies:  # whether others use them counts already for what is named
            named, seen = yield from self._plan_seen(cleaning)
        if policy.takes_in_use:
            release = partial(release_pins, cache=self._cache, archive_ids=named.named)
            yield InHold(LockMode.EXCLUSIVE, release)
        if targets:
            yield Outside(self._leases.unlink_dead)  # every later collector would look at them again
            for target in (*targets, *named.dependencies_in_use):
                yield from self._take_names(target, seen)
        else:
            is_all = False
            while not is_all:
                trashed, is_all = yield InHold(LockMode.EXCLUSIVE, partial(take_everything, cache=self._cache))
                self._trash(trashed, RemovalReason.NAMED)

        def decide(snapshot: Snapshot) -> RemovalPlan:
            ids = _without_names(snapshot, named.named | cleaning(snapshot).named)
            return plan_named(snapshot, ids, named.dependencies, matches=version_matches, policy=policy)

        yield from self._collect(decide)
        yield from self._take_lonely(named)
        removed = yield from self._sweep()
        if not targets:
            removed += yield from self._take_leftovers(named)
        yield Outside(partial(restore_reserve, self._cache.layout))
        return self._removal(named, removed)

    def _find_nothing(self, targets: tuple[CleanTarget, ...], policy: CleanPolicy) -> Steps[Removal]:
        """Give the result of a clean that has nothing to do; of any other, refuse what cannot be done here."""
        plan = yield from self.plan_clean(targets, policy)
        foreseen: Removal = yield Outside(partial(foresee, self._cache, plan))
        if plan.unmatched != targets or foreseen.removed:
            self._cache.ensure_writable()
        return replace(foreseen, is_dry_run=False)

    def free_condemned(self) -> Steps[list[Removed]]:
        """Free what was condemned while it was in use, now that some user has ended (rule 35); gives what went."""
        if self._cache.is_read_only:
            return []
        notes = yield Outside(partial(read_notes, self._cache.layout.condemned))
        if not notes:
            return []
        alive, _ = yield Outside(self._leases.part)
        free = {note.object_id for note in notes if not any(lease.covers(note.object_id) for lease in alive)}
        free -= (yield from self._find_processes(free)).keys()  # no scan with every command, for as long as a tool runs
        if not free:
            return []
        self._noted |= {note.object_id for note in notes}
        yield from self._collect(partial(plan_condemned, candidates=free))
        removed = yield from self._sweep()
        in_use = {i for i, kept in self._kept.items() if kept.is_condemned or _is_in_use(kept)}
        settled = [note for note in notes if note.object_id in free - in_use]
        yield Outside(partial(remove_notes, settled))
        return removed

    def _plan(self, decide: Callable[[Snapshot], RemovalPlan]) -> Steps[RemovalPlan]:
        plan, _ = yield from self._plan_seen(decide)
        return plan

    def _plan_seen(self, decide: Callable[[Snapshot], RemovalPlan]) -> Steps[tuple[RemovalPlan, Snapshot]]:
        """Scan and plan; last of all look for processes, and only in environments that would go without them."""
        snapshot = yield from self.scan()
        plan = decide(snapshot)
        going = [item.object.id for item in plan.objects if isinstance(item.object, SeenEnvironment)]
        processes = yield from self._find_processes(going)
        if not processes:
            return plan, snapshot
        snapshot = replace(snapshot, processes=processes)
        return decide(snapshot), snapshot

    def _find_processes(self, object_ids: Collection[str]) -> Steps[dict[str, tuple[SeenProcess, ...]]]:
        if not object_ids:
            return {}
        look = partial(find_processes, self._cache.layout, object_ids)
        processes: dict[str, tuple[SeenProcess, ...]] = yield Outside(look)
        return processes

    def _collect(self, decide: Callable[[Snapshot], RemovalPlan]) -> Steps[RemovalPlan]:
        """Scan, plan and detach until nothing changes under our hands any more; gives the last plan."""
        for _ in range(PASSES):
            plan = yield from self._plan(decide)
            self._kept = {kept.object.id: kept for kept in plan.kept}
            self._warnings |= dict.fromkeys(plan.warnings)
            again = yield from self._detach(plan)
            again |= yield from self._condemn(plan)
            if not again:
                return plan
        for item in plan.objects:
            if item.object.id in again:
                reason = KeepReason(KeepCode.RECENTLY_USED, release="run the command again")
                self._kept[item.object.id] = Kept(item.object, (reason,), is_condemned=False)
        return plan

    def _detach(self, plan: RemovalPlan) -> Steps[set[str]]:
        """Detach what is planned; gives the ids of what changed and has to be scanned again."""
        queue = deque(plan.objects)
        again: set[str] = set()
        while queue:
            again |= yield from self._skip_running(queue)
            work = partial(detach_objects, cache=self._cache, leases=self._leases, queue=queue, gone=self._gone)
            batch: Batch = yield InHold(LockMode.EXCLUSIVE, work)
            self._trashed += batch.trashed
            again |= {
                item.object.id for item, verdict in batch.verdicts if verdict in (Verdict.CHANGED, Verdict.LEASED)
            }
        return again

    def _skip_running(self, queue: deque[PlannedObject]) -> Steps[set[str]]:
        """Take out of a queue the environments in which processes were begun since the scan; gives their ids.

        Before every hold that may take an environment, and in none: the look takes too long for a hold (rule 28).
        """
        if not queue or not isinstance(queue[0].object, SeenEnvironment):  # they come first
            return set()
        ids = [i.object.id for i in queue if isinstance(i.object, SeenEnvironment) and not i.is_forced]
        running = (yield from self._find_processes(ids)).keys()
        if running:
            staying = [item for item in queue if item.object.id not in running]
            queue.clear()
            queue.extend(staying)
        return set(running)

    def _condemn(self, plan: RemovalPlan) -> Steps[set[str]]:
        """Note what only its users keep; gives the ids of what has lost its last lease meanwhile.

        The end of a process is told to nobody, so that what only processes keep need not be looked at again now.

        What is in a condemned environment, and on no lease of its own, goes by the environment's note (rule 35).
        """
        objects = [
            kept.object
            for kept in plan.kept
            if kept.is_condemned and kept.object.id not in self._noted and _is_in_use(kept)
        ]
        self._noted.update(each.id for each in objects)
        again: set[str] = set()
        for part in _parts(objects):
            work = partial(condemn, cache=self._cache, leases=self._leases, objects=part)
            again.update((yield InHold(LockMode.EXCLUSIVE, work)))
        return again - {kept.object.id for kept in plan.kept if _is_running(kept)}

    def _take_names(self, target: CleanTarget, seen: Snapshot) -> Steps[None]:
        choice: NameChoice = yield Outside(partial(_choice, target, seen))
        is_all = False
        while not is_all:
            work = partial(take_names, cache=self._cache, choice=choice)
            trashed, is_all = yield InHold(LockMode.EXCLUSIVE, work)
            self._trash(trashed, RemovalReason.NAMED, project=names_of(target).project)

    def _take_dangling(self, plan: RemovalPlan) -> Steps[None]:
        queue = deque(plan.dangling)
        while queue:
            work = partial(take_dangling, cache=self._cache, queue=queue)
            self._trash((yield InHold(LockMode.EXCLUSIVE, work)), RemovalReason.UNREACHABLE)

    def _take_lonely(self, plan: RemovalPlan) -> Steps[None]:
        for bucket, names in ((self._cache.layout.projects, plan.projects), (self._cache.layout.tools, plan.tools)):
            queue = deque(f"{bucket}/{name}" for name in names)
            while queue:
                work = partial(take_lonely, cache=self._cache, queue=queue)
                self._trash((yield InHold(LockMode.EXCLUSIVE, work)), RemovalReason.UNREACHABLE)

    def _take_pages(self, plan: RemovalPlan) -> Steps[None]:
        queue = deque(plan.pages)
        while queue:
            trashed = yield InHold(LockMode.EXCLUSIVE, partial(take_pages, cache=self._cache, queue=queue))
            self._trashed += [(path, Names(page.project, plan.page_reason, PAGE_KIND)) for path, page in trashed]

    def _take_bytecode(self, plan: RemovalPlan) -> Steps[None]:
        queue = deque(plan.bytecode)
        while queue:
            work = partial(take_bytecode, cache=self._cache, leases=self._leases, queue=queue)
            self._trashed += yield InHold(LockMode.EXCLUSIVE, work)

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
                    removed.append(leftover_removed(leftover, swept))
        return removed

    def _trash(self, paths: Iterable[str], reason: RemovalReason, *, project: str | None = None) -> None:
        self._trashed += [(path, Names(project, reason)) for path in paths]

    def _sweep(self) -> Steps[list[Removed]]:
        """Delete what this collector detached; gives one entry per object, and one per project for all other names."""
        by_object: dict[tuple[str, str], tuple[PlannedObject, list[Swept]]] = {}
        by_names: dict[Names, list[Swept]] = defaultdict(list)
        for trashed in self._trashed:
            if isinstance(trashed, Trashed):
                swept = yield Outside(partial(sweep, trashed.path))
                by_object.setdefault((trashed.item.object.id, trashed.kind), (trashed.item, []))[1].append(swept)
            else:
                path, names = trashed
                by_names[names].append((yield Outside(partial(sweep, path))))
        self._trashed.clear()
        removed = [object_removed(item, kind, total(parts)) for (_, kind), (item, parts) in by_object.items()]
        return with_names(removed, {names: total(parts) for names, parts in by_names.items()})

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
            missing_bytes=plan.missing_bytes,
        )


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


def _still_so(referrers: Iterable[SeenReferrer]) -> list[Referrer]:
    whereabouts = Whereabouts()
    return [seen.referrer for seen in referrers if whereabouts.look_at(seen.referrer).state is seen.state]


def _choice(target: CleanTarget, seen: Snapshot) -> NameChoice:
    return NameChoice(target, seen.names, seen.tools, matches=version_matches)


def _is_in_use(kept: Kept) -> bool:
    return any(reason.code in _IN_USE for reason in kept.reasons)


def _is_running(kept: Kept) -> bool:
    return any(reason.code is KeepCode.RUNNING for reason in kept.reasons)


def _without_names(snapshot: Snapshot, ids: frozenset[str]) -> frozenset[str]:
    """Leave out what a name has come to lead to again, since it was published after the clean; pins keep names, too."""
    led_to = {name.object_id for name in snapshot.names} | {name.object_id for name in snapshot.tools}
    pinned = {each for each in ids & snapshot.archives.keys() if snapshot.is_pinned(each)}
    return frozenset(ids - led_to | pinned)
