"""Read requirements and requirements files as pip reads them: what is wanted, what is constrained, which options hold.

Understood in a file: requirements (PEP 508), paths and URLs of files, `--hash`; comments, continued lines,
`${VARIABLES}`, nested `-r` and `-c`, the encodings that pip knows, and pip's options about indexes, hashes, binaries
and pre-releases. A `pylock.toml` may stand wherever a requirements file may. What no file can fulfil (editable,
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

from aiocache_engine.config import absolute
from aiocache_engine.errors import InvalidRequirementError, RequirementsFileError, UsageError
from aiocache_engine.hints import Any
from aiocache_engine.model.names import project_name
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import replace, value
from aiocache_engine.pipeline.inputs.mistakes import FILE_ENDINGS, refuse_file
from aiocache_engine.pipeline.inputs.requirements import (
    EDITABLE,
    is_location,
    parse_requirement,
    path_and_fragment,
    taken_apart,
    without_line_options,
)

_COMMENT = re.compile(r"(^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_HASH_IN_URL = re.compile("[#&]sha256=")
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
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
    no_binary: tuple[str, ...] = ()  #: normalized project names, or ":all:"
    only_binary: tuple[str, ...] = ()  #: as above
    trusted_hosts: tuple[str, ...] = ()
    builds: bool = True  #: sdists may be built; no line of a file says so

    def names_indexes(self) -> bool:
        """Tell whether other places are asked than without it."""
        return bool(self.index_url or self.extra_index_urls or self.find_links or self.no_index or self.trusted_hosts)

    def is_to_be_built(self, project: str) -> bool:
        """Tell whether the wheels of a project (normalized) are ruled out."""
        return project in self.no_binary or (":all:" in self.no_binary and project not in self.only_binary)

    def is_taken_built(self, project: str) -> bool:
        """Tell whether the sdists of a project (normalized) are ruled out."""
        return project in self.only_binary or (":all:" in self.only_binary and project not in self.no_binary)


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
    constraints: Iterable[str] = (),
    interpreter: Interpreter,
    environ: Mapping[str, str],
    requires_hashes: bool = False,
    builds: bool = True,
    no_binary: Iterable[str] = (),
) -> Requested:
    """Read requirements and files of them.

    Args:
        requirements: requirements (PEP 508), and paths or URLs of wheels and sdists.
        files: requirements files and lock files.
        constraint_files: files of constraints.
        constraints: requirements that hold for a project only if it is needed.
        interpreter: whose markers and tags count.
        environ: where `${VARIABLES}` are looked up.
        requires_hashes: as `--require-hashes` in a file.
        builds: sdists may be built.
        no_binary: projects of which no wheel is taken, or ":all:"; over what files say of them.

    Raises:
        InvalidRequirementError: a requirement cannot be taken.
        RequirementsFileError: a file cannot be read, or a line of it not be taken; both are named.
    """
    gathered = _Gathered(interpreter.markers, environ, interpreter)
    for text in requirements:
        if text.lower().endswith(FILE_ENDINGS):
            refuse_file(text)
        wanted = parse_requirement(text, interpreter.markers)
        if wanted is not None:
            gathered.roots.append(wanted)
            gathered.unlocked += 1
    for text in constraints:
        wanted = parse_requirement(text, interpreter.markers)
        if wanted is not None:
            gathered.constraints.append(_as_constraint(wanted))
    for path in files:
        _read_file(path, gathered, (), is_constraint=False)
    for path in constraint_files:
        _read_file(path, gathered, (), is_constraint=True)
    options = replace(gathered.options, builds=builds)
    for name in no_binary:
        options = _with_format(options, "no_binary", name)
    gathered.options = options
    if requires_hashes or gathered.options.require_hashes or any(each.sha256s for each in gathered.roots):
        gathered.options = replace(gathered.options, require_hashes=True)
        _check_hashes(gathered.roots, gathered.constraints)
    return Requested(
        tuple(gathered.roots),
        tuple(gathered.constraints),
        gathered.options,
        is_locked=bool(gathered.roots) and not gathered.unlocked,
    )


def _read_file(path: str, gathered: _Gathered, above: tuple[str, ...], *, is_constraint: bool) -> None:
    """Read one file, and those nested in it."""
    if path.startswith(("http:", "https:")):
        raise RequirementsFileError(path, None, "requirements files are read from this machine only; download it first")
    if path.startswith("file:"):
        from aiocache_engine.index.urls import path_of_url  # noqa: PLC0415 - URLs are rare, urllib costs 5 ms

        path = path_of_url(path)
    absolute(path)  # or it says why there is none
    real = os.path.realpath(path)
    if real in above:
        raise RequirementsFileError(above[-1], None, f"it includes itself, by way of {path}")
    if _is_lock(path):
        from aiocache_engine.pipeline.inputs.pylock import read_pylock  # noqa: PLC0415 - where there is one

        locked = read_pylock(path, gathered.interpreter)
        (gathered.constraints if is_constraint else gathered.roots).extend(locked)
        return
    if path.lower().endswith(".toml"):
        raise RequirementsFileError(
            path,
            None,
            "a file that ends in .toml is read if it is a lock file, called pylock.toml or pylock.NAME.toml (PEP 751);"
            " requirements are read from a text file, such as requirements.txt",
        )
    for number, line in _logical_lines(path):
        try:
            _read_line(line, path, number, gathered, (*above, real), is_constraint=is_constraint)
        except RequirementsFileError:
            raise
        except UsageError as error:
            raise RequirementsFileError(path, number, str(error)) from error


def _read_line(
    line: str, path: str, number: int, gathered: _Gathered, above: tuple[str, ...], *, is_constraint: bool
) -> None:
    """Read one line: a requirement, or options. Messages name it as it is written: a variable may hold a password."""
    directory = os.path.dirname(os.path.abspath(path))
    expanded = _VARIABLE.sub(lambda found: gathered.environ.get(found[1]) or found[0], line)
    unset = next((name for name in _VARIABLE.findall(line) if not gathered.environ.get(name)), "")
    if line.startswith("-") and not line.startswith(EDITABLE):
        if unset:
            raise _unset(line, unset)
        for option, value in _options(expanded, line):
            if option in {"-r", "--requirement", "-c", "--constraint"}:
                nested = value if "://" in value else os.path.join(directory, value)
                is_nested_constraint = is_constraint or option in {"-c", "--constraint"}
                _read_file(nested, gathered, above, is_constraint=is_nested_constraint)
            else:
                gathered.options = _with_option(gathered.options, option, value, directory)
        return
    if is_location(expanded) and "://" not in expanded:
        expanded = _beside(expanded, directory)
    wanted = _parsed(expanded, line, unset, gathered.markers, f"{path}, line {number}")
    if wanted is None:
        return
    if is_constraint:
        gathered.constraints.append(_as_constraint(wanted))
        return
    gathered.unlocked += 1
    gathered.roots.append(wanted)


def _parsed(expanded: str, line: str, unset: str, markers: Mapping[str, str], origin: str) -> Wanted | None:
    """Parse the requirement in a line whose variables are expanded, but for `unset`; None: it does not apply."""
    try:
        wanted = parse_requirement(expanded, markers, origin=origin)
    except InvalidRequirementError as error:
        if unset:
            raise _unset(line, unset) from None
        if expanded == line:
            raise
        # Advice repeats what a variable holds.
        reason = "its variables make it none" if error.reason.startswith("write ") else error.reason
        raise InvalidRequirementError(line, reason) from None
    if wanted is None:
        return None
    if unset and "://" in (wanted.url or ""):  # it stays as it stands, as pip has it; but no host is sent its name
        raise _unset(line, unset)
    return wanted if expanded == line else replace(wanted, text=without_line_options(line))


def _unset(line: str, variable: str) -> InvalidRequirementError:
    return InvalidRequirementError(line, f"the variable {variable} is not set")


def _as_constraint(wanted: Wanted) -> Wanted:
    if wanted.extras:
        raise InvalidRequirementError(wanted.text, "a constraint cannot have extras")
    return wanted


def _options(expanded: str, line: str) -> Iterator[tuple[str, str]]:
    """Take a line of options apart."""
    try:
        words = shlex.split(expanded)
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
    if name.endswith("_binary"):
        return _with_format(options, name, value)
    more: dict[str, Any] = {name: (*getattr(options, name), value)}
    return replace(options, **more)


def _with_format(options: FileOptions, name: str, value: str) -> FileOptions:
    """Follow pip: what is said of a project last holds, and `:none:` takes back all that was said before."""
    words = [word if word.startswith(":") else project_name(word) for word in value.split(",")]
    other = "only_binary" if name == "no_binary" else "no_binary"
    kept: tuple[str, ...] = getattr(options, name)
    for word in words:
        kept = () if word == ":none:" else (*kept, word)
    more: dict[str, Any] = {name: kept, other: tuple(each for each in getattr(options, other) if each not in words)}
    return replace(options, **more)


def _beside(path: str, directory: str) -> str:
    """Give the path that is meant: from here, as pip takes it, or from the file's own directory."""
    plain = os.path.expanduser(path_and_fragment(taken_apart(without_line_options(path))[0])[0])
    beside = os.path.join(directory, plain)
    return path if os.path.exists(plain) or not os.path.exists(beside) else path.replace(plain, beside, 1)


def _logical_lines(path: str) -> Iterator[tuple[int, str]]:
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
            yield start, text
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


def _check_hashes(roots: Iterable[Wanted], constraints: Iterable[Wanted]) -> None:
    """Refuse what has no hash or no version, once one requirement has a hash, as pip does."""
    hashed = {each.project for each in constraints if each.sha256s}
    lock = next((each.origin for each in roots if each.is_locked), None)
    for each in roots:
        reason = None
        if not each.sha256s and each.project not in hashed and not _HASH_IN_URL.search(each.url or ""):
            reason = "hashes are required, and it has none; add --hash=sha256:…"
            if lock is not None:
                reason = f"all that comes with the lock file {lock} needs a hash; install it by a command of its own"
        elif each.pinned is None and each.url is None:
            reason = "hashes are required, so it has to name one version with =="
        if reason is not None:
            raise _placed(InvalidRequirementError(each.text, reason), each.origin)


def _placed(error: InvalidRequirementError, origin: str) -> InvalidRequirementError | RequirementsFileError:
    """Name the line that a refused requirement stands in, if it stands in a file."""
    path, _, number = origin.rpartition(", line ")
    return RequirementsFileError(path, int(number), str(error)) if path else error
