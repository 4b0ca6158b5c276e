"""What an sdist or its backend says of the wheel that will be built: whether it is of the right project and version."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from aiocache_engine.errors import BuildError, InvalidNameError
from aiocache_engine.hints import Final
from aiocache_engine.model.names import SdistName, project_name
from aiocache_engine.pipeline.inputs.pep440 import read_version
from aiocache_engine.pipeline.wheels.contents import read_headers, shortened
from aiocache_engine.system.disk import open_plain, translated

LONGEST_BYTES: Final = 32 * 1024 * 1024  #: of METADATA and PKG-INFO


def written_metadata(path: str, what: str) -> bytes:
    """Read METADATA that a backend wrote.

    Raises:
        BuildError: it is too long to be true.
        DiskError: it cannot be read.
    """
    with translated(path), open(open_plain(path), "rb") as file:
        content = file.read(LONGEST_BYTES + 1)
    if len(content) > LONGEST_BYTES:
        raise BuildError(what, f"its backend wrote METADATA of more than {LONGEST_BYTES // 1024**2} MiB")
    return content


def check_metadata(content: bytes, sdist: SdistName, what: str) -> None:
    """Check that METADATA or PKG-INFO is that of an sdist, by its file name.

    Raises:
        BuildError: it is not.
    """
    headers = read_headers(content)
    names, versions = headers.get("name", []), headers.get("version", [])
    if len(names) != 1 or len(versions) != 1:
        raise BuildError(what, "its metadata must have one Name and one Version")
    if not (_is_of(names[0], sdist.project) and is_version_of(versions[0], sdist.version)):
        told = f"{shortened(names[0])} {shortened(versions[0])}"
        raise BuildError(what, f"its metadata is for {told}, and its file name says something else")


def is_version_of(wheel: str, sdist: str) -> bool:
    """Tell whether a wheel may have this version: that of its sdist, which may get a local version added (PEP 440)."""
    try:
        made, source = read_version(wheel), read_version(sdist)
    except InvalidVersion:
        return wheel == sdist
    return made == source or (source.local is None and Version(made.public) == source)


def _is_of(name: str, project: str) -> bool:
    try:
        return project_name(name) == project
    except InvalidNameError:
        return False
