"""What people write where a requirement is meant and none stands, and what to write instead.

Only for messages and refusals: nothing is guessed to be meant. Imported where something was refused already, and for
words with a file's ending.
"""

from __future__ import annotations

import os
import re

from aiocache_engine.errors import InvalidRequirementError

_LONGEST = 120  #: characters; what is longer is not a slip of the pen
_SLIP = re.compile(r"([A-Za-z0-9][\w.-]*(?:\[[\w.,-]*\])?) ?(=[<>!~]?|[~!]|@| ) ?v?(\d[\w.+!*-]*)", re.ASCII)
_RANGE = re.compile(r"([A-Za-z0-9][\w.-]*(?:\[[\w.,-]*\])?) ?@ ?([<>=!~].*)", re.ASCII)
_OPERATORS = {"=<": "<=", "=>": ">=", "=!": "!=", "=~": "~=", "~": "~=", "!": "!="}
_ONE = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[\w.,-]*\])?(?:[<>=!~]{1,3}[\w.*+!-]+)?", re.ASCII)
_UNFINISHED = re.compile(r"[^;]*[<>=!~]")
FILE_ENDINGS = (".txt", ".in", ".toml", ".cfg", ".py")  #: of which `refuse_file` is to be asked
_OF_REQUIREMENTS = (".txt", ".in")
_OF_A_PROJECT = (".toml", ".cfg")


def advice(text: str) -> str | None:
    """Give what is wrong with a text that is no requirement, where that can be told better than by a grammar."""
    words = text.split()
    plain = " ".join(words)
    if not plain:
        return "it is empty"
    if len(plain) > _LONGEST:
        return None
    if slip := _SLIP.fullmatch(plain):
        name, operator, version = slip.groups()
        return f"write {name}{_OPERATORS.get(operator, '==')}{version}"
    if found := _RANGE.fullmatch(plain):
        return f"write {found[1]}{found[2]}"
    if _UNFINISHED.fullmatch(plain):
        return "a version is missing after the operator"
    several = len(words) > 1 and all(map(_ONE.fullmatch, words))
    return "a name has no blanks, and several requirements are given one by one" if several else None


def advice_on_directory(text: str) -> str | None:
    """Give the way from a source tree to its wheel, which can be taken; None: the text leads to no directory."""
    path = os.path.expanduser(text)
    if not os.path.isdir(path):
        return None
    spelled = text if text.startswith((".", "/", "~")) else f"./{text}"
    return f"it is a directory; build it by `aioc build {spelled.rstrip('/')}/`, and install the wheel"


def refuse_file(text: str) -> None:
    """Refuse the name of a file that was meant to be read: as a name of a project it would lead to a stranger's.

    Raises:
        InvalidRequirementError: it is one.
    """
    name = os.path.basename(text).lower()
    if name.endswith(_OF_REQUIREMENTS) or (name.startswith("pylock.") and name.endswith(".toml")):
        raise InvalidRequirementError(text, f"it names a file; write -r {text}")
    if name.endswith(_OF_A_PROJECT) or name == "setup.py":
        raise InvalidRequirementError(
            text, "it names a file of a project; name what is wanted, or leave the project to pip or uv"
        )
    # Some projects are called so (discord.py, say): what lies here tells what is meant.
    if name.endswith(".py") and os.path.isfile(text):
        raise InvalidRequirementError(
            text, f"it names a file that is here; write {text[: -len('.py')]}-py for the project of this name"
        )
