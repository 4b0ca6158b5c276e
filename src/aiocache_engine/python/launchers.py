"""Scripts that start the functions named in entry_points.txt, and the first lines of scripts in general.

Values in, bytes out; which names are allowed is decided by `model.entry_points`, writing is the pipeline's business.
"""

from __future__ import annotations

import re

from aiocache_engine.model.entry_points import EntryPoint

_SHEBANG_LIMIT_BYTES = 127  #: what old kernels read of a first line
_SHELL_SPECIAL = frozenset("\"$`\\'\n\r")
_BLANK = re.compile(r"\s")


class LauncherError(ValueError):
    """The interpreter's path cannot stand in the first line of a script."""


def launcher(entry_point: EntryPoint, *, executable: str) -> bytes:
    """Give the script that imports the function and exits with what it returns.

    Raises:
        LauncherError: no first line can start that interpreter.
    """
    start = entry_point.attribute.partition(".")[0]
    body = (
        "import sys\n"
        f"from {entry_point.module} import {start}\n\n"
        'if __name__ == "__main__":\n'
        f"    sys.exit({entry_point.attribute}())\n"
    )
    return shebang(executable) + body.encode()


def shebang(executable: str) -> bytes:
    """Give the first line (or lines) that start a Python script with the interpreter.

    Raises:
        LauncherError: the path holds characters that neither the kernel nor a shell line can carry.
    """
    plain = b"#!" + executable.encode() + b"\n"
    if len(plain) <= _SHEBANG_LIMIT_BYTES and not _BLANK.search(executable):
        return plain
    if _SHELL_SPECIAL & set(executable):
        raise LauncherError(f"{executable!r} is too long or holds a blank, and a character special to shells")
    # A shell sees `exec "…" "$0" "$@"`; Python sees a string between triple quotes, and goes on below it.
    return f"#!/bin/sh\n'''exec' \"{executable}\" \"$0\" \"$@\"\n' '''\n".encode()


def with_interpreter(script: bytes, *, executable: str) -> bytes | None:
    """Give a script of a wheel with its `#!python` line pointed at the interpreter; None if it has no such line.

    Raises:
        LauncherError: no first line can start that interpreter.
    """
    first, newline, rest = script.partition(b"\n")
    match = re.fullmatch(rb"#!pythonw?(?:[ \t]+(.*?))?\s*", first)
    if match is None:
        return None
    line = shebang(executable)
    if match[1] and line.count(b"\n") == 1:  # the kernel takes one argument; a shell line has its own
        line = line[:-1] + b" " + match[1] + b"\n"
    return line + (rest if newline else b"")
