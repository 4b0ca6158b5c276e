"""Choose what goes besides the plan of a prune, so that the cache gets as small, or the disk as free, as asked for.

Least recently used first, and only what nothing but its own names keeps. What frees nothing, since something else has
links to all its files, is passed over. A choice is a wish: the plan that is made of it checks everything again.
"""

from __future__ import annotations

import heapq
import os
from collections import ChainMap

from aiocache_engine.model.removal import KeepCode, PrunePolicy, RemovalPlan
from aiocache_engine.model.snapshot import PageKind, SeenEnvironment, SeenObject, Snapshot
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.inspect import measure_cache
from aiocache_engine.policy.prune import plan_prune
from aiocache_engine.store.archives import TREE, WHEEL_FILE
from aiocache_engine.store.bytecode import read_bytecode_totals
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.environments import ROOT
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.trash import FreedFiles, Links, freed_files, measure


@value
class Choice:
    """What is to go for the sake of a goal."""

    ids: frozenset[str]  #: of objects, and paths of sdists
    missing_bytes: int  #: by which the goal would still be missed


def choose_for_room(cache: CacheDir, snapshot: Snapshot, policy: PrunePolicy) -> Choice:
    """Choose until the goal of a policy would be reached, or nothing is left to choose. Looks at files; needs no hold.

    Args:
        cache: the cache dir.
        snapshot: with the processes of all environments.
        policy: with a goal. What it takes anyway is counted, and not chosen.
    """
    room = _Room(cache, policy)
    plan = plan_prune(snapshot, policy)
    for leftover in plan.leftovers:
        room.lacking_bytes -= measure(leftover.path, links=room.links).freed_bytes
    room.takes([item.object for item in plan.objects], is_sure=True)
    for item in plan.pages:
        if item.page.kind is PageKind.SDIST:
            room.takes_file(item.page.path)
    sdists = {page.path for page in snapshot.pages if page.kind is PageKind.SDIST}
    chosen: set[str] = set()
    looked_at: set[str] = set()
    queue = _candidates(snapshot, plan, looked_at)
    while room.missing_bytes and queue:
        _, object_id = heapq.heappop(queue)
        looked_at.add(object_id)
        if object_id in sdists:
            room.takes_file(object_id)
            chosen.add(object_id)
            continue
        if object_id not in snapshot.environments:
            chosen |= {object_id} if room.takes([snapshot.archives[object_id]]) else set()
            continue
        again = plan_prune(snapshot, policy, for_room={*chosen, object_id})
        going = {item.object.id for item in plan.objects} | chosen
        if room.takes([item.object for item in again.objects if item.object.id not in going]):
            chosen.add(object_id)
            plan = again
            queue = _candidates(snapshot, plan, looked_at)
    return Choice(frozenset(chosen), room.missing_bytes)


def missing_bytes(cache: CacheDir, policy: PrunePolicy) -> int:
    """Tell by how much the goal of a policy is missed now."""
    return _Room(cache, policy).missing_bytes


class _Room:
    """How far a cache dir is from a goal, and would be if some objects went."""

    def __init__(self, cache: CacheDir, policy: PrunePolicy) -> None:
        self._layout = cache.layout
        self.links: Links = {}
        self.excess_bytes = self.lacking_bytes = 0  #: of the cache, and on the file system
        if policy.max_size_bytes is not None:
            self.excess_bytes = measure_cache(cache).size_bytes - policy.max_size_bytes
        if policy.min_free_bytes is not None:
            there = os.statvfs(cache.root)
            self.lacking_bytes = policy.min_free_bytes - there.f_bavail * there.f_frsize

    @property
    def missing_bytes(self) -> int:
        return max(self.excess_bytes, self.lacking_bytes, 0)

    def takes(self, objects: list[SeenObject], *, is_sure: bool = False) -> bool:
        """Count these as gone together, unless that frees nothing."""
        met: Links = {}
        links = ChainMap(met, self.links)
        freed = [_freed(self._layout, each, links) for each in objects]
        if not is_sure and not any(each.count for each in freed):
            return False
        self.links.update(met)
        self.lacking_bytes -= sum(each.size_bytes for each in freed)
        self.excess_bytes -= sum(_size(self._layout, each) for each in objects)
        return True

    def takes_file(self, path: str) -> None:
        """Count a file as gone."""
        swept = measure(path, links=self.links)
        self.lacking_bytes -= swept.freed_bytes
        self.excess_bytes -= swept.size_bytes


def _candidates(snapshot: Snapshot, plan: RemovalPlan, looked_at: set[str]) -> list[tuple[float, str]]:
    """Give what nothing but its own names keeps, and sdists by their paths, as a heap by the last use."""
    queue = [
        (kept.object.last_used_at, kept.object.id)
        for kept in plan.kept
        if kept.object.id not in looked_at and all(reason.code is KeepCode.POINTER for reason in kept.reasons)
    ]
    going = {item.page.path for item in plan.pages}
    queue += [
        (page.last_used_at, page.path)
        for page in snapshot.pages
        if page.kind is PageKind.SDIST and page.path not in going | looked_at
    ]
    heapq.heapify(queue)
    return queue


def _freed(layout: Layout, seen: SeenObject, links: ChainMap[tuple[int, int], int]) -> FreedFiles:
    """Count what an object is there for; what describes it are a few small files, which would always be freed."""
    if isinstance(seen, SeenEnvironment):
        return freed_files(f"{layout.environment(seen.id)}/{ROOT}", links)
    archive = layout.archive(seen.id)
    parts = [
        freed_files(path, links) for path in (f"{archive}/{TREE}", f"{archive}/{WHEEL_FILE}", layout.bytecode(seen.id))
    ]
    return FreedFiles(sum(each.count for each in parts), sum(each.size_bytes for each in parts))


def _size(layout: Layout, seen: SeenObject) -> int:
    """Give what `measure_cache` counts for an object."""
    if isinstance(seen, SeenEnvironment):
        return seen.manifest.own_bytes if seen.manifest is not None else 0
    stored = layout.bytecode(seen.id)
    compiled = [read_bytecode_totals(f"{stored}/{name}") for name in list_directory(stored)]
    return seen.size_bytes + sum(each.size_bytes for each in compiled if each is not None)
