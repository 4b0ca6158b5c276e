"""What the exit code of a command says, and which one an error gives."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from aiocache_engine.errors import LockTimeoutError, UsageError


class ExitCode(enum.IntEnum):
    """The documented exit codes."""

    DONE = 0  #: what is in use may have been kept, and is reported
    FAILED = 1
    USAGE = 2
    LOCK_TIMEOUT = 11
    INTERRUPTED = 130


def flatten(error: BaseException) -> Iterator[BaseException]:
    """Give the single errors of a group, however deep, each message once."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    seen: set[tuple[type, str]] = set()
    for part in error.exceptions:
        for single in flatten(part):
            if (key := (type(single), str(single))) not in seen:
                seen.add(key)
                yield single


def exit_code_of(error: BaseException) -> ExitCode:
    """Give the exit code for an error; a group whose members differ has simply failed."""
    codes = {_single(part) for part in flatten(error)}
    return codes.pop() if len(codes) == 1 else ExitCode.FAILED


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
