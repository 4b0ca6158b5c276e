"""Every error the engine raises, in one tree. An error carries its facts as attributes and names the next step.

Absence is no error (it is ``None``), and cancellation is never wrapped. Exit codes are the command line's business
(`aiocache_engine.cli.exit_codes`), not these classes'. No error holds a secret of a URL:
whatever it is given is `redacted`.
"""

from __future__ import annotations

from aiocache_engine.hints import TYPE_CHECKING, Any
from aiocache_engine.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_QUOTE = 240  #: characters of a text from outside that an error repeats in full


class CacheEngineError(Exception):
    """The root of the tree: catch it to catch everything the engine raises on purpose."""

    def __init__(self, *facts: object) -> None:
        super().__init__(*(_safe(fact) for fact in facts))

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep a fact, without the secrets of URLs."""
        super().__setattr__(name, _safe(value))

    def __reduce__(self) -> tuple[object, ...]:
        """Be copied and pickled as class, text and facts: what a class takes to be made is not what it keeps."""
        return _remade, (type(self), self.args), self.__dict__


class UsageError(CacheEngineError):
    """What was asked for cannot be meant: a malformed requirement, size, age or option."""


def _shown(text: str) -> str:
    """Quote a text from outside: its beginning and its length, if it is too long for a line."""
    whole = redacted(text)  # before it is cut: half a password is not known for one
    return repr(whole) if len(whole) <= _LONGEST_QUOTE else f"{whole[:60] + '…'!r} ({len(whole)} characters)"


class InvalidNameError(UsageError):
    """A name from outside that must not become a path, or that no specification allows."""

    def __init__(self, kind: str, text: str, reason: str) -> None:
        """Keep what was refused and why.

        Args:
            kind: what the text was meant to be ("project name", "wheel file name", …).
            text: the text as it came.
            reason: what is wrong with it.
        """
        super().__init__(f"{_shown(text)} is not a {kind}: {reason}")
        self.kind = kind
        self.text = text
        self.reason = reason


class InvalidRequirementError(UsageError):
    """A requirement that PEP 508 does not allow, or that this engine does not take (editable, VCS)."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{_shown(text)} cannot be used as a requirement: {reason}")
        self.text = text
        self.reason = reason


class RequirementsFileError(UsageError):
    """A requirements file that cannot be read or understood, with the line."""

    def __init__(self, path: str, line_number: int | None, reason: str) -> None:
        place = path if line_number is None else f"{path}, line {line_number}"
        super().__init__(f"{place}: {reason}")
        self.path = path
        self.line_number = line_number
        self.reason = reason


class IndexSettingsError(UsageError):
    """What options, environment or pip's configuration say about indexes cannot be used."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class CacheDirError(CacheEngineError):
    """The cache dir cannot be used as it is."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ForeignCacheDirError(CacheDirError):
    """The directory is not empty and does not bear our marker, or is one that must never be a cache dir."""


class ReadOnlyCacheError(CacheDirError):
    """The work needs to write, and the cache dir cannot be written."""


class CacheReplacedError(CacheDirError):
    """The cache dir or its lock file was replaced while in use; nothing more is renamed in it."""


class LockError(CacheEngineError):
    """A lock could not be used."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class LockTimeoutError(LockError):
    """The cache lock was not obtained in time."""

    def __init__(self, path: str, mode: str, *, waited_seconds: float, holders: tuple[str, ...] = ()) -> None:
        by = f" held by {', '.join(holders)};" if holders else ""
        super().__init__(
            path,
            f"waited {waited_seconds:g} s for {mode} use of the cache;{by}"
            " raise --lock-timeout (AIOC_LOCK_TIMEOUT) or stop the other aioc",
        )
        self.mode = mode
        self.waited_seconds = waited_seconds
        self.holders = holders


class KeyLockTimeoutError(LockTimeoutError):
    """Somebody else's work on the same thing did not end in time."""

    def __init__(self, path: str, what: str, *, waited_seconds: float, holders: tuple[str, ...] = ()) -> None:
        by = f" held by {', '.join(holders)};" if holders else ""
        LockError.__init__(
            self,
            path,
            f"waited {waited_seconds:g} s for {what};{by} try again when it has ended, or stop the other aioc",
        )
        self.mode = what
        self.waited_seconds = waited_seconds
        self.holders = holders


