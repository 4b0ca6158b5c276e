"""What the exit code of a command says, and which one an error gives."""

from __future__ import annotations

import enum

from aiocache_engine.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    LockTimeoutError,
    UsageError,
    single_errors,
)


class ExitCode(enum.IntEnum):
    """The documented exit codes."""

    DONE = 0  #: what is in use may have been kept, and is reported
    FAILED = 1
    USAGE = 2
    GOAL_NOT_MET = 4  #: `prune`: not as much room as was asked for
    LOCK_TIMEOUT = 11
    RUN_FAILED = 125  #: `run` did not come as far as the tool
    NOT_EXECUTABLE = 126  #: `run`: the command is there and cannot be started
    NOT_FOUND = 127  #: `run`: the environment has no such command
    INTERRUPTED = 130


def exit_code_of(error: BaseException) -> ExitCode:
    """Give the exit code for an error; a group whose members differ has simply failed."""
    codes = {_single(part) for part in single_errors(error)}
    return codes.pop() if len(codes) == 1 else ExitCode.FAILED


def run_exit_code_of(error: BaseException) -> ExitCode:
    """Give the exit code of a `run` that failed itself: one that tools do not use, as far as that is possible."""
    match error:
        case CommandNotFoundError():
            return ExitCode.NOT_FOUND
        case CommandNotExecutableError():
            return ExitCode.NOT_EXECUTABLE
        case _:
            code = exit_code_of(error)
            return code if code is ExitCode.INTERRUPTED else ExitCode.RUN_FAILED


def _single(error: BaseException) -> ExitCode:
    match error:
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case UsageError():
            return ExitCode.USAGE
        case LockTimeoutError():
            return ExitCode.LOCK_TIMEOUT
        case _:
            return ExitCode.FAILED
