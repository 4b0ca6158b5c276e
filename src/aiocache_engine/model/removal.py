"""What a clean or prune would take away and why, and what it did: plan and result, as values."""

from __future__ import annotations

import enum
from collections.abc import Callable

from aiocache_engine.model.names import fits
from aiocache_engine.model.records import Referrer
from aiocache_engine.model.snapshot import Leftover, SeenName, SeenObject, SeenPage, SeenReferrer, SeenTool
from aiocache_engine.model.value import value

VersionMatch = Callable[[str, str], bool]  #: (specifier set, version) -> whether it matches


class RemovalReason(enum.Enum):
    """Why something goes."""

    NAMED = "named"  #: a clean named it
    DEPENDENCY = "deps"  #: nothing but what a clean named needed it, or had it in it
    UNREACHABLE = "unreachable"  #: nothing refers to it
    ENVIRONMENTS_GONE = "environments-gone"  #: it was linked once, and all its environments are gone
    #: a cached environment that no request names, or a newer one, or whose interpreter is gone; an sdist that is built
    SUPERSEDED = "superseded"
    TOOLS = "tools"  #: a tool environment, where the policy takes them all
    UNUSED = "unused"  #: nobody used it for as long as the policy says
    SIZE = "size"  #: it was used least recently, and room was asked for
    CI = "ci"  #: it could be fetched again, where the policy keeps only what could not
    LEFTOVER = "leftover"  #: dead work left it
    OLD_FORMAT = "old-format"  #: an older release of ours made it


class KeepCode(enum.Enum):
    """What kind of root keeps something."""

    LEASE = "lease"
    REFERRER = "referrer"
    POINTER = "pointer"
    ENVIRONMENT = "environment"
    RUNNING = "running"
    PIN = "pin"
    RECENTLY_USED = "recently-used"
    UNKNOWN = "unknown"


@value
class KeepReason:
    """One root that keeps one thing, and what would release it."""

    code: KeepCode
    release: str  #: one sentence: what has to happen
    pid: int | None = None
    command: str | None = None
    path: str | None = None
    via: tuple[str, ...] = ()  #: the chain from the thing to the root, or how an environment was linked


@value(kw_only=True)
class PrunePolicy:
    """What a prune takes besides what nothing refers to. What is in use, or linked into an environment, stays."""

    takes_tools: bool = False  #: the environments of all tools
    #: of the environments made for one tool and interpreter only the newest stays, also with `takes_tools`
    keeps_latest: bool = False
    #: what nobody used for longer goes, and what was linked once and is in no environment any more stays until then;
    #: None: age is no matter
    unused_for_seconds: float | None = None
    is_ci: bool = False  #: all that could be fetched or made again, pages and bytecode too
    #: then what was used least recently, until the cache (as `CacheSize` counts) is no larger; None: any size will do
    max_size_bytes: int | None = None
    min_free_bytes: int | None = None  #: the same, until so much is free on its file system

    @property
    def has_goal(self) -> bool:
        """Tell whether it goes on until there is room enough."""
        return self.max_size_bytes is not None or self.min_free_bytes is not None


PLAIN = PrunePolicy()


@value(kw_only=True)
class CleanPolicy:
    """What a clean takes besides what it names."""

    #: what was in the environments that go, and what the archives that go need, if nothing else uses or needs it
    takes_dependencies: bool = False
    #: the bytes too of what running work uses, or an environment by symbolic links, and what is pinned; these are told
    takes_in_use: bool = False


NAMED_ALONE = CleanPolicy()


@value
class PlannedObject:
    """One object that shall go, with all that the scan found to lead to it."""

    object: SeenObject
    names: tuple[SeenName | SeenTool, ...]
    reason: RemovalReason
    containers: tuple[str, ...] = ()  #: ids of the cached environments it is in; they go before it, or it stays
    is_forced: bool = False  #: it goes whoever uses it
    in_spite_of: tuple[KeepReason, ...] = ()  #: who was seen to use it, where it is forced


@value
class Kept:
    """One object that stays although it was looked at, and all that keeps it."""

    object: SeenObject
    reasons: tuple[KeepReason, ...]
    is_condemned: bool  #: nothing but leases keeps it, or an environment that nothing else keeps: it goes when they end


@value
class StoredSdist:
    """An sdist in the cache, as one entry of what is told."""

    project: str
    version: str | None  #: None: its file name does not tell it
    path: str
    size_bytes: int

    kind = "sdist"
    id = None
    tool = None


@value
class KeptSdist:
    """One sdist that stays, and what keeps it."""

    object: StoredSdist
    reasons: tuple[KeepReason, ...]

    is_condemned = False


class TargetKind(enum.Enum):
    """What kind of thing a clean names."""

    PROJECT = "project"
    PATTERN = "pattern"  #: of the names of projects
    TOOL = "tool"  #: the environments that were made for it, and nothing else
    ID = "id"  #: one archive, with the cached environments it is in, or one cached environment


