"""Read a lock file (PEP 751): which file of each package is installed for one interpreter. Nothing is resolved."""

from __future__ import annotations

import os
import tomllib

from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock, PylockSelectError, PylockValidationError
from packaging.tags import Tag
from packaging.utils import canonicalize_version

from aiocache_engine.errors import InvalidNameError, RequirementsFileError
from aiocache_engine.hints import Any, cast
from aiocache_engine.index.urls import called, direct_file
from aiocache_engine.model.names import file_name, sha256_hex
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Wanted


def read_pylock(path: str, interpreter: Interpreter) -> list[Wanted]:
    """Read which files a lock file names for an interpreter: of each package a wheel, else the sdist.

    Raises:
        RequirementsFileError: it cannot be read, is no lock file, does not suit the interpreter, or names something
            that is neither wheel nor sdist.
    """
    lock = _read(path)
    tags = [Tag(*tag.split("-", 2)) for tag in interpreter.tags]
    try:
        selected = list(lock.select(environment=cast("Any", dict(interpreter.markers)), tags=tags))
    except (PylockSelectError, ValueError) as error:
        raise RequirementsFileError(path, None, str(error)) from error
    except RecursionError:
        raise RequirementsFileError(path, None, "a marker in it is nested too deeply") from None
    return [_wanted(path, package, chosen) for package, chosen in selected]


def _read(path: str) -> Pylock:
    try:
        with open(path, "rb") as file:
            return Pylock.from_dict(tomllib.load(file))
    except OSError as error:
        raise RequirementsFileError(path, None, f"the lock file cannot be read: {error.strerror}") from error
    except (ValueError, PylockValidationError) as error:  # no TOML, no UTF-8, or a number without end
        raise RequirementsFileError(path, None, f"it is no lock file (PEP 751): {error}") from error
    except RecursionError:
        raise RequirementsFileError(path, None, "it is no lock file (PEP 751): it is nested too deeply") from None


def _wanted(path: str, package: Package, chosen: object) -> Wanted:
    name = f"{package.name}=={package.version}" if package.version else str(package.name)
    if not isinstance(chosen, PackageWheel | PackageSdist):
        raise RequirementsFileError(path, None, f"it names neither a wheel nor an sdist of {name}")
    kind = "wheel" if isinstance(chosen, PackageWheel) else "sdist"
    location = _location(path, chosen)
    if location is None:
        raise RequirementsFileError(path, None, f"it says of no place where the {kind} of {name} is")
    try:
        sha256 = sha256_hex(chosen.hashes["sha256"])
    except (KeyError, InvalidNameError) as error:
        raise RequirementsFileError(path, None, f"it gives no sha256 for the {kind} of {name}") from error
    try:
        location = called(location, file_name(chosen.filename, package.name).filename)
        direct_file(location)
    except (InvalidNameError, ValueError) as error:
        raise RequirementsFileError(path, None, f"the {kind} of {name} cannot be used: {error}") from error
    version = None if package.version is None else str(package.version)
    return Wanted(
        text=name,
        project=package.name,
        specifier=f"=={version}" if version else "",
        pinned=version and canonicalize_version(version),
        sha256s=frozenset({sha256}),
        url=location,
        origin=path,
        is_locked=True,
    )


def _location(path: str, file: PackageWheel | PackageSdist) -> str | None:
    """Give the place of a file: a path from the lock file's directory wins, since it needs no network."""
    if file.path is not None:
        local = os.path.join(os.path.dirname(os.path.abspath(path)), file.path)
        if os.path.exists(local) or file.url is None:
            return local
    return file.url
