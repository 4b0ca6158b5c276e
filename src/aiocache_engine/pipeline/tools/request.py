"""What a cached environment is asked for, and what that means: which interpreter, which indexes, under which digest.

Two requests of one digest get one environment, until it is refreshed. All of this is found out without starting the
interpreter and, for requirements that are a name with extras and versions, without a parser of them: a warm run has
nothing else to do.
"""

from __future__ import annotations

import os
import sys
import time

from aiocache_engine.config import absolute, current_directory
from aiocache_engine.errors import InvalidNameError, InvalidRequirementError
from aiocache_engine.model.names import digest, project_name
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.python.interpreter import identity_of

PYTHON = "python"  #: the command that is the interpreter itself
_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
_VERSION = frozenset(_NAME + "+!*")
_OPERATORS = ("===", "==", "~=", "!=", "<=", ">=", "<", ">")


@value
class EnvironmentRequest:
    """Everything that a cached environment is told."""

    requirement: str | None  #: whose environment it is, with its versions; None: nobody's, there is the interpreter
    additions: tuple[str, ...] = ()  #: requirements of what else shall be there
    python: str | None = None  #: an interpreter by path, command or version; None: the one that this program runs on
    refreshes: bool = False  #: ask the indexes, and make a new environment if they have something else by now
    is_isolated: bool = False  #: an environment for this use alone
    builds: bool = True  #: what is there only as source is built
    no_binary: tuple[str, ...] = ()  #: projects that are built, whatever wheels they have; ":all:": every one


@value
class Tool:
    """A request that was looked into. Nothing is looked up yet."""

    project: str  #: normalized; "python" where no project was named, "" for an environment that builds
    requirements: tuple[str, ...]  #: all of them
    executable: str  #: absolute path of the interpreter
    digest: str  #: of all that it depends on: 32 hexadecimal digits
    refreshes: bool
    is_isolated: bool
    started_at: float  #: monotonic seconds
    builds: bool = True  #: what is there only as source is built
    no_binary: tuple[str, ...] = ()  #: normalized, in order

    @property
    def what(self) -> str:
        """How those who wait for the environment are told of it."""
        return f"the environment of {self.project}" if self.project else "a build environment"


def look_into_environment(kit: Kit, request: EnvironmentRequest) -> Tool:
    """Find out what a request means.

    Raises:
        UsageError: it cannot be understood, as far as that shows without its requirements being read.
        InterpreterError: there is no such interpreter.
    """
    started_at = time.monotonic()
    executable = _executable(kit, request.python)
    requirement = request.requirement
    named = () if requirement is None else (requirement,)
    asked = [_normal_form(each) for each in named]
    added = sorted({_normal_form(each) for each in request.additions})
    kit.warn_of_empty_overlays()
    settings = kit.settings()
    indexes = [settings.strategy.value, *(index.digest for index in settings.indexes)]
    no_binary = tuple(sorted({each if each.startswith(":") else project_name(each) for each in request.no_binary}))
    rules = [*([] if request.builds else ["no build"]), *no_binary]
    parts = (asked, added, indexes, *([rules] if rules else []))
    return Tool(
        project=PYTHON if requirement is None else _project(kit, requirement, executable),
        requirements=(*named, *request.additions),
        executable=executable,
        digest=digest(identity_of(executable), *(word for part in parts for word in (str(len(part)), *part))),
        refreshes=request.refreshes,
        is_isolated=request.is_isolated,
        started_at=started_at,
        builds=request.builds,
        no_binary=no_binary,
    )


def _executable(kit: Kit, python: str | None) -> str:
    """Give the interpreter that is named, else the one that this program runs on, whichever environment is active."""
    if python is None:
        base: str = getattr(sys, "_base_executable", None) or sys.executable
        return base if os.path.exists(base) else sys.executable
    from aiocache_engine.python.target import find_python  # noqa: PLC0415 - most runs name none

    return find_python(python, kit.environ, current_directory())


