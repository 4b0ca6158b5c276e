"""An interpreter, and a place into which distributions are installed for it."""

from __future__ import annotations

import enum

from aiocache_engine.model.value import value


@value
class Interpreter:
    """What probing an interpreter told."""

    executable: str  #: absolute path, links not resolved (a venv's python is not its base)
    base_executable: str  #: the interpreter that a new environment of it starts
    version: str  #: "3.11.7"
    implementation: str  #: "cpython"
    cache_tag: str  #: "cpython-311"
    magic: str  #: bytecode magic, hexadecimal
    prefix: str
    base_prefix: str
    externally_managed: str | None  #: the reason given by the EXTERNALLY-MANAGED file (PEP 668), "" where it gives none
    tags: tuple[str, ...]  #: supported wheel tags, best first, as "cp311-cp311-linux_x86_64"
    markers: dict[str, str]  #: the marker environment (PEP 508)
    scheme: dict[str, str]  #: its own absolute paths: purelib, platlib, scripts, data, headers
    venv_scheme: dict[str, str]  #: the paths of a new environment, relative to its root; headers without the project


class TargetKind(enum.Enum):
    """What a target is to the one who uses it."""

    ENVIRONMENT = "environment"  #: a virtual environment: it has a pyvenv.cfg
    PREFIX = "prefix"  #: an interpreter's own site
    DIRECTORY = "directory"  #: `--target DIR`: modules and scripts, no interpreter in it


@value
class Target:
    """A place outside the cache into which distributions are installed."""

    root: str  #: absolute
    kind: TargetKind
    interpreter: Interpreter
    purelib: str  #: absolute, as all that follow
    platlib: str
    scripts: str
    data: str
    headers: str  #: the project's name is appended to it

    def site_directories(self) -> tuple[str, ...]:
        """The directories that hold dist-infos, each once."""
        return (self.purelib,) if self.purelib == self.platlib else (self.purelib, self.platlib)


@value
class InstalledDistribution:
    """One distribution found in a target."""

    project: str  #: normalized
    version: str
    dist_info: str  #: absolute path of its .dist-info (or .egg-info) directory
    archive_id: str | None  #: the archive it was linked from; None: another tool installed it
    link_mode: str | None  #: "clone", "hardlink", "copy" or "symlink"; None as above


class LinkMode(enum.Enum):
    """How a file of the cache gets into an environment."""

    AUTO = "auto"  #: clone, else hard link, else copy, decided once per pair of file systems
    CLONE = "clone"
    HARDLINK = "hardlink"
    COPY = "copy"
    SYMLINK = "symlink"
