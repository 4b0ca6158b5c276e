"""Names from the outside world, and the one road on which they become something safe to use in a path.

Everything that is built from an index page, a requirement or a wheel passes through here before a path is made of it.
Follows PEP 503 (project names) and the formats of wheels and sdists (file names).
"""

from __future__ import annotations

import os
from contextlib import suppress

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.digests import sha256_of
from aiocache_engine.model.value import value

_DIGITS = "0123456789"
_LETTERS_AND_DIGITS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + _DIGITS
_IN_PROJECTS = _LETTERS_AND_DIGITS + "._-"
_IN_SEGMENTS = _LETTERS_AND_DIGITS + "_.+!-"
_IN_VERSIONS = _LETTERS_AND_DIGITS + "_.!+"
_IN_TAGS = _LETTERS_AND_DIGITS + "_"
_HEXADECIMAL = _DIGITS + "abcdef"
_SDIST_SUFFIXES = (".tar.gz", ".zip")
_LONGEST_SEGMENT = 240  #: bytes; file systems stop at 255, and our own suffixes need room
_TOO_LONG = f"at most {_LONGEST_SEGMENT} characters are allowed"


def _is_of(text: str, characters: str) -> bool:
    """Tell whether the text is made of these characters alone, and of at least one."""
    return bool(text) and not text.strip(characters)


def project_name(text: str) -> str:
    """Give the normalized name of a project (PEP 503).

    Raises:
        InvalidNameError: the text is no project name.
    """
    if len(text) > _LONGEST_SEGMENT:
        raise InvalidNameError("project name", text, _TOO_LONG)
    if not (_is_of(text, _IN_PROJECTS) and _is_of(text[0] + text[-1], _LETTERS_AND_DIGITS)):
        raise InvalidNameError("project name", text, "letters, digits and single . _ - between them are allowed")
    parts = text.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(part for part in parts if part)


def project_pattern(text: str) -> str:
    """Give the normalized pattern of names of projects: with * for any characters, and ? for one.

    Raises:
        InvalidNameError: the text is no such pattern.
    """
    if not _is_of(text, _IN_PROJECTS + "*?") or len(text) > _LONGEST_SEGMENT:
        raise InvalidNameError("pattern of projects", text, "letters, digits, . _ - and * or ? are allowed")
    parts = text.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(part for part in parts if part)


def fits(pattern: str, project: str) -> bool:
    """Tell whether the name of a project fits a pattern."""
    from fnmatch import fnmatchcase  # noqa: PLC0415 - only where somebody cleaned by a pattern

    return fnmatchcase(project, pattern)


def safe_segment(text: str) -> str:
    """Give the text back if it is safe as one component of a path below the cache dir.

    Raises:
        InvalidNameError: it is empty, too long, hidden, or holds a character that has a meaning in paths.
    """
    if len(text) > _LONGEST_SEGMENT:
        raise InvalidNameError("safe file name", text, _TOO_LONG)
    if not (_is_of(text, _IN_SEGMENTS) and text[0] in _IN_TAGS) or text.endswith("."):
        raise InvalidNameError("safe file name", text, "it must not be used in a path")
    return text


def overlay_name(text: str) -> str:
    """Give the name of an overlay back if it may be one.

    Raises:
        InvalidNameError: it may not.
    """
    if not (_is_of(text, _IN_PROJECTS) and text[0] in _LETTERS_AND_DIGITS) or text.endswith("."):
        raise InvalidNameError("name of an overlay", text, "letters, digits and . _ - after the first are allowed")
    if len(text) > _LONGEST_SEGMENT:
        raise InvalidNameError("name of an overlay", text, _TOO_LONG)
    return text


def sha256_hex(text: str) -> str:
    """Give a SHA-256 in lower-case hexadecimal, checked.

    Raises:
        InvalidNameError: it is not 64 hexadecimal digits.
    """
    lowered = text.lower()
    if not (len(lowered) == 64 and _is_of(lowered, _HEXADECIMAL)):  # noqa: PLR2004 - as in the message
        raise InvalidNameError("sha256", text, "64 hexadecimal digits are expected")
    return lowered


def new_object_id() -> str:
    """Make a random id: 32 hexadecimal digits, never used twice."""
    return os.urandom(16).hex()


