"""Detaching: names and objects are renamed into trash in short exclusive holds, each checked again (rules 30-36).

A batch stops taking entries after 10 ms. What changed since it was scanned is skipped and told, so that the collector
scans again; nothing found out in an earlier hold is used.
"""

from __future__ import annotations

import enum
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.removal import CleanTarget, PlannedArchive
from aiocache_engine.store.archives import read_stamp
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.generations import Cleaned, bump
from aiocache_engine.store.layout import HASH_NAMES, PAGE, Layout
from aiocache_engine.store.leases import BIRTH_PREFIX, LeaseFile, LeaseReader
from aiocache_engine.store.names import read_pointer
from aiocache_engine.store.notes import write_note
from aiocache_engine.store.trash import to_trash
from aiocache_engine.system.disk import read_bytes
from aiocache_engine.system.lock import Hold

BATCH_SECONDS = 0.010
VersionMatch = Callable[[str, str], bool]  #: (specifier set, version) -> whether it matches


class Verdict(enum.Enum):
    """What became of one planned archive in a hold."""

    DETACHED = "detached"
    GONE = "gone"  #: another collector was quicker
    CHANGED = "changed"  #: it was used or renamed since the scan: look again
    LEASED = "leased"  #: somebody uses it now


@dataclass(slots=True)
class Batch:
    """What one hold did."""

    verdicts: list[tuple[PlannedArchive, Verdict]] = field(default_factory=list)
    trashed: list[tuple[str, PlannedArchive]] = field(default_factory=list)  #: (path in trash, of what)
    is_done: bool = True  #: nothing of the queue is left


def detach_archives(hold: Hold, cache: CacheDir, leases: LeaseReader, queue: deque[PlannedArchive]) -> Batch:
    """Detach planned archives from the front of the queue, names first, until 10 ms are over.

    Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    batch = Batch()
    present = leases.read()
    while queue:
        if batch.verdicts and _is_over(hold):
            batch.is_done = False
            break
        item = queue.popleft()
        batch.verdicts.append((item, _detach(cache.layout, item, present, batch)))
    return batch


def _detach(layout: Layout, item: PlannedArchive, leases: list[LeaseFile], batch: Batch) -> Verdict:
    archive = item.archive
    path = layout.archive(archive.id)
    stamp = read_stamp(path)
    if stamp is None and not os.path.isdir(path):
        return Verdict.GONE
    if (stamp[0] if stamp is not None else b"") != archive.stamp:
        return Verdict.CHANGED
    if any(lease.covers(archive.id) and lease.is_alive() for lease in leases):
        return Verdict.LEASED
    for name in item.names:
        content = read_bytes(name.path)
        if content is not None and content != name.content:
            return Verdict.CHANGED
    for name in item.names:
        if (trashed := to_trash(layout, name.path, kind="pointer", entry_id=archive.id)) is not None:
            batch.trashed.append((trashed, item))
    if (trashed := to_trash(layout, path, kind="archive", entry_id=archive.id)) is None:
        return Verdict.GONE
    batch.trashed.append((trashed, item))
    return Verdict.DETACHED


def condemn(hold: Hold, cache: CacheDir, leases: LeaseReader, archive_ids: list[str]) -> list[str]:
    """Note objects that nothing but leases keeps, and give those whose leases have ended already: scan them again.

    The notes are written first, the leases read after them (rule 33). Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    here = [archive_id for archive_id in archive_ids if os.path.isdir(cache.layout.archive(archive_id))]
    for archive_id in here:
        write_note(cache.layout.condemned, archive_id)
    present = leases.read()
    return [i for i in here if not any(lease.covers(i) and lease.is_alive() for lease in present)]


