"""What a scan saw: the frozen picture from which a clean or a prune is planned.

It was read without a lock, in the order stamps, leases, names, environments, referrers, processes (rule 28), so any
part of it may be out of date; what is planned from it is checked again, entry by entry, before anything is taken away.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from aiocache_engine.model.manifest import Totals
from aiocache_engine.model.records import (
    EnvironmentManifest,
    EnvironmentPointer,
    Holder,
    NameKind,
    Pin,
    Pointer,
    Referrer,
)
from aiocache_engine.model.value import field, value


@value
class SeenArchive:
    """One archive in its bucket."""

    id: str
    totals: Totals | None  #: None: its manifest cannot be read
    stamp: bytes
    last_used_at: float  #: seconds since the epoch
    is_linked: bool  #: a referrer was registered, or a tool environment published, for it once

    kind = "archive"
    tool = None  #: no archive is one tool's alone

    @property
    def project(self) -> str | None:
        """Whose distribution it is; None where its manifest cannot be read."""
        return self.totals.project if self.totals is not None else None

    @property
    def version(self) -> str | None:
        """Its version; None as above."""
        return self.totals.version if self.totals is not None else None

    @property
    def size_bytes(self) -> int:
        """The logical size of its files, as far as that is known."""
        return self.totals.size_bytes if self.totals is not None else 0


@value
class SeenEnvironment:
    """One cached environment in its bucket."""

    id: str
    path: str  #: absolute, of the object's directory
    manifest: EnvironmentManifest | None  #: None: it cannot be read
    stamp: bytes
    last_used_at: float  #: seconds since the epoch
    is_new: bool = False  #: it appeared while the scan was under way, so it counts as used

    kind = "environment"
    project = None  #: it is several projects'
    version = None

    @property
    def tool(self) -> str | None:
        """For which tool it was made, "" for builds; None where its manifest cannot be read."""
        return self.manifest.tool if self.manifest is not None else None

    @property
    def size_bytes(self) -> int:
        """The logical size of its files, as far as that is known."""
        return self.manifest.size_bytes if self.manifest is not None else 0


SeenObject = SeenArchive | SeenEnvironment


@value
class Need:
    """One project that the distribution in an archive needs, whatever the platform; extras are left out."""

    project: str  #: normalized
    specifier: str  #: PEP 440 specifier set, "" where any version will do


@value
class SeenName:
    """One name that leads to an archive."""

    kind: NameKind
    path: str  #: absolute
    pointer: Pointer
    content: bytes  #: as read: a name whose content changed since is not the planned one
    overlay: str = ""  #: which one it stands in, if it does in any

    @property
    def object_id(self) -> str:
        """What it leads to."""
        return self.pointer.archive_id


FileIdentity = tuple[int, int, int]  #: inode, size and time of the last change in nanoseconds


@value
class SeenTool:
    """One name that leads to a cached environment: from a tool and what was asked of it, or from what builds need."""

    path: str  #: absolute
    pointer: EnvironmentPointer | None  #: None: it cannot be read, so that it leads nowhere
    content: bytes | None  #: as read; None: it is no regular file
    identity: FileIdentity  #: of the file, taken before it was read: one that replaces it has another
    is_runnable: bool  #: False: the interpreter that its environment was made for is gone

    @property
    def object_id(self) -> str | None:
        """What it leads to; None: nowhere."""
        return self.pointer.environment_id if self.pointer is not None else None

    @property
    def is_for_builds(self) -> bool:
        """Tell whether it leads to an environment for builds."""
        return self.pointer is not None and not self.pointer.tool


class PageKind(enum.Enum):
    """What is stored for a project beside names. All but pages is worth keeping where no archive is there."""

    PAGE = "page"  #: of an index, or the metadata of one file
    SDIST = "sdist"  #: as it was downloaded
    LOG = "log"  #: of a failed build


@value
class SeenPage:
    """One stored page of an index, or something else that no name leads to."""

    path: str  #: absolute
    project: str
    last_used_at: float  #: seconds since the epoch; when it was written, or read where the file system notes that
    kind: PageKind = PageKind.PAGE
    version: str | None = None  #: of an sdist, where its file name tells it
    size_bytes: int = 0  #: of an sdist


@value
class SeenLease:
    """One lease that was alive, or of which that could not be told."""

    id: str
    holder: Holder | None
    objects: frozenset[str] | None  #: None: it cannot be read, so it covers everything

    def covers(self, object_id: str) -> bool:
        """Tell whether it protects the object."""
        return self.objects is None or object_id in self.objects


@value
class SeenProcess:
    """One running process that was seen to use a cached environment, whatever became of the lease."""

    pid: int
    command: str | None  #: as a person would type it; None: it cannot be read


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
    last_seen_at: float = 0.0  #: when it was registered, or last seen by a prune; seconds since the epoch
    is_renamed: bool = False  #: it was found at another path than its record says


@value
class Leftover:
    """Something that dead work left: a staging directory, an entry of trash, the file of a dead lease."""

    path: str
    kind: str  #: "staging", "trash", "lease", "temporary", "format", "bytecode"


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
    environments: Mapping[str, SeenEnvironment] = field(default_factory=dict)
    tools: tuple[SeenTool, ...] = ()
    tool_directories: frozenset[str] = frozenset()  #: the name of every tool that has a directory: names, or nothing
    #: by the id of a cached environment; those alone may have been looked for that would have gone without
    processes: Mapping[str, tuple[SeenProcess, ...]] = field(default_factory=dict)
    pages: tuple[SeenPage, ...] = ()
    overlays: frozenset[str] = frozenset()  #: every directory in the bucket of overlays: "name", and "name/project"
    taken_at: float = 0.0  #: seconds since the epoch
    needs: Mapping[str, tuple[Need, ...]] = field(default_factory=dict)  #: by archive; empty where nobody asked
    pins: tuple[Pin, ...] = ()
    unreadable_pins: tuple[str, ...] = ()  #: paths of pins that are damaged, or only a newer release reads: as above

    def is_pinned(self, archive_id: str) -> bool:
        """Tell whether an archive is pinned, or may be."""
        return bool(self.unreadable_pins) or any(pin.covers(archive_id) for pin in self.pins)
