"""Tell what is in the cache and who uses it, from manifests and lease files: no tree is walked."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from aiocache_engine.model.listing import CacheSize, Entry, LeaseInfo, LockInfo, ProcessInfo, Usage
from aiocache_engine.model.names import is_object_id, is_sdist
from aiocache_engine.model.removal import CleanTarget, VersionMatch
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.scan import find_processes
from aiocache_engine.store.archives import read_stamp, read_whole_totals
from aiocache_engine.store.bytecode import read_bytecode_totals
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.environments import read_environment_manifest, read_environment_pointer
from aiocache_engine.store.layout import BUILT, HASH_NAMES, Layout
from aiocache_engine.store.leases import LeaseFile, LeaseReader
from aiocache_engine.store.name_choice import (
    environment_names,
    overlays_of,
    pointers_of,
    project_directories,
    stored_for,
    version_of_sdist,
)
from aiocache_engine.store.notes import read_notes
from aiocache_engine.store.stored_pages import last_use_of_page, size_of_page
from aiocache_engine.system.process import command_of, locks_on


def list_entries(cache: CacheDir, target: CleanTarget | None, *, matches: VersionMatch) -> tuple[Entry, ...]:
    """List archives and sdists by project and version, and last the cached environments; of one project, or of all."""
    layout = cache.layout
    overlays = _overlays(layout)
    entries = [_archive(layout, each, overlays) for each in _ids(layout.archives)]
    entries += [_sdist(path, project) for project, path in _sdists(layout)]
    entries += [_environment(layout, each) for each in _ids(layout.environments)]
    if target is not None:
        entries = [each for each in entries if _is_of(each, target, matches)]
    condemned = _condemned(layout, entries)
    entries = [replace(each, is_condemned=True) if each.id in condemned else each for each in entries]
    return tuple(sorted(entries, key=_place))


def _condemned(layout: Layout, entries: Iterable[Entry]) -> set[str]:
    """Tell which entries are noted as condemned, and have no name: a note alone is a hint (rule 33)."""
    noted = {note.object_id for note in read_notes(layout.condemned)}
    if not noted:
        return set()
    projects = {each.project for each in entries if each.id in noted and each.project is not None}
    for directory in project_directories(layout):
        if os.path.basename(directory) in projects:
            noted -= {pointer.archive_id for _, pointer in pointers_of(layout, directory)}
    tools = (read_environment_pointer(path) for path in environment_names(layout))
    return noted - {pointer.environment_id for pointer in tools if pointer is not None}


def measure_cache(cache: CacheDir) -> CacheSize:
    """Add up what the manifests say, and the sdists. What an environment shares with archives is counted with them."""
    layout = cache.layout
    archives = [each for each in (read_whole_totals(layout.archive(i)) for i in _ids(layout.archives)) if each]
    environments = [read_environment_manifest(layout.environment(i)) for i in _ids(layout.environments)]
    compiled = [read_bytecode_totals(path) for _, path in stored_for(layout.bytecodes)]
    sdists = [size_of_page(path) for _, path in _sdists(layout)]
    buckets = {
        "archives": sum(each.size_bytes for each in archives),
        "environments": sum(each.own_bytes for each in environments if each is not None),
        "bytecode": sum(each.size_bytes for each in compiled if each is not None),
        "sdists": sum(sdists),
    }
    described = (*archives, *environments, *compiled)
    return CacheSize(
        size_bytes=sum(buckets.values()),
        file_count=sum(each.file_count for each in described if each is not None) + len(sdists),
        entry_count=len(_ids(layout.archives)) + len(environments) + len(sdists),
        buckets=buckets,
    )


def _ids(bucket: str) -> list[str]:
    return [name for name in list_directory(bucket) if is_object_id(name)]


def _sdists(layout: Layout) -> Iterator[tuple[str, str]]:
    for project in list_directory(layout.projects):
        directory = f"{layout.projects}/{project}"
        for index in list_directory(directory):
            if index not in (HASH_NAMES, BUILT):
                names = list_directory(f"{directory}/{index}")
                yield from ((project, f"{directory}/{index}/{name}") for name in names if is_sdist(name))


def _overlays(layout: Layout) -> dict[str, list[str]]:
    """Give the names of the overlays that each archive was added to."""
    overlays: dict[str, list[str]] = defaultdict(list)
    for overlay in overlays_of(layout):
        for project in list_directory(overlay):
            for _, pointer in pointers_of(layout, f"{overlay}/{project}"):
                overlays[pointer.archive_id].append(os.path.basename(overlay))
    return overlays


def _sdist(path: str, project: str) -> Entry:
    return Entry(
        kind="sdist",
        project=project,
        version=version_of_sdist(project, path),
        filename=os.path.basename(path),
        id="",
        file_count=1,
        size_bytes=size_of_page(path),
        last_used_at=last_use_of_page(path) or 0.0,
    )


def _archive(layout: Layout, archive_id: str, overlays: Mapping[str, list[str]]) -> Entry:
    path = layout.archive(archive_id)
    totals = read_whole_totals(path)
    return Entry(
        kind="archive",
        project=totals.project if totals is not None else None,
        version=totals.version if totals is not None else None,
        filename=totals.filename if totals is not None else None,
        id=archive_id,
        file_count=totals.file_count if totals is not None else 0,
        size_bytes=totals.size_bytes if totals is not None else 0,
        last_used_at=_last_used_at(path),
        overlays=tuple(sorted(set(overlays.get(archive_id, ())))),
    )


def _environment(layout: Layout, environment_id: str) -> Entry:
    path = layout.environment(environment_id)
    manifest = read_environment_manifest(path)
    return Entry(
        kind="environment",
        project=None,
        version=None,
        filename=None,
        id=environment_id,
        file_count=manifest.file_count if manifest is not None else 0,
        size_bytes=manifest.size_bytes if manifest is not None else 0,
        last_used_at=_last_used_at(path),
        tool=manifest.tool if manifest is not None else None,
        distributions=manifest.members if manifest is not None else (),
    )


def _last_used_at(path: str) -> float:
    used = read_stamp(path)
    return used[1] if used is not None else 0.0


def _place(entry: Entry) -> tuple[bool, str, str, str]:
    called = entry.id or entry.filename or ""
    return entry.kind == "environment", entry.project or entry.tool or "", entry.version or "", called


def list_usage(cache: CacheDir) -> Usage:
    """Tell which leases are alive and who holds the lock files."""
    alive, _ = LeaseReader(cache.layout.leases).part()
    leases = [_lease(cache.layout, lease) for lease in alive]
    processes = tuple(_processes(cache.layout, leases))
    return Usage(tuple(sorted(leases, key=lambda each: each.since or 0.0)), tuple(_locks(cache)), processes)


def _processes(layout: Layout, leases: Iterable[LeaseInfo]) -> Iterator[ProcessInfo]:
    """Give who is seen to live in a cached environment without a lease of its own, as a collector looks for them."""
    leased = {(object_id, lease.pid) for lease in leases for object_id in lease.objects or ()}
    for environment_id, processes in find_processes(layout, _ids(layout.environments)).items():
        for each in processes:
            if each.pid != os.getpid() and (environment_id, each.pid) not in leased:
                yield ProcessInfo(each.pid, each.command, environment_id)


def _lease(layout: Layout, lease: LeaseFile) -> LeaseInfo:
    objects = None if lease.objects is None else tuple(sorted(lease.objects))
    holder = lease.holder
    pid = holder.pid if holder is not None else next((pid for pid, _ in locks_on(lease.path)), None)
    told = None if holder is None else holder.command
    return LeaseInfo(
        id=lease.id,
        pid=pid,
        command=command_of(pid) if told is None and pid is not None else told,
        since=None if holder is None else holder.since,
        objects=objects,
        size_bytes=sum(_own_bytes(layout, object_id) for object_id in objects or ()),
        name=None if holder is None else holder.name or None,
        is_of_newer_release=lease.is_newer,
    )


def _own_bytes(layout: Layout, object_id: str) -> int:
    """Give the size of an object, without what an environment shares with the archives on the same lease."""
    if (totals := read_whole_totals(layout.archive(object_id))) is not None:
        return totals.size_bytes
    manifest = read_environment_manifest(layout.environment(object_id))
    return manifest.own_bytes if manifest is not None else 0


def _locks(cache: CacheDir) -> list[LockInfo]:
    layout = cache.layout
    files = [layout.lock, f"{layout.lock}.gate"]
    files += [f"{layout.key_locks}/{name}" for name in list_directory(layout.key_locks)]
    return [LockInfo(file, mode.value, pid, command_of(pid)) for file in files for pid, mode in locks_on(file)]


def _is_of(entry: Entry, target: CleanTarget, matches: VersionMatch) -> bool:
    called = [(entry.project, entry.version or ""), *((each.project, each.version) for each in entry.distributions)]
    return any(
        project == target.project and (target.specifier is None or matches(target.specifier, version))
        for project, version in called
    )
