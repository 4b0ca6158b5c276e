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
    held = find_held(kit, tool) or _make_held(kit, tool)
    _start(held, command, options.words[1:], terminal)


def read_words(options: RunOptions) -> tuple[str, EnvironmentRequest]:
    """Give the command that is meant, and the environment that it is to be found in.

    Raises:
        UsageError: the words cannot be meant.
    """
    word = options.words[0]
    name, at, version = word.partition("@")
    source, refreshes = options.source, options.refreshes
    if at and version == _LATEST:
        at, refreshes = "", True
    if source is not None:
        if at:
            raise UsageError(f"--from says which version is meant; give it there: --from '{source}=={version}' {name}")
    elif name == PYTHON:
        if at:
            raise UsageError("the interpreter is named by an option: `aioc run --python 3.12 python`")
    elif not _is_project(name):
        raise UsageError(f"{word!r} is no command; name what brings it, then the command: --from {word!r} COMMAND")
    elif at and not version:
        raise UsageError(f"a version is missing after the @ in {word!r}")
    else:
        source = f"{name}=={version}" if at else name
    request = EnvironmentRequest(source, options.additions, options.python, refreshes, options.is_isolated)
    return name, request


def _is_project(name: str) -> bool:
    return name.isascii() and name[:1].isalnum() and all(c.isalnum() or c in "._-" for c in name)


def _free_condemned(kit: Kit, terminal: Terminal) -> None:
    """Free what lost its last user meanwhile. A run has no end at which to do it, so it does it first (rule 35)."""
    try:
        free_condemned_now(kit)
    except CacheEngineError as error:  # which is no reason not to run
        terminal.warns(f"{error}; what was cleaned while in use is freed by another command")


def _make_held(kit: Kit, tool: Tool) -> HeldEnvironment:
    from aiocache_engine.cli.cold import hold_cold  # noqa: PLC0415 - a warm run has no event loop

    return hold_cold(kit, tool)


def _start(held: HeldEnvironment, command: str, arguments: tuple[str, ...], terminal: Terminal) -> None:
    path = held.command(command)
    terminal.close()
    INTERRUPTS.raise_held_back()
    try:
        become(path, arguments, held.variables(os.environ), inherited=held.descriptor)
    except OSError as error:
        raise CommandNotExecutableError(path, error.strerror or str(error)) from error
