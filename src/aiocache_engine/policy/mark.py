"""Which objects are kept, and by what: reachability from the roots of a snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from shlex import quote

from aiocache_engine.model.records import Member, NameKind, Pin
from aiocache_engine.model.removal import KeepCode, KeepReason, Kept, KeptSdist, PlannedObject, StoredSdist
from aiocache_engine.model.snapshot import (
    PageKind,
    ReferrerState,
    SeenEnvironment,
    SeenLease,
    SeenName,
    SeenObject,
    SeenPage,
    SeenProcess,
    SeenReferrer,
    SeenTool,
    Snapshot,
)

FORGOTTEN_AFTER_SECONDS = 30 * 86_400.0  #: an environment that cannot be reached, and has links of its own
SYMLINK = "symlink"
CLONE = "clone"


class Marks:
    """The roots of every object in one snapshot, each kind by itself; a policy decides which of them count."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._unreadable_leases = [lease for lease in snapshot.leases if lease.objects is None]
        self._leases: dict[str, list[SeenLease]] = defaultdict(list)
        for lease in snapshot.leases:
            for object_id in lease.objects or ():
                self._leases[object_id].append(lease)
        self._names: dict[str, list[SeenName | SeenTool]] = defaultdict(list)
        for name in snapshot.names:
            self._names[name.object_id].append(name)
        for tool in snapshot.tools:
            if tool.object_id is not None:
                self._names[tool.object_id].append(tool)
        self._containers: dict[str, list[SeenEnvironment]] = defaultdict(list)
        for environment in snapshot.environments.values():
            for member in self.members(environment):
                self._containers[member.archive_id].append(environment)
        self._referrers: dict[str, list[tuple[SeenReferrer, str]]] = defaultdict(list)
        for seen in (each for each in snapshot.referrers if not is_given_up(each, snapshot.taken_at)):
            for archive_id, link_mode in seen.uses.items():
                self._referrers[archive_id].append((seen, link_mode))

    def names(self, object_id: str) -> tuple[SeenName | SeenTool, ...]:
        """Every name that leads to the object, hash names last: a crash then leaves it findable, not half-named."""
        return tuple(sorted(self._names[object_id], key=_is_hash_name))

    def members(self, environment: SeenEnvironment) -> tuple[Member, ...]:
        """Give what is in an environment: as its manifest says, or where that is damaged, one of its names."""
        if environment.manifest is not None:
            return environment.manifest.members
        pointers = (name.pointer for name in self._names[environment.id] if isinstance(name, SeenTool))
        return next((pointer.members for pointer in pointers if pointer is not None), ())

    def is_for_builds(self, environment: SeenEnvironment) -> bool:
        """Tell whether an environment is no tool's: as its manifest says, or where that is damaged, its name."""
        if environment.manifest is not None:
            return not environment.manifest.tool
        return any(isinstance(name, SeenTool) and name.is_for_builds for name in self._names[environment.id])

    def is_built(self, archive_id: str) -> bool:
        """Tell whether an archive was built here, and can still be found by what it was built of."""
        names = self._names[archive_id]
        return any(isinstance(name, SeenName) and name.kind is NameKind.BUILT for name in names)

    def containers(self, archive_id: str) -> list[SeenEnvironment]:
        """Give the cached environments that the archive is in."""
        return self._containers[archive_id]

    def keep(self, environment: SeenEnvironment) -> Kept | None:
        """Keep an environment for its leases, processes and names; None where nothing keeps it."""
        if environment.is_new:
            return keep_new(environment)
        users, pointers = self.users(environment.id), self.pointers(environment.id)
        return Kept(environment, (*users, *pointers), is_condemned=not pointers) if users or pointers else None

    def leases(self, object_id: str, *, unless_on: Collection[str] = frozenset()) -> list[KeepReason]:
        """Give the live leases on the object, as reasons; without those that are on one of `unless_on`, too."""
        leases = [lease for lease in self._leases[object_id] if not any(map(lease.covers, unless_on))]
        return [_by_lease(lease) for lease in (*leases, *self._unreadable_leases)]

    def users(self, environment_id: str) -> list[KeepReason]:
        """Give who uses a cached environment now, as reasons: live leases, and processes seen to live in it."""
        processes = self._snapshot.processes.get(environment_id, ())
        return [*self.leases(environment_id), *map(_by_process, processes)]

    def referrers(self, archive_id: str, *, symlinks_only: bool) -> list[KeepReason]:
        """Give the environments that use the archive, as reasons.

        Args:
            archive_id: which archive.
            symlinks_only: leave out environments that have their own link or copy of every file.
        """
        reasons = [
            _by_referrer(seen, link_mode)
            for seen, link_mode in self._referrers[archive_id]
            if link_mode == SYMLINK or not symlinks_only
        ]
        reasons += [
            KeepReason(
                KeepCode.UNKNOWN,
                path=path,
                release=f"the newer aioc that wrote it is used, or rm {quote(path)}",
            )
            for path in self._snapshot.unreadable_referrers
        ]
        reasons += [
            KeepReason(
                KeepCode.UNKNOWN,
                path=path,
                release=f"rm {quote(path)}, if no environment made with --link-mode symlink needs this damaged record",
            )
            for path in self._snapshot.damaged_referrers
        ]
        return reasons

    def pins(self, archive_id: str) -> list[KeepReason]:
        """Give the pins on the archive, as reasons."""
        reasons = [_by_pin(pin) for pin in self._snapshot.pins if pin.covers(archive_id)]
        reasons += [
            KeepReason(
                KeepCode.UNKNOWN,
                path=path,
                release=f"the newer aioc that made this pin takes it off, or rm {quote(path)}, if it is damaged",
            )
            for path in self._snapshot.unreadable_pins
        ]
        return reasons

    def is_cloned(self, seen: SeenObject) -> bool:
        """Tell whether an environment may share the bytes of the object's files, though not the files."""
        if isinstance(seen, SeenEnvironment):
            return seen.manifest is not None and seen.manifest.is_cloned
        return any(link_mode == CLONE for _, link_mode in self._referrers[seen.id]) or any(
            map(self.is_cloned, self.containers(seen.id))
        )

    def pointers(self, object_id: str) -> list[KeepReason]:
        """Give the names that keep the object, as reasons: not hash names, nor those of what can run no more."""
        return [
            _by_name(name)
            for name in self._names[object_id]
            if (name.is_runnable if isinstance(name, SeenTool) else name.kind is not NameKind.HASH)
        ]


