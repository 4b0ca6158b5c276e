"""Detaching the names of a clean: of everything, or of a target; what pins keep is spared (rule 36).

In short exclusive holds, every one of which bumps the generation first and gets on by a name at least.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from aiocache_engine.model.locking import LockMode
from aiocache_engine.store.blocks import empty_directory_bytes, generation_growth
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import is_over
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.generations import Cleaned, bump
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.name_choice import NameChoice, files_of, overlays_of
from aiocache_engine.store.spared import Spared
from aiocache_engine.store.trash import to_trash
from aiocache_engine.system.descent import make_directory
from aiocache_engine.system.lock import Hold


def take_everything(hold: Hold, cache: CacheDir, *, spared: Spared) -> tuple[list[str], int, bool]:
    """Take all names of all projects and tools but what is spared, the generations bumped first.

    Gives what lies in trash, the bytes that this wrote itself, and if that is all: else another hold bumps and lists
    again what is not settled. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    layout = cache.layout
    spared.look_again()
    trashed, written_bytes = _bump(cache, f"{layout.generations}/global", Cleaned())
    new_bytes = empty_directory_bytes(layout)
    for directory in name_directories(layout):
        if spared.keeps_in(directory):
            continue
        if (path := to_trash(layout, directory, kind=os.path.basename(directory), entry_id="all")) is not None:
            trashed.append(path)
        with suppress(OSError):  # a full disk has room again after the sweep, and whoever comes next makes it, too
            make_directory(directory, cache.root)
            written_bytes += new_bytes
    gone, is_all = _take_beside(hold, layout, _in_kept_buckets(layout, spared), spared)
    return [*trashed, *gone], written_bytes, is_all


def unspared(layout: Layout, spared: Spared) -> Iterator[str]:
    """Give what stands beside what is spared: whole projects and tools, or files of those of which something is."""
    for directory in _in_kept_buckets(layout, spared):
        if spared.keeps_in(directory):
            yield from (path for path in files_of(layout, directory) if not spared.keeps(path))
        else:
            yield directory


def _in_kept_buckets(layout: Layout, spared: Spared) -> Iterator[str]:
    """Give the directories of all projects, or tools, if something of any is spared; and that of builds."""
    for bucket in (layout.projects, layout.tools):
        if spared.keeps_in(bucket):
            yield from (f"{bucket}/{name}" for name in list_directory(bucket))
    if spared.keeps_in(layout.overlays):
        yield from (f"{each}/{name}" for each in overlays_of(layout) for name in list_directory(each))
    if spared.keeps_in(layout.builds):
        yield layout.builds


def _take_beside(hold: Hold, layout: Layout, directories: Iterable[str], spared: Spared) -> tuple[list[str], bool]:
    """Take directories of projects or tools whole, and of those in which something is spared every other file.

    Gives what lies in trash, and if that is all. Every hold gets on: a directory in which it found nothing left is
    settled, and no later one lists it again. What is published there then was begun after this hold's bump.
    """
    trashed: list[str] = []
    is_begun = False
    for directory in directories:
        if directory in spared.settled:
            continue
        if is_begun and is_over(hold):
            return trashed, False
        is_begun = True
        bucket, name = os.path.split(directory)
        kind = "tool" if bucket == layout.tools else "project"
        if not spared.keeps_in(directory):
            if (gone := to_trash(layout, directory, kind=kind, entry_id=name)) is not None:
                trashed.append(gone)
            continue
        has_taken = False
        for path in files_of(layout, directory):
            if spared.keeps(path):
                continue
            if has_taken and is_over(hold):
                return trashed, False
            has_taken = True
            if (gone := to_trash(layout, path, kind="name", entry_id="named")) is not None:
                trashed.append(gone)
        spared.settled.add(directory)
    return trashed, True


def _bump(cache: CacheDir, path: str, cleaned: Cleaned) -> tuple[list[str], int]:
    """Bump a generation. A directory in the place of its file goes to trash before; gives it, and the bytes written."""
    trashed = None
    if os.path.isdir(path) and not os.path.islink(path):
        trashed = to_trash(cache.layout, path, kind="generation", entry_id=os.path.basename(path))
    written_bytes = generation_growth(cache.layout, path, (cleaned,))
    bump(path, cleaned, by_way_of=cache.temporary(), root=cache.root)
    return ([] if trashed is None else [trashed]), written_bytes


def name_directories(layout: Layout) -> tuple[str, ...]:
    """Give the directories that a clean of everything takes as a whole, as far as there is anything in them."""
    directories = (
        layout.projects,
        layout.overlays,
        layout.tools,
        layout.builds,
        layout.project_generations,
        layout.interpreters,
    )
    return tuple(each for each in directories if list_directory(each))


def take_names(hold: Hold, cache: CacheDir, choice: NameChoice, *, spared: Spared) -> tuple[list[str], int, bool]:
    """Take the names of a clean's target, its generation bumped first.

    Gives what lies in trash, the bytes that this wrote itself, and if that is all.

    What is spared stays: pins are read here, in every hold (rule 36).
    Those of the cached environments that have something of it in them go, too.

    If it is not all, another hold bumps again and lists again what is not settled, until one finds nothing left. Needs
    the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    layout = cache.layout
    spared.look_again()
    choice.spare(spared.keeps)
    cleaned = choice.cleaned(layout)
    trashed, written_bytes = ([], 0) if cleaned is None else _bump(cache, *cleaned)
    gone_with_all, is_all = _take_beside(hold, layout, choice.own(layout), spared)
    trashed += gone_with_all
    if not is_all:
        return trashed, written_bytes, False
    is_begun = False  # every hold gets on, by a name taken or by one that the next hold need not open
    for index, path in choice.places(layout):
        if is_begun and is_over(hold):
            return trashed, written_bytes, False
        is_known = choice.knows(path)
        if not choice.takes(index, path):
            is_begun = is_begun or not is_known
            continue
        is_begun = True
        if (gone := to_trash(layout, path, kind="name", entry_id="named")) is not None:
            trashed.append(gone)
    return trashed, written_bytes, True
