"""pyproject.toml as strangers write it: read in a time that grows with its length alone, or refused."""

from __future__ import annotations

import os
import re

from aiocache_engine.hints import Any, Final
from aiocache_engine.system.disk import disk_error

_LONGEST_BYTES: Final = 1024 * 1024
_MOST_PARTS: Final = 32  #: of a dotted key; each is looked up below all before it, so their number counts twice
#: Strings and comments, begun where TOML begins them. What is not ended reaches to the end of its line, or of all, so
#: that nothing is read twice.
_TEXT: Final = re.compile(
    r'''"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5}|\\?\Z)|"(?:[^"\\\n]++|\\[^\n])*+"?'''
    r"""|'''(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)|'[^'\n]*+'?|\#[^\n]*+""",
    re.DOTALL,
)
_LONG_KEY: Final = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}", re.ASCII)


class PyprojectError(ValueError):
    """What pyproject.toml says cannot be meant; the text goes on after its name."""


def read_pyproject(root: str) -> dict[str, Any] | None:
    """Read the pyproject.toml of the project in a directory; None: it has none.

    Raises:
        PyprojectError: it is malformed, or of no size that anybody means.
        DiskError: it cannot be read.
    """
    import tomllib  # noqa: PLC0415 - only where something is built

    path = os.path.join(root, "pyproject.toml")
    try:
        with open(path, "rb") as file:
            content = file.read(_LONGEST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, path) from error
    if len(content) > _LONGEST_BYTES:
        raise PyprojectError("is too big to be true")
    try:
        text = content.decode("utf-8")
        document = None if has_long_key(text) else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # what is no UTF-8 is a ValueError as well
        raise PyprojectError(f"is malformed ({str(error) or 'nested too deeply'})") from error
    if document is None:
        raise PyprojectError(f"has a key of more than {_MOST_PARTS} parts")
    return document


def has_long_key(text: str) -> bool:
    """Tell whether TOML has a dotted key of more parts than anybody writes; tomllib would take forever over it."""
    return _LONG_KEY.search(_TEXT.sub("text", text)) is not None
