"""Versions as `packaging` reads them, where anybody may have written them."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from aiocache_engine.hints import Final

_LONGEST: Final = 640  #: characters; numbers of as many digits Python reads, whatever it was told (sys.int_info)


def read_version(text: str) -> Version:
    """Parse a version (PEP 440).

    Raises:
        InvalidVersion: it is malformed, or longer than any version is.
    """
    if len(text) > _LONGEST:
        raise InvalidVersion(f"it is longer than {_LONGEST} characters")
    return Version(text)
