"""Find the code of a command by its name, importing no other command's."""

from __future__ import annotations

from importlib import import_module

from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.options import Options
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.hints import Any, Protocol, cast


class CommandModule(Protocol):
    """What the module of every command offers."""

    OPTIONS: type[Options]  #: the class of its options

    def run(self, options: Any, terminal: Terminal) -> ExitCode | None:
        """Do it, and show the result; errors are raised. Gives the exit code; None: done."""


def load(name: str) -> CommandModule:
    """Import the module of one command of the table."""
    return cast("CommandModule", import_module(f"aiocache_engine.cli.{name}"))


def options_class(name: str) -> type[Options]:
    """Give the class of one command's options."""
    return load(name).OPTIONS
