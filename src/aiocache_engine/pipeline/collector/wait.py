"""Waiting until what was cleaned while it was in use is freed (rule 39). Nothing is held meanwhile.

Not waited for: leases of this very process, those of the pipeline that it is part of, and whoever uses the cached
environment that this command was started from: a tool that waits for the command would wait for itself.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from functools import partial

from aiocache_engine.model.locking import Wait
from aiocache_engine.model.removal import KeepCode, Kept, PlannedObject, Removal, RemovalReason, Removed
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.account import objects_removed
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.scan import find_processes
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.steps import Outside, Pause, Steps
from aiocache_engine.store.archives import is_present
from aiocache_engine.store.detach import object_path
from aiocache_engine.store.environments import ENVIRONMENT_VARIABLE
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.leases import LeaseFile, LeaseReader
from aiocache_engine.store.notes import read_notes
from aiocache_engine.store.trash import Links
from aiocache_engine.system.process import me

_SHORTEST_SECONDS = 0.02
_LONGEST_SECONDS = 0.5
_USERS = frozenset({KeepCode.LEASE, KeepCode.RUNNING})
_Measured = dict[str, tuple[Removed, ...]]  #: what would be told of an object, by its id
_Users = dict[str, list[str]]  #: who uses an object and is waited for, by its id


def wait_for_users(kit: Kit, removal: Removal) -> Steps[Removal]:
    """Wait until nobody uses any more what a clean condemned, and free it; gives the whole, with what was freed.

    What its last user frees when it ends, as every command does, is told as it was measured before.
    """
    cache, leases = kit.cache, LeaseReader(kit.cache.layout.leases)
    condemned = [kept for kept in removal.kept if kept.is_condemned]
    waiting = {kept.object.id for kept in condemned if _is_used(kept)}
    removed = list(removal.removed)
    measured: _Measured = yield Outside(partial(_measure, cache.layout, condemned if waiting else ()))
    told: tuple[str, ...] = ()
    pause_seconds = _SHORTEST_SECONDS
    while waiting:
        users: _Users = yield Outside(partial(_users, kit, leases, frozenset(waiting)))
        waiting -= {object_id for object_id, names in users.items() if not names}
        free = waiting - users.keys()
        if free:
            removed += yield from Collector(cache).free_condemned()
            notes = yield Outside(partial(read_notes, cache.layout.condemned))
            waiting -= free - {note.object_id for note in notes}
            measured |= yield Outside(partial(_measure, cache.layout, condemned))
            pause_seconds = _SHORTEST_SECONDS
        holders = tuple(dict.fromkeys(name for names in users.values() for name in names))
        if holders and holders != told:
            told = holders
            kit.reporter.waits(Wait(cache.layout.leases, "what was cleaned while in use", 0.0, holders))
        if waiting:
            yield Pause(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_SECONDS)
    staying = yield Outside(
        lambda: tuple(kept for kept in removal.kept if is_present(object_path(cache.layout, kept.object)))
    )
    told_of = {each.id for each in removed} | {kept.object.id for kept in staying}
    elsewhere = [each for object_id, parts in measured.items() if object_id not in told_of for each in parts]
    return replace(removal, removed=(*removed, *elsewhere), kept=staying)


def _measure(layout: Layout, condemned: Iterable[Kept]) -> _Measured:
    """Tell what freeing each of these would give, where it is there; what they share goes with the last of them."""
    links: Links = {}
    found = {
        kept.object.id: objects_removed(layout, PlannedObject(kept.object, (), RemovalReason.UNREACHABLE), links)
        for kept in condemned
        if is_present(object_path(layout, kept.object))
    }
    return {each: parts for each, parts in found.items() if any(part.file_count for part in parts)}


def _users(kit: Kit, leases: LeaseReader, object_ids: Collection[str]) -> _Users:
    """Give who is to be waited for, by the objects in use; nobody, where only those use one who are not waited for."""
    home = kit.environ.get(ENVIRONMENT_VARIABLE, "")
    alive, _ = leases.part()
    pipelines = {share.id for share in kit.shares()}
    users: _Users = {}
    told: set[int] = set()  # a tool that `aioc run` started has both a lease and its process
    for object_id in object_ids:
        for lease in alive:
            if lease.covers(object_id):
                names = users.setdefault(object_id, [])
                is_ours = lease.id in pipelines or _is_of_this_process(lease) or home in (lease.objects or ())
                names += [] if is_ours else [_name(lease)]
                told |= {lease.holder.pid} if lease.holder is not None and not is_ours else set()
    for object_id, processes in find_processes(kit.cache.layout, object_ids).items():
        others = [] if object_id == home else [each for each in processes if each.pid != os.getpid()]
        names = users.setdefault(object_id, [])
        names += [f"pid {each.pid} ({each.command})" for each in others if each.pid not in told or not names]
    return users


def _is_used(kept: Kept) -> bool:
    return any(reason.code in _USERS for reason in kept.reasons)


def _is_of_this_process(lease: LeaseFile) -> bool:
    holder, this = lease.holder, me()
    return holder is not None and (holder.pid, holder.started_at, holder.boot_id) == (
        this.pid,
        this.started_at,
        this.boot_id,
    )


def _name(lease: LeaseFile) -> str:
    return f"lease {lease.id}" if lease.holder is None else f"pid {lease.holder.pid} ({lease.holder.command})"
