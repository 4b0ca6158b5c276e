"""Detaching: names and objects are renamed into trash in short exclusive holds, each checked again (rules 30-36).

A batch stops taking entries after 10 ms. What changed since it was scanned is skipped and told, so that the collector
scans again; nothing found out in an earlier hold is used.
"""

from __future__ import annotations

import enum
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from aiocache_engine.hints import TypeVar
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.records import Pointer
from aiocache_engine.model.removal import CleanTarget, PlannedArchive
from aiocache_engine.model.snapshot import SeenName
from aiocache_engine.model.value import entity, field
from aiocache_engine.store.archives import is_present, read_stamp
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import list_directory, read_document
from aiocache_engine.store.generations import Cleaned, bump
from aiocache_engine.store.layout import HASH_NAMES, Layout
from aiocache_engine.store.leases import BIRTH_PREFIX, LeaseFile, LeaseReader, is_dead
from aiocache_engine.store.names import read_pointer
from aiocache_engine.store.notes import write_note
from aiocache_engine.store.trash import to_trash
from aiocache_engine.system.lock import Hold

Item = TypeVar("Item")

BATCH_SECONDS = 0.010
_POINTER_SUFFIX = ".json"  #: of the names that `Layout.pointer` gives
VersionMatch = Callable[[str, str], bool]  #: (specifier set, version) -> whether it matches


class Verdict(enum.Enum):
    """What became of one planned archive in a hold."""

    DETACHED = "detached"
    GONE = "gone"  #: another collector was quicker
    CHANGED = "changed"  #: it was used or renamed since the scan: look again
    LEASED = "leased"  #: somebody uses it now


@entity
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
    present = leases.read_living()
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
    if stamp is None and not os.path.lexists(path):
        return Verdict.GONE
    if (stamp[0] if stamp is not None else b"") != archive.stamp:
        return Verdict.CHANGED
    if any(lease.covers(archive.id) and lease.is_alive() for lease in leases):
        return Verdict.LEASED
    for name in item.names:
        content = read_document(name.path)
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
    here = [archive_id for archive_id in archive_ids if is_present(cache.layout.archive(archive_id))]
    for archive_id in here:
        write_note(cache.layout.condemned, archive_id)
    present = leases.read_living()
    return [i for i in here if not any(lease.covers(i) and lease.is_alive() for lease in present)]


def take_everything(hold: Hold, cache: CacheDir) -> list[str]:
    """Take all names of all projects, the generations bumped first; gives what lies in trash.

    Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    layout = cache.layout
    trashed = _bump(cache, f"{layout.generations}/global", Cleaned())
    for directory in name_directories(layout):
        if (path := to_trash(layout, directory, kind=os.path.basename(directory), entry_id="all")) is not None:
            trashed.append(path)
        with suppress(OSError):  # a full disk has room again after the sweep, and whoever comes next makes it, too
            os.mkdir(directory, 0o755)
    return trashed


def _bump(cache: CacheDir, path: str, cleaned: Cleaned) -> list[str]:
    """Bump a generation. A directory in the place of its file goes to trash before, and is given."""
    trashed = None
    if os.path.isdir(path) and not os.path.islink(path):
        trashed = to_trash(cache.layout, path, kind="generation", entry_id=os.path.basename(path))
    bump(path, cleaned, by_way_of=cache.temporary())
    return [] if trashed is None else [trashed]


def name_directories(layout: Layout) -> tuple[str, ...]:
    """Give the directories that a clean of everything takes as a whole; all but the archives themselves."""
    return (layout.projects, layout.project_generations, layout.interpreters)


class NameChoice:
    """Tells which files below a project's directory a clean's target takes; opening only what it does not know yet.

    What a name leads to may change, its version never does: a file name, or a wheel's hash, fixes it (rule 36).
    """

    def __init__(self, target: CleanTarget, seen: Iterable[SeenName], *, matches: VersionMatch) -> None:
        self.target = target
        self._matches = matches
        self._of_version: dict[str, bool] = {}
        self._of_path = {n.path: self._takes(n.pointer) for n in seen if n.pointer.project == target.project}

    def knows(self, path: str) -> bool:
        """Tell whether it can answer without opening the file."""
        return path in self._of_path

    def takes(self, index: str, path: str) -> bool:
        """Tell whether the target takes a file; pages and metadata always: they may still promise what was cleaned."""
        taken = self._of_path.get(path)
        if taken is not None:
            return taken
        if not _may_be_pointer(index, path):
            return True
        pointer = read_pointer(path)
        if pointer is None:  # it may be whole when somebody looks again
            return True
        taken = self._of_path[path] = self._takes(pointer)
        return taken

    def _takes(self, pointer: Pointer) -> bool:
        if self.target.specifier is None:
            return True
        taken = self._of_version.get(pointer.version)
        if taken is None:
            taken = self._of_version[pointer.version] = self._matches(self.target.specifier, pointer.version)
        return taken


def take_names(hold: Hold, cache: CacheDir, choice: NameChoice) -> tuple[list[str], bool]:
    """Take the names of a clean's target, its generation bumped first; gives what lies in trash, and if that is all.

    If it is not all, another hold bumps again and lists again, until one finds nothing left. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    layout = cache.layout
    target = choice.target
    trashed = _bump(cache, layout.generation(target.project), Cleaned(target.specifier))
    directory = layout.project(target.project)
    if target.specifier is None:
        path = to_trash(layout, directory, kind="project", entry_id=target.project)
        return trashed + ([] if path is None else [path]), True
    is_begun = False  # every hold gets on, by a name taken or by one that the next hold need not open
    for index, path in _stored_for(directory):
        if is_begun and _is_over(hold):
            return trashed, False
        is_known = choice.knows(path)
        if not choice.takes(index, path):
            is_begun = is_begun or not is_known
            continue
        is_begun = True
        if (gone := to_trash(layout, path, kind="name", entry_id=target.project)) is not None:
            trashed.append(gone)
    return trashed, True


