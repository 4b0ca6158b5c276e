"""entry_points.txt, and which of its scripts may become commands ("Entry points specification", PyPA)."""

from __future__ import annotations

import keyword
import re
from typing import NamedTuple

SCRIPT_GROUPS = ("console_scripts", "gui_scripts")

_REFERENCE = re.compile(r"([\w.]+)\s*:\s*([\w.]+)\s*(?:\[[\w\s,.-]*\])?")
#: what an interpreter, or the environment around it, is called; everything else with "python" in it may be a command
_INTERPRETER = re.compile(r"(?:python|pypy)w?[0-9.]*[dtw]*(?:-config)?(?:\.exe)?", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\:]")
_LONGEST_NAME = 200  #: bytes


class EntryPoint(NamedTuple):
    """A command that a distribution wants: "name = module:attribute"."""

    group: str  #: "console_scripts" or "gui_scripts"
    name: str  #: the command
    module: str  #: dotted
    attribute: str  #: dotted, within the module


class EntryPointError(ValueError):
    """A script that must not be made, or a file that cannot be understood."""


def script_entry_points(text: str) -> list[EntryPoint]:
    """Give the scripts of an entry_points.txt; other groups are left to those who read them.

    Raises:
        EntryPointError: a line is malformed, or a script's name or object reference is unsafe.
    """
    found: dict[str, EntryPoint] = {}
    group = ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            if not line.endswith("]"):
                raise EntryPointError(f"{line!r} opens no group")
            group = line[1:-1].strip()
            continue
        if group not in SCRIPT_GROUPS:
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise EntryPointError(f"{line!r} names no object")
        point = EntryPoint(group, check_script_name(name), *_reference(name, value))
        if found.setdefault(name, point)[2:] != point[2:]:
            raise EntryPointError(f"the script {name!r} is defined twice")
    return list(found.values())


def pip_entry_points(points: list[EntryPoint], python: str) -> list[EntryPoint]:
    """Give pip its commands for one Python ("3.11"): its wheel cannot know which, so installers name them.

    Others that pip's wheel lists with a number (pip3, pip3.9) are those of the Python that built it.
    """
    plain = [point for point in points if not re.fullmatch(r"pip\d[\d.]*", point.name)]
    pip = [point for point in plain if point.name == "pip"]
    numbers = (python.partition(".")[0], python)
    return plain + [point._replace(name=f"pip{number}") for point in pip for number in numbers]


def check_script_name(name: str) -> str:
    """Give the name back if a command may be called so.

    Raises:
        EntryPointError: it is no single path component, is hidden, looks like an option, or is an interpreter's.
    """
    if not name or name[0] in ".-" or name[-1] in ". " or _UNSAFE.search(name) or len(name.encode()) > _LONGEST_NAME:
        raise EntryPointError(f"{name!r} cannot be the name of a script")
    if is_interpreter_name(name):
        raise EntryPointError(f"the script {name!r} would replace the interpreter")
    return name


def is_interpreter_name(name: str) -> bool:
    """Tell whether an interpreter, or what belongs to it, is called so."""
    return _INTERPRETER.fullmatch(name) is not None


def _reference(name: str, value: str) -> tuple[str, str]:
    match = _REFERENCE.fullmatch(value)
    if match is None or not all(_is_name(part) for group in match.groups() for part in group.split(".")):
        raise EntryPointError(f"the script {name!r} does not name a function: {value!r}")
    return match[1], match[2]


def _is_name(part: str) -> bool:
    """Tell whether the launcher, which is Python source, can spell it."""
    return part.isidentifier() and not keyword.iskeyword(part)
