"""What the small documents of the cache say: names, leases, referrers, pins. How they are written: see the store."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from aiocache_engine.model.value import value


class NameKind(enum.Enum):
    """What a name is made of."""

    INDEX = "index"  #: index + file
    OVERLAY = "overlay"  #: overlay + file
    BUILT = "built"  #: what it was built of, and how
    HASH = "hash"  #: a wheel's hash; findable by it, kept by nothing


@value
class FileKey:
    """One file of one index: what a pointer is found by."""

    project: str  #: normalized
    index: str  #: digest of the index
    filename: str
    sha256: str | None  #: as page or requirement give it; None where neither does


@value
class Pointer:
    """The content of a name that leads to an archive."""

    archive_id: str
    project: str
    version: str
    filename: str
    sha256: str  #: of the wheel file
    etag: str  #: validators of a file that its page lists without a hash, "" otherwise
    last_modified: str


@value
class Member:
    """One distribution of a cached environment or of a pin."""

    project: str  #: normalized
    version: str
    archive_id: str  #: where it lies, unpacked


@value
class ToolCommand:
    """One command that a cached environment has."""

    name: str
    path: str  #: below the environment, "bin/ruff"
    project: str  #: which of its members gives it


@value
class EnvironmentPointer:
    """The content of a name that leads to a cached environment: enough to run a tool, and to judge the environment."""

    environment_id: str
    tool: str  #: normalized project name; "": it is for builds, and no tool's
    digest: str  #: of all that was asked for (for builds, of all that is in it), 32 hexadecimal digits
    executable: str  #: absolute path of the interpreter that it was made for
    members: tuple[Member, ...]
    commands: tuple[ToolCommand, ...]
    created_at: float  #: seconds since the epoch


@value
class EnvironmentManifest:
    """The description that lies beside a cached environment and tells of it when no name does any more."""

    tool: str  #: normalized project name; "": it is for builds
    digest: str  #: as above
    executable: str  #: absolute path of the interpreter that it was made for
    members: tuple[Member, ...]
    file_count: int
    size_bytes: int  #: sum of the sizes of its files
    own_bytes: int  #: of those that were not hard-linked from an archive
    is_cloned: bool  #: some of them may share their bytes with an archive, as clones do


@value
class Holder:
    """Who holds a lease, as its record tells."""

    pid: int
    started_at: float  #: to be compared for equality only
    host: str
    machine_id: str
    boot_id: str
    pid_namespace: int | None  #: None where there are no namespaces
    command: str
    since: float  #: seconds since the epoch
    name: str = ""  #: of a pipeline; "" of any other lease


@value
class Referrer:
    """A registered environment outside the cache."""

    id: str  #: also written into the environment
    path: str
    site_directories: tuple[str, ...]  #: absolute; where its dist-infos stand
    device: int
    inode: int
    machine_id: str
    mount_namespace: int | None  #: None where there are no namespaces
    archives: Mapping[str, str]  #: link mode by id; used when the environment itself cannot be read
    registered_at: float  #: seconds since the epoch
    stamp: str  #: fresh at every registration


@value
class Pin:
    """A root made by hand: what it names stays, with its names."""

    name: str  #: by which it is taken off
    archives: tuple[Member, ...]
    pinned_at: float  #: seconds since the epoch

    def covers(self, archive_id: str) -> bool:
        """Tell whether it keeps an archive."""
        return any(each.archive_id == archive_id for each in self.archives)

    def without(self, archive_ids: frozenset[str]) -> Pin:
        """Give what is left of it when these are gone."""
        left = tuple(each for each in self.archives if each.archive_id not in archive_ids)
        return Pin(self.name, left, self.pinned_at)
