"""Tell what is in the cache and who uses it, from manifests and lease files: no tree is walked."""

from __future__ import annotations

import os
from collections.abc import Callable

from aiocache_engine.model.listing import CacheSize, Entry, LeaseInfo, LockInfo, Usage
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.removal import CleanTarget
from aiocache_engine.store.archives import read_stamp, read_totals
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.leases import LeaseReader
from aiocache_engine.system.process import command_of, locks_on


def list_entries(
    cache: CacheDir, target: CleanTarget | None, *, matches: Callable[[str, str], bool]
) -> tuple[Entry, ...]:
    """List the archives, of one project or of all, by project and version."""
    entries: list[Entry] = []
    for archive_id in os.listdir(cache.layout.archives):
        if not is_object_id(archive_id):
            continue
        path = cache.layout.archive(archive_id)
        totals = read_totals(path)
        used = read_stamp(path)
        if totals is None:
            entry = Entry("archive", None, None, None, archive_id, 0, 0, used[1] if used else 0.0)
        else:
            entry = Entry(
                kind="archive",
                project=totals.project,
                version=totals.version,
                filename=totals.filename,
                id=archive_id,
                file_count=totals.file_count,
                size_bytes=totals.size_bytes,
                last_used_at=used[1] if used else 0.0,
            )
        if target is None or _is_of(entry, target, matches):
            entries.append(entry)
    return tuple(sorted(entries, key=lambda each: (each.project or "", each.version or "", each.id)))


def measure_cache(cache: CacheDir) -> CacheSize:
    """Add up what the manifests say."""
    entries = list_entries(cache, None, matches=lambda _specifier, _version: True)
    size_bytes = sum(entry.size_bytes for entry in entries)
    return CacheSize(
        size_bytes=size_bytes,
        file_count=sum(entry.file_count for entry in entries),
        entry_count=len(entries),
        buckets={"archives": size_bytes},
    )


def list_usage(cache: CacheDir) -> Usage:
    """Tell which leases are alive and who holds the lock files."""
    leases: list[LeaseInfo] = []
    for lease in LeaseReader(cache.layout.leases).read():
        if not lease.is_alive():
            continue
        objects = tuple(sorted(lease.objects or ()))
        totals = [read_totals(cache.layout.archive(object_id)) for object_id in objects]
        leases.append(
            LeaseInfo(
                id=lease.id,
                pid=lease.holder.pid if lease.holder else None,
                command=lease.holder.command if lease.holder else None,
                since=lease.holder.since if lease.holder else None,
                objects=objects,
                size_bytes=sum(each.size_bytes for each in totals if each is not None),
            )
        )
    return Usage(tuple(sorted(leases, key=lambda each: each.since or 0.0)), tuple(_locks(cache)))


def _locks(cache: CacheDir) -> list[LockInfo]:
    layout = cache.layout
    files = [layout.lock, f"{layout.lock}.gate"]
    files += [f"{layout.key_locks}/{name}" for name in os.listdir(layout.key_locks)]
    return [LockInfo(file, mode.value, pid, command_of(pid)) for file in files for pid, mode in locks_on(file)]


def _is_of(entry: Entry, target: CleanTarget, matches: Callable[[str, str], bool]) -> bool:
    if entry.project != target.project:
        return False
    return target.specifier is None or matches(target.specifier, entry.version or "")
