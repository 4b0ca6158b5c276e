"""Withdrawing: what must not be found again loses its names, whoever leases it; its bytes go when no lease is left."""

from __future__ import annotations

from collections.abc import Iterable

from aiocache_engine.model.locking import LockMode
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.environments import read_environment_pointer
from aiocache_engine.store.name_choice import environment_names
from aiocache_engine.store.notes import write_note
from aiocache_engine.store.trash import to_trash
from aiocache_engine.system.lock import Hold


def take_environment(hold: Hold, cache: CacheDir, *, name: str, environment_id: str) -> list[str]:
    """Take the name of a cached environment, if it still leads there, and note it; gives what lies in trash.

    Needs the exclusive lock.

    Args:
        hold: the exclusive lock.
        cache: the cache dir.
        name: path of the pointer.
        environment_id: where it leads.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    pointer = read_environment_pointer(name)
    trashed = None
    if pointer is not None and pointer.environment_id == environment_id:
        trashed = to_trash(cache.layout, name, kind="pointer", entry_id=environment_id)
    write_note(cache.layout.condemned, environment_id)
    return [] if trashed is None else [trashed]


def environments_with(cache: CacheDir, archive_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Give the names of the cached environments that are made of one of these archives, and the environments' ids."""
    wanted = set(archive_ids)
    named = ((path, read_environment_pointer(path)) for path in environment_names(cache.layout))
    return [
        (path, pointer.environment_id)
        for path, pointer in named
        if pointer is not None and any(each.archive_id in wanted for each in pointer.members)
    ]