def is_object_id(text: object) -> bool:
    """Tell whether the text has the form of an object id."""
    return isinstance(text, str) and len(text) == 32 and _is_of(text, _HEXADECIMAL)  # noqa: PLR2004 - as `new_object_id` makes them


def digest(*parts: str) -> str:
    """Give a short path-safe digest of the parts (32 hexadecimal digits); their order and borders count."""
    return sha256_of("\0".join(parts).encode())[:32]


@value
class WheelName:
    """A wheel's file name, taken apart (binary distribution format, "File name convention")."""

    filename: str
    project: str  #: normalized
    version: str  #: as the file name spells it
    build: str  #: build tag, "" where there is none
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    def tags(self) -> list[str]:
        """Every combination that the compressed tag set stands for, as "py3-none-any"."""
        return [f"{py}-{abi}-{plat}" for py in self.pythons for abi in self.abis for plat in self.platforms]


def wheel_name(filename: str) -> WheelName:
    """Parse a wheel's file name.

    Raises:
        InvalidNameError: it does not follow the convention, or is unsafe in a path.
    """
    if not filename.endswith(".whl"):
        raise InvalidNameError("wheel file name", filename, "it must end in .whl")
    parts = filename[: -len(".whl")].split("-")
    if len(parts) not in (5, 6):
        raise InvalidNameError("wheel file name", filename, "name-version(-build)-python-abi-platform.whl is expected")
    name, version, *build, pythons, abis, platforms = parts
    tags = [tag for compressed in (pythons, abis, platforms) for tag in compressed.split(".")]
    if not _is_of(version, _IN_VERSIONS) or not all(_is_of(tag, _IN_TAGS) for tag in tags):
        raise InvalidNameError("wheel file name", filename, "its version or tags are malformed")
    if build and not (build[0][:1].isdigit() and _is_of(build[0], _IN_VERSIONS)):
        raise InvalidNameError("wheel file name", filename, "a build tag starts with a digit")
    safe_segment(filename)
    return WheelName(
        filename=filename,
        project=project_name(name),
        version=version.replace("_", "-"),
        build=build[0] if build else "",
        pythons=tuple(pythons.split(".")),
        abis=tuple(abis.split(".")),
        platforms=tuple(platforms.split(".")),
    )


@value
class SdistName:
    """An sdist's file name, taken apart (source distribution format; old ones spell their project as they like)."""

    filename: str
    project: str  #: normalized
    version: str  #: as the file name spells it


def is_sdist(filename: str) -> bool:
    """Tell whether a file is an sdist, by its name."""
    return filename.endswith(_SDIST_SUFFIXES)


def sdist_name(filename: str, project: str | None = None) -> SdistName:
    """Parse an sdist's file name.

    Args:
        filename: as an index or a user gives it.
        project: normalized, where it is known; old names have dashes wherever they like, and it tells them apart.

    Raises:
        InvalidNameError: it does not follow the convention, is of another project, or is unsafe in a path.
    """
    stem = next((filename.removesuffix(suffix) for suffix in _SDIST_SUFFIXES if filename.endswith(suffix)), None)
    if stem is None:
        raise InvalidNameError("sdist file name", filename, "it must end in .tar.gz or .zip")
    safe_segment(filename)
    dashes = [place for place, character in enumerate(stem) if character == "-"]
    if project is None:  # old names have dashes in versions, too ("1.0-beta2"), and the version begins with a digit
        dashes = [place for place in dashes if stem[place + 1 :].lstrip("vV")[:1].isdigit()][-1:]
    for place in dashes:
        version = stem[place + 1 :]
        if not _is_of(version, _IN_VERSIONS + "-") or not version[:1].isalnum():
            continue
        with suppress(InvalidNameError):
            if (named := project_name(stem[:place])) == (project or named):
                return SdistName(filename, named, version)
    raise InvalidNameError("sdist file name", filename, "name-version.tar.gz is expected")


FileName = WheelName | SdistName


def file_name(filename: str, project: str | None = None) -> FileName:
    """Parse the name of a wheel or an sdist; `project` as for `sdist_name`.

    Raises:
        InvalidNameError: it is the name of neither.
    """
    return sdist_name(filename, project) if is_sdist(filename) else wheel_name(filename)
