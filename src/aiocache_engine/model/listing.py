"""What is in the cache and who uses it, as values for reports."""

from __future__ import annotations

from aiocache_engine.model.records import Member
from aiocache_engine.model.value import value


@value
class Entry:
    """One entry of the cache."""

    kind: str  #: "archive", "environment", "sdist"
    project: str | None  #: normalized; None where its manifest cannot be read, and of an environment
    version: str | None
    filename: str | None  #: of the wheel or sdist
    id: str  #: "" of an sdist, which is found by its file name alone
    file_count: int
    size_bytes: int
    last_used_at: float  #: seconds since the epoch
    tool: str | None = None  #: which one a cached environment was made for; "": it is for builds
    distributions: tuple[Member, ...] = ()  #: what is in a cached environment
    overlays: tuple[str, ...] = ()  #: which ones an archive was added to
    is_condemned: bool = False  #: it was cleaned, has no name any more, and goes when its last user does


@value
class LeaseInfo:
    """One live lease."""

    id: str
    pid: int | None  #: None where neither its record nor the system tells
    command: str | None
    since: float | None  #: seconds since the epoch; None where its record cannot be read
    objects: tuple[str, ...] | None  #: ids of archives and cached environments; None: unknown, it may be everything
    size_bytes: int  #: of all these, what environments share with archives counted once
    name: str | None = None  #: of a pipeline; None: it is the lease of one call, or of a tool
    is_of_newer_release: bool = False  #: which says in its record what this one cannot read


@value
class LockInfo:
    """One process that holds a lock file of the cache."""

    file: str
    mode: str  #: "shared" or "exclusive"
    pid: int
    command: str | None


@value
class ProcessInfo:
    """One process that lives in a cached environment, and that no lease names."""

    pid: int
    command: str | None
    environment_id: str


@value
class Usage:
    """Who uses the cache now."""

    leases: tuple[LeaseInfo, ...]
    locks: tuple[LockInfo, ...]
    processes: tuple[ProcessInfo, ...] = ()


@value
class CacheSize:
    """How much the cache holds, as its manifests say."""

    size_bytes: int
    file_count: int
    entry_count: int
    buckets: dict[str, int]  #: bytes by bucket
