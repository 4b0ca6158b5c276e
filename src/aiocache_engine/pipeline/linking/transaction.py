"""Change a target as a whole or not at all: a journal in its root, stashed files, and one rename that decides.

While `aioc-journal/begun` stands, everything can be taken back; once it is renamed to `done`, the new state counts and
only the stash is left to remove. Both can be repeated after a crash at any moment, and need no archive:

- The prepared RECORDs lie in the journal and move into their dist-infos last, so they always tell which files are new.
- What was in the way, or goes, is renamed into the journal, never deleted before the decision.
- What other programs installed after a crash is told from the dist-infos that were not there before, and left alone.

The caller holds the environment lock for all of it. Since that lock lies in a cache dir, and two cache dirs may serve
one environment, a kernel lock on the journal itself keeps one from settling what the other has under way.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress

from aiocache_engine.errors import TargetError
from aiocache_engine.hints import Any
from aiocache_engine.model.digests import sha256_of
from aiocache_engine.model.plain_json import dump
from aiocache_engine.model.python import Target
from aiocache_engine.model.record import RecordError
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.linking.journal_document import damaged, read_journal
from aiocache_engine.pipeline.linking.uninstall import recorded_paths
from aiocache_engine.python.installed import FORMAT, JOURNAL, JOURNAL_BEGUN, JOURNAL_DONE
from aiocache_engine.system.descent import Descent
from aiocache_engine.system.disk import read_bytes, translated
from aiocache_engine.system.pair import share

PROBE = f"{JOURNAL}.probe"  #: in the root, for a moment: a file on which a way of linking is tried

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LATE = "late"  #: in the journal: paths that turned out to be somebody else's while linking, one a line
_READABLE = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RECORDS_A_JOB = 16


@value
class NewDistribution:
    """One distribution that is put in."""

    site: str  #: relative to the root: the directory that holds its dist-info
    dist_info: str  #: name
    record: bytes  #: the whole RECORD as it will stand there


@value
class Change:
    """What an installation will do to a target. All paths are relative to its root."""

    archives: dict[str, str]  #: link mode by id, of all archives in use before or after
    distributions: tuple[NewDistribution, ...]
    directories: tuple[str, ...]  #: made anew, parents first
    kept: tuple[str, ...]  #: files that are there already with the right bytes, and belong to others
    stashed: tuple[str, ...]  #: files that are replaced or go; their position names them in the stash
    known: tuple[str, ...]  #: dist-infos that are there before
    floor: tuple[str, ...]  #: directories that stay, even when they are empty
    compiled: tuple[str, ...] = ()  #: bytecode that comes with modules which take the place of others


class Journal:
    """The journal of one change under way."""

    def __init__(self, fd: int) -> None:
        """Take over the descriptor of the journal's directory."""
        self.fd = fd

    def stash(self, name: str, position: int, dir_fd: int) -> None:
        """Move a file of the target away; that it is gone already is fine."""
        with suppress(FileNotFoundError):
            os.rename(name, _stash_name(position), src_dir_fd=dir_fd, dst_dir_fd=self.fd)

    def place_record(self, number: int, dir_fd: int) -> None:
        """Move a prepared RECORD into its dist-info: from now on that distribution is complete."""
        os.rename(_record_name(number), "RECORD", src_dir_fd=self.fd, dst_dir_fd=dir_fd)

    def spare(self, path: str) -> None:
        """Note that somebody else's file stands where one of ours should go, so that taking back leaves it."""
        fd = os.open(_LATE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644, dir_fd=self.fd)
        try:
            os.write(fd, f"{path}\n".encode())
        finally:
            os.close(fd)

    def decide(self) -> None:
        """Make the new state count."""
        os.rename(JOURNAL_BEGUN, JOURNAL_DONE, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def close(self) -> None:
        """Unlock and close the descriptor; the journal stays where it is."""
        _close_journal(self.fd)


def begin(change: Change, *, root: str, root_fd: int) -> Journal:
    """Write the journal.

    Raises:
        TargetError: one is there already: `recover` was not called.
    """
    try:
        os.mkdir(JOURNAL, 0o755, dir_fd=root_fd)
    except FileExistsError as error:
        raise TargetError(root, "an unfinished installation was found here; run the same command again") from error
    journal = Journal(_open_journal(root=root, root_fd=root_fd))
    try:
        _write_records(change.distributions, journal.fd)
        document = {
            "format": FORMAT,
            "archives": change.archives,
            "distributions": [[one.site, one.dist_info, sha256_of(one.record)] for one in change.distributions],
            "directories": change.directories,
            "kept": change.kept,
            "stashed": change.stashed,
            "known": change.known,
            "floor": change.floor,
            "compiled": change.compiled,
        }
        fresh = f"{JOURNAL_BEGUN}.fresh"
        _write(fresh, dump(document), journal.fd)
        os.rename(fresh, JOURNAL_BEGUN, src_dir_fd=journal.fd, dst_dir_fd=journal.fd)
    except BaseException:
        journal.close()
        # A journal without its document stands for nothing; if it cannot be removed now, `recover` does it.
        with suppress(OSError):
            _remove_journal(root_fd)
        raise
    return journal


def recover(target: Target) -> None:
    """Bring a target in which an installation was interrupted back to what it was, or to what was decided.

    The caller holds the environment lock. Does nothing, at the price of two system calls, where there is no journal.

    Raises:
        TargetError: the journal is of another release of this software, or damaged.
        DiskError: the disk refused; calling again goes on from there.
    """
    root = os.path.realpath(target.root)
    probe = os.path.join(root, PROBE)
    with translated(root):
        if os.path.lexists(probe):
            os.unlink(probe)
        if not os.path.lexists(os.path.join(root, JOURNAL)):
            return
        root_fd = os.open(root, _READABLE)
        try:
            settle(root=root, root_fd=root_fd)
        finally:
            os.close(root_fd)


def settle(*, root: str, root_fd: int) -> None:
    """Take back, or carry through, what the journal tells; then remove the journal."""
    journal_fd = _open_journal(root=root, root_fd=root_fd)
    try:
        if (begun := read_journal(JOURNAL_BEGUN, journal_fd, root)) is not None:
            _take_back(begun, journal_fd, root=root, root_fd=root_fd)
            os.unlink(JOURNAL_BEGUN, dir_fd=journal_fd)
        elif (done := read_journal(JOURNAL_DONE, journal_fd, root)) is not None:
            _carry_through(done, journal_fd, root=root, root_fd=root_fd)
            os.unlink(JOURNAL_DONE, dir_fd=journal_fd)
        _remove_journal(root_fd)
    finally:
        _close_journal(journal_fd)


def _open_journal(*, root: str, root_fd: int) -> int:
    """Open the journal's directory and lock it; `_close_journal` lets go.

    Raises:
        TargetError: another process has it under way.
    """
    fd = os.open(JOURNAL, _READABLE, dir_fd=root_fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise TargetError(
            root, "another installation is under way here; run the command again when it is done"
        ) from error
    except OSError:  # a file system without such locks; the environment lock has to do
        pass
    return fd


def _take_back(document: dict[str, Any], journal_fd: int, *, root: str, root_fd: int) -> None:
    late = (read_bytes(_LATE, dir_fd=journal_fd) or b"").decode(errors="surrogateescape").splitlines()
    with Descent(root_fd, root) as descent:
        new, foreign = _tell_apart(document, journal_fd, descent, root)
        stashed = document["stashed"]
        doomed = new - foreign - set(document["kept"]) - set(stashed) - set(late)
        _unlink_all(sorted(doomed), descent)
        for position, path in enumerate(stashed):
            directory, _, name = path.rpartition("/")
            if path not in foreign:
                _restore(position, name, directory, journal_fd, descent)
        for directory in reversed(document["directories"]):
            _remove_if_empty(directory, descent)


def _tell_apart(document: dict[str, Any], journal_fd: int, descent: Descent, root: str) -> tuple[set[str], set[str]]:
    """Give the files that the change brought, and those that others brought since it was interrupted.

    A RECORD of ours that is in its place already is moved back into the journal first: it must outlast the files it
    lists, so that a second attempt knows them too.
    """
    new: set[str] = set()
    for number, (site, dist_info, digest) in enumerate(document["distributions"]):
        place = _join(site, dist_info)
        content = read_bytes(_record_name(number), dir_fd=journal_fd)
        if content is None:
            content = _reclaim(number, place, digest, journal_fd, descent)
        if content is not None:
            try:
                new.update(recorded_paths(content.decode(errors="surrogateescape"), site=site)[0])
            except RecordError as error:
                raise damaged(root) from error
    foreign: set[str] = set()
    known = set(document["known"])
    for site in {site for site, _, _ in document["distributions"]} | set(document["floor"]):
        for name in _list(site, descent):
            place = _join(site, name)
            if not name.endswith(".dist-info") or place in known:
                continue
            with suppress(FileNotFoundError):
                content = read_bytes("RECORD", dir_fd=descent.enter(place))
                # A RECORD in a dist-info of ours, while ours lies in the journal, is somebody else's.
                if content is not None:
                    with suppress(RecordError):
                        foreign.update(recorded_paths(content.decode(errors="surrogateescape"), site=site)[0])
    return new, foreign


def _reclaim(number: int, place: str, digest: str, journal_fd: int, descent: Descent) -> bytes | None:
    try:
        fd = descent.enter(place)
    except FileNotFoundError:
        return None
    content = read_bytes("RECORD", dir_fd=fd)
    if content is None or sha256_of(content) != digest:
        return None
    os.rename("RECORD", _record_name(number), src_dir_fd=fd, dst_dir_fd=journal_fd)
    return content


def _restore(position: int, name: str, directory: str, journal_fd: int, descent: Descent) -> None:
    stash = _stash_name(position)
    try:
        os.stat(stash, dir_fd=journal_fd, follow_symlinks=False)
    except FileNotFoundError:  # it was never moved away, or is back already
        return
    os.rename(stash, name, src_dir_fd=journal_fd, dst_dir_fd=descent.enter(directory, make=True))


def _carry_through(document: dict[str, Any], journal_fd: int, *, root: str, root_fd: int) -> None:
    stashed = document["stashed"]
    for position in range(len(stashed)):
        with suppress(FileNotFoundError):
            os.unlink(_stash_name(position), dir_fd=journal_fd)
    floor = set(document["floor"])
    directories: set[str] = set()
    for path in stashed:
        directory = path.rpartition("/")[0]
        while directory and directory not in floor and directory not in directories:
            directories.add(directory)
            directory = directory.rpartition("/")[0]
    with Descent(root_fd, root) as descent:
        _forget_bytecode(stashed, descent, spared=set(document["compiled"]))
        for directory in sorted(directories, reverse=True):
            _remove_if_empty(directory, descent)


def _unlink_all(paths: Iterable[str], descent: Descent) -> None:
    """Remove files, and the bytecode that was compiled from them meanwhile."""
    removed = []
    for path in paths:
        directory, _, name = path.rpartition("/")
        try:
            os.unlink(name, dir_fd=descent.enter(directory))
        except FileNotFoundError:
            continue
        except TargetError:  # somebody put a link there since: nothing behind it is ours
            continue
        removed.append(path)
    _forget_bytecode(removed, descent)


def _forget_bytecode(paths: Iterable[str], descent: Descent, *, spared: Container[str] = ()) -> None:
    """Remove what was compiled from modules: of the same size and time, it would pass for that of the new file."""
    stems: dict[str, set[str]] = {}
    for path in paths:
        if path.endswith(".py"):
            directory, _, name = path.rpartition("/")
            stems.setdefault(_join(directory, "__pycache__"), set()).add(name[:-3])
    for directory, names in sorted(stems.items()):
        try:
            for name in _list(directory, descent):
                if name.endswith(".pyc") and name.partition(".")[0] in names and _join(directory, name) not in spared:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=descent.enter(directory))
            _remove_if_empty(directory, descent)
        except TargetError:
            continue


def _remove_if_empty(directory: str, descent: Descent) -> None:
    parent, _, name = directory.rpartition("/")
    try:
        os.rmdir(name, dir_fd=descent.enter(parent))
    except (FileNotFoundError, NotADirectoryError, TargetError):
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _list(directory: str, descent: Descent) -> list[str]:
    try:
        fd = os.open(".", _READABLE, dir_fd=descent.enter(directory))
    except FileNotFoundError:
        return []
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _remove_journal(root_fd: int) -> None:
    try:
        fd = os.open(JOURNAL, _READABLE, dir_fd=root_fd)
    except FileNotFoundError:
        return
    try:
        for name in os.listdir(fd):
            os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(JOURNAL, dir_fd=root_fd)


def _close_journal(fd: int) -> None:
    """Unlock before closing: a process that another thread is starting has the descriptor too, until it execs."""
    with suppress(OSError):  # a file system without such locks
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _write_records(distributions: Sequence[NewDistribution], journal_fd: int) -> None:
    def work(numbers: range) -> None:
        for number in numbers:
            _write(_record_name(number), distributions[number].record, journal_fd)

    count = len(distributions)
    jobs: list[range] = [range(start, min(start + _RECORDS_A_JOB, count)) for start in range(0, count, _RECORDS_A_JOB)]
    share(jobs, work)


def _write(name: str, content: bytes, dir_fd: int) -> None:
    fd = os.open(name, _NEW, 0o644, dir_fd=dir_fd)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _record_name(number: int) -> str:
    return f"RECORD.{number}"


def _stash_name(position: int) -> str:
    return f"stash.{position}"


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