def take_everything(hold: Hold, cache: CacheDir) -> list[str]:
    """Take all names of all projects, the generations bumped first; gives what lies in trash.

    Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    layout = cache.layout
    bump(f"{layout.generations}/global", Cleaned(), by_way_of=cache.temporary())
    trashed: list[str] = []
    for directory, mode in (
        (layout.projects, 0o755),
        (layout.project_generations, 0o755),
        (layout.interpreters, 0o755),
    ):
        if (path := to_trash(layout, directory, kind=os.path.basename(directory), entry_id="all")) is not None:
            trashed.append(path)
        with suppress(FileExistsError):
            os.mkdir(directory, mode)
    return trashed


def take_names(hold: Hold, cache: CacheDir, target: CleanTarget, *, matches: VersionMatch) -> tuple[list[str], bool]:
    """Take the names of a clean's target, its generation bumped first; gives what lies in trash, and if that is all.

    If it is not all, another hold bumps again and lists again, until one finds nothing left. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    layout = cache.layout
    bump(layout.generation(target.project), Cleaned(target.specifier), by_way_of=cache.temporary())
    directory = layout.project(target.project)
    if target.specifier is None:
        path = to_trash(layout, directory, kind="project", entry_id=target.project)
        return ([] if path is None else [path]), True
    trashed: list[str] = []
    for path in _matching(directory, target.specifier, matches):
        if _is_over(hold):
            return trashed, False
        if (gone := to_trash(layout, path, kind="name", entry_id=target.project)) is not None:
            trashed.append(gone)
    return trashed, True


def _matching(directory: str, specifier: str, matches: VersionMatch) -> list[str]:
    """List the names of matching versions, and all pages: a page may still promise what was cleaned."""
    paths: list[str] = []
    with suppress(FileNotFoundError):
        for index in os.listdir(directory):
            for name in os.listdir(f"{directory}/{index}"):
                path = f"{directory}/{index}/{name}"
                if index != HASH_NAMES and name == PAGE:
                    paths.append(path)
                    continue
                pointer = read_pointer(path)
                if pointer is None or matches(specifier, pointer.version):
                    paths.append(path)
    return paths


def take_damaged(hold: Hold, cache: CacheDir, *, project: str, archive_id: str) -> list[str]:
    """Take every name of a damaged archive, and note it, whoever leases it; gives what lies in trash (rule 41).

    Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    trashed: list[str] = []
    directory = cache.layout.project(project)
    with suppress(FileNotFoundError):
        for index in os.listdir(directory):
            for name in os.listdir(f"{directory}/{index}"):
                path = f"{directory}/{index}/{name}"
                pointer = read_pointer(path)
                if pointer is not None and pointer.archive_id == archive_id:
                    trashed.append(to_trash(cache.layout, path, kind="pointer", entry_id=archive_id) or path)
    write_note(cache.layout.condemned, archive_id)
    return trashed


def take_projects(hold: Hold, cache: CacheDir, queue: deque[str]) -> list[str]:
    """Take what is left of projects that have no archive any more: their pages and directories.

    Stops after 10 ms and leaves the rest in the queue. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    trashed: list[str] = []
    while queue and not _is_over(hold):
        project = queue.popleft()
        directory = cache.layout.project(project)
        if _has_pointers(directory):  # something was published since the scan
            continue
        if (path := to_trash(cache.layout, directory, kind="project", entry_id=project)) is not None:
            trashed.append(path)
    return trashed


def _has_pointers(directory: str) -> bool:
    with suppress(FileNotFoundError):
        for index in os.listdir(directory):
            if any(name != PAGE for name in os.listdir(f"{directory}/{index}")):
                return True
    return False


def take_half_born(hold: Hold, cache: CacheDir, *, old_buckets: Iterable[str] = ()) -> list[str]:
    """Take files that were never renamed into place, and buckets of older formats; gives what lies in trash.

    No birth can be under way in this hold. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    layout = cache.layout
    paths = [
        f"{directory}/{name}"
        for directory in (layout.staging, layout.leases)
        for name in os.listdir(directory)
        if name.startswith(BIRTH_PREFIX)
    ]
    trashed = [
        to_trash(layout, path, kind="leftover", entry_id=os.path.basename(path)) for path in (*paths, *old_buckets)
    ]
    return [path for path in trashed if path is not None]


def dead_staging(layout: Layout, leases: list[LeaseFile]) -> list[str]:
    """List the staging directories whose lease is dead. They may be swept without a hold (rules 10, 18)."""
    alive = {lease.id for lease in leases if lease.is_alive()}
    return [
        f"{layout.staging}/{name}" for name in os.listdir(layout.staging) if is_object_id(name) and name not in alive
    ]


def _is_over(hold: Hold) -> bool:
    return time.monotonic() - hold.acquired_at > BATCH_SECONDS