class LocksUnsupportedError(LockError):
    """The file system has no working locks."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            path,
            f"the file system refuses locks ({reason}); choose a local directory with --cache-dir (AIOC_CACHE_DIR)",
        )


class NestedHoldError(LockError):
    """A hold was asked for inside a hold, or by a second event loop: a fault in the calling program."""


class SourceError(CacheEngineError):
    """An index, a page or a file could not be had."""


class NetworkError(SourceError):
    """The other side could not be reached, or the connection broke for good."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason


class OfflineError(SourceError):
    """The work needs the network, and offline mode forbids it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not in the cache, and --offline forbids fetching it; run once without --offline")
        self.what = what


class IndexResponseError(SourceError):
    """The answer came, and it is not what an index may answer (a login page, say)."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason


class ProjectNotFoundError(SourceError):
    """No index that was asked knows the project, or has a file of it that can be used."""

    def __init__(
        self,
        project: str,
        indexes: tuple[str, ...],
        *,
        near_names: tuple[str, ...] = (),
        useless_pages: tuple[str, ...] = (),
    ) -> None:
        where = ", ".join(indexes) or "any index"
        meant = f"did you mean {' or '.join(near_names)}?" if near_names else "check the spelling"
        reason = f"{project} was not found in {where}; {meant} or"
        if useless_pages:
            reason = f"{project} is in {', '.join(useless_pages)}, and its page lists no file that can be used here;"
        super().__init__(f"{reason} name another index with --index-url")
        self.project = project
        self.indexes = indexes
        self.near_names = near_names  #: of projects that may have been meant
        self.useless_pages = useless_pages  #: the indexes among them that have a page of it


class NoMatchingWheelError(SourceError):
    """The project is known, and none of its wheels fits the requirement on the target interpreter."""

    def __init__(self, requirement: str, reason: str) -> None:
        super().__init__(f"no wheel fits {requirement}: {reason}")
        self.requirement = requirement
        self.reason = reason


class UnsatisfiableError(SourceError):
    """No versions suit all that is asked for."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class ResolutionLimitError(SourceError):
    """Whether there are versions that suit everybody was not found out within the limit."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"no versions that suit everybody were found {limit}; pin some of them, or name fewer at once")
        self.limit = limit


class HashMismatchError(SourceError):
    """The bytes that came are not those that were promised. Nothing of them is kept."""

    def __init__(self, file: str, *, expected: str, actual: str) -> None:
        super().__init__(
            f"{file}: the hash is {actual}, expected {expected}; the file changed or the pin is wrong, nothing was kept"
        )
        self.file = file
        self.expected = expected
        self.actual = actual


class InvalidWheelError(CacheEngineError):
    """A wheel that the strict reader refuses (`trust` rules of the binary distribution format and of zip files)."""

    def __init__(self, file: str, reason: str, *, member: str | None = None) -> None:
        place = file if member is None else f"{file}: {member!r}"
        super().__init__(f"{place}: {reason}")
        self.file = file
        self.member = member
        self.reason = reason


class BuildError(CacheEngineError):
    """A wheel, or its metadata, could not be built from source."""

    def __init__(self, what: str, reason: str, *, log: str | None = None, last_lines: tuple[str, ...] = ()) -> None:
        """Keep what failed.

        Args:
            what: file name or project directory, as messages name it.
            reason: one line.
            log: path of the file that holds all that the backend printed; None where none was asked.
            last_lines: the end of it.
        """
        lines = [f"{what} could not be built: {reason}"]
        if last_lines:
            lines += ["the last lines of its output:", *(f"  {line}" for line in last_lines)]
        if log is not None:
            lines.append(f"all of its output: {log}")
        super().__init__("\n".join(lines))
        self.what = what
        self.reason = reason
        self.log = log
        self.last_lines = last_lines


