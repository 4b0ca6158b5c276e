"""What a project's source tree says of its build (PEP 517, PEP 518), read and checked before anything of it is run.

Without a build system named, it is setuptools, as before these standards.
"""

from __future__ import annotations

import os
import re

from aiocache_engine.errors import BuildError
from aiocache_engine.hints import Any
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.builds.pyproject import PyprojectError, read_pyproject

_LEGACY_BACKEND = "setuptools.build_meta:__legacy__"
_SETUPTOOLS = "setuptools>=40.8.0"  #: the first that has the legacy backend
_LONGEST_QUOTE = 200  #: characters of it that a message repeats
_MOST_REQUIRED = 1000  #: requirements of a build
_LONGEST_PATH = 4096  #: characters of a backend-path; as many as systems take, and of the name of a backend
_MOST_PATHS = 100  #: entries of a backend-path
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
    try:
        document = read_pyproject(root)
        if document is not None:
            return _build_system(_table(document), root)
    except PyprojectError as error:
        raise BuildError(what, f"its pyproject.toml {error}") from error
    if not os.path.isfile(os.path.join(root, "setup.py")):
        raise BuildError(what, "it has neither pyproject.toml nor setup.py")
    return _LEGACY


def _table(document: dict[str, Any]) -> dict[str, Any] | None:
    """Give the table [build-system]; None where there is none."""
    table = document.get("build-system")
    if table is not None and not isinstance(table, dict):
        raise PyprojectError("has a build-system that is no table")
    return table


def _build_system(table: dict[str, Any] | None, root: str) -> BuildSystem:
    if table is None:
        return _LEGACY
    if "requires" not in table:
        raise PyprojectError("lacks build-system.requires")
    requires = _texts(table, "requires", _MOST_REQUIRED)
    projects = {_project_of(requirement) for requirement in requires}
    backend = table.get("build-backend")
    if backend is None:
        if "backend-path" in table:
            raise PyprojectError("has a backend-path and no build-backend")
        requires = requires if "setuptools" in projects else (*requires, _SETUPTOOLS)
        return BuildSystem(requires=requires, backend=_LEGACY_BACKEND, backend_path=())
    if not isinstance(backend, str) or len(backend) > _LONGEST_PATH or not _BACKEND.fullmatch(backend):
        raise PyprojectError(f"has a build-backend that is no module or object of one: {_shortened(backend)}")
    paths = _texts(table, "backend-path", _MOST_PATHS)
    if sum(map(len, paths)) > _LONGEST_PATH:
        raise PyprojectError(f"has a build-system.backend-path of more than {_LONGEST_PATH} characters")
    for path in paths:
        if not _is_inside(path, root):
            raise PyprojectError(f"has a backend-path that leads out of the project: {_shortened(path)}")
    return BuildSystem(requires=requires, backend=backend, backend_path=paths)


def _texts(table: dict[str, Any], key: str, most: int) -> tuple[str, ...]:
    texts = table.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise PyprojectError(f"has a build-system.{key} that is no list of texts")
    if len(texts) > most:
        raise PyprojectError(f"has a build-system.{key} of {len(texts)} entries; {most} are allowed")
    return tuple(texts)


def _project_of(requirement: str) -> str:
    from packaging.requirements import InvalidRequirement  # noqa: PLC0415 - only where something is built
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - as above

    from aiocache_engine.pipeline.inputs.pep508 import read_requirement  # noqa: PLC0415 - as above

    try:
        return canonicalize_name(read_requirement(requirement).name)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0]
        raise PyprojectError(
            f"requires {_shortened(requirement)} for builds, which cannot be read: {reason}"
        ) from error


def _is_inside(path: str, root: str) -> bool:
    """Tell whether a path below the root stays there once symbolic links are followed, as PEP 517 asks."""
    if os.path.isabs(path) or "\0" in path:
        return False
    real_root = os.path.realpath(root)
    return os.path.commonpath([real_root, os.path.realpath(os.path.join(real_root, path))]) == real_root


def _shortened(told: object) -> str:
    text = repr(told)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
