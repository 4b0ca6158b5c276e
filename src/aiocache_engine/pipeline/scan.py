"""Look at everything in the cache, without a lock, in the order that makes the picture safe to plan from (rule 28).

Stamps first, then leases, then names, then environments: a hand-over goes the other way round (rule 1), so whatever is
missed in one reading shows in a later one, or as a changed stamp when the plan is carried out.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.records import NameKind, Referrer
from aiocache_engine.model.snapshot import (
    Leftover,
    ReferrerState,
    SeenArchive,
    SeenLease,
    SeenName,
    SeenReferrer,
    Snapshot,
)
from aiocache_engine.python.environment import environment_id
from aiocache_engine.python.installed import archives_in_use
from aiocache_engine.store.archives import is_linked, read_stamp, read_totals
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import dead_staging
from aiocache_engine.store.layout import BUCKETS, HASH_NAMES, PAGE, Layout
from aiocache_engine.store.leases import LeaseFile, LeaseReader
from aiocache_engine.store.names import decode_pointer
from aiocache_engine.store.referrers import read_referrers
from aiocache_engine.system.disk import read_bytes
from aiocache_engine.system.process import me

_VERSIONED = re.compile(r"([a-z]+)-v(\d+)")


def scan(cache: CacheDir, leases: LeaseReader) -> Snapshot:
    """Read the whole cache. Needs no hold."""
    layout = cache.layout
    stamps = {
        archive_id: stamp
        for archive_id in os.listdir(layout.archives)
        if is_object_id(archive_id) and (stamp := read_stamp(layout.archive(archive_id))) is not None
    }
    broken = [i for i in os.listdir(layout.archives) if is_object_id(i) and i not in stamps]
    present = leases.read()
    alive = [lease for lease in present if lease.is_alive()]
    names, projects = _names(layout)
    archives = {
        archive_id: SeenArchive(
            id=archive_id,
            totals=read_totals(layout.archive(archive_id)),
            stamp=stamp,
            last_used_at=last_used_at,
            is_linked=is_linked(layout.archive(archive_id)),
        )
        for archive_id, (stamp, last_used_at) in [*stamps.items(), *((i, (b"", 0.0)) for i in broken)]
    }
    referrers, unreadable = read_referrers(layout.referrers)
    return Snapshot(
        archives=archives,
        names=tuple(names),
        leases=tuple(SeenLease(lease.id, lease.holder, lease.objects) for lease in alive),
        referrers=tuple(_judge(referrer) for referrer in referrers),
        unreadable_referrers=tuple(unreadable),
        projects=frozenset(projects),
        leftovers=tuple(_leftovers(layout, present)),
    )


def _names(layout: Layout) -> tuple[list[SeenName], list[str]]:
    names: list[SeenName] = []
    projects = os.listdir(layout.projects)
    for project in projects:
        with suppress(FileNotFoundError, NotADirectoryError):
            for index in os.listdir(f"{layout.projects}/{project}"):
                kind = NameKind.HASH if index == HASH_NAMES else NameKind.INDEX
                with suppress(FileNotFoundError, NotADirectoryError):
                    directory = f"{layout.projects}/{project}/{index}"
                    names += _names_in(directory, kind)
    return names, projects


def _names_in(directory: str, kind: NameKind) -> list[SeenName]:
    names: list[SeenName] = []
    for filename in os.listdir(directory):
        if filename == PAGE:
            continue
        path = f"{directory}/{filename}"
        content = read_bytes(path)
        pointer = decode_pointer(content)
        if content is not None and pointer is not None:
            names.append(SeenName(kind, path, pointer, content))
    return names


def _judge(referrer: Referrer) -> SeenReferrer:
    """Say what became of an environment, and what it uses."""
    registered = dict.fromkeys(referrer.archives, referrer.link_mode)
    state = _state(referrer)
    if state is ReferrerState.ALIVE:
        uses = archives_in_use(referrer.site_directories, referrer.path)
        if uses is not None:
            return SeenReferrer(referrer, state, uses)
        state = ReferrerState.UNREACHABLE
    return SeenReferrer(referrer, state, registered if state is ReferrerState.UNREACHABLE else {})


def _state(referrer: Referrer) -> ReferrerState:
    try:
        os.stat(f"{referrer.path}/aioc.json")  # a dead mount answers with an error, not with absence
        if environment_id(referrer.path) == referrer.id:
            return ReferrerState.ALIVE
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError:
        return ReferrerState.UNREACHABLE
    try:
        here = me()
        if (referrer.machine_id, referrer.mount_namespace) != (here.machine_id, here.mount_namespace):
            return ReferrerState.UNREACHABLE
        if os.path.lexists(referrer.path):
            return ReferrerState.MISSING  # another environment stands in its place
        parent = os.stat(os.path.dirname(referrer.path))
    except OSError:
        return ReferrerState.UNREACHABLE
    # An empty mount point looks like a parent whose child is gone; its device tells.
    return ReferrerState.MISSING if parent.st_dev == referrer.device else ReferrerState.UNREACHABLE


def _leftovers(layout: Layout, leases: list[LeaseFile]) -> list[Leftover]:
    leftovers = [Leftover(path, "staging") for path in dead_staging(layout, leases)]
    leftovers += [Leftover(f"{layout.trash}/{name}", "trash") for name in os.listdir(layout.trash)]
    leftovers += [Leftover(lease.path, "lease") for lease in leases if not lease.is_alive()]
    ours = {match[1]: int(match[2]) for bucket in BUCKETS if (match := _VERSIONED.fullmatch(bucket))}
    for name in os.listdir(layout.root):
        match = _VERSIONED.fullmatch(name)
        if match and int(match[2]) < ours.get(match[1], 0):
            leftovers.append(Leftover(f"{layout.root}/{name}", "format"))
    return leftovers
