"""A wheel's core metadata, as far as resolving needs it: what it is, what it depends on, what Python it needs.

Read leniently, as pip and uv do: fields as in the head of a mail, the body not at all; spellings that old tools
wrote and that can mean only one thing are put right; one requirement that cannot be read makes the whole version
unusable, since leaving it out would break whoever needs it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from aiocache_engine.model.value import value
from aiocache_engine.pipeline.inputs.pep508 import MarkerError, marker_holds, read_requirement
from aiocache_engine.policy.resolution import Demand

_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_EXTRA = re.compile(r"\bextra[ \t]*==[ \t]*['\"]([^'\"]*)")
_OR = re.compile(r"\bor\b")
_NAME = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?"
_RELEASE = r"\d+(?:\.\d+)*"
_LIMIT = rf"(?:(?:[<>]=?|[!=]=) *{_RELEASE}(?:(?:a|b|rc|\.post|\.dev)\d+)?|[!=]= *{_RELEASE}\.\*|~= *\d+(?:\.\d+)+)"
_TERM = (
    r"(?:(?:(?:extra|os_name|sys_platform|platform_system|platform_machine|implementation_name)[ \t]*[!=]="
    rf"|python_(?:full_)?version[ \t]*(?:[<>]=?|[!=]=)(?=[ \t]*['\"]{_RELEASE}['\"]))[ \t]*(?:'[\w.-]*'|\"[\w.-]*\"))"
)
#: A requirement that can surely be read, and whose marker can surely be evaluated if its brackets are right. Blanks are
#: not given back once they are taken, or a line that nearly fits would be read in more ways than there is time for.
_PLAIN = re.compile(
    rf"{_NAME} *+(?:\[ *+{_NAME}(?: *+, *+{_NAME})* *+\])? *+(?P<open>\( *+)?"
    rf"(?:{_LIMIT} *+(?:, *+(?=[<>!=~])|(?![<>!=~])))*(?(open)\)) *+(?:;[ \t]*+(?P<marker>"
    rf"(?:(?:\([ \t]*+)?{_TERM}[ \t]*+(?:\)[ \t]*+)?(?:\b(?:and|or)\b[ \t]*+(?!$)|$))++))?",
    re.ASCII,
)
_NO_BRACKET = re.compile(r"[^()]+")
_MOST_REQUIRED = 2_000_000  #: characters of all requirements of one wheel
_LONG = 200  #: characters; what is longer is looked at as a whole, and told in part
_NAMES = ("name", "version", "requires-dist", "requires-python", "provides-extra")
_TOLD_BY_SDISTS = (2, 2)  #: the first version of core metadata that says what a build may change (PEP 643)
_UNKNOWN_FORMAT = (3,)  #: of which nobody knows what it will say
_LENIENT = (
    (re.compile(r"(>=|<=|>|<|~=)(\s*\d+(?:\.\d+)*)\.\*"), r"\1\2"),  # >=3.6.* can only mean >=3.6
    (re.compile(r"(\d(?:\.\*)?)\s*(>=|<=|!=|==|~=|<|>)"), r"\1,\2"),  # >=1.0<2.0 lacks a comma
    (re.compile(r"([<>=!~]=?\s*)['\"]([\w.*+!]+)['\"]"), r"\1\2"),  # >='1.0' has quotes too many
    (re.compile(r",(\s*)(?=[;)]|$)"), r"\1"),  # >=1.0, has a comma too many
    (re.compile(r"!=\s*~\s*"), "!="),
)


class MetadataError(ValueError):
    """The bytes are no core metadata that can be used."""


@value
class CoreMetadata:
    """What a wheel says of itself."""

    project: str  #: normalized
    version: str  #: as written
    requires: tuple[str, ...]  #: as written
    requires_python: str | None
    extras: frozenset[str]  #: normalized


def parse_metadata(content: bytes) -> CoreMetadata:
    """Read a METADATA file.

    Raises:
        MetadataError: it does not even say what it is.
    """
    fields = _fields(content)
    names, versions, pythons = fields["name"], fields["version"], fields["requires-python"]
    if not names or not names[0] or not versions or not versions[0]:
        raise MetadataError("its metadata names no project or no version")
    if sum(map(len, fields["requires-dist"])) > _MOST_REQUIRED:
        raise MetadataError(f"its requirements are longer than {_MOST_REQUIRED} characters")
    return CoreMetadata(
        project=canonicalize_name(names[0]),
        version=versions[0],
        requires=tuple(fields["requires-dist"]),
        requires_python=pythons[0] or None if pythons else None,
        extras=frozenset(canonicalize_name(extra) for extra in fields["provides-extra"]),
    )


def without_body(content: bytes) -> bytes:
    """Give the fields alone; the body may be a whole manual."""
    end = _END_OF_HEADERS.search(content)
    return content if end is None else content[: end.start()] + b"\n\n"


def is_static(content: bytes) -> bool:
    """Tell whether what an sdist says of itself holds for every wheel that is built of it (PEP 643)."""
    fields = _fields(content, ("metadata-version", "dynamic"))
    try:
        version = tuple(int(part) for part in fields["metadata-version"][0].split("."))
    except (IndexError, ValueError):
        return False
    dynamic = {field.lower() for field in fields["dynamic"]}
    return _TOLD_BY_SDISTS <= version < _UNKNOWN_FORMAT and not dynamic.intersection(_NAMES)


def demands_of(metadata: CoreMetadata, extra: str, markers: Mapping[str, str]) -> Sequence[Demand]:
    """Give what applies of a wheel's requirements: of the wheel itself (extra ""), or what one extra adds.

    Raises:
        MetadataError: one of them cannot be read. What clearly belongs to other extras need not be readable.
    """
    demands: list[Demand] = []
    for text in metadata.requires:
        if _is_of_another_extra(text, extra):
            continue
        try:
            requirement = _requirement(text)
            applies = _applies(requirement, extra, markers, text)
        except MetadataError:
            if _names_another_extra(text.partition(";")[2], extra):
                continue
            raise
        if applies:
            demands.append(
                Demand(
                    canonicalize_name(requirement.name),
                    frozenset(canonicalize_name(each) for each in requirement.extras),
                    str(requirement.specifier),
                    requirement.url,
                )
            )
    return demands


def needs_of(metadata: CoreMetadata) -> Iterator[tuple[str, str]]:
    """Give project and specifier of all that a wheel requires on some platform, extras and what is unreadable aside."""
    for text in metadata.requires:
        if not _is_of_another_extra(text, ""):
            with suppress(MetadataError):
                requirement = _requirement(text)
                yield canonicalize_name(requirement.name), str(requirement.specifier)


def check_requirements(metadata: CoreMetadata, markers: Mapping[str, str]) -> None:
    """Make sure that `demands_of` will answer, whatever extra it is asked for.

    Raises:
        MetadataError: a requirement cannot be read, or its marker not be evaluated.
    """
    for text in metadata.requires:
        if _plain_marker(text) is None:
            _applies(_requirement(text), "", markers, text)


def shortened(text: str) -> str:
    """Give what is told of a text that may be without end."""
    return text if len(text) <= _LONG else f"{text[:60]}…"


def seal(content: bytes, of_file: str) -> bytes:
    """Give what is stored: a checksum and the hash of the wheel in front of the metadata, so that both are checked."""
    rest = of_file.encode() + b"\n" + content
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def unseal(stored: bytes | None, of_file: str) -> bytes | None:
    """Give stored metadata back; None where it is damaged or of another wheel."""
    checksum, _, rest = (stored or b"").partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        return None
    of, _, content = rest.partition(b"\n")
    return content if of == of_file.encode() else None


def _fields(content: bytes, names: Sequence[str] = _NAMES) -> dict[str, list[str]]:
    """Read the fields that count, each as often as it is there (RFC 5322, as the email package reads it)."""
    fields: dict[str, list[list[str]]] = {name: [] for name in names}
    values: list[list[str]] | None = None
    for line in without_body(content).decode(errors="replace").replace("\r\n", "\n").split("\n"):
        if line[:1] in (" ", "\t"):
            if values:
                values[-1].append(line.strip())
            continue
        name, colon, value = line.partition(":")
        if not colon or " " in name:  # no field: the body begins without an empty line before it
            break
        values = fields.get(name.lower())
        if values is not None:
            values.append([value.strip()])
    return {name: [" ".join(filter(None, lines)) for lines in values] for name, values in fields.items()}


def _is_of_another_extra(text: str, extra: str) -> bool:
    """Tell by its text alone that a requirement belongs to an extra that is not this one; most lines do."""
    return "extra" in text and _names_another_extra(_plain_marker(text) or "", extra)


def _names_another_extra(marker: str, extra: str) -> bool:
    found = None if _OR.search(marker) else _EXTRA.search(marker)
    return found is not None and canonicalize_name(found[1]) != extra


@lru_cache(maxsize=16384)
def _plain_marker(text: str) -> str | None:
    """Give the marker ("" is none) of a requirement that need not be parsed to know that it can be; None: it must."""
    plain = _PLAIN.fullmatch(text) if len(text) <= _LONG else None
    if plain is None:
        return None
    marker: str = plain["marker"] or ""
    brackets = _NO_BRACKET.sub("", marker)
    return marker if brackets == "()" * (len(brackets) // 2) else None


def _applies(requirement: Requirement, extra: str, markers: Mapping[str, str], text: str) -> bool:
    if requirement.marker is None:
        return not extra
    try:
        if not extra:
            return marker_holds(requirement, markers)
        return marker_holds(requirement, markers, extra) and not marker_holds(requirement, markers)
    except MarkerError as error:
        raise MetadataError(f"the marker of its requirement {shortened(text)!r} cannot be evaluated") from error


@lru_cache(maxsize=16384)
def _requirement(text: str) -> Requirement:
    try:
        return read_requirement(text)
    except InvalidRequirement as error:
        bare, semicolon, marker = text.partition(";")
        for pattern, replacement in _LENIENT:
            bare = pattern.sub(replacement, bare)
        try:
            return read_requirement(bare + semicolon + marker)
        except InvalidRequirement:
            raise MetadataError(f"its requirement {shortened(text)!r} cannot be read") from error