def matching_names(layout: Layout, choice: NameChoice) -> list[str]:
    """List the names that a clean's target would take."""
    return [path for index, path in _stored_for(layout.project(choice.target.project)) if choice.takes(index, path)]


def _stored_for(directory: str) -> Iterator[tuple[str, str]]:
    """Give every file below a project's directory with the index it stands under; never through a link."""
    for index in list_directory(directory):
        for name in list_directory(f"{directory}/{index}"):
            yield index, f"{directory}/{index}/{name}"


def _pointers_of(directory: str) -> Iterator[tuple[str, Pointer]]:
    """Read every name below a project's directory."""
    for index, path in _stored_for(directory):
        if _may_be_pointer(index, path) and (pointer := read_pointer(path)) is not None:
            yield path, pointer


def _may_be_pointer(index: str, path: str) -> bool:
    """Tell names from pages and metadata without opening them."""
    return index == HASH_NAMES or path.endswith(_POINTER_SUFFIX)


def take_damaged(hold: Hold, cache: CacheDir, *, project: str, archive_id: str) -> list[str]:
    """Take every name of a damaged archive, and note it, whoever leases it; gives what lies in trash (rule 41).

    Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    trashed: list[str] = []
    for path, pointer in _pointers_of(cache.layout.project(project)):
        if pointer.archive_id != archive_id:
            continue
        if (gone := to_trash(cache.layout, path, kind="pointer", entry_id=archive_id)) is not None:
            trashed.append(gone)
    write_note(cache.layout.condemned, archive_id)
    return trashed


def take_dangling(hold: Hold, cache: CacheDir, queue: deque[SeenName]) -> list[str]:
    """Take names whose archive is gone: a power cut or a person made them, the protocol never does (rule 6).

    Stops after 10 ms and leaves the rest in the queue. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)

    def take(name: SeenName) -> str | None:
        archive_id = name.pointer.archive_id
        if read_document(name.path) != name.content or is_present(cache.layout.archive(archive_id)):
            return None
        return to_trash(cache.layout, name.path, kind="pointer", entry_id=archive_id)

    return _take_each(hold, queue, take)


def take_projects(hold: Hold, cache: CacheDir, queue: deque[str]) -> list[str]:
    """Take what is left of projects that have no archive any more: their pages and directories.

    Stops after 10 ms and leaves the rest in the queue. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)

    def take(project: str) -> str | None:
        directory = f"{cache.layout.projects}/{project}"
        if _has_pointers(directory):  # something was published since the scan
            return None
        return to_trash(cache.layout, directory, kind="project", entry_id=project)

    return _take_each(hold, queue, take)


def _take_each(hold: Hold, queue: deque[Item], take: Callable[[Item], str | None]) -> list[str]:
    """Take from the front of the queue until 10 ms are over, one entry at least; gives what lies in trash."""
    trashed: list[str] = []
    while queue:
        if (path := take(queue.popleft())) is not None:
            trashed.append(path)
        if _is_over(hold):
            break
    return trashed


def _has_pointers(directory: str) -> bool:
    return next(_pointers_of(directory), None) is not None


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


def _is_over(hold: Hold) -> bool:
    return time.monotonic() - hold.acquired_at > BATCH_SECONDS