def keep_new(environment: SeenEnvironment) -> Kept:
    """Keep an environment that appeared during the scan: what was read before cannot tell who uses it (rule 28)."""
    reason = KeepReason(KeepCode.RECENTLY_USED, release="the command is run again")
    return Kept(environment, (reason,), is_condemned=False)


def by_environment(environment: SeenEnvironment, kept: Kept) -> KeepReason:
    """Give a cached environment that stays, for what keeps it first, as the reason why its archives do."""
    root = kept.reasons[0]
    return KeepReason(
        KeepCode.ENVIRONMENT,
        path=environment.path,
        via=(f"environment {environment.id}", f"{root.code.value} {root.path or root.pid}"),
        release=root.release,
    )


def is_given_up(seen: SeenReferrer, now: float) -> bool:
    """Tell whether an environment could not be reached for so long that it keeps nothing any more.

    One that is made of symbolic links would break if it came back, so it never is.
    """
    is_lost = seen.state is ReferrerState.UNREACHABLE and SYMLINK not in seen.uses.values()
    return is_lost and now - seen.last_seen_at > FORGOTTEN_AFTER_SECONDS


def left_alone(
    snapshot: Snapshot, planned: Collection[PlannedObject], *, pages: Collection[SeenPage] = ()
) -> tuple[str, ...]:
    """Give the projects that have no archive left, nor sdist or log, once what is planned and these pages are gone."""
    staying = snapshot.archives.keys() - {item.object.id for item in planned}
    alive = {name.pointer.project for name in snapshot.names if name.pointer.archive_id in staying}
    alive |= {page.project for page in snapshot.pages if page.kind is not PageKind.PAGE and page not in pages}
    return tuple(sorted(snapshot.projects - alive))


def stored_sdist(page: SeenPage) -> StoredSdist:
    """Give an sdist as what is told of it."""
    return StoredSdist(page.project, page.version, page.path, page.size_bytes)


def keep_sdist(page: SeenPage) -> KeptSdist:
    """Keep an sdist: where it stands it is found, to be built."""
    reason = KeepReason(KeepCode.POINTER, path=page.path, release=f"aioc clean {page.project}")
    return KeptSdist(stored_sdist(page), (reason,))


def _is_hash_name(name: SeenName | SeenTool) -> bool:
    return isinstance(name, SeenName) and name.kind is NameKind.HASH


def _by_name(name: SeenName | SeenTool) -> KeepReason:
    called = name.pointer.project if isinstance(name, SeenName) else (name.pointer and name.pointer.tool)
    return KeepReason(KeepCode.POINTER, path=name.path, release=f"aioc clean {called or name.object_id}")


def _by_lease(lease: SeenLease) -> KeepReason:
    if lease.holder is None:
        return KeepReason(KeepCode.LEASE, path=lease.id, release="the work of a newer aioc that holds this lease ends")
    holder = lease.holder
    process = f"process {holder.pid} on {holder.host}"
    release = f"the pipeline {holder.name} ({process}) drops it or ends" if holder.name else f"{process} ends"
    return KeepReason(KeepCode.LEASE, pid=holder.pid, command=holder.command, release=release)


def _by_process(process: SeenProcess) -> KeepReason:
    release = f"process {process.pid} ends"
    return KeepReason(KeepCode.RUNNING, pid=process.pid, command=process.command, release=release)


def _by_pin(pin: Pin) -> KeepReason:
    return KeepReason(KeepCode.PIN, via=(pin.name,), release=f"aioc unpin {quote(pin.name)}")


def _by_referrer(seen: SeenReferrer, link_mode: str) -> KeepReason:
    path = seen.referrer.path
    if seen.state is ReferrerState.UNREACHABLE:
        return KeepReason(
            KeepCode.REFERRER,
            path=path,
            via=(link_mode,),
            release=f"the environment can be reached again, or aioc forget {quote(path)}",
        )
    return KeepReason(
        KeepCode.REFERRER, path=path, via=(link_mode,), release=f"the environment goes: rm -r {quote(path)}"
    )
