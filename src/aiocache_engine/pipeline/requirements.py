"""Read what people ask for: requirement strings, paths and URLs of wheels, and files of such lines.

Follows PEP 508. A requirements file may hold requirements with extras, markers and `--hash`, `${VARIABLES}`, comments
and continued lines; what else pip allows there is refused with the file and the line named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_version

from aiocache_engine.errors import InvalidNameError, InvalidRequirementError, RequirementsFileError, redacted
from aiocache_engine.model.names import project_name, sha256_hex, wheel_name
from aiocache_engine.model.removal import CleanTarget
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import replace

_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"\s--hash(?:=|\s+)(\S+)")
_OPTION = re.compile(r"(^|\s)-{1,2}[A-Za-z]")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_EDITABLE = ("-e", "--editable")
_FOREIGN = ("git+", "hg+", "svn+", "bzr+")
_URLS = ("file:", "http://", "https://")
_NAMED = re.compile(r"[A-Za-z0-9][\w.-]*\s*(\[[^\]]*\])?\s*@", re.ASCII)
_MARKER = re.compile(";")
_MARKER_AFTER_URL = re.compile(r"\s;|;\s")  # a URL may hold a semicolon
_WITH_EXTRAS = re.compile(r"(.*?)\s*(\[[^\[\]]*\])")


def parse_requirement(text: str, markers: Mapping[str, str]) -> Wanted | None:
    """Parse one requirement; None if its marker says that it does not apply to this environment.

    Args:
        text: a requirement (PEP 508), or the path or URL of a wheel, which extras and a marker may follow;
            `--hash=sha256:…` may come last.
        markers: the marker environment of the target interpreter.

    Raises:
        InvalidRequirementError: it is malformed, or of a kind that this engine does not take.
    """
    stripped = text.strip()
    sha256s = frozenset(_sha256(text, word) for word in _HASH.findall(stripped))
    bare = _HASH.sub("", stripped).strip()
    if bare.startswith((*_EDITABLE, *_FOREIGN)):
        raise InvalidRequirementError(text, "editable and version control requirements are for pip or uv")
    location, extras, marker = _taken_apart(bare)
    if _is_location(location):
        if not _applies(_requirement(f"wheel{extras}{marker}", text), markers, text):
            return None
        return _from_location(location, bare, sha256s)
    requirement = _requirement(bare, text)
    if any(not each.version for each in requirement.specifier):  # `name===` is arbitrary equality with nothing
        raise InvalidRequirementError(text, "a version is missing after the operator")
    if not _applies(requirement, markers, text):
        return None
    project = project_name(requirement.name)
    if requirement.url is not None:
        if requirement.url.startswith(_FOREIGN):
            raise InvalidRequirementError(text, "version control requirements are for pip or uv")
        wanted = _from_location(requirement.url, bare, sha256s)
        if wanted.project != project:
            raise InvalidRequirementError(text, f"the file is a wheel of {wanted.project}")
        return wanted
    return Wanted(bare, project, str(requirement.specifier), _pinned(requirement.specifier), sha256s, None)


def parse_all(
    requirements: Iterable[str],
    files: Iterable[str],
    markers: Mapping[str, str],
    *,
    environ: Mapping[str, str] | None = None,
) -> tuple[Wanted, ...]:
    """Parse requirements and requirements files; what names one project twice becomes one.

    A relative path belongs to the current directory, also in a file that lies elsewhere, as pip and uv have it.

    Args:
        requirements: as for `parse_requirement`.
        files: paths of requirements files.
        markers: the marker environment of the target interpreter.
        environ: what `${VARIABLE}` in a file stands for, in capitals only; None: the environment of this process.
            One that is unset or empty stays as it is written.

    Raises:
        InvalidRequirementError: a requirement cannot be taken, or two contradict each other.
        RequirementsFileError: a file cannot be read, or a line of it not be taken; both are named.
    """
    by_project: dict[str, Wanted] = {}
    for wanted in _each(requirements, files, markers, os.environ if environ is None else environ):
        before = by_project.get(wanted.project)
        by_project[wanted.project] = wanted if before is None else _merged(before, wanted)
    return tuple(by_project.values())


def parse_clean_target(text: str) -> CleanTarget:
    """Parse what a clean or a listing names: a project, or a project with a version specifier.

    Raises:
        InvalidRequirementError: it is neither.
    """
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = "name a project, or one with versions such as torch<2.5"
        raise InvalidRequirementError(text, reason) from InvalidRequirement(redacted(str(error)))
    if requirement.url or requirement.marker or requirement.extras:
        raise InvalidRequirementError(text, "a project and a version specifier are all that can be named here")
    return CleanTarget(project_name(requirement.name), str(requirement.specifier) or None)


def _each(
    requirements: Iterable[str], files: Iterable[str], markers: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[Wanted]:
    for text in requirements:
        if (wanted := parse_requirement(text, markers)) is not None:
            yield wanted
    for path in files:
        for line_number, line in _logical_lines(path):
            try:
                wanted = _parse_line(line, markers, environ)
            except (InvalidRequirementError, InvalidNameError) as error:
                raise RequirementsFileError(path, line_number, str(error)) from error
            if wanted is not None:
                yield wanted


def _parse_line(line: str, markers: Mapping[str, str], environ: Mapping[str, str]) -> Wanted | None:
    bare = _HASH.sub("", line).strip()
    if not bare.startswith(_EDITABLE) and (match := _OPTION.search(bare)):
        option = bare[match.start() :].split()[0]
        raise InvalidRequirementError(line, f"the option {option} is not supported in a requirements file yet")
    expanded = _VARIABLE.sub(lambda match: environ.get(match[1]) or match[0], line)
    if expanded == line:
        return parse_requirement(line, markers)
    # Messages name the line as it is written: a variable may hold a password.
    try:
        wanted = parse_requirement(expanded, markers)
    except InvalidRequirementError as error:
        raise InvalidRequirementError(line, error.reason) from None
    return None if wanted is None else replace(wanted, text=bare)


def _logical_lines(path: str) -> Iterator[tuple[int, str]]:
    """Give the lines that say something, continued lines joined, each with the number of its first line."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            physical = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RequirementsFileError(path, None, f"the requirements file cannot be read: {reason}") from error
    parts: list[str] = []
    start = 0
    for number, line in enumerate(physical, 1):
        start = start or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            parts.append(line[:-1])
            continue
        parts.append(line)
        if text := _COMMENT.sub("", " ".join(parts)).strip():
            yield start, text
        parts, start = [], 0
    if text := _COMMENT.sub("", " ".join(parts)).strip():
        yield start, text