def _project(kit: Kit, requirement: str, executable: str) -> str:
    """Give the project that a requirement names."""
    if (plain := _plain(requirement)) is not None:
        return plain[0]
    from aiocache_engine.pipeline.inputs.requirements import parse_requirement  # noqa: PLC0415 - most requirements are plain

    wanted = parse_requirement(requirement, kit.describe_interpreter(executable).markers)
    if wanted is None:
        raise InvalidRequirementError(requirement, "its marker says that it is not for this interpreter")
    return wanted.project


def _normal_form(requirement: str) -> str:
    """Write a requirement so that two ways of saying the same are the same text, as far as it is a plain one."""
    if (plain := _plain(requirement)) is not None:
        project, extras, versions = plain
        return f"{project}[{','.join(extras)}]{','.join(versions)}"
    text, location = _written(requirement)
    path = None if location is None else _path(location)
    if path is None:
        return text
    try:
        status = os.stat(path)
    except OSError:
        return f"{path} {text}"  # whoever reads the requirement says that it is not there
    return f"{path} {text} {status.st_size} {status.st_mtime_ns}"


def _written(requirement: str) -> tuple[str, str | None]:
    """Give the one spelling of a requirement that is not plain, and the path or URL in it."""
    # Whose requirement is not plain has to have it parsed in any case.
    from packaging.requirements import InvalidRequirement  # noqa: PLC0415

    from aiocache_engine.pipeline.inputs.pep508 import read_requirement  # noqa: PLC0415
    from aiocache_engine.pipeline.inputs.requirements import (  # noqa: PLC0415
        is_location,
        path_and_fragment,
        taken_apart,
        without_line_options,
    )

    as_given = " ".join(requirement.split())
    bare = without_line_options(requirement.strip())
    location, _, _ = taken_apart(bare)
    if is_location(location):
        return as_given, path_and_fragment(location)[0]
    try:
        parsed = read_requirement(bare)
        project, extras = project_name(parsed.name), sorted(map(project_name, parsed.extras))
    except (InvalidRequirement, InvalidNameError):
        return as_given, None  # whoever reads it says what is wrong with it
    if bare != requirement.strip():  # hashes follow it
        return as_given, parsed.url
    named = f"{project}[{','.join(extras)}]{','.join(sorted(map(str, parsed.specifier)))}"
    url = "" if parsed.url is None else f" @ {parsed.url}"
    return f"{named}{url}{'' if parsed.marker is None else f' ; {parsed.marker}'}", parsed.url


def _path(location: str) -> str | None:
    """Give the path of a file that lies on this machine; None: it does not."""
    if not location.lower().startswith("file:"):
        return None if "://" in location else absolute(os.path.expanduser(location))
    from aiocache_engine.index.urls import path_of_url  # noqa: PLC0415 - URLs are rare, urllib costs 5 ms

    try:
        return absolute(path_of_url(location))
    except ValueError:
        return None


def _plain(requirement: str) -> tuple[str, list[str], list[str]] | None:
    """Take apart a requirement that is a name with extras and versions; None: it is another, or none at all."""
    text = requirement.strip()
    name = text[: len(text) - len(text.lstrip(_NAME))]
    rest = text[len(name) :].strip()
    extras: list[str] = []
    try:
        if rest.startswith("["):
            inside, bracket, rest = rest[1:].partition("]")
            if not bracket:
                return None
            extras = [project_name(each.strip()) for each in inside.split(",") if each.strip()]
            rest = rest.strip()
        clauses = [_clause(each) for each in rest.split(",")] if rest else []
        return (project_name(name), sorted(extras), sorted(clauses)) if all(clauses) else None
    except InvalidNameError:
        return None


def _clause(text: str) -> str:
    """Write one clause of a specifier without blanks; "" where it is none."""
    bare = text.strip()
    operator = next((each for each in _OPERATORS if bare.startswith(each)), "")
    version = bare[len(operator) :].strip()
    return f"{operator}{version}" if operator and version and _VERSION.issuperset(version) else ""
