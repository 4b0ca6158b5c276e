"""What fetching and installing did, as values for reports."""

from __future__ import annotations

from aiocache_engine.model.value import value


@value
class Obtained:
    """One distribution that is in the cache now."""

    project: str  #: normalized
    version: str
    archive_id: str
    origin: str  #: "cache", "index", "built" or "overlay"


@value
class Named:
    """One distribution by name and version."""

    project: str  #: normalized
    version: str


@value
class Added:
    """One wheel that is in an overlay now."""

    project: str  #: normalized
    version: str
    archive_id: str
    filename: str
    overlay: str
    path: str  #: of the wheel, as it was named


@value
class AddReport:
    """What was added to an overlay."""

    overlay: str
    added: tuple[Added, ...]  #: in the order in which they were named
    total_seconds: float


@value
class ResolveReport:
    """One version of every project that is needed."""

    pins: tuple[Named, ...]  #: by name
    asked: tuple[str, ...]  #: the projects that were named; the others are dependencies
    warnings: tuple[str, ...]
    total_seconds: float


@value
class FetchReport:
    """What a fetch did."""

    fetched: tuple[Obtained, ...]
    resolve_seconds: float
    fetch_seconds: float
    total_seconds: float
    warnings: tuple[str, ...] = ()


@value
class InstallReport:
    """What an installation did, or in a dry run would do."""

    target: str  #: absolute path of the environment or directory
    is_target_new: bool  #: it was made for this
    is_dry_run: bool
    installed: tuple[Obtained, ...]
    removed: tuple[Named, ...]
    unchanged: tuple[Named, ...]
    link_mode: str | None  #: "clone", "hardlink", "copy" or "symlink"; None: nothing was linked
    warnings: tuple[str, ...]
    resolve_seconds: float
    fetch_seconds: float
    link_seconds: float
    total_seconds: float


@value
class BuiltWheel:
    """One wheel that was built, or had been."""

    source: str  #: as it was named; of a directory its path
    project: str  #: normalized
    version: str
    path: str  #: of the wheel file
    origin: str  #: "cache" or "built"
    log: str | None  #: path of what its backend printed; None: it is not there any more
    seconds: float  #: from the call on


@value
class FailedBuild:
    """One source of which no wheel could be built."""

    source: str  #: as it was named; of a directory its path
    message: str  #: one line
    log: str | None  #: path of what its backend printed; None: it printed nothing, or a clean took it
    last_lines: tuple[str, ...]  #: the end of that


@value
class BuildReport:
    """What became of all that was to be built, in its order."""

    built: tuple[BuiltWheel, ...]
    failed: tuple[FailedBuild, ...]
    wheel_dir: str  #: absolute path of the directory of the wheels
    total_seconds: float


@value(kw_only=True)
class SourceReport:
    """What an sdist says of itself and of its build."""

    source: str  #: as it was named
    project: str  #: normalized
    version: str
    filename: str
    sha256: str
    path: str | None  #: of the copy that was asked for
    build_requires: tuple[str, ...]  #: requirements of its build before its backend can be asked anything (PEP 518)
    backend_requires: tuple[str, ...] | None  #: those that its backend adds (PEP 517); None: it was not asked
    requires: tuple[str, ...] | None  #: those of any wheel built of it; None: only its backend knows (PEP 643)
    requires_python: str | None  #: of any such wheel; None also where only its backend knows
    total_seconds: float
