"""What an installation or a fetch is told, and what that means: read once, for the warm road and the long one alike.

A requirements file may be a pipe, and an environment may change between two looks: whatever both roads need is found
out here, and handed on as a value.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from aiocache_engine.config import current_directory
from aiocache_engine.errors import TargetError, UsageError
from aiocache_engine.hints import TYPE_CHECKING, TypeVar
from aiocache_engine.model.python import Interpreter, Target
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.deliver import Options, lock_path
from aiocache_engine.pipeline.inputs.requirements import one_per_project
from aiocache_engine.pipeline.inputs.requirements_file import Requested, read_requested
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.python.target import Place, TargetChoice, choose_target, find_python, open_target

if TYPE_CHECKING:
    from aiocache_engine.policy.resolution import Problem

Item = TypeVar("Item")


@value(kw_only=True)
class Inputs:
    """What is asked for, as it was told."""

    requirements: tuple[str, ...] = ()  #: requirement strings, and paths or URLs of wheels and sdists
    files: tuple[str, ...] = ()  #: requirements files and lock files
    constraints: tuple[str, ...] = ()  #: requirement strings that hold for a project only if it is needed
    constraint_files: tuple[str, ...] = ()
    follows_dependencies: bool = True
    requires_hashes: bool = False
    refreshes: bool = False  #: ask the indexes even where stored pages are fresh
    builds: bool = True  #: what is there only as source is built
    no_binary: tuple[str, ...] = ()  #: projects that are built, whatever wheels they have; ":all:": every one

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.no_binary and not self.builds:
            names = ", ".join(self.no_binary)
            raise UsageError(f"--no-binary wants {names} built, and --no-build rules that out; leave one of them out")


@value
class InstallRequest:
    """Everything that one installation is told."""

    inputs: Inputs
    target: TargetChoice
    options: Options


@value
class FetchRequest:
    """Everything that one fetch is told."""

    inputs: Inputs
    python: str | None  #: the interpreter that the wheels are for; None: the one that an installation would choose


@value
class Sought:
    """What is asked for, read: for one interpreter, with the markers of which everything was judged."""

    interpreter: Interpreter
    requested: Requested
    is_complete: bool  #: what is named is all that is wanted: nothing is to be resolved
    refreshes: bool

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """Each project that is named, once. What constrains another is left aside.

        Raises:
            InvalidRequirementError: two requirements contradict each other.
        """
        return one_per_project(self.requested.roots, self.requested.constraints)

    @property
    def problem(self) -> Problem:
        """What is to be resolved."""
        return problem_of(self.requested)


@value
class Installation:
    """An installation that was looked into: where to, what, and under which lock. Nothing is changed yet."""

    place: Place
    target: Target  #: as it is, or as it would be made
    sought: Sought
    lock_path: str  #: of the environment
    options: Options
    started_at: float  #: monotonic seconds

    @property
    def what(self) -> str:
        """How those who wait for its lock are told of it."""
        return f"the installation into {self.target.root}"


@value
class Fetching:
    """A fetch that was looked into: what, and for which interpreter."""

    sought: Sought
    started_at: float  #: monotonic seconds


def problem_of(requested: Requested) -> Problem:
    """Say what is to be resolved of what was read."""
    from aiocache_engine.policy.resolution import Problem  # noqa: PLC0415 - a complete list is not resolved

    return Problem(
        roots=requested.roots,
        constraints=requested.constraints,
        takes_pre_releases=requested.options.pre,
        requires_hashes=requested.options.require_hashes,
    )


def listed(what: str, given: Iterable[Item]) -> tuple[Item, ...]:
    """Give the texts of a list. One text alone is refused: its letters are names too, and those projects strangers'.

    Raises:
        UsageError: it is no list.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise UsageError(f"{what} is to be a list of texts, and {given!r} is none; write [{given!r}]")
    return tuple(given)


def inputs_of(
    requirements: Iterable[str],
    files: Iterable[str],
    constraints: Iterable[str],
    constraint_files: Iterable[str],
    *,
    follows_dependencies: bool = True,
    requires_hashes: bool = False,
    refreshes: bool = False,
    builds: bool = True,
    no_binary: Iterable[str] = (),
) -> Inputs:
    """Give what is asked for as a value, its lists read once.

    Raises:
        UsageError: one of them is no list, or what is to be built must not be.
    """
    return Inputs(
        requirements=listed("requirements", requirements),
        files=listed("files", files),
        constraints=listed("constraints", constraints),
        constraint_files=listed("constraint_files", constraint_files),
        follows_dependencies=follows_dependencies,
        requires_hashes=requires_hashes,
        refreshes=refreshes,
        builds=builds,
        no_binary=listed("no_binary", no_binary),
    )


def target_choice(given: TargetChoice | None) -> TargetChoice:
    """Give where to install to; None: wherever it is found.

    Raises:
        UsageError: it is something else.
    """
    if given is not None and not isinstance(given, TargetChoice):
        raise UsageError(f"a target is told as TargetChoice(venv={given!r}), or with python= or target=")
    return given or TargetChoice()


def look_into_install(kit: Kit, request: InstallRequest) -> Installation:
    """Find out what an installation means.

    Raises:
        UsageError: a requirement or file cannot be understood.
        TargetError, InterpreterError: the target cannot be used.
    """
    started_at = time.monotonic()
    place = choose_target(request.target, kit.environ, current_directory(), kit.describe_interpreter)
    target = open_target(place, kit.describe_interpreter)
    return Installation(
        place=place,
        target=target,
        sought=_read(kit, request.inputs, target.interpreter),
        lock_path=lock_path(kit.cache, target),
        options=request.options,
        started_at=started_at,
    )


def look_into_fetch(kit: Kit, request: FetchRequest) -> Fetching:
    """Find out what a fetch means.

    Raises:
        UsageError: a requirement or file cannot be understood.
        InterpreterError: the interpreter cannot be used.
    """
    started_at = time.monotonic()
    return Fetching(_read(kit, request.inputs, interpreter_for(kit, request.python)), started_at)


def _read(kit: Kit, inputs: Inputs, interpreter: Interpreter) -> Sought:
    kit.warn_of_empty_overlays()
    requested = read_requested(
        inputs.requirements,
        inputs.files,
        inputs.constraint_files,
        constraints=inputs.constraints,
        interpreter=interpreter,
        environ=kit.environ,
        requires_hashes=inputs.requires_hashes,
        builds=inputs.builds,
        no_binary=inputs.no_binary,
    )
    is_complete = requested.is_locked or not inputs.follows_dependencies
    return Sought(interpreter, requested, is_complete, inputs.refreshes)


def interpreter_for(kit: Kit, python: str | None) -> Interpreter:
    """Describe the interpreter that wheels are fetched or built for: the one named, else that of `install`.

    Raises:
        InterpreterError: it cannot be used.
    """
    if python is not None:
        return kit.describe_interpreter(find_python(python, kit.environ, current_directory(), kit.describe_interpreter))
    try:
        place = choose_target(TargetChoice(break_system_packages=True), kit.environ, current_directory())
        return open_target(place, kit.describe_interpreter).interpreter
    except (TargetError, UsageError):  # no place to install into is no reason not to fetch
        return kit.describe_interpreter(sys.executable)
