"""Detaching: objects, with the names that led to them, go to trash in short exclusive holds, each checked again.

What a clean takes by name is detached in `aiocache_engine.store.detach_names`; here are rules 30 to 35.

A batch stops taking entries after 10 ms. What changed since it was scanned is skipped and told, so that the collector
scans again; nothing found out in an earlier hold is used.
"""

from __future__ import annotations

import enum
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable

from aiocache_engine.hints import TypeVar
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.removal import PlannedObject
from aiocache_engine.model.snapshot import PageKind, SeenEnvironment, SeenName, SeenObject, SeenTool
from aiocache_engine.model.value import entity, field, replace, value
from aiocache_engine.store.archives import is_present, read_stamp
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import list_directory, read_document
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.leases import BIRTH_PREFIX, LeaseReader, is_dead
from aiocache_engine.store.name_choice import (
    directories_of,
    files_in,
    page_kind,
    pointers_of,
)
from aiocache_engine.store.notes import write_note
from aiocache_engine.store.trash import to_trash
from aiocache_engine.system.lock import Hold

Item = TypeVar("Item")
Taken = TypeVar("Taken")

BATCH_SECONDS = 0.010
BYTECODE = "bytecode"


class Verdict(enum.Enum):
    """What became of one planned object in a hold."""

    DETACHED = "detached"
    GONE = "gone"  #: another collector was quicker
    CHANGED = "changed"  #: it was used or renamed since the scan, or what contains it stays: look again
    LEASED = "leased"  #: somebody uses it now


@value
class Trashed:
    """One thing that lies in trash and waits for its deletion."""

    path: str
    item: PlannedObject  #: with which it went
    kind: str  #: what it is reported as: the object with its names, or its bytecode


@entity
class Batch:
    """What one hold did."""

    verdicts: list[tuple[PlannedObject, Verdict]] = field(default_factory=list)
    trashed: list[Trashed] = field(default_factory=list)


def detach_objects(
    hold: Hold, cache: CacheDir, leases: LeaseReader, queue: deque[PlannedObject], gone: set[str]
) -> Batch | None:
    """Detach planned objects from the front of the queue, names first, until 10 ms are over.

    None: nothing was touched, the leases are to be read ahead of another hold (`LeaseReader.held`).

    Needs the exclusive lock.

    Args:
        hold: the exclusive lock.
        cache: the cache dir.
        leases: asked again here.
        queue: what is planned, containers before what they contain.
        gone: ids of what this collector saw go, in this or an earlier hold (rule 30); added to.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    if (is_leased := leases.held(hold)) is None:
        return None
    batch = Batch()
    while queue:
        if batch.verdicts and is_over(hold):
            break
        item = queue.popleft()
        verdict = _detach(cache.layout, item, is_leased, gone, batch)
        batch.verdicts.append((item, verdict))
        if verdict in (Verdict.DETACHED, Verdict.GONE):
            gone.add(item.object.id)
    return batch


def _detach(
    layout: Layout, item: PlannedObject, is_leased: Callable[[str], bool], gone: Collection[str], batch: Batch
) -> Verdict:
    if (obstacle := _obstacle(layout, item, is_leased, gone)) is not None:
        return obstacle
    object_id, kind = item.object.id, item.object.kind
    for name in item.names:
        if (trashed := to_trash(layout, name.path, kind="pointer", entry_id=object_id)) is not None:
            batch.trashed.append(Trashed(trashed, item, kind))
    if (trashed := to_trash(layout, object_path(layout, item.object), kind=kind, entry_id=object_id)) is None:
        return Verdict.GONE
    batch.trashed.append(Trashed(trashed, item, kind))
    if not isinstance(item.object, SeenEnvironment):
        compiled = to_trash(layout, layout.bytecode(object_id), kind=BYTECODE, entry_id=object_id)
        if compiled is not None:
            batch.trashed.append(Trashed(compiled, item, BYTECODE))
    return Verdict.DETACHED


def _obstacle(
    layout: Layout, item: PlannedObject, is_leased: Callable[[str], bool], gone: Collection[str]
) -> Verdict | None:
    """Say why an object cannot go as planned; None: it can (rules 30 and 31)."""
    path = object_path(layout, item.object)
    stamp = read_stamp(path)
    if stamp is None and not os.path.lexists(path):
        return Verdict.GONE
    if not item.is_forced and (stamp[0] if stamp is not None else b"") != item.object.stamp:
        return Verdict.CHANGED
    if not item.is_forced and is_leased(item.object.id):
        return Verdict.LEASED
    contents = ((name.content, read_document(name.path)) for name in item.names)
    is_contained = any(each not in gone and os.path.lexists(layout.environment(each)) for each in item.containers)
    if is_contained or any(now not in (None, planned) for planned, now in contents):
        return Verdict.CHANGED
    return None


def object_path(layout: Layout, seen: SeenObject) -> str:
    """Give the directory of an object."""
    return layout.environment(seen.id) if isinstance(seen, SeenEnvironment) else layout.archive(seen.id)


def condemn(hold: Hold, cache: CacheDir, leases: LeaseReader, objects: list[SeenObject]) -> list[str] | None:
    """Note objects that nothing but leases keeps, and give those whose leases have ended already: scan them again.

    The notes are written first, and the leases asked after them (rule 33). None: as in `detach_objects`. Needs the
    exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    if (is_leased := leases.held(hold)) is None:
        return None
    here = [each.id for each in objects if is_present(object_path(cache.layout, each))]
    for object_id in here:
        write_note(cache.layout.condemned, object_id)
    return [object_id for object_id in here if not is_leased(object_id)]