EVERY_PROJECT = "*"  #: the pattern of a clean that names an overlay and nothing in it


@value
class CleanTarget:
    """What a clean names: a project, and which of its versions; or something else, by its kind."""

    project: str  #: normalized; else the pattern, the tool or the id
    specifier: str | None  #: PEP 440 specifier set; None: all versions
    kind: TargetKind = TargetKind.PROJECT
    overlay: str | None = None  #: only what was added to this one; of a project, or of projects that fit a pattern

    def takes(self, project: str) -> bool:
        """Tell whether it means this project, or some version of it."""
        if self.kind is TargetKind.PATTERN:
            return fits(self.project, project)
        return self.kind is TargetKind.PROJECT and self.project == project


@value
class PlannedPage:
    """A page, or something else that is stored beside names, that shall go by itself."""

    page: SeenPage
    reason: RemovalReason


@value
class RemovalPlan:
    """A frozen list of what would go. Executing it checks every entry again, and takes no other archive or environment.

    Pages and metadata go as with any clean of its targets, also those that came since.
    """

    command: str  #: "clean" or "prune"
    objects: tuple[PlannedObject, ...]  #: environments before archives
    kept: tuple[Kept, ...]
    targets: tuple[CleanTarget, ...] = ()  #: of a clean; its names are listed again when they are taken
    is_everything: bool = False  #: a clean without arguments
    clean_policy: CleanPolicy = NAMED_ALONE  #: of a clean
    prune_policy: PrunePolicy = PLAIN  #: of a prune
    named: frozenset[str] = frozenset()  #: ids of all objects that a clean names, or takes a name from in an overlay
    dependencies: frozenset[str] = frozenset()  #: ids of all archives that these need or contain, whoever else does
    #: those of them, by id, that nothing but running environments which go uses: they lose their names as if named
    dependencies_in_use: tuple[CleanTarget, ...] = ()
    dangling: tuple[SeenName | SeenTool, ...] = ()  #: names whose object is gone
    projects: tuple[str, ...] = ()  #: that have no archive left: what else is stored for them goes too
    tools: tuple[str, ...] = ()  #: that have no name left
    overlays: tuple[str, ...] = ()  #: "name", or "name/project", of what has no name left
    pages: tuple[PlannedPage, ...] = ()  #: pages, metadata, sdists and logs that go by themselves
    sdists: tuple[KeptSdist, ...] = ()  #: that a prune leaves
    bytecode: tuple[PlannedObject, ...] = ()  #: archives that stay and lose their bytecode
    leftovers: tuple[Leftover, ...] = ()
    #: what an earlier clean condemned, and nobody uses any more: a clean frees it when it ends, planned or not
    condemned: tuple[PlannedObject, ...] = ()
    forgotten: tuple[SeenReferrer, ...] = ()  #: environments that are gone, or could not be reached for too long
    renamed: tuple[Referrer, ...] = ()  #: environments that are there under a new path, which their record shall say
    seen_again: tuple[str, ...] = ()  #: ids of environments that are there, where that has to be noted once more
    warnings: tuple[str, ...] = ()
    is_freed_exact: bool = True  #: as in `Removal`
    missing_bytes: int = 0  #: as in `Removal`
    unmatched: tuple[CleanTarget, ...] = ()  #: targets of a clean that match nothing
    near_names: tuple[str, ...] = ()  #: what they may have meant


@value
class Removed:
    """One entry that went, or in a dry run would go."""

    kind: str  #: "archive", "environment", "bytecode", "pointer", "page", "sdist", "pin", "leftover", "format"
    project: str | None
    version: str | None
    id: str | None
    file_count: int
    size_bytes: int  #: logical
    freed_bytes: int  #: allocated bytes of inodes whose last link went
    reason: RemovalReason
    tool: str | None = None  #: whose environment it was


@value
class Removal:
    """What a clean or prune did, or in a dry run would do."""

    command: str
    is_dry_run: bool
    removed: tuple[Removed, ...]
    kept: tuple[Kept, ...]
    waited_seconds: float
    longest_hold_seconds: float
    warnings: tuple[str, ...]
    near_names: tuple[str, ...]
    unmatched: tuple[CleanTarget, ...] = ()  #: targets of a clean that matched nothing
    is_freed_exact: bool = True  #: False: files may share their bytes with environments, so less may have been freed
    missing_bytes: int = 0  #: by which the goal of a prune was missed
    sdists: tuple[KeptSdist, ...] = ()  #: that a prune left

    @property
    def is_goal_met(self) -> bool:
        """Tell whether there is as much room as was asked for, if any was."""
        return self.missing_bytes == 0

    @property
    def freed_bytes(self) -> int:
        """All bytes that went from the disk."""
        return sum(entry.freed_bytes for entry in self.removed)
