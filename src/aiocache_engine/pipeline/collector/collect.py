"""The collector: scan, mark, plan, detach in short exclusive batches, sweep with no lock held (rules 28-40).

One collector serves clean, prune and the end of every lease. It is written as steps (`aiocache_engine.pipeline.steps`),
so that a command and the engine perform the same ones. A crash at any point leaves an entry whole or in trash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Referrer
from aiocache_engine.model.removal import (
    NAMED_ALONE,
    PLAIN,
    CleanPolicy,
    CleanTarget,
    PlannedObject,
    PrunePolicy,
    Removal,
    RemovalPlan,
    RemovalReason,
    Removed,
)
from aiocache_engine.model.snapshot import SeenReferrer, Snapshot
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.account import (
    OLD_FORMAT,
    PINS,
    foresee,
    leftover_removed,
    names_of,
    names_of_lonely,
    names_of_page,
    total,
    with_records,
)
from aiocache_engine.pipeline.collector.key_locks import remove_idle_key_locks
from aiocache_engine.pipeline.collector.passes import PASSES, Passes, in_parts, is_in_use
from aiocache_engine.pipeline.collector.room import Choice, choose_for_room, missing_bytes
from aiocache_engine.pipeline.collector.whereabouts import Whereabouts
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.policy.clean import pins_released, plan_clean, plan_condemned, plan_named
from aiocache_engine.policy.limit import nameless_ids, within
from aiocache_engine.policy.prune import plan_prune
from aiocache_engine.store.detach import (
    take_bytecode,
    take_dangling,
    take_lonely,
    take_paths,
)
from aiocache_engine.store.detach_names import take_everything, take_names, unspared
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.name_choice import NameChoice
from aiocache_engine.store.notes import read_notes, remove_notes
from aiocache_engine.store.overlay_choice import OverlayChoice, name_choice
from aiocache_engine.store.pins import PinReader
from aiocache_engine.store.referrers import forget, note_renamed, note_seen
from aiocache_engine.store.release import release_pins
from aiocache_engine.store.reserve import restore_reserve, spend_reserve
from aiocache_engine.store.spared import Spared, matching_names
from aiocache_engine.store.stored_pages import take_pages
from aiocache_engine.store.trash import Swept, measure, sweep
from aiocache_engine.store.unlisted import unlisted_paths

_NOTHING = Swept(0, 0, 0)
_TAKEN_FIRST = frozenset({"temporary", OLD_FORMAT})  #: leftovers that somebody might still be making or reading


class Collector(Passes):
    """One clean or prune on one cache dir. Its public methods give steps; use each instance once."""

    def plan_prune(self, policy: PrunePolicy = PLAIN) -> Steps[RemovalPlan]:
        """Plan a prune and touch nothing."""
        if not policy.has_goal:
            return (yield from self._plan(partial(plan_prune, policy=policy)))
        choice = yield from self._choose(policy)
        plan = yield from self._plan(partial(plan_prune, policy=policy, for_room=choice.ids))
        return replace(plan, missing_bytes=choice.missing_bytes)

    def plan_clean(self, targets: tuple[CleanTarget, ...], policy: CleanPolicy = NAMED_ALONE) -> Steps[RemovalPlan]:
        """Plan a clean and touch nothing."""
        plan, snapshot = yield from self._plan_seen(self._cleaning(targets, policy))
        if self._cache.is_read_only:
            return plan
        return replace(plan, condemned=(yield from self._plan_condemned(plan, snapshot)))

    def _plan_condemned(self, plan: RemovalPlan, snapshot: Snapshot) -> Steps[tuple[PlannedObject, ...]]:
        """Give what `free_condemned` will free when a plan was executed."""
        going = {item.object.id for item in plan.objects}
        notes = yield Outside(partial(read_notes, self._cache.layout.condemned))
        noted = {note.object_id for note in notes} - going
        if not noted:
            return ()
        left = replace(
            snapshot,
            archives={each: seen for each, seen in snapshot.archives.items() if each not in going},
            environments={each: seen for each, seen in snapshot.environments.items() if each not in going},
            processes={**snapshot.processes, **(yield from self._find_processes(noted))},
        )
        return plan_condemned(left, noted).objects

    def _cleaning(self, targets: tuple[CleanTarget, ...], policy: CleanPolicy) -> Callable[[Snapshot], RemovalPlan]:
        """Give what decides on a clean, and read with every scan what that needs to know."""
        if policy.takes_dependencies and targets:
            from aiocache_engine.pipeline.collector.needs import NeedsReader  # noqa: PLC0415 - metadata need `packaging`

            self._add_needs = NeedsReader(self._cache.layout).add_to
        return partial(plan_clean, targets=targets, matches=version_matches, policy=policy)

    def prune(self, policy: PrunePolicy = PLAIN, *, planned: RemovalPlan | None = None) -> Steps[Removal]:
        """Prune: what nothing uses goes, what dead work left, and what the policy gives up.

        Where it was planned before, only what that plan lists goes.
        """
        self._cache.ensure_writable()
        yield Outside(partial(spend_reserve, self._cache.layout))
        for_room = _for_room(planned) if planned is not None else ()
        plan = yield from self._collect(_limited(partial(plan_prune, policy=policy, for_room=for_room), planned))
        yield from self._take_dangling(plan)
        yield from self._take_pages(plan)
        yield from self._take_lonely(plan)
        yield from self._take_bytecode(plan)
        removed = yield from self._sweep()
        removed += yield from self._take_leftovers(plan)
        # Looked at again just before the hold, never in it: a dead mount would stop everybody (rule 26).
        gone: list[Referrer] = yield Outside(partial(_still_so, plan.forgotten))
        records: list[Swept] = []
        for part in in_parts(gone):
            sizes = yield Outside(partial(_measure_records, self._cache.layout, part))
            forgotten = yield InHold(LockMode.EXCLUSIVE, partial(forget, cache=self._cache, referrers=part))
            records += [sizes[each.id] for each in forgotten]
        removed = with_records(removed, total(records))
        for part in in_parts([*plan.renamed]):
            yield InHold(LockMode.EXCLUSIVE, partial(note_renamed, cache=self._cache, referrers=part))
        yield Outside(partial(note_seen, self._cache.layout, plan.seen_again))
        yield Outside(partial(remove_idle_key_locks, self._cache.layout))
        yield Outside(partial(restore_reserve, self._cache.layout))
        if policy.has_goal and planned is None:
            plan, more = yield from self._make_room(policy, plan)
            removed += more
        missing: int = yield Outside(partial(missing_bytes, self._cache, policy))
        return self._removal(replace(plan, missing_bytes=missing), removed)

    def _make_room(self, policy: PrunePolicy, plan: RemovalPlan) -> Steps[tuple[RemovalPlan, list[Removed]]]:
        """Go on until the goal is reached, or nothing is left that may go; gives the last plan, and what went."""
        removed: list[Removed] = []
        for _ in range(PASSES):
            choice = yield from self._choose(policy)
            if not choice.ids:
                break
            last = yield from self._collect(partial(plan_prune, policy=policy, for_room=choice.ids))
            plan = replace(last, is_freed_exact=plan.is_freed_exact and last.is_freed_exact)
            yield from self._take_pages(plan)
            yield from self._take_lonely(plan)
            removed += yield from self._sweep()
        return plan, removed

    def _choose(self, policy: PrunePolicy) -> Steps[Choice]:
        snapshot = yield from self.scan()
        processes = yield from self._find_processes(snapshot.environments)
        snapshot = replace(snapshot, processes=processes)
        choice: Choice = yield Outside(partial(choose_for_room, self._cache, snapshot, policy))
        return choice

    def clean(
        self,
        targets: tuple[CleanTarget, ...],
        policy: CleanPolicy = NAMED_ALONE,
        *,
        planned: RemovalPlan | None = None,
    ) -> Steps[Removal]:
        """Clean the targets, or everything: names at once, bytes now or when their last user is gone.

        Where it was planned before, only what that plan lists goes.
        """
        if targets and self._cache.is_read_only:
            return (yield from self._find_nothing(targets, policy))
        self._cache.ensure_writable()
        yield Outside(partial(spend_reserve, self._cache.layout))
        cleaning = _limited(self._cleaning(targets, policy), planned)
        seen = yield from self.scan()
        named = cleaning(seen)
        if named.dependencies:  # whether others use them counts already for what is named
            named, seen = yield from self._plan_seen(cleaning)
        released: list[Swept] = []
        if policy.takes_in_use:
            self._warnings |= dict.fromkeys(pins_released(seen, named.named))
            released = yield from self._release_pins(named.named)
        besides: frozenset[str] = frozenset()
        if planned is not None:
            besides = yield Outside(partial(unlisted_paths, self._cache.layout, targets, nameless_ids(planned)))
        led_to: set[str] = set()
        if targets:
            for target in (*targets, *named.dependencies_in_use):
                led_to |= yield from self._take_names(target, seen, besides)
        else:
            spared = Spared(self._cache.layout, besides=besides)
            yield Outside(partial(_look_ahead, self._cache.layout, spared, None))
            is_all = False
            while not is_all:
                work = partial(take_everything, cache=self._cache, spared=spared)
                trashed, written_bytes, is_all = yield InHold(LockMode.EXCLUSIVE, work)
                self._written_bytes += written_bytes
                self._trash(trashed, RemovalReason.NAMED)

        def decide(snapshot: Snapshot) -> RemovalPlan:
            ids = _without_names(snapshot, named.named | led_to | cleaning(snapshot).named)
            return plan_named(snapshot, ids, named.dependencies, matches=version_matches, policy=policy)

        yield from self._collect(_limited(decide, planned))
        yield from self._take_lonely(named)
        self._swept[PINS] += released
        removed = yield from self._sweep()
        removed += yield from self._take_leftovers(named)
        yield Outside(partial(restore_reserve, self._cache.layout))
        return self._removal(named, removed)

    def _find_nothing(self, targets: tuple[CleanTarget, ...], policy: CleanPolicy) -> Steps[Removal]:
        """Give the result of a clean that has nothing to do; of any other, refuse what cannot be done here."""
        plan = replace((yield from self.plan_clean(targets, policy)), leftovers=())
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
        in_use = {i for i, kept in self._kept.items() if kept.is_condemned or is_in_use(kept)}
        settled = [note for note in notes if note.object_id in free - in_use]
        yield Outside(partial(remove_notes, settled))
        return removed

    def _release_pins(self, archive_ids: frozenset[str]) -> Steps[list[Swept]]:
        reader = PinReader(self._cache.layout)
        yield Outside(reader.read)
        released: list[Swept] = []
        is_all = False
        while not is_all:
            work = partial(release_pins, cache=self._cache, reader=reader, archive_ids=archive_ids)
            swept, is_all = yield InHold(LockMode.EXCLUSIVE, work)
            released += swept
        return released

    def _take_names(self, target: CleanTarget, seen: Snapshot, besides: Collection[str]) -> Steps[set[str]]:
        """Take all names of a target; gives the ids of what those led to that no manifest tells (rule 37)."""
        choice: NameChoice = yield Outside(partial(_choice, target, seen))
        spared = Spared(self._cache.layout, besides=besides)
        yield Outside(partial(_look_ahead, self._cache.layout, spared, choice))
        is_all = False
        while not is_all:
            work = partial(take_names, cache=self._cache, choice=choice, spared=spared)
            trashed, written_bytes, is_all = yield InHold(LockMode.EXCLUSIVE, work)
            self._written_bytes += written_bytes
            self._trash(trashed, RemovalReason.NAMED, project=names_of(target).project)
        return choice.archive_ids if isinstance(choice, OverlayChoice) else set()

    def _take_dangling(self, plan: RemovalPlan) -> Steps[None]:
        queue = deque(plan.dangling)
        while queue:
            work = partial(take_dangling, cache=self._cache, queue=queue)
            self._trash((yield InHold(LockMode.EXCLUSIVE, work)), RemovalReason.UNREACHABLE)

    def _take_lonely(self, plan: RemovalPlan) -> Steps[None]:
        layout = self._cache.layout
        for bucket, names in (
            (layout.projects, plan.projects),
            (layout.tools, plan.tools),
            (layout.overlays, plan.overlays),
        ):
            queue = deque(f"{bucket}/{name}" for name in names)
            while queue:
                work = partial(take_lonely, cache=self._cache, queue=queue)
                trashed = yield InHold(LockMode.EXCLUSIVE, work)
                self._trashed += [(path, names_of_lonely(layout, directory)) for path, directory in trashed]

    def _take_pages(self, plan: RemovalPlan) -> Steps[None]:
        queue = deque(plan.pages)
        while queue:
            trashed = yield InHold(LockMode.EXCLUSIVE, partial(take_pages, cache=self._cache, queue=queue))
            self._trashed += [(path, names_of_page(item)) for path, item in trashed]

    def _take_bytecode(self, plan: RemovalPlan) -> Steps[None]:
        queue = deque(plan.bytecode)
        while queue:
            work = partial(take_bytecode, cache=self._cache, leases=self._leases, queue=queue)
            self._trashed += yield from self._by_leases(work)

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


def _for_room(planned: RemovalPlan) -> list[str]:
    """Give what a plan takes for the sake of its goal: ids of objects, and paths of sdists."""
    objects = [item.object.id for item in planned.objects if item.reason is RemovalReason.SIZE]
    return [*objects, *(item.page.path for item in planned.pages if item.reason is RemovalReason.SIZE)]


def _still_so(referrers: Iterable[SeenReferrer]) -> list[Referrer]:
    whereabouts = Whereabouts()
    return [seen.referrer for seen in referrers if whereabouts.look_at(seen.referrer).state is seen.state]


def _measure_records(layout: Layout, referrers: Iterable[Referrer]) -> dict[str, Swept]:
    return {each.id: measure(layout.referrer(each.id)) for each in referrers}


def _limited(
    decide: Callable[[Snapshot], RemovalPlan], planned: RemovalPlan | None
) -> Callable[[Snapshot], RemovalPlan]:
    """Hold what decides to what was planned before, if anything was."""
    return decide if planned is None else lambda snapshot: within(decide(snapshot), planned)


def _choice(target: CleanTarget, seen: Snapshot) -> NameChoice:
    return name_choice(target, seen.names, seen.tools, matches=version_matches)


def _look_ahead(layout: Layout, spared: Spared, choice: NameChoice | None) -> None:
    """Open all that the holds would have to open to tell what pins keep; without a choice everything is to go."""
    spared.look_again()
    if not spared.has_pins:
        return
    if choice is None:
        deque(unspared(layout, spared), maxlen=0)
    else:
        matching_names(layout, choice, spared)


def _without_names(snapshot: Snapshot, ids: frozenset[str]) -> frozenset[str]:
    """Leave out what a name has come to lead to again, since it was published after the clean; pins keep names, too."""
    led_to = {name.object_id for name in snapshot.names} | {name.object_id for name in snapshot.tools}
    pinned = {each for each in ids & snapshot.archives.keys() if snapshot.is_pinned(each)}
    return frozenset(ids - led_to | pinned)
