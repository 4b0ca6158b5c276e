"""What a project's source tree says of its build (PEP 517, PEP 518), read and checked before anything of it is run.

Without a build system named, it is setuptools, as before these standards.
"""

from __future__ import annotations

import os
import re

from aiocache_engine.errors import BuildError
from aiocache_engine.hints import Any
from aiocache_engine.model.value import value
from aiocache_engine.system.disk import disk_error

_LEGACY_BACKEND = "setuptools.build_meta:__legacy__"
_SETUPTOOLS = "setuptools>=40.8.0"  #: the first that has the legacy backend
LONGEST_BYTES = 16 * 1024 * 1024  #: of a pyproject.toml
_LONGEST_QUOTE = 200  #: characters of it that a message repeats
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_BACKEND = re.compile(rf"{_DOTTED}(?::{_DOTTED})?")


@value
class BuildSystem:
    """Who builds a project, and what that needs."""

    requires: tuple[str, ...]  #: requirements (PEP 508), as written
    backend: str  #: "module" or "module:object"
    backend_path: tuple[str, ...]  #: directories below the project root that the backend is imported from


_LEGACY = BuildSystem(requires=(_SETUPTOOLS,), backend=_LEGACY_BACKEND, backend_path=())


def project_root(top: str, subdirectory: str, what: str) -> str:
    """Give where the project lies in an unpacked sdist; "" is its top.

    Raises:
        BuildError: there is no such directory in it.
    """
    root = os.path.join(top, subdirectory) if subdirectory else top
    if not os.path.isdir(root) or not _is_inside(subdirectory, top):
        raise BuildError(what, f"there is no directory {subdirectory} in it")
    return root


def read_build_system(root: str, what: str) -> BuildSystem:
    """Read what the project in the directory `root` says of its build; messages call it `what`.

    Raises:
        BuildError: it has neither pyproject.toml nor setup.py, or says what cannot be meant.
        DiskError: pyproject.toml cannot be read.
    """
    content = read_pyproject(root)
    if content is None:
        if not os.path.isfile(os.path.join(root, "setup.py")):
            raise BuildError(what, "it has neither pyproject.toml nor setup.py")
        return _LEGACY
    try:
        return _build_system(_table(content), root)
    except _ProjectError as error:
        raise BuildError(what, f"its pyproject.toml {error}") from error


def read_pyproject(root: str) -> bytes | None:
    """Give the pyproject.toml of the project in a directory, at most one byte more than it may have; None: it has none.

    Raises:
        DiskError: it cannot be read.
    """
    path = os.path.join(root, "pyproject.toml")
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, path) from error


class _ProjectError(ValueError):
    """What pyproject.toml says cannot be meant; the text goes on after its name."""


def _table(content: bytes) -> dict[str, Any] | None:
    """Give the table [build-system]; None where there is none."""
    import tomllib  # noqa: PLC0415 - only where something is built

    if len(content) > LONGEST_BYTES:
        raise _ProjectError("is too big to be true")
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # what is no UTF-8 is a ValueError as well
        raise _ProjectError(f"is malformed ({str(error) or 'nested too deeply'})") from error
    table = document.get("build-system")
    if table is not None and not isinstance(table, dict):
        raise _ProjectError("has a build-system that is no table")
    return table


def _build_system(table: dict[str, Any] | None, root: str) -> BuildSystem:
    if table is None:
        return _LEGACY
    if "requires" not in table:
        raise _ProjectError("lacks build-system.requires")
    requires = _texts(table, "requires")
    projects = {_project_of(requirement) for requirement in requires}
    backend = table.get("build-backend")
    if backend is None:
        if "backend-path" in table:
            raise _ProjectError("has a backend-path and no build-backend")
        requires = requires if "setuptools" in projects else (*requires, _SETUPTOOLS)
        return BuildSystem(requires=requires, backend=_LEGACY_BACKEND, backend_path=())
    if not isinstance(backend, str) or not _BACKEND.fullmatch(backend):
        raise _ProjectError(f"has a build-backend that is no module or object of one: {_shortened(backend)}")
    paths = _texts(table, "backend-path")
    for path in paths:
        if not _is_inside(path, root):
            raise _ProjectError(f"has a backend-path that leads out of the project: {_shortened(path)}")
    return BuildSystem(requires=requires, backend=backend, backend_path=paths)


def _texts(table: dict[str, Any], key: str) -> tuple[str, ...]:
    texts = table.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _ProjectError(f"has a build-system.{key} that is no list of texts")
    return tuple(texts)


def _project_of(requirement: str) -> str:
    from packaging.requirements import InvalidRequirement  # noqa: PLC0415 - only where something is built
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - as above

    from aiocache_engine.pipeline.inputs.pep508 import read_requirement  # noqa: PLC0415 - as above

    try:
        return canonicalize_name(read_requirement(requirement).name)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0]
        raise _ProjectError(f"requires {_shortened(requirement)} for builds, which cannot be read: {reason}") from error


def _is_inside(path: str, root: str) -> bool:
    """Tell whether a path below the root stays there once symbolic links are followed, as PEP 517 asks."""
    if os.path.isabs(path) or "\0" in path:
        return False
    real_root = os.path.realpath(root)
    return os.path.commonpath([real_root, os.path.realpath(os.path.join(real_root, path))]) == real_root


def _shortened(told: object) -> str:
    text = repr(told)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