class BuildCycleError(BuildError):
    """Something is needed to build itself, or needs builds within builds without end."""

    def __init__(self, chain: tuple[str, ...], *, is_endless: bool = False) -> None:
        """Keep the way.

        Args:
            chain: what needs what to be built, the first once more at the end.
            is_endless: no circle was met, but no end either.
        """
        way = " -> ".join(chain)
        reason = f"its build requirements need it to be built itself ({way}); a wheel of one of them ends the circle"
        if is_endless:
            reason = f"builds of build requirements are {len(chain)} deep, and that has no end ({way})"
        super().__init__(chain[0], reason)
        self.chain = chain


class InvalidSdistError(CacheEngineError):
    """An sdist that the strict reader refuses: its tar or zip file is damaged, or would write where it must not."""

    def __init__(self, file: str, reason: str, *, member: str | None = None) -> None:
        place = file if member is None else f"{file}: {_shown(member)}"
        super().__init__(f"{place}: {reason}")
        self.file = file
        self.member = member
        self.reason = reason


class TargetError(CacheEngineError):
    """The environment that is to be written cannot be."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ExternallyManagedError(TargetError):
    """The interpreter belongs to the operating system (PEP 668)."""


class FileConflictError(TargetError):
    """Two distributions, or a distribution and the environment, want different bytes at one path."""


class InterpreterError(CacheEngineError):
    """The interpreter does not exist, or is not a Python that can be used."""

    def __init__(self, executable: str, reason: str) -> None:
        super().__init__(f"{executable}: {reason}")
        self.executable = executable
        self.reason = reason


class CommandNotFoundError(CacheEngineError):
    """A cached environment has no command of that name."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(reason)
        self.command = command
        self.reason = reason


class CommandNotExecutableError(CacheEngineError):
    """A command is there, and the operating system does not start it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: it cannot be started ({reason})")
        self.path = path
        self.reason = reason


class NotInCacheError(CacheEngineError):
    """What was named is not there: an archive to be pinned, a pin to be taken off, an environment to be forgotten."""

    def __init__(self, name: str, kind: str, reason: str) -> None:
        """Keep what was looked for.

        Args:
            name: as it was named.
            kind: what it should be ("archive", "pin", …).
            reason: what is there instead, or what to do.
        """
        super().__init__(f"the cache knows no {kind} {_shown(name)}; {reason}")
        self.name = name
        self.kind = kind
        self.reason = reason


class DamagedEntryError(CacheEngineError):
    """An entry of the cache lost or changed a file."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DiskError(CacheEngineError):
    """The operating system refused a read or a write (full disk, input/output error, no more descriptors, …)."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class OutOfSpaceError(DiskError):
    """No free block, inode or quota is left."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, f"{reason}; free some space, `aioc prune` and `aioc clean` work on a full disk")


def single_errors(error: BaseException) -> Iterator[BaseException]:
    """Give the single errors of a group, however deep, each message once.

    Who waits for one build gets its error, so that groups share members: each is looked into once, else it took ages.
    """
    seen: set[object] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        key: object = id(each) if isinstance(each, BaseExceptionGroup) else (type(each), str(each))
        if key in seen:
            continue
        seen.add(key)
        if isinstance(each, BaseExceptionGroup):
            waiting += reversed(each.exceptions)
        else:
            yield each


def _remade(kind: type[CacheEngineError], facts: tuple[object, ...]) -> CacheEngineError:
    return kind.__new__(kind, *facts)


def _safe(fact: Any) -> Any:
    if isinstance(fact, str):
        return redacted(fact)
    return tuple(_safe(each) for each in fact) if type(fact) is tuple else fact
