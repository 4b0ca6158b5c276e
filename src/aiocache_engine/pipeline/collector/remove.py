"""clean and prune as whole calls: written once as steps, performed by the engine or, by the functions here, at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.model.removal import (
    NAMED_ALONE,
    PLAIN,
    CleanPolicy,
    CleanTarget,
    PrunePolicy,
    Removal,
    RemovalPlan,
)
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.steps import Conductor, Outside, Steps
from aiocache_engine.store.archives import is_present
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import object_path

if TYPE_CHECKING:
    from aiocache_engine.store.shares import Share


def carry_out(cache: CacheDir, remove: Callable[[Collector], Steps[Removal]]) -> Steps[Removal]:
    """Do a clean or a prune, then free what was condemned and has lost its last lease meanwhile (rule 35)."""
    removal = yield from remove(Collector(cache))
    freed = yield from Collector(cache).free_condemned()
    gone = {each.id for each in freed}
    staying = tuple(kept for kept in removal.kept if kept.object.id not in gone)
    return replace(removal, removed=(*removal.removed, *freed), kept=staying)


def clean_steps(
    kit: Kit,
    targets: tuple[CleanTarget, ...],
    policy: CleanPolicy = NAMED_ALONE,
    *,
    waits: bool,
    planned: RemovalPlan | None = None,
) -> Steps[Removal]:
    """Clean, and then wait for those who use what was cleaned if that is asked for (rule 39).

    The pipeline that this is done in gives up what was cleaned: it asked for it.
    """
    removal = yield from carry_out(kit.cache, lambda collector: collector.clean(targets, policy, planned=planned))
    if shares := kit.shares(warns=True):
        removal = yield from _give_up(kit, shares, removal)
    if not waits:
        return removal
    from aiocache_engine.pipeline.collector.wait import wait_for_users  # noqa: PLC0415 - only who asks for it waits

    return (yield from wait_for_users(kit, removal))


def _give_up(kit: Kit, shares: Sequence[Share], removal: Removal) -> Steps[Removal]:
    """Take what was cleaned off these leases, and free what nobody else uses; gives the whole."""
    ids = [kept.object.id for kept in removal.kept if kept.is_condemned]
    if not ids:
        return removal
    for share in shares:
        yield Outside(partial(share.drop, ids))
    freed = yield from Collector(kit.cache).free_condemned()
    staying = yield Outside(
        lambda: tuple(kept for kept in removal.kept if is_present(object_path(kit.cache.layout, kept.object)))
    )
    return replace(removal, removed=(*removal.removed, *freed), kept=staying)


def timed(removal: Removal, conductor: Conductor) -> Removal:
    """Put in how long the conductor waited for the cache lock and held it."""
    return replace(
        removal,
        waited_seconds=conductor.waited_seconds,
        longest_hold_seconds=conductor.longest_hold_seconds,
    )


def clean_now(
    kit: Kit,
    targets: tuple[CleanTarget, ...],
    policy: CleanPolicy = NAMED_ALONE,
    *,
    is_dry_run: bool = False,
    waits: bool = False,
) -> Removal:
    """Clean in this thread, or only tell what that would free.

    Raises:
        CacheEngineError: as `CacheEngine.clean`.
    """
    if is_dry_run:
        return _foresee_now(kit, lambda collector: collector.plan_clean(targets, policy))
    return _perform_now(kit, clean_steps(kit, targets, policy, waits=waits))


def prune_now(kit: Kit, policy: PrunePolicy = PLAIN, *, is_dry_run: bool = False) -> Removal:
    """Prune in this thread, or only tell what that would free.

    Raises:
        CacheEngineError: as `CacheEngine.prune`.
    """
    if is_dry_run:
        return _foresee_now(kit, lambda collector: collector.plan_prune(policy))
    return _perform_now(kit, carry_out(kit.cache, lambda collector: collector.prune(policy)))


def _perform_now(kit: Kit, steps: Steps[Removal]) -> Removal:
    conductor = kit.conductor()
    return timed(conductor.perform(steps), conductor)


def _foresee_now(kit: Kit, plan: Callable[[Collector], Steps[RemovalPlan]]) -> Removal:
    def steps() -> Steps[Removal]:
        planned = yield from plan(Collector(kit.cache))
        removal: Removal = yield Outside(partial(foresee, kit.cache, planned))
        return removal

    return kit.conductor().perform(steps())
