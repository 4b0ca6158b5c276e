"""Which archives are kept, and by what: reachability from the roots of a snapshot."""

from __future__ import annotations

from collections import defaultdict

from aiocache_engine.model.records import NameKind
from aiocache_engine.model.removal import KeepCode, KeepReason
from aiocache_engine.model.snapshot import ReferrerState, SeenLease, SeenName, SeenReferrer, Snapshot

SYMLINK = "symlink"
CLONE = "clone"


class Marks:
    """The roots of every archive in one snapshot, each kind by itself; a policy decides which of them count."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._unreadable_leases = [lease for lease in snapshot.leases if lease.objects is None]
        self._leases: dict[str, list[SeenLease]] = defaultdict(list)
        for lease in snapshot.leases:
            for object_id in lease.objects or ():
                self._leases[object_id].append(lease)
        self._names: dict[str, list[SeenName]] = defaultdict(list)
        for name in snapshot.names:
            self._names[name.pointer.archive_id].append(name)
        self._referrers: dict[str, list[tuple[SeenReferrer, str]]] = defaultdict(list)
        for seen in snapshot.referrers:
            for archive_id, link_mode in seen.uses.items():
                self._referrers[archive_id].append((seen, link_mode))

    def names(self, archive_id: str) -> tuple[SeenName, ...]:
        """Every name that leads to the archive, hash names last: a crash then leaves it findable, not half-named."""
        return tuple(sorted(self._names[archive_id], key=lambda name: name.kind is NameKind.HASH))

    def is_leased(self, archive_id: str) -> bool:
        """Tell whether any live lease covers the archive."""
        return bool(self._unreadable_leases or self._leases[archive_id])

    def leases(self, archive_id: str) -> list[KeepReason]:
        """Give the live leases on the archive, as reasons."""
        return [_by_lease(lease) for lease in (*self._leases[archive_id], *self._unreadable_leases)]

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
                release="use the newer aioc that wrote this record of an environment, or remove the file",
            )
            for path in self._snapshot.unreadable_referrers
        ]
        reasons += [
            KeepReason(
                KeepCode.UNKNOWN,
                path=path,
                release=f"the record of an environment is damaged: remove the file {path} if no environment made with "
                "--link-mode symlink needs it",
            )
            for path in self._snapshot.damaged_referrers
        ]
        return reasons

    def is_cloned(self, archive_id: str) -> bool:
        """Tell whether an environment may share the bytes of the archive's files, though not the files."""
        return any(link_mode == CLONE for _, link_mode in self._referrers[archive_id])

    def pointers(self, archive_id: str) -> list[KeepReason]:
        """Give the names that keep the archive (all but hash names), as reasons."""
        return [
            KeepReason(KeepCode.POINTER, path=name.path, release=f"aioc clean {name.pointer.project}")
            for name in self._names[archive_id]
            if name.kind is not NameKind.HASH
        ]


def _by_lease(lease: SeenLease) -> KeepReason:
    if lease.holder is None:
        return KeepReason(KeepCode.LEASE, path=lease.id, release="the work of a newer aioc that holds this lease ends")
    return KeepReason(
        KeepCode.LEASE,
        pid=lease.holder.pid,
        command=lease.holder.command,
        release=f"process {lease.holder.pid} on {lease.holder.host} ends",
    )


def _by_referrer(seen: SeenReferrer, link_mode: str) -> KeepReason:
    path = seen.referrer.path
    if seen.state is ReferrerState.UNREACHABLE:
        return KeepReason(
            KeepCode.REFERRER, path=path, via=(link_mode,), release=f"the environment can be reached again: {path}"
        )
    return KeepReason(KeepCode.REFERRER, path=path, via=(link_mode,), release=f"the environment goes: rm -r {path}")
