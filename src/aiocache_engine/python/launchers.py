"""Scripts that start the functions named in entry_points.txt, and the first lines of scripts in general.

Follows the entry points specification and, for what an installer refuses, the trust rules: a name is one component of
a path, an object is a dotted identifier. Text in, text out; writing them is the pipeline's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_GROUPS = frozenset({"console_scripts", "gui_scripts"})
_NAME = re.compile(r"[^\s./\\:\x00-\x1f-][^/\\:\x00-\x1f]*")
_OBJECT = re.compile(
    r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*:\s*(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*(?:\[.*\])?"
)
_INTERPRETER_NAME = re.compile(r"pythonw?[\d.]*t?", re.IGNORECASE)
_SHEBANG_LIMIT_BYTES = 127  #: what old kernels read of a first line
_SHELL_SPECIAL = frozenset("\"$`\\'\n\r")


class EntryPointError(ValueError):
    """An entry_points.txt that no script can be made of safely."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One script that a distribution asks for."""

    name: str
    module: str
    attribute: str  #: dotted


def parse_scripts(entry_points: str) -> list[EntryPoint]:
    """Give the console and gui scripts of an entry_points.txt, each name once (the first counts).

    Raises:
        EntryPointError: a name is unsafe or an object reference malformed.
    """
    found: dict[str, EntryPoint] = {}
    group = ""
    for raw in entry_points.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
            continue
        if group not in _GROUPS:
            continue
        name, equals, reference = (part.strip() for part in line.partition("="))
        if not equals:
            raise EntryPointError(f"{line!r} is not of the form name = module:function")
        if not _NAME.fullmatch(name):
            raise EntryPointError(f"{name!r} cannot be the name of a script")
        if is_interpreter_name(name):
            raise EntryPointError(f"a script must not be called {name!r}, which is the interpreter's name")
        match = _OBJECT.fullmatch(reference)
        if match is None:
            raise EntryPointError(f"{reference!r} does not name a function as module:function")
        found.setdefault(name, EntryPoint(name, match["module"], match["attribute"]))
    return list(found.values())


def is_interpreter_name(name: str) -> bool:
    """Tell whether a script of that name would stand where an interpreter does: python, python3.11, pythonw."""
    return _INTERPRETER_NAME.fullmatch(name) is not None


def launcher(entry_point: EntryPoint, *, executable: str) -> bytes:
    """Write the script that imports the function and exits with what it returns.

    Raises:
        ValueError: the interpreter's path cannot stand in a script.
    """
    start = entry_point.attribute.split(".")[0]
    return (
        shebang(executable)
        + (
            f"import sys\n"
            f"from {entry_point.module} import {start}\n\n"
            f'if __name__ == "__main__":\n'
            f"    sys.exit({entry_point.attribute}())\n"
        ).encode()
    )


def shebang(executable: str) -> bytes:
    """Give the first line (or lines) that start a Python script with the interpreter.

    Raises:
        ValueError: the path holds characters that neither the kernel nor a shell line can carry.
    """
    plain = b"#!" + executable.encode() + b"\n"
    if len(plain) <= _SHEBANG_LIMIT_BYTES and not re.search(r"\s", executable):
        return plain
    if _SHELL_SPECIAL & set(executable):
        raise ValueError(f"{executable!r} is too long or holds a blank, and a character that a shell reads specially")
    # A shell sees `exec "…" "$0" "$@"`; Python sees a string between triple quotes, and goes on below it.
    return f"#!/bin/sh\n'''exec' \"{executable}\" \"$0\" \"$@\"\n' '''\n".encode()


def with_interpreter(script: bytes, *, executable: str) -> bytes | None:
    """Give a script of a wheel with its `#!python` line pointed at the interpreter; None if it has no such line."""
    first, newline, rest = script.partition(b"\n")
    if not first.startswith(b"#!python"):
        return None
    words = first[len(b"#!python") :].rstrip(b"\r")
    if words[:1] == b"w":
        words = words[1:]
    if words[:1] not in (b"", b" ", b"\t"):
        return None
    line = shebang(executable)
    arguments = words.strip()
    if arguments and line.count(b"\n") == 1:
        line = line[:-1] + b" " + arguments + b"\n"
    return line + (rest if newline else b"")
