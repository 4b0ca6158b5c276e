"""Look at everything in the cache, without a lock, in the order that makes the picture safe to plan from (rule 28).

Stamps first, then leases, then names, then environments, those in the cache before those outside: a hand-over goes the
other way round (rule 1), so whatever is missed in one reading shows in a later one, or as a changed stamp when the plan
is carried out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping

from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.records import NameKind
from aiocache_engine.model.snapshot import (
    Leftover,
    PageKind,
    SeenArchive,
    SeenEnvironment,
    SeenLease,
    SeenName,
    SeenPage,
    SeenProcess,
    SeenTool,
    Snapshot,
)
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.whereabouts import Whereabouts
from aiocache_engine.store.archives import is_linked, is_present, read_stamp, read_whole_totals
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import dead_staging, half_born
from aiocache_engine.store.documents import list_directory, read_document
from aiocache_engine.store.environments import (
    ENVIRONMENT_VARIABLE,
    decode_environment_pointer,
    read_environment_manifest,
)
from aiocache_engine.store.layout import BUCKETS, BUILT, HASH_NAMES, Layout
from aiocache_engine.store.leases import LeaseFile, LeaseReader
from aiocache_engine.store.name_choice import (
    environment_names,
    files_in,
    identity,
    may_be_pointer,
    page_kind,
    version_of_sdist,
)
from aiocache_engine.store.names import decode_pointer
from aiocache_engine.store.pins import read_pins
from aiocache_engine.store.referrers import last_seen_at, read_referrers
from aiocache_engine.store.stored_pages import last_use_of_page, size_of_page
from aiocache_engine.system.clock import SystemClock

_KINDS = {HASH_NAMES: NameKind.HASH, BUILT: NameKind.BUILT}
_VERSIONED = re.compile(r"([a-z]+)-v(\d+)")


def scan(cache: CacheDir, leases: LeaseReader) -> Snapshot:
    """Read the whole cache. Needs no hold."""
    layout = cache.layout
    compiled = list_directory(layout.bytecodes)  # before the archives: one that is not seen then is gone for ever
    stamps = _stamps(layout.archives)
    environment_stamps = _stamps(layout.environments)
    alive, dead = leases.part()
    names, pages, projects = _names(layout)
    added, overlays = _overlays(layout)
    tool_directories = list_directory(layout.tools)
    tools = _tools(layout)
    pins = read_pins(layout)
    environments = _environments(layout, environment_stamps)
    archives = {
        archive_id: SeenArchive(
            id=archive_id,
            totals=read_whole_totals(layout.archive(archive_id)),
            stamp=stamp,
            last_used_at=last_used_at,
            is_linked=is_linked(layout.archive(archive_id)),
        )
        for archive_id, (stamp, last_used_at) in stamps.items()
    }
    referrers, newer, damaged = read_referrers(layout.referrers)
    whereabouts = Whereabouts()
    return Snapshot(
        archives=archives,
        names=(*names, *added),
        leases=tuple(SeenLease(lease.id, lease.holder, lease.objects) for lease in alive),
        referrers=tuple(
            replace(whereabouts.look_at(referrer), last_seen_at=last_seen_at(layout, referrer.id))
            for referrer in referrers
        ),
        unreadable_referrers=tuple(newer),
        damaged_referrers=tuple(damaged),
        projects=frozenset(projects),
        leftovers=(
            *_leftovers(layout, dead),
            *(Leftover(f"{layout.bytecodes}/{name}", "bytecode") for name in compiled if name not in stamps),
        ),
        environments=environments,
        tools=tuple(tools),
        tool_directories=frozenset(tool_directories),
        pages=tuple(pages),
        overlays=frozenset(overlays),
        taken_at=SystemClock().now(),
        pins=pins.readable,
        unreadable_pins=pins.unreadable,
    )


def find_processes(layout: Layout, object_ids: Collection[str]) -> dict[str, tuple[SeenProcess, ...]]:
    """Give the processes that live in cached environments, by the id of each that has any: the last look (rule 28).

    In no hold: it may take some tens of milliseconds. An environment is told by its place in the cache dir, whichever
    way leads there, and by what `aioc run` says in a variable of every tool. Ids of archives may be among them.
    """
    environments = [each for each in object_ids if is_present(layout.environment(each))]
    if not environments:
        return {}
    from aiocache_engine.system.process_look import find_users  # noqa: PLC0415 - only where environments are to go

    return find_users(environments, after=(f"{os.path.basename(layout.environments)}/", f"{ENVIRONMENT_VARIABLE}="))


def _stamps(bucket: str) -> dict[str, tuple[bytes, float]]:
    """Read the stamps of all objects of a bucket.

    One that lost its stamp is taken for what it is: nothing that a look-up gives away before it is stamped again.
    """
    return {
        object_id: read_stamp(f"{bucket}/{object_id}") or (b"", 0.0)
        for object_id in list_directory(bucket)
        if is_object_id(object_id)
    }


def _environments(layout: Layout, stamps: Mapping[str, tuple[bytes, float]]) -> dict[str, SeenEnvironment]:
    """List the cached environments again, after leases and names, and read what they contain."""
    return {
        environment_id: SeenEnvironment(
            environment_id,
            layout.environment(environment_id),
            read_environment_manifest(layout.environment(environment_id)),
            *stamps.get(environment_id, (b"", 0.0)),
            is_new=environment_id not in stamps,
        )
        for environment_id in list_directory(layout.environments)
        if is_object_id(environment_id)
    }


def _tools(layout: Layout) -> list[SeenTool]:
    tools: list[SeenTool] = []
    runnable: dict[str, bool] = {}
    for path in environment_names(layout):
        file = identity(path)
        content = read_document(path)
        if file is None:
            continue
        pointer = decode_environment_pointer(content)
        executable = pointer.executable if pointer is not None else ""
        if executable not in runnable:
            runnable[executable] = _may_be_there(executable)
        tools.append(SeenTool(path, pointer, content, file, runnable[executable]))
    return tools


def _may_be_there(path: str) -> bool:
    """Tell whether a file is there; what cannot be told may be."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _names(layout: Layout) -> tuple[list[SeenName], list[SeenPage], list[str]]:
    names: list[SeenName] = []
    pages: list[SeenPage] = []
    projects = list_directory(layout.projects)
    for project in projects:
        for index in list_directory(f"{layout.projects}/{project}"):
            directory = f"{layout.projects}/{project}/{index}"
            for filename in list_directory(directory):
                path = f"{directory}/{filename}"
                if may_be_pointer(index, path):
                    names += _name(path, _KINDS.get(index, NameKind.INDEX))
                elif (last_used_at := last_use_of_page(path)) is not None:
                    kind = page_kind(index, path)
                    version = version_of_sdist(project, path)
                    size_bytes = size_of_page(path) if kind is PageKind.SDIST else 0
                    pages.append(SeenPage(path, project, last_used_at, kind, version, size_bytes))
    return names, pages, projects


