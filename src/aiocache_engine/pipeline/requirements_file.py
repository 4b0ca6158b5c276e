"""Read requirements and requirements files as pip reads them: what is wanted, what is constrained, which options hold.

Understood in a file: requirements (PEP 508), paths and URLs of wheels, `--hash`; comments, continued lines,
`${VARIABLES}`, nested `-r` and `-c`, the encodings that pip knows, and pip's options about indexes, hashes, binaries
and pre-releases. A `pylock.toml` may stand wherever a requirements file may. What no wheel can fulfil (editable,
version control, a source tree) is refused with the file and the line named.
"""

from __future__ import annotations

import codecs
import locale
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_version

from aiocache_engine.errors import (
    InvalidNameError,
    InvalidRequirementError,
    RequirementsFileError,
    UsageError,
    redacted,
)
from aiocache_engine.model.names import project_name, sha256_hex, wheel_name
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import replace, value

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PER_LINE = re.compile(r"\s--(hash|config-settings?|global-option)(?:=|\s+)(\"[^\"]*\"|'[^']*'|\S+)")
_FOREIGN = ("git+", "hg+", "svn+", "bzr+")
_FLAGS = {"--no-index": "no_index", "--pre": "pre", "--require-hashes": "require_hashes"}
_VALUES = {
    "-i": "index_url",
    "--index-url": "index_url",
    "--pypi-url": "index_url",
    "--extra-index-url": "extra_index_urls",
    "-f": "find_links",
    "--find-links": "find_links",
    "--no-binary": "no_binary",
    "--only-binary": "only_binary",
    "--trusted-host": "trusted_hosts",
}
_WITHOUT_EFFECT = frozenset({"--prefer-binary", "--use-feature", "--process-dependency-links", "--no-use-wheel"})


