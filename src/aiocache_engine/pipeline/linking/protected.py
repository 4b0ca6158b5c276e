"""What makes an environment one: no distribution brings it, replaces it or takes it along when it goes.

Judged by path alone, relative to the target's root, and without regard to case, which some file systems ignore.
"""

from __future__ import annotations

import re

from aiocache_engine.model.entry_points import is_interpreter_name
from aiocache_engine.python.environment import CONFIG
from aiocache_engine.python.installed import JOURNAL, MARKER

_RESERVED = (CONFIG, MARKER, JOURNAL)
_LINKED_LIBRARY = "lib64"  #: in an environment a link to lib
_ACTIVATION = re.compile(r"(?:de)?activate(?:_this)?(?:\.\w+)?", re.IGNORECASE)


def is_reserved(path: str) -> bool:
    """Tell whether a path is one that only this package and the makers of environments write."""
    return path.casefold().startswith(_RESERVED)


def is_needed(path: str, *, scripts: str) -> bool:
    """Tell whether the environment would break without what stands at the path.

    Args:
        path: the file.
        scripts: the directory of the interpreter and of the activation scripts.
    """
    if is_reserved(path) or path == _LINKED_LIBRARY:
        return True
    directory, _, name = path.rpartition("/")
    if directory.casefold() != scripts.casefold():
        return False
    return is_interpreter_name(name) or _ACTIVATION.fullmatch(name) is not None
