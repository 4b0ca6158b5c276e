"""Run one command: read its arguments, do it, and turn whatever goes wrong into a line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from aiocache_engine.cli import quick
from aiocache_engine.cli.commands import load
from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.interrupts import INTERRUPTS
from aiocache_engine.cli.options import Options
from aiocache_engine.cli.terminal import Terminal


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; gives the exit code. No error gets past it."""
    runs_tool = bool(arguments) and arguments[0] == "run"
    terminal = Terminal(is_json="--json" in arguments and not runs_tool)
    try:
        parsed = quick.parse(arguments) or _parse_fully(arguments)
        if isinstance(parsed, ExitCode):
            return parsed
        name, options = parsed
        terminal = Terminal(is_json=options.is_json, is_quiet=options.is_quiet, verbosity=options.verbosity)
        command = load(name)
        with INTERRUPTS.admitted():
            code = command.run(options, terminal)
    except BaseException as error:  # noqa: BLE001 - this is the end of the line for every error
        if os.environ.get("AIOC_DEBUG", "") not in ("", "0"):
            import traceback  # noqa: PLC0415 - only for those who debug

            terminal.close()
            traceback.print_exception(error, file=sys.stderr)
        return terminal.fails(error, runs_tool=runs_tool)
    finally:
        terminal.close()
    return ExitCode.DONE if code is None else code


def _parse_fully(arguments: Sequence[str]) -> tuple[str, Options] | ExitCode:
    from aiocache_engine.cli import app  # noqa: PLC0415 - typer takes longer to import than most commands to run

    return app.parse(arguments)