@value
class FileOptions:
    """What the lines of requirements files say beside requirements; a later file adds to an earlier one."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    pre: bool = False  #: pre-releases count like any other version
    require_hashes: bool = False
    no_binary: tuple[str, ...] = ()  #: project names, ":all:" or ":none:", as they were written
    only_binary: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()


@value
class Requested:
    """Everything that is asked for."""

    roots: tuple[Wanted, ...]  #: a project may occur several times
    constraints: tuple[Wanted, ...]
    options: FileOptions
    is_locked: bool  #: all of it comes from lock files: it is complete, and nothing is to be resolved


@dataclass(slots=True)
class _Gathered:
    """What has been read so far."""

    markers: Mapping[str, str]
    environ: Mapping[str, str]
    interpreter: Interpreter
    roots: list[Wanted] = field(default_factory=list)
    constraints: list[Wanted] = field(default_factory=list)
    options: FileOptions = field(default_factory=FileOptions)
    unlocked: int = 0  #: requirements that come from no lock file


def read_requested(
    requirements: Iterable[str],
    files: Iterable[str] = (),
    constraint_files: Iterable[str] = (),
    *,
    interpreter: Interpreter,
    environ: Mapping[str, str],
    requires_hashes: bool = False,
) -> Requested:
    """Read requirements and files of them.

    Args:
        requirements: requirements (PEP 508), and paths or URLs of wheels.
        files: requirements files and lock files.
        constraint_files: files of constraints.
        interpreter: whose markers and tags count.
        environ: where `${VARIABLES}` are looked up.
        requires_hashes: as `--require-hashes` in a file.

    Raises:
        InvalidRequirementError: a requirement cannot be taken.
        RequirementsFileError: a file cannot be read, or a line of it not be taken; both are named.
    """
    gathered = _Gathered(interpreter.markers, environ, interpreter)
    for text in requirements:
        wanted = parse_wanted(text, interpreter.markers)
        if wanted is not None:
            gathered.roots.append(wanted)
            gathered.unlocked += 1
    for path in files:
        _read_file(path, gathered, (), is_constraint=False)
    for path in constraint_files:
        _read_file(path, gathered, (), is_constraint=True)
    if requires_hashes or gathered.options.require_hashes or any(each.sha256s for each in gathered.roots):
        gathered.options = replace(gathered.options, require_hashes=True)
        _check_hashes(gathered.roots, gathered.constraints)
    return Requested(
        tuple(gathered.roots),
        tuple(gathered.constraints),
        gathered.options,
        is_locked=bool(gathered.roots) and not gathered.unlocked,
    )


def parse_wanted(text: str, markers: Mapping[str, str], *, origin: str = "") -> Wanted | None:
    """Parse one requirement, `--hash` options included; None if its marker says that it does not apply.

    Raises:
        InvalidRequirementError: it is malformed, or of a kind that this engine does not take.
    """
    stripped = text.strip()
    sha256s = frozenset(_sha256(text, value) for name, value in _PER_LINE.findall(stripped) if name == "hash")
    bare = _PER_LINE.sub("", stripped).strip()
    if bare.startswith(("-e ", "-e=", "--editable")) or bare.startswith(_FOREIGN):
        raise InvalidRequirementError(text, "editable and version control requirements are for pip or uv")
    if _is_location(bare):
        location, marker = _split_marker(bare)
        if marker and not _applies(Requirement(f"x; {marker}"), markers, text):
            return None
        return replace(_from_location(location, location, sha256s), origin=origin)
    try:
        requirement = Requirement(bare)
    except InvalidRequirement as error:
        # packaging repeats the whole text, and whoever logs the cause would log its password.
        cause = InvalidRequirement(redacted(str(error)))
        raise InvalidRequirementError(text, str(error).splitlines()[0]) from cause
    if not _applies(requirement, markers, text):
        return None
    project = project_name(requirement.name)
    extras = frozenset(project_name(extra) for extra in requirement.extras)
    if requirement.url is None:
        specifier = requirement.specifier
        return Wanted(bare, project, str(specifier), _pinned(specifier), sha256s, None, extras, origin)
    if requirement.url.startswith(_FOREIGN):
        raise InvalidRequirementError(text, "version control requirements are for pip or uv")
    wanted = _from_location(requirement.url, bare, sha256s)
    if wanted.project != project:
        raise InvalidRequirementError(text, f"the file is a wheel of {wanted.project}")
    return replace(wanted, extras=extras, origin=origin)


def _read_file(path: str, gathered: _Gathered, above: tuple[str, ...], *, is_constraint: bool) -> None:
    """Read one file, and those nested in it."""
    if path.startswith(("http:", "https:")):
        raise RequirementsFileError(path, None, "requirements files are read from this machine only; download it first")
    path = path.removeprefix("file://")
    real = os.path.realpath(path)
    if real in above:
        raise RequirementsFileError(above[-1], None, f"it includes itself, by way of {path}")
    if _is_lock(path):
        from aiocache_engine.pipeline.pylock import read_pylock  # noqa: PLC0415 - where there is one

        locked = read_pylock(path, gathered.interpreter)
        (gathered.constraints if is_constraint else gathered.roots).extend(locked)
        return
    for number, line in _logical_lines(path, gathered.environ):
        try:
            _read_line(line, path, number, gathered, (*above, real), is_constraint=is_constraint)
        except RequirementsFileError:
            raise
        except UsageError as error:
            raise RequirementsFileError(path, number, str(error)) from error


def _read_line(
    line: str, path: str, number: int, gathered: _Gathered, above: tuple[str, ...], *, is_constraint: bool
) -> None:
    """Read one line: a requirement, or options."""
    directory = os.path.dirname(os.path.abspath(path))
    if line.startswith("-") and not line.startswith(("-e", "--editable")):
        for option, value in _options(line):
            if option in {"-r", "--requirement", "-c", "--constraint"}:
                nested = value if "://" in value else os.path.join(directory, value)
                is_nested_constraint = is_constraint or option in {"-c", "--constraint"}
                _read_file(nested, gathered, above, is_constraint=is_nested_constraint)
            else:
                gathered.options = _with_option(gathered.options, option, value, directory)
        return
    if _is_location(line) and "://" not in line:
        line = _beside(line, directory)
    wanted = parse_wanted(line, gathered.markers, origin=f"{path}, line {number}")
    if wanted is None:
        return
    if is_constraint and wanted.extras:
        raise InvalidRequirementError(line, "a constraint cannot have extras")
    gathered.unlocked += not is_constraint
    (gathered.constraints if is_constraint else gathered.roots).append(wanted)


def _options(line: str) -> Iterator[tuple[str, str]]:
    """Take a line of options apart."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidRequirementError(line, str(error)) from error
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if word[:2] in {"-r", "-c", "-i", "-f"} and len(word) > 2:  # noqa: PLR2004 - a letter with its value, -rfile
            option, equals, value = word[:2], "=", word[2:].removeprefix("=")
        if option in _FLAGS or option in _WITHOUT_EFFECT - {"--use-feature"}:
            yield option, ""
            continue
        if option not in _VALUES and option not in {"-r", "--requirement", "-c", "--constraint", "--use-feature"}:
            raise InvalidRequirementError(line, f"the option {option} is not known in a requirements file")
        if not equals:
            if not words:
                raise InvalidRequirementError(line, f"the option {option} needs a value")
            value = words.pop(0)
        yield option, value


def _with_option(options: FileOptions, option: str, value: str, directory: str) -> FileOptions:
    if option in _WITHOUT_EFFECT:
        return options
    if option in _FLAGS:
        return replace(options, **{_FLAGS[option]: True})
    name = _VALUES[option]
    if name == "index_url":
        return replace(options, index_url=value)
    if name == "find_links" and "://" not in value:
        value = _beside(value, directory)
    values = value.split(",") if name.endswith("_binary") else [value]
    more: dict[str, Any] = {name: (*getattr(options, name), *values)}
    return replace(options, **more)


