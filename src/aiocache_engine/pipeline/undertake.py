"""What an installation or a fetch is told, and what that means: read once, for the warm road and the long one alike.

A requirements file may be a pipe, and an environment may change between two looks: whatever both roads need is found
out here, and handed on as a value.
"""

from __future__ import annotations

import os
import sys
import time

from aiocache_engine.errors import TargetError
from aiocache_engine.model.python import Interpreter, Target
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.deliver import Options, lock_path
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.requirements import parse_all
from aiocache_engine.python.target import Place, TargetChoice, choose_target, find_python, open_target


@value
class InstallRequest:
    """Everything that one installation is told."""

    requirements: tuple[str, ...]  #: requirement strings, and paths or URLs of wheels
    files: tuple[str, ...]  #: requirements files
    target: TargetChoice
    options: Options
    refreshes: bool  #: ask the indexes even where stored pages are fresh


@value
class FetchRequest:
    """Everything that one fetch is told."""

    requirements: tuple[str, ...]
    files: tuple[str, ...]
    python: str | None  #: the interpreter that the wheels are for; None: the one that an installation would choose
    refreshes: bool


@value
class Installation:
    """An installation that was looked into: where to, what, and under which lock. Nothing is changed yet."""

    place: Place
    target: Target  #: as it is, or as it would be made
    wanted: tuple[Wanted, ...]
    lock_path: str  #: of the environment
    options: Options
    refreshes: bool
    started_at: float  #: monotonic seconds

    @property
    def what(self) -> str:
        """How those who wait for its lock are told of it."""
        return f"the installation into {self.target.root}"


@value
class Fetching:
    """A fetch that was looked into: what, and for which interpreter."""

    interpreter: Interpreter
    wanted: tuple[Wanted, ...]
    refreshes: bool
    started_at: float  #: monotonic seconds


def look_into_install(kit: Kit, request: InstallRequest) -> Installation:
    """Find out what an installation means.

    Raises:
        UsageError: a requirement or file cannot be understood.
        TargetError, InterpreterError: the target cannot be used.
    """
    started_at = time.monotonic()
    place = choose_target(request.target, kit.environ, os.getcwd())
    target = open_target(place, kit.describe_interpreter)
    return Installation(
        place=place,
        target=target,
        wanted=parse_all(request.requirements, request.files, target.interpreter.markers, environ=kit.environ),
        lock_path=lock_path(kit.cache, target),
        options=request.options,
        refreshes=request.refreshes,
        started_at=started_at,
    )


def look_into_fetch(kit: Kit, request: FetchRequest) -> Fetching:
    """Find out what a fetch means.

    Raises:
        UsageError: a requirement or file cannot be understood.
        InterpreterError: the interpreter cannot be used.
    """
    started_at = time.monotonic()
    interpreter = _fetch_interpreter(kit, request.python)
    wanted = parse_all(request.requirements, request.files, interpreter.markers, environ=kit.environ)
    return Fetching(interpreter, wanted, request.refreshes, started_at)


def _fetch_interpreter(kit: Kit, python: str | None) -> Interpreter:
    """Describe the interpreter that wheels are fetched for: the one named, else the one that `install` would use.

    Raises:
        InterpreterError: it cannot be used.
    """
    if python is not None:
        return kit.describe_interpreter(find_python(python, kit.environ, os.getcwd()))
    try:
        place = choose_target(TargetChoice(break_system_packages=True), kit.environ, os.getcwd())
        return open_target(place, kit.describe_interpreter).interpreter
    except TargetError:  # no place to install into is no reason not to fetch
        return kit.describe_interpreter(sys.executable)