def take_damaged(hold: Hold, cache: CacheDir, *, project: str, archive_id: str) -> list[str]:
    """Take every name of a damaged archive, and note it, whoever leases it; gives what lies in trash (rule 41).

    Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    trashed: list[str] = []
    places = directories_of(cache.layout, project)
    names = (name for directory in places for name in pointers_of(cache.layout, directory))
    for path, pointer in names:
        if pointer.archive_id != archive_id:
            continue
        if (gone := to_trash(cache.layout, path, kind="pointer", entry_id=archive_id)) is not None:
            trashed.append(gone)
    write_note(cache.layout.condemned, archive_id)
    return trashed


def take_bytecode(
    hold: Hold, cache: CacheDir, leases: LeaseReader, queue: deque[PlannedObject]
) -> list[Trashed] | None:
    """Take the bytecode of archives that stay: of those that nobody has used since the scan, or leases now.

    Stops after 10 ms and leaves the rest in the queue. None: as in `detach_objects`. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    if (is_leased := leases.held(hold)) is None:
        return None
    layout = cache.layout

    def take(item: PlannedObject) -> str | None:
        if _obstacle(layout, replace(item, names=(), containers=()), is_leased, ()) is not None:
            return None
        return to_trash(layout, layout.bytecode(item.object.id), kind=BYTECODE, entry_id=item.object.id)

    trashed: list[Trashed] = []
    while queue:
        item = queue.popleft()
        trashed += [Trashed(path, item, BYTECODE) for path in [take(item)] if path is not None]
        if is_over(hold):
            break
    return trashed


def take_dangling(hold: Hold, cache: CacheDir, queue: deque[SeenName | SeenTool]) -> list[str]:
    """Take names whose object is gone: a power cut or a person made them, the protocol never does (rule 6).

    Stops after 10 ms and leaves the rest in the queue. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    layout = cache.layout

    def take(name: SeenName | SeenTool) -> str | None:
        object_id = name.object_id
        find = layout.environment if isinstance(name, SeenTool) else layout.archive
        if read_document(name.path) != name.content or (object_id is not None and is_present(find(object_id))):
            return None
        return to_trash(layout, name.path, kind="pointer", entry_id=object_id or "nothing")

    return _take_each(hold, queue, take)


def take_lonely(hold: Hold, cache: CacheDir, queue: deque[str]) -> list[tuple[str, str]]:
    """Take the directories of projects that have nothing but pages any more, and of tools and overlays without a name.

    Gives what lies in trash, and the directory that it was.

    Stops after 10 ms and leaves the rest in the queue. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)

    def take(directory: str) -> tuple[str, str] | None:
        bucket, name = os.path.split(directory)
        # Something may have been published since the scan.
        if _is_in_use(cache.layout, directory):
            return None
        kind = {cache.layout.tools: "tool", cache.layout.overlays: "overlay"}.get(bucket, "project")
        trashed = to_trash(cache.layout, directory, kind=kind, entry_id=name)
        return None if trashed is None else (trashed, directory)

    return _take_each(hold, queue, take)


def _is_in_use(layout: Layout, directory: str) -> bool:
    """Tell whether there is a name in the directory of a project, a tool or an overlay, or something else to keep."""
    bucket = os.path.dirname(directory)
    if bucket == layout.tools:
        return any(list_directory(directory))
    if bucket == layout.overlays:
        return any(_is_in_use(layout, f"{directory}/{name}") for name in list_directory(directory))
    is_kept = any(page_kind(index, path) is not PageKind.PAGE for index, path in files_in(layout, directory))
    return is_kept or next(pointers_of(layout, directory), None) is not None


def _take_each(hold: Hold, queue: deque[Item], take: Callable[[Item], Taken | None]) -> list[Taken]:
    """Take from the front of the queue until 10 ms are over, one entry at least; gives what lies in trash."""
    trashed: list[Taken] = []
    while queue:
        if (taken := take(queue.popleft())) is not None:
            trashed.append(taken)
        if is_over(hold):
            break
    return trashed


def take_paths(hold: Hold, cache: CacheDir, paths: Iterable[str]) -> list[str]:
    """Take files that were never renamed into place, or buckets of older formats; gives what lies in trash.

    No birth can be under way in this hold. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    trashed = [
        to_trash(cache.layout, path, kind="leftover", entry_id=os.path.basename(path).lstrip(".")) for path in paths
    ]
    return [path for path in trashed if path is not None]


def half_born(layout: Layout) -> list[str]:
    """List files under their temporary names. They are left over only if no birth is under way: see `take_paths`."""
    return [
        f"{directory}/{name}"
        for directory in (layout.staging, layout.leases)
        for name in list_directory(directory)
        if name.startswith(BIRTH_PREFIX)
    ]


def dead_staging(layout: Layout) -> list[str]:
    """List the staging directories whose lease is dead, for ever. They may be swept without a hold (rules 10, 18)."""
    return [
        f"{layout.staging}/{name}"
        for name in list_directory(layout.staging)
        if is_object_id(name) and is_dead(layout.leases, name)
    ]


def is_over(hold: Hold) -> bool:
    """Tell whether a batch has lasted long enough: it takes nothing more."""
    return time.monotonic() - hold.acquired_at > BATCH_SECONDS