def _beside(path: str, directory: str) -> str:
    """Give the path that is meant: from here, as pip takes it, or from the file's own directory."""
    plain = os.path.expanduser(_split_marker(_PER_LINE.sub("", path).strip())[0])
    beside = os.path.join(directory, plain)
    return path if os.path.exists(plain) or not os.path.exists(beside) else path.replace(plain, beside, 1)


def _logical_lines(path: str, environ: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Give the lines that say something, continued ones joined, each with the number of its first line."""
    parts: list[str] = []
    start = 0
    for number, line in enumerate((*_text(path).splitlines(), ""), 1):
        start = start or number
        is_comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not is_comment:
            parts.append(line[:-1])
            continue
        # A comment ends what was continued into it, as pip has it.
        parts.append(" " + line if is_comment and parts else line)
        text = _COMMENT.sub("", "".join(parts)).strip()
        if text:
            yield start, _VARIABLE.sub(lambda found: environ.get(found[1]) or found[0], text)
        parts, start = [], 0


def _text(path: str) -> str:
    """Decode a file: by its byte order mark, its coding line, as UTF-8, or as the machine's locale says."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        reason = f"the requirements file cannot be read: {error.strerror}"
        raise RequirementsFileError(path, None, reason) from error
    try:
        for bom, encoding in _BOMS:
            if content.startswith(bom):
                return content[len(bom) :].decode(encoding)
        for line in content.split(b"\n")[:2]:
            if line.startswith(b"#") and (found := _CODING.search(line)):
                return content.decode(found[1].decode("ascii"))
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            return content.decode(locale.getpreferredencoding(do_setlocale=False))
    except (UnicodeDecodeError, LookupError) as error:
        raise RequirementsFileError(path, None, "the requirements file cannot be read: it is not UTF-8 text") from error


def _is_lock(path: str) -> bool:
    name = os.path.basename(path)
    return name == "pylock.toml" or (name.startswith("pylock.") and name.endswith(".toml"))


def _is_location(text: str) -> bool:
    path = _split_marker(text)[0]
    return path.startswith((".", "/", "~", "file:", "http://", "https://")) or (
        path.endswith(".whl") and " @ " not in path
    )


def _split_marker(text: str) -> tuple[str, str]:
    """Take the marker off a path or URL; a URL may hold semicolons, so a space has to stand before it."""
    separator = " ;" if "://" in text else ";"
    location, _, marker = text.partition(separator)
    return location.strip(), marker.strip()


def _from_location(location: str, text: str, sha256s: frozenset[str]) -> Wanted:
    from urllib.parse import unquote  # noqa: PLC0415 - requirements with URLs are rare

    plain = location.split("#", maxsplit=1)[0].split("?", maxsplit=1)[0].rstrip("/")
    filename = unquote(os.path.basename(plain)) if "://" in location else os.path.basename(plain)
    if not filename.endswith(".whl"):
        raise InvalidRequirementError(text, "only wheels can be installed from a path or URL, and this names none")
    return Wanted(text, wheel_name(filename).project, "", None, sha256s, location)


def _applies(requirement: Requirement, markers: Mapping[str, str], text: str) -> bool:
    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate({**markers, "extra": ""})
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise InvalidRequirementError(text, f"its marker cannot be evaluated: {error}") from error


def _pinned(specifier: SpecifierSet) -> str | None:
    exact = [each for each in specifier if each.operator in ("==", "===") and not each.version.endswith(".*")]
    return canonicalize_version(exact[0].version) if exact else None


def _sha256(text: str, word: str) -> str:
    algorithm, _, value = word.strip("\"'").partition(":")
    if algorithm != "sha256":
        raise InvalidRequirementError(text, f"hashes by {algorithm or 'nothing'} are not supported; give sha256")
    try:
        return sha256_hex(value)
    except InvalidNameError as error:
        raise InvalidRequirementError(text, error.reason) from error


def _check_hashes(roots: Iterable[Wanted], constraints: Iterable[Wanted]) -> None:
    """Refuse what has no hash or no version, once one requirement has a hash, as pip does."""
    hashed = {each.project for each in constraints if each.sha256s}
    for each in roots:
        if not each.sha256s and each.project not in hashed and "#sha256=" not in (each.url or ""):
            raise InvalidRequirementError(each.text, "hashes are required, and it has none; add --hash=sha256:…")
        if each.pinned is None and each.url is None:
            raise InvalidRequirementError(each.text, "hashes are required, so it has to name one version with ==")
