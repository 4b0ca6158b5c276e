"""What a scan saw: the frozen picture from which a clean or a prune is planned.

It was read without a lock, in the order stamps, leases, names, referrers (rule 28), so any part of it may be out of
date; what is planned from it is checked again, entry by entry, before anything is taken away.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from aiocache_engine.model.manifest import Totals
from aiocache_engine.model.records import Holder, NameKind, Pointer, Referrer
from aiocache_engine.model.value import value


@value
class SeenArchive:
    """One archive in its bucket."""

    id: str
    totals: Totals | None  #: None: its manifest cannot be read
    stamp: bytes
    last_used_at: float  #: seconds since the epoch
    is_linked: bool  #: a referrer was registered for it once


@value
class SeenName:
    """One name that leads to an archive."""

    kind: NameKind
    path: str  #: absolute
    pointer: Pointer
    content: bytes  #: as read: a name whose content changed since is not the planned one


@value
class SeenLease:
    """One lease that was alive, or of which that could not be told."""

    id: str
    holder: Holder | None
    objects: frozenset[str] | None  #: None: it cannot be read, so it covers everything

    def covers(self, object_id: str) -> bool:
        """Tell whether it protects the object."""
        return self.objects is None or object_id in self.objects


class ReferrerState(enum.Enum):
    """What became of a registered environment."""

    ALIVE = "alive"  #: it is there and bears its id
    MISSING = "missing"  #: its place is reachable, and it is not there
    UNREACHABLE = "unreachable"  #: nothing can be said: it counts as using all it was registered with


@value
class SeenReferrer:
    """One registered environment and what it uses."""

    referrer: Referrer
    state: ReferrerState
    uses: Mapping[str, str]  #: archive id -> link mode; empty where it is missing


@value
class Leftover:
    """Something that dead work left: a staging directory, an entry of trash, the file of a dead lease."""

    path: str
    kind: str  #: "staging", "trash", "lease", "temporary", "format"


@value
class Snapshot:
    """Everything a plan is made from."""

    archives: Mapping[str, SeenArchive]
    names: tuple[SeenName, ...]
    leases: tuple[SeenLease, ...]
    referrers: tuple[SeenReferrer, ...]
    unreadable_referrers: tuple[str, ...]  #: paths of records that only a newer release reads: they keep everything
    projects: frozenset[str]  #: every project that has a directory: names, pages, or nothing any more
    leftovers: tuple[Leftover, ...]
    damaged_referrers: tuple[str, ...] = ()  #: paths of records that nobody can read: they keep everything, too