def _overlays(layout: Layout) -> tuple[list[SeenName], set[str]]:
    """Read the names in all overlays, and list their directories."""
    names: list[SeenName] = []
    directories: set[str] = set()
    for overlay in list_directory(layout.overlays):
        directories.add(overlay)
        for project in list_directory(f"{layout.overlays}/{overlay}"):
            directories.add(f"{overlay}/{project}")
            for index, path in files_in(layout, f"{layout.overlays}/{overlay}/{project}"):
                if may_be_pointer(index, path):
                    names += _name(path, NameKind.OVERLAY, overlay)
    return names, directories


def _name(path: str, kind: NameKind, overlay: str = "") -> list[SeenName]:
    content = read_document(path)
    pointer = decode_pointer(content)
    return [] if content is None or pointer is None else [SeenName(kind, path, pointer, content, overlay)]


def _leftovers(layout: Layout, dead: list[LeaseFile]) -> list[Leftover]:
    leftovers = [Leftover(path, "staging") for path in dead_staging(layout)]
    leftovers += [Leftover(f"{layout.trash}/{name}", "trash") for name in list_directory(layout.trash)]
    leftovers += [Leftover(path, "temporary") for path in half_born(layout)]
    leftovers += [Leftover(lease.path, "lease") for lease in dead]
    ours = {match[1]: int(match[2]) for bucket in BUCKETS if (match := _VERSIONED.fullmatch(bucket))}
    for name in os.listdir(layout.root):
        match = _VERSIONED.fullmatch(name)
        if match and int(match[2]) < ours.get(match[1], 0):
            leftovers.append(Leftover(f"{layout.root}/{name}", "format"))
    return leftovers