def _taken_apart(text: str) -> tuple[str, str, str]:
    """Give the path or URL of a wheel, then "" or `[extras]`, then "" or `;marker`."""
    found = (_MARKER_AFTER_URL if text.startswith(_URLS) else _MARKER).search(text)
    location, marker = (text, "") if found is None else (text[: found.start()], text[found.end() :].strip())
    marker = marker and f";{marker}"
    with_extras = _WITH_EXTRAS.fullmatch(location.strip())
    return (with_extras[1], with_extras[2], marker) if with_extras else (location.strip(), "", marker)


def _is_location(text: str) -> bool:
    return text.startswith((".", "/", "~", *_URLS)) or (text.endswith(".whl") and not _NAMED.match(text))


def _requirement(pep508: str, text: str) -> Requirement:
    try:
        return Requirement(pep508)
    except InvalidRequirement as error:
        # packaging repeats the whole text, and whoever logs the cause would log its password.
        cause = InvalidRequirement(redacted(str(error)))
        raise InvalidRequirementError(text, str(error).splitlines()[0]) from cause


def _from_location(location: str, text: str, sha256s: frozenset[str]) -> Wanted:
    filename = _url_file_name(location, text) if location.startswith(_URLS) else os.path.basename(location)
    if not filename.endswith(".whl"):
        raise InvalidRequirementError(text, "only wheels can be installed from a path or URL, and this names none")
    return Wanted(text, wheel_name(filename).project, "", None, sha256s, location)


def _url_file_name(url: str, text: str) -> str:
    from aiocache_engine.index.urls import file_name_of, path_of_url  # noqa: PLC0415 - URLs are rare, urllib costs 5 ms

    try:
        return os.path.basename(path_of_url(url)) if url.startswith("file:") else file_name_of(url)
    except ValueError as error:
        raise InvalidRequirementError(text, str(error)) from error


def _applies(requirement: Requirement, markers: Mapping[str, str], text: str) -> bool:
    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate(dict(markers))
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise InvalidRequirementError(text, f"its marker cannot be evaluated: {error}") from error


def _pinned(specifier: SpecifierSet) -> str | None:
    exact = [s for s in specifier if s.operator in ("==", "===") and not s.version.endswith(".*")]
    return canonicalize_version(exact[0].version) if exact else None


def _sha256(text: str, word: str) -> str:
    algorithm, _, value = word.partition(":")
    if algorithm != "sha256":
        raise InvalidRequirementError(text, f"hashes by {algorithm or 'nothing'} are not supported; give sha256")
    try:
        return sha256_hex(value)
    except InvalidNameError as error:
        raise InvalidRequirementError(text, error.reason) from error


def _merged(one: Wanted, other: Wanted) -> Wanted:
    if one == other:
        return one
    if one.url or other.url:
        raise InvalidRequirementError(other.text, f"{one.text!r} was asked for as well, and only one can be taken")
    specifier = SpecifierSet(f"{one.specifier},{other.specifier}".strip(","))
    sha256s = one.sha256s & other.sha256s if one.sha256s and other.sha256s else one.sha256s | other.sha256s
    if not sha256s and one.sha256s:
        raise InvalidRequirementError(other.text, f"it pins other hashes than {one.text!r}, and no file has both")
    return Wanted(f"{one.text}, {other.text}", one.project, str(specifier), _pinned(specifier), sha256s, None)
