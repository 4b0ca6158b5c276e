"""The passes of a collector: scan, plan, detach in short exclusive batches until nothing changes meanwhile, sweep.

What is decided is the business of a verb (`aiocache_engine.pipeline.collector.collect`) and of the policies.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from aiocache_engine.hints import TypeVar
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.removal import (
    KeepCode,
    KeepReason,
    Kept,
    PlannedObject,
    Removal,
    RemovalPlan,
    RemovalReason,
    Removed,
)
from aiocache_engine.model.snapshot import SeenEnvironment, SeenProcess, Snapshot
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.account import Names, less, object_removed, total, with_names
from aiocache_engine.pipeline.collector.scan import find_processes, scan
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import Batch, Trashed, Verdict, condemn, detach_objects
from aiocache_engine.store.leases import LeaseReader
from aiocache_engine.store.trash import Swept, sweep
from aiocache_engine.system.lock import Hold

Item = TypeVar("Item")

PASSES = 5
_ITEMS_A_HOLD = 100
_IN_USE = frozenset({KeepCode.LEASE, KeepCode.RUNNING, KeepCode.RECENTLY_USED})


class Passes:
    """What every verb of a collector does. Its methods give steps; use each instance for one removal."""

    def __init__(self, cache: CacheDir, *, names_every_process: bool = False) -> None:
        self._cache = cache
        self._names_every_process = names_every_process
        self._leases = LeaseReader(cache.layout.leases)
        self._trashed: list[Trashed | tuple[str, Names]] = []
        self._gone: set[str] = set()
        self._kept: dict[str, Kept] = {}
        self._noted: set[str] = set()
        self._swept: dict[Names, list[Swept]] = defaultdict(list)  #: what went without a way through trash
        self._written_bytes = 0  #: what this removal wrote itself: generations, and directories made anew
        self._warnings: dict[str, None] = {}  #: of every pass, each once: a later one no longer sees what went
        self._add_needs: Callable[[Snapshot], Snapshot] | None = None  #: where dependencies are to go

    def scan(self) -> Steps[Snapshot]:
        """See what is there."""
        snapshot: Snapshot = yield Outside(partial(scan, self._cache, self._leases))
        if self._add_needs is not None:
            snapshot = yield Outside(partial(self._add_needs, snapshot))
        return snapshot

    def _plan(self, decide: Callable[[Snapshot], RemovalPlan]) -> Steps[RemovalPlan]:
        plan, _ = yield from self._plan_seen(decide)
        return plan

    def _plan_seen(self, decide: Callable[[Snapshot], RemovalPlan]) -> Steps[tuple[RemovalPlan, Snapshot]]:
        """Scan and plan; last of all look for processes, and only in environments that would go without them.

        Whoever wants to know all that keeps them has it look in every one.
        """
        snapshot = yield from self.scan()
        plan = decide(snapshot)
        going = [item.object.id for item in plan.objects if isinstance(item.object, SeenEnvironment)]
        processes = yield from self._find_processes(snapshot.environments if self._names_every_process else going)
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
                reason = KeepReason(KeepCode.RECENTLY_USED, release="the command is run again")
                self._kept[item.object.id] = Kept(item.object, (reason,), is_condemned=False)
        return plan

    def _detach(self, plan: RemovalPlan) -> Steps[set[str]]:
        """Detach what is planned; gives the ids of what changed and has to be scanned again."""
        queue = deque(plan.objects)
        again: set[str] = set()
        while queue:
            again |= yield from self._skip_running(queue)
            work = partial(detach_objects, cache=self._cache, leases=self._leases, queue=queue, gone=self._gone)
            batch: Batch | None = yield InHold(LockMode.EXCLUSIVE, work)
            if batch is None:  # and look for processes again, too
                yield Outside(self._leases.read_ahead)
                continue
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
            if kept.is_condemned and kept.object.id not in self._noted and is_in_use(kept)
        ]
        self._noted.update(each.id for each in objects)
        again: set[str] = set()
        for part in in_parts(objects):
            work = partial(condemn, cache=self._cache, leases=self._leases, objects=part)
            again.update((yield from self._by_leases(work)))
        return again - {kept.object.id for kept in plan.kept if _is_running(kept)}

    def _by_leases(self, work: Callable[[Hold], Item | None]) -> Steps[Item]:
        """Do in an exclusive hold what goes by the leases; and again, where those had to be read ahead of it."""
        done: Item | None = yield InHold(LockMode.EXCLUSIVE, work)
        while done is None:
            yield Outside(self._leases.read_ahead)
            done = yield InHold(LockMode.EXCLUSIVE, work)
        return done

    def _trash(self, paths: Iterable[str], reason: RemovalReason, *, project: str | None = None) -> None:
        self._trashed += [(path, Names(project, reason)) for path in paths]

    def _sweep(self) -> Steps[list[Removed]]:
        """Delete what this collector detached; gives one entry per object, and one per project for all other names."""
        by_object: dict[tuple[str, str], tuple[PlannedObject, list[Swept]]] = {}
        by_names, self._swept = self._swept, defaultdict(list)
        for trashed in self._trashed:
            if isinstance(trashed, Trashed):
                swept = yield Outside(partial(sweep, trashed.path))
                by_object.setdefault((trashed.item.object.id, trashed.kind), (trashed.item, []))[1].append(swept)
            else:
                path, names = trashed
                by_names[names].append((yield Outside(partial(sweep, path))))
        self._trashed.clear()
        removed = [object_removed(item, kind, total(parts)) for (_, kind), (item, parts) in by_object.items()]
        written_bytes, self._written_bytes = self._written_bytes, 0
        return less(with_names(removed, {names: total(parts) for names, parts in by_names.items()}), written_bytes)

    def _removal(self, plan: RemovalPlan, removed: list[Removed]) -> Removal:
        return Removal(
            command=plan.command,
            is_dry_run=False,
            removed=tuple(removed),
            kept=tuple(self._kept.values()),
            sdists=plan.sdists,
            waited_seconds=0.0,
            longest_hold_seconds=0.0,
            warnings=tuple(self._warnings),
            near_names=plan.near_names,
            unmatched=plan.unmatched,
            is_freed_exact=plan.is_freed_exact,
            missing_bytes=plan.missing_bytes,
        )


def in_parts(items: list[Item]) -> Iterator[list[Item]]:
    """Give the items in parts that one short hold is enough for."""
    for start in range(0, len(items), _ITEMS_A_HOLD):
        yield items[start : start + _ITEMS_A_HOLD]


def is_in_use(kept: Kept) -> bool:
    """Tell whether somebody uses it now, whatever else keeps it."""
    return any(reason.code in _IN_USE for reason in kept.reasons)


def _is_running(kept: Kept) -> bool:
    return any(reason.code is KeepCode.RUNNING for reason in kept.reasons)
