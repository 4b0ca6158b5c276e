"""Read what people ask for: requirement strings, paths and URLs of files, and what a clean names. Follows PEP 508.

Files of such lines are read by `requirements_file`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_version

from aiocache_engine.errors import InvalidNameError, InvalidRequirementError, UsageError
from aiocache_engine.model.names import (
    file_name,
    is_object_id,
    is_sdist,
    overlay_name,
    project_name,
    project_pattern,
    sha256_hex,
)
from aiocache_engine.model.removal import EVERY_PROJECT, CleanTarget, TargetKind
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.inputs.mistakes import advice, advice_on_directory
from aiocache_engine.pipeline.inputs.pep508 import MarkerError, marker_holds, read_requirement
from aiocache_engine.redaction import redacted

_PER_LINE = re.compile(r"\s--(hash|config-settings?|global-option)(?:=|\s+)(\"[^\"]*\"|'[^']*'|\S+)")
EDITABLE = ("-e", "--editable")
_FOREIGN = ("git+", "hg+", "svn+", "bzr+")
_URLS = ("file:", "http://", "https://")
_NAMED = re.compile(r"[A-Za-z0-9][\w.-]*\s*(\[[^\]]*\]\s*)?@", re.ASCII)
_MARKER = re.compile(";")
_PATTERN = re.compile(r"[\w.-]*[*?][\w.*?-]*", re.ASCII)  # of names of projects
_MARKER_AFTER_URL = re.compile(r"\s;|;\s")  # a URL may hold a semicolon
_EVERYTHING = CleanTarget(EVERY_PROJECT, None, TargetKind.PATTERN)
_FRAGMENT = re.compile(r"(?:\.whl|\.tar\.gz|\.zip)(?=#\w+=)", re.ASCII)  # a file's name may hold a # as well
_EXTRAS_LAST = re.compile(r"\[[^\[\]]*\]\Z")


def parse_requirement(text: str, markers: Mapping[str, str], *, origin: str = "") -> Wanted | None:
    """Parse one requirement; None if its marker says that it does not apply to this environment.

    Args:
        text: a requirement (PEP 508), or the path or URL of a wheel or sdist, which extras and a marker may follow;
            `--hash=sha256:…` may come last.
        markers: the marker environment of the target interpreter.
        origin: the file and line that it stands in, for messages.

    Raises:
        InvalidRequirementError: it is malformed, or of a kind that this engine does not take.
    """
    stripped = text.strip()
    sha256s = frozenset(_sha256(text, value) for name, value in _PER_LINE.findall(stripped) if name == "hash")
    bare = without_line_options(stripped)
    if bare.startswith((*EDITABLE, *_FOREIGN)):
        raise InvalidRequirementError(text, "editable and version control requirements are for pip or uv")
    location, extras, marker = taken_apart(bare)
    if is_location(location):
        requirement = _requirement(f"wheel{extras}{marker}", text)
        if not _applies(requirement, markers, text):
            return None
        return replace(_from_location(location, bare, sha256s), extras=_extras(requirement), origin=origin)
    requirement = _requirement(bare, text)
    if any(not each.version for each in requirement.specifier):  # `name===` is arbitrary equality with nothing
        raise InvalidRequirementError(text, "a version is missing after the operator")
    if not _applies(requirement, markers, text):
        return None
    project, extras_asked = project_name(requirement.name), _extras(requirement)
    if requirement.url is None:
        specifier = requirement.specifier
        return Wanted(bare, project, str(specifier), _pinned(specifier), sha256s, None, extras_asked, origin)
    if requirement.url.startswith(_FOREIGN):
        raise InvalidRequirementError(text, "version control requirements are for pip or uv")
    if not _is_file(path_and_fragment(requirement.url)[0]) and (better := advice(bare)):  # NAME@VERSION is for tools
        raise InvalidRequirementError(text, better)
    wanted = _from_location(requirement.url, bare, sha256s, project)
    if wanted.project != project:
        raise InvalidRequirementError(text, f"the file is a wheel of {wanted.project}")
    return replace(wanted, extras=extras_asked, origin=origin)


def one_per_project(wanted: Iterable[Wanted], constraints: Iterable[Wanted] = ()) -> tuple[Wanted, ...]:
    """Put together what names one project several times, and what constrains it: enough where nothing is resolved.

    Raises:
        InvalidRequirementError: two contradict each other.
    """
    by_project: dict[str, Wanted] = {}
    for each in wanted:
        before = by_project.get(each.project)
        by_project[each.project] = each if before is None else _merged(before, each)
    for each in constraints:
        before = by_project.get(each.project)
        if before is not None and before.url is not None and each.url is None:
            by_project[each.project] = _limited(before, each)
        elif before is not None:
            by_project[each.project] = _merged(before, each)
    return tuple(by_project.values())


def parse_clean_target(text: str) -> CleanTarget:
    """Parse what a clean or a listing names: a project, or a project with a version specifier.

    Raises:
        InvalidRequirementError: it is neither.
    """
    try:
        requirement = read_requirement(text)
    except InvalidRequirement as error:
        reason = "name a project, or one with versions such as torch<2.5"
        if _PATTERN.fullmatch(text):
            reason += "; patterns are only for clean and pin"
        raise InvalidRequirementError(text, reason) from InvalidRequirement(redacted(str(error)))
    if requirement.url or requirement.marker or requirement.extras:
        raise InvalidRequirementError(text, "a project and a version specifier are all that can be named here")
    return CleanTarget(project_name(requirement.name), str(requirement.specifier) or None)


def parse_clean_target_or_id(text: str) -> CleanTarget:
    """Parse what a clean names: as `parse_clean_target`, or an id, or a pattern of projects such as nvidia-*.

    Raises:
        InvalidRequirementError: it is none of these.
    """
    if is_object_id(text):
        return CleanTarget(text, None, TargetKind.ID)
    if _PATTERN.fullmatch(text):
        return CleanTarget(project_pattern(text), None, TargetKind.PATTERN)
    return parse_clean_target(text)


def parse_tool(text: str) -> CleanTarget:
    """Parse the name of a tool whose environments are meant.

    Raises:
        InvalidRequirementError: it cannot be one.
    """
    try:
        return CleanTarget(project_name(text), None, TargetKind.TOOL)
    except InvalidNameError as error:
        raise InvalidRequirementError(text, "name the tool alone, such as ruff") from error


def clean_targets(names: Iterable[str], tools: Iterable[str], overlay: str | None = None) -> tuple[CleanTarget, ...]:
    """Parse all that a clean names, each target once; nothing: everything.

    Args:
        names: projects, with or without versions; patterns of them; ids.
        tools: names of tools.
        overlay: names are meant in this one alone; without names, all of it is.

    Raises:
        InvalidRequirementError: a name means nothing that can be cleaned, or not in an overlay.
        InvalidNameError: no overlay can be called so.
        UsageError: tools are not in overlays.
    """
    targets = [*map(parse_clean_target_or_id, names), *map(parse_tool, tools)]
    if overlay is not None:
        targets = [_in_overlay(each, overlay_name(overlay)) for each in targets or [_EVERYTHING]]
    return tuple(dict.fromkeys(targets))


def _in_overlay(target: CleanTarget, overlay: str) -> CleanTarget:
    if target.kind is TargetKind.TOOL:
        raise UsageError("a tool is in no overlay; clean the one and the other by two commands")
    if target.kind is TargetKind.ID:
        raise InvalidRequirementError(target.project, "an id names one entry wherever it is; leave the overlay out")
    return replace(target, overlay=overlay)


def without_line_options(line: str) -> str:
    """Take off a requirement what pip lets follow it: its hashes, and settings for building it."""
    return _PER_LINE.sub("", line).strip()


def taken_apart(text: str) -> tuple[str, str, str]:
    """Give the path or URL of a file, then "" or `[extras]`, then "" or `;marker`."""
    found = (_MARKER_AFTER_URL if text.startswith(_URLS) else _MARKER).search(text)
    location, marker = (text, "") if found is None else (text[: found.start()], text[found.end() :].strip())
    marker = marker and f";{marker}"
    location = location.strip()
    extras = _EXTRAS_LAST.search(location)
    return (location, "", marker) if extras is None else (location[: extras.start()].rstrip(), extras[0], marker)


def is_location(text: str) -> bool:
    """Tell a path or URL from a requirement with a name."""
    named = path_and_fragment(text)[0]
    return text.startswith((".", "/", "~", *_URLS)) or (_is_file(named) and not _NAMED.match(text))


def path_and_fragment(location: str) -> tuple[str, str]:
    """Give the path of a file, and "" or what follows it as it follows a URL, such as `#subdirectory=…`."""
    found = _FRAGMENT.search(location)
    return (location, "") if found is None else (location[: found.end()], location[found.end() :])


def _is_file(text: str) -> bool:
    return text.endswith(".whl") or is_sdist(text)


def _requirement(pep508: str, text: str) -> Requirement:
    try:
        return read_requirement(pep508)
    except InvalidRequirement as error:
        # packaging repeats the whole text, and whoever logs the cause would log its password.
        cause = InvalidRequirement(redacted(str(error)))
        directory = advice_on_directory(pep508) if "/" in pep508 else None
        raise InvalidRequirementError(text, directory or advice(pep508) or str(error).splitlines()[0]) from cause


def _from_location(location: str, text: str, sha256s: frozenset[str], project: str | None = None) -> Wanted:
    path, fragment = path_and_fragment(location)
    if fragment and not location.startswith(_URLS):
        location = _url_of(path, fragment)
    filename = _url_file_name(location, text) if location.startswith(_URLS) else os.path.basename(location)
    if not _is_file(filename):
        reason = "only wheels and sdists (.whl, .tar.gz, .zip) are taken by path or URL, and this names none"
        raise InvalidRequirementError(text, advice_on_directory(location) or reason)
    try:
        name = file_name(filename, project)
    except InvalidNameError as error:
        if not is_sdist(filename):
            raise
        expected = f"{project or 'NAME'}-VERSION.tar.gz"
        hint = f"; say what it is by #filename={expected} after its URL" if location.startswith(_URLS) else ""
        reason = f"the file of an sdist is called {expected}, and this is not{hint}"
        raise InvalidRequirementError(text, reason) from error
    return Wanted(text, name.project, "", None, sha256s, location)


def _url_of(path: str, fragment: str) -> str:
    from aiocache_engine.index.urls import url_of_path  # noqa: PLC0415 - URLs are rare, urllib costs 5 ms

    return url_of_path(os.path.expanduser(path)) + fragment


def _url_file_name(url: str, text: str) -> str:
    from aiocache_engine.index.urls import (  # noqa: PLC0415 - URLs are rare, urllib costs 5 ms
        file_name_of,
        path_of_url,
        told_file_name,
        told_other_hash,
        told_subdirectory,
    )

    try:
        told_subdirectory(url)
        if algorithm := told_other_hash(url):
            raise InvalidRequirementError(text, f"hashes by {algorithm} are not supported; give sha256")
        if told := told_file_name(url):
            return told
        return os.path.basename(path_of_url(url)) if url.startswith("file:") else file_name_of(url)
    except (ValueError, InvalidNameError) as error:
        raise InvalidRequirementError(text, str(error)) from error


def _extras(requirement: Requirement) -> frozenset[str]:
    return frozenset(project_name(extra) for extra in requirement.extras)


def _applies(requirement: Requirement, markers: Mapping[str, str], text: str) -> bool:
    try:
        return marker_holds(requirement, markers)
    except MarkerError as error:
        raise InvalidRequirementError(text, f"its marker cannot be evaluated: {error}") from error


def _pinned(specifier: SpecifierSet) -> str | None:
    exact = [s for s in specifier if s.operator in ("==", "===") and not s.version.endswith(".*")]
    return canonicalize_version(exact[0].version) if exact else None


def _sha256(text: str, word: str) -> str:
    algorithm, _, value = word.strip("\"'").partition(":")
    if algorithm != "sha256":
        raise InvalidRequirementError(text, f"hashes by {algorithm or 'nothing'} are not supported; give sha256")
    try:
        return sha256_hex(value)
    except InvalidNameError as error:
        raise InvalidRequirementError(text, error.reason) from error


def _limited(file: Wanted, limit: Wanted) -> Wanted:
    """Hold a file that was named by path or URL to a constraint on its project: to its versions and its hashes."""
    from aiocache_engine.index.urls import direct_file  # noqa: PLC0415 - URLs are rare, urllib costs 5 ms

    version = file_name(direct_file(file.url or "")[1].filename, file.project).version
    if not SpecifierSet(limit.specifier).contains(version, prereleases=True):
        raise InvalidRequirementError(file.text, f"a constraint says {limit.text!r}")
    return replace(file, sha256s=_common_sha256s(file, limit))


def _merged(one: Wanted, other: Wanted) -> Wanted:
    if one == other:
        return one
    if (one.url or other.url) and one.url != other.url:
        raise InvalidRequirementError(other.text, f"{one.text!r} was asked for as well, and only one can be taken")
    specifier = SpecifierSet(f"{one.specifier},{other.specifier}".strip(","))
    sha256s = _common_sha256s(one, other)
    text = one.text if one.text == other.text else f"{one.text}, {other.text}"
    return replace(
        one,
        text=text,
        specifier=str(specifier),
        pinned=_pinned(specifier),
        sha256s=sha256s,
        extras=one.extras | other.extras,
    )


def _common_sha256s(one: Wanted, other: Wanted) -> frozenset[str]:
    sha256s = one.sha256s & other.sha256s if one.sha256s and other.sha256s else one.sha256s | other.sha256s
    if not sha256s and one.sha256s:
        raise InvalidRequirementError(other.text, f"it pins other hashes than {one.text!r}, and no file has both")
    return sha256s
