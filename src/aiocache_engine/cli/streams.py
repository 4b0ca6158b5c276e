"""The one door to stdout and stderr: whatever a command says is written here, help and version included.

Writes at once. A reader that has gone (a closed pipe) is nobody's fault, and neither is a stream that is closed. That
one stays closed for a tool that takes this process's place, and no file of ours ever gets its number.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as in `typing`, whose import `aioc --version` is spared
if TYPE_CHECKING:
    from typing import TextIO


def occupy_closed() -> None:
    """Take the numbers of the standard streams that are closed, so that no file that is opened later gets one.

    A lease would: it is inherited, and what a tool prints would be written into it. These ends are not inherited.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one


def write_result(text: str) -> None:
    """Write on stdout.

    Raises:
        DiskError: stdout cannot be written.
    """
    if (error := _write(sys.stdout, text)) is not None:
        from aiocache_engine.errors import DiskError  # noqa: PLC0415 - only where it is needed: see the version

        raise DiskError("stdout", f"the result could not be written: {error.strerror}") from error


def write_message(text: str) -> None:
    """Write on stderr; what cannot be said there cannot be said at all."""
    _write(sys.stderr, text)


def _write(stream: TextIO | None, text: str) -> OSError | None:
    if stream is None:
        return None
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        return error
    return None


def _silence(stream: TextIO) -> None:
    """Point the stream at nothing, or the interpreter would complain about it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
