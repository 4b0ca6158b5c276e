"""`aioc run`: find the cached environment of a tool, or make it, and become the tool."""

from __future__ import annotations

import os

from aiocache_engine.cli.interrupts import INTERRUPTS
from aiocache_engine.cli.options import Options
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.errors import CacheEngineError, CommandNotExecutableError, UsageError
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.kit import Kit, open_kit
from aiocache_engine.pipeline.tools.environment import HeldEnvironment, find_held
from aiocache_engine.pipeline.tools.request import PYTHON, EnvironmentRequest, Tool, look_into_environment
from aiocache_engine.system.handover import become

_LATEST = "latest"


@value(kw_only=True)
class RunOptions(Options):
    """What `run` may be told."""

    words: tuple[str, ...] = ()  #: the tool, and what it is told
    source: str | None = None
    additions: tuple[str, ...] = ()
    python: str | None = None
    refreshes: bool = False
    is_isolated: bool = False


OPTIONS = RunOptions


def run(options: RunOptions, terminal: Terminal) -> None:
    """Become the tool. Comes back only by an error."""
    if not options.words:
        raise UsageError("no tool is named; say `aioc run TOOL`, such as `aioc run cowsay -t hello`")
    command, request = read_words(options)
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    _free_condemned(kit, terminal)
    tool = look_into_environment(kit, request)
    arguments = options.words[1:]
    _start(find_held(kit, tool) or _make_held(kit, tool), command, arguments, terminal)
    raise _start(_make_held(kit, tool), command, arguments, terminal)


def read_words(options: RunOptions) -> tuple[str, EnvironmentRequest]:
    """Give the command that is meant, and the environment that it is to be found in.

    Raises:
        UsageError: the words cannot be meant.
    """
    word, source, python = options.words[0], options.source, options.python
    name, interpreter = word.partition("@")[0], _interpreter(word.partition("@")[0])
    if not _can_be_meant(word, interpreter, source, python):
        from aiocache_engine.cli.run_mistakes import mistake  # noqa: PLC0415 - only where something is refused

        raise mistake(word, source, python, is_interpreter=interpreter is not None)
    if interpreter is not None:
        name, python = PYTHON, interpreter or python
    elif source is None:
        source = word
    refreshes = options.refreshes or any(map(_is_latest, (word, source or "", *options.additions)))
    requirement = None if source is None else _as_requirement(source)
    additions = tuple(map(_as_requirement, options.additions))
    return name, EnvironmentRequest(requirement, additions, python, refreshes, options.is_isolated)


def _can_be_meant(word: str, interpreter: str | None, source: str | None, python: str | None) -> bool:
    """Tell whether nothing is named twice, and nothing strange."""
    name, at, version = word.partition("@")
    names_version = at != "" and version != _LATEST
    if interpreter is not None:
        return not names_version and (not interpreter or python in (None, interpreter))
    if source is not None:
        return not names_version and name.strip() != "" and not name.startswith("-")
    return _is_project(name) and not name.endswith(".py") and (not names_version or _is_version(version))


def _interpreter(name: str) -> str | None:
    """Give the version that the name of an interpreter tells, which may be ""; None: it is the name of another tool."""
    version = name.removeprefix(PYTHON)
    if version == name:
        return None
    if version in ("", "3"):
        return ""
    return version if "." in version and all(each.isdecimal() for each in version.split(".")) else None


def _as_requirement(text: str) -> str:
    """Write NAME@VERSION and NAME@latest as requirements; anything else is left to whoever reads those."""
    name, at, version = text.partition("@")
    if not at or not _is_project(name.partition("[")[0].strip()):
        return text
    if _is_latest(text):
        return name
    return f"{name.rstrip()}=={version.strip()}" if _is_version(version.strip()) else text


def _is_latest(text: str) -> bool:
    return text.partition("@")[2].strip() == _LATEST


def _is_project(name: str) -> bool:
    return name.isascii() and name[:1].isalnum() and all(c.isalnum() or c in "._-" for c in name)


def _is_version(text: str) -> bool:
    """Tell a version from a URL, a range and nonsense, as far as that can be told without a parser of versions."""
    return text.isascii() and text.removeprefix("v")[:1].isdigit() and all(c.isalnum() or c in "._-+!*" for c in text)


def _free_condemned(kit: Kit, terminal: Terminal) -> None:
    """Free what lost its last user meanwhile. A run has no end at which to do it, so it does it first (rule 35)."""
    try:
        free_condemned_now(kit)
    except CacheEngineError as error:  # which is no reason not to run
        terminal.warns(f"{error}; what was cleaned while in use is freed by another command")


def _make_held(kit: Kit, tool: Tool) -> HeldEnvironment:
    from aiocache_engine.cli.cold import hold_cold  # noqa: PLC0415 - a warm run has no event loop

    return hold_cold(kit, tool)


def _start(
    held: HeldEnvironment, command: str, arguments: tuple[str, ...], terminal: Terminal
) -> CommandNotExecutableError:
    """Become the command. Comes back with why it was not started only where the environment has lost a file."""
    try:
        path = held.command(command)
        terminal.close()
        INTERRUPTS.raise_held_back()
        try:
            become(path, arguments, held.variables(os.environ), inherited=held.descriptor)
        except OSError as error:
            failure = CommandNotExecutableError(path, error.strerror or str(error))
            if held.is_complete():
                raise failure from error
            return failure
    finally:
        held.release()
