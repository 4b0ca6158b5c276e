"""Leases: "this running work uses these objects", alive as long as a kernel lock on the lease file (rules 7-13).

A lease file is made under a temporary name, locked, written and only then renamed to where others look: an unlocked
visible lease file is dead, for ever. It is only ever appended to. The lock is `flock`, which child processes inherit
with the descriptor and which closing another descriptor of the file does not drop.

Beside the directory of the leases lies their mark: a random value that whoever puts something on any lease renews first
(rule 8). A collector that finds the mark that it knows need not look whether one of a thousand leases grew.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from aiocache_engine.hints import Any
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import is_object_id, new_object_id
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.records import Holder
from aiocache_engine.model.value import value
from aiocache_engine.store.documents import NewerFormatError, decode, encode, open_directory
from aiocache_engine.store.stamps import STAMP_BYTES, stamp_in
from aiocache_engine.system.descent import place_of, remove_file
from aiocache_engine.system.disk import NO_PLAIN_FILE, open_plain, read_bytes
from aiocache_engine.system.lock import Hold

BIRTH_PREFIX = ".birth-"
LEASE_VARIABLE = "AIOC_LEASE"  #: ids of the pipeline leases that a process joins, with blanks between
FEW = 30  #: leases that a hold looks at itself: a tenth of a millisecond, less than one more hold costs
_AHEAD_AT_MOST = 3  #: times in a row that leases are read ahead of a hold; where they grow on, it reads them itself
_MOST_BYTES = 1 << 26  #: of a lease file that is read, a million objects and more: a longer one covers everything
_BEARING = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
_HOLDER_KINDS: dict[str, Any] = {  # as JSON gives them
    "pid": int,
    "started_at": int | float,
    "host": str,
    "machine_id": str,
    "boot_id": str,
    "pid_namespace": int | None,
    "command": str,
    "since": int | float,
}
_own: dict[str, Lease] = {}  # every live lease of this process, by path: never tested through the file (rule 9)


class Lease:
    """One lease of this process. Made by `Lease.birth`, ended by `end`; objects are put on it under a shared hold."""

    __slots__ = ("_fd", "id", "objects", "path")

    def __init__(self, lease_id: str, path: str, fd: int) -> None:
        self.id = lease_id
        self.path = path
        self.objects: set[str] = set()
        self._fd = fd

    @classmethod
    def birth(cls, hold: Hold, directory: str, holder: Holder) -> Lease:
        """Make a lease that holds nothing yet. Needs the shared lock."""
        hold.require(LockMode.SHARED)
        lease_id = new_object_id()
        temporary = f"{BIRTH_PREFIX}{lease_id}"
        path = f"{directory}/{lease_id}"
        with place_of(path) as place_fd:
            fd = os.open(temporary, _BEARING, 0o644, dir_fd=place_fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                record = {name: getattr(holder, name) for name in _HOLDER_KINDS}
                _write_whole(fd, encode(record | {"name": holder.name} if holder.name else record), temporary)
                os.rename(temporary, lease_id, src_dir_fd=place_fd, dst_dir_fd=place_fd)
            except BaseException:
                os.close(fd)
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=place_fd)
                raise
        lease = cls(lease_id, path, fd)
        _own[path] = lease
        return lease

    def add(self, hold: Hold, object_ids: Iterable[str]) -> None:
        """Put objects on the lease. Needs the shared lock, in the hold in which they were looked up."""
        hold.require(LockMode.SHARED)
        fresh = [object_id for object_id in object_ids if object_id not in self.objects]
        if not fresh:
            return
        append_change(self._fd, "add", fresh, self.path)
        self.objects.update(fresh)

    def fileno(self) -> int:
        """Give the descriptor that holds it: a program that takes this process's place may inherit it (rule 11)."""
        return self._fd

    def end(self) -> None:
        """End the lease by closing its descriptor; the file goes unless a child process still holds it (rule 12)."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        _own.pop(self.path, None)
        os.close(fd)
        if is_free(self.path):
            remove_file(self.path)

    def _forget(self) -> None:
        """Drop a copy that a fork made: the lease stays the parent's alone."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _forget_all() -> None:
    for lease in _own.values():
        lease._forget()  # noqa: SLF001 - the child's side of the same module
    _own.clear()


os.register_at_fork(after_in_child=_forget_all)


def is_dead(directory: str, lease_id: str) -> bool:
    """Tell whether a lease that was born has ended, for ever: its file is unlocked, or gone after it was found so."""
    path = f"{directory}/{lease_id}"
    return path not in _own and (is_free(path) or not os.path.lexists(path))


def is_free(path: str) -> bool:
    """Tell whether nobody holds the lease file. What cannot be opened or tested, or is no file, counts as held."""
    try:
        fd = open_plain(path)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


@value
class LeaseFile:
    """What a lease file says. Whether it is alive is a question to the kernel, asked when it matters."""

    id: str
    path: str
    holder: Holder | None  #: None where the record cannot be read
    objects: frozenset[str] | None  #: None: of a newer format or damaged, so it covers everything
    is_newer: bool = False  #: whether its record is whole, and of a newer format

    def covers(self, object_id: str) -> bool:
        """Tell whether the lease, if alive, protects the object."""
        return self.objects is None or object_id in self.objects

    def is_alive(self) -> bool:
        """Ask whether somebody still holds it."""
        return self.path in _own or not is_free(self.path)


Covering = Callable[[str], Iterable[LeaseFile]]  #: gives the leases that say that they protect an object


class LeaseReader:
    """Reads all lease files again and again at little cost: only those that grew since the last time are opened.

    A dead lease is dead for ever, and its id is nobody else's: once found so it is not looked at again in a hold.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._known: dict[str, tuple[int, int, LeaseFile]] = {}
        self._dead: dict[str, LeaseFile] = {}
        self._mark: bytes | None = None  #: that stood there in the last hold; None: there was none
        self._covering: Covering | None = None  #: by leases read in that hold or after it; None: not read yet
        self._ahead_count = 0  #: how many holds in a row asked to have them read ahead

    def read(self) -> list[LeaseFile]:
        """List every visible lease file, dead or alive."""
        living, dead = self._read()
        return [*living, *dead]

    def read_living(self) -> list[LeaseFile]:
        """List the lease files that were not found dead before. Their state is not asked for, as in `read`."""
        living, _ = self._read()
        return living

    def held(self, hold: Hold) -> Callable[[str], bool] | None:
        """Give what tells in this exclusive hold whether a live lease protects an object (rule 31).

        None: there are many, and some may have grown since they were read. End the hold, `read_ahead`, and come again.
        """
        hold.require(LockMode.EXCLUSIVE)
        mark = _read_mark(self._directory)
        if mark is None or mark != self._mark:
            self._mark, self._covering = mark, None
        if self._covering is None:
            is_many = len(self._known) + len(self._dead) > FEW
            if is_many and mark is not None and self._ahead_count < _AHEAD_AT_MOST:
                self._ahead_count += 1
                return None
            living = self.read_living()
            self._covering = lambda object_id: (lease for lease in living if lease.covers(object_id))
        self._ahead_count = 0
        covering = self._covering
        return lambda object_id: any(
            self._still_covers(lease, object_id) and lease.is_alive() for lease in covering(object_id)
        )

    def read_ahead(self) -> None:
        """Read the leases after a hold that asked for it, and before the next; in no hold."""
        self._covering = _index(self.read_living())

    def _still_covers(self, lease: LeaseFile, object_id: str) -> bool:
        """Ask a lease again: what it gave up needs no mark, and counts before a note that is written now (rule 33)."""
        fd = open_directory(self._directory)
        if fd is None:
            return False
        try:
            now = self._look(lease.id, fd)
        finally:
            os.close(fd)
        return now is not None and now[2].covers(object_id)

    def part(self) -> tuple[list[LeaseFile], list[LeaseFile]]:
        """Read, and ask the kernel about every lease: those alive, and those dead. Two calls for each: in no hold."""
        leases = self.read()
        for lease in leases:
            if lease.id not in self._dead and not lease.is_alive():
                self._dead[lease.id] = lease
        dead = [lease for lease in leases if lease.id in self._dead]
        return [lease for lease in leases if lease.id not in self._dead], dead

    def _read(self) -> tuple[list[LeaseFile], list[LeaseFile]]:
        """Give what was not found dead before, and what was. In holds, and with many leases: one call for each."""
        leases: dict[str, tuple[int, int, LeaseFile]] = {}
        dead: list[LeaseFile] = []
        fd = open_directory(self._directory)
        if fd is None:
            return [], []
        try:
            for name in os.listdir(fd):
                if name in self._dead:
                    dead.append(self._dead[name])
                elif (found := self._look(name, fd)) is not None:
                    leases[name] = found
        finally:
            os.close(fd)
        self._known = leases
        return [lease for _, _, lease in leases.values()], dead

    def _look(self, name: str, directory_fd: int) -> tuple[int, int, LeaseFile] | None:
        """Read a lease file again if it changed; None where it is none."""
        try:
            status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        known = self._known.get(name)
        if known is not None and known[0] == status.st_ino and known[1] == status.st_size:
            return known
        if not (is_object_id(name) and stat.S_ISREG(status.st_mode)):  # no lease of ours is a link or a directory
            return None
        try:
            content = read_bytes(name, dir_fd=directory_fd) if status.st_size <= _MOST_BYTES else b""
        except OSError as error:
            if error.errno in NO_PLAIN_FILE:
                return None
            if not isinstance(error, PermissionError):
                raise
            content = b""  # it cannot be read, so it covers everything
        if content is None:
            return None
        return status.st_ino, len(content), _parse(name, f"{self._directory}/{name}", content)


def _index(leases: Iterable[LeaseFile]) -> Covering:
    """Find the leases of an object without asking each of them."""
    by_object: dict[str | None, list[LeaseFile]] = defaultdict(list)
    for lease in leases:
        for object_id in (None,) if lease.objects is None else lease.objects:
            by_object[object_id].append(lease)
    of_all = by_object.get(None, [])
    return lambda object_id: (*of_all, *by_object.get(object_id, ()))


def _parse(lease_id: str, path: str, content: bytes) -> LeaseFile:
    first, _, rest = content.partition(b"\n")
    try:
        record = decode(first)
    except NewerFormatError:
        return LeaseFile(lease_id, path, None, None, is_newer=True)
    if record is None or not all(isinstance(record.get(name), kind) for name, kind in _HOLDER_KINDS.items()):
        return LeaseFile(lease_id, path, None, None)
    named = record.get("name", "")
    holder = Holder(**{name: record[name] for name in _HOLDER_KINDS}, name=named if isinstance(named, str) else "")
    objects: set[str] = set()
    for line in rest.splitlines():
        change = read_change(line)
        if change is None:
            return LeaseFile(lease_id, path, holder, None)
        verb, object_ids = change
        if verb == "add":
            objects.update(object_ids)
        else:
            objects.difference_update(object_ids)
    return LeaseFile(lease_id, path, holder, frozenset(objects))


def _write_whole(fd: int, content: bytes, path: str) -> None:
    """Write in one piece. What a full disk cuts short is an unfinished line, which protects nothing: say so."""
    if os.write(fd, content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def append_change(fd: int, verb: str, object_ids: list[str], path: str) -> None:
    """Append what is put on a lease ("add") or given up ("drop"), in one write, whatever an unfinished one left.

    What is put on it is marked first, in the same shared hold, so that no collector can miss it (rule 8).
    """
    if verb == "add":
        _renew_mark(os.path.dirname(path))
    _write_whole(fd, b"\n" + dump({verb: object_ids}) + b"\n", path)


def _mark_path(directory: str) -> str:
    return f"{directory}.changed"


def _renew_mark(directory: str) -> None:
    """Say that some lease grows. By name each time: a descriptor could be of a file that was removed."""
    path = _mark_path(directory)
    with place_of(path) as place_fd:
        stamp_in(place_fd, os.path.basename(path), partial(_put_among_half_born, directory), is_all=True)


def _put_among_half_born(directory: str, place_fd: int, name: str) -> None:
    """Put aside what stands in the mark's place: a prune takes it with the leases that were never born."""
    temporary = f"{BIRTH_PREFIX}{new_object_id()}"
    with place_of(f"{directory}/{temporary}", around=place_fd) as fd:
        os.rename(name, temporary, src_dir_fd=place_fd, dst_dir_fd=fd)


def _read_mark(directory: str) -> bytes | None:
    """Give the mark of the leases; None where it cannot be told."""
    try:
        fd = open_plain(_mark_path(directory))
    except OSError:
        return None
    try:
        mark = os.pread(fd, STAMP_BYTES + 1, 0)
    except OSError:
        return None
    finally:
        os.close(fd)
    return mark if len(mark) == STAMP_BYTES else None


def read_change(line: bytes) -> tuple[str, list[str]] | None:
    """Give what a line adds or drops; None where it is damaged or of a newer release, so that nothing is certain."""
    if not line or (line.startswith(b"{") and b"}" not in line):  # its writer did not live to finish it
        return "add", []
    try:
        [(verb, object_ids)] = load(line).items()
        is_ours = verb in ("add", "drop") and isinstance(object_ids, list) and all(map(is_object_id, object_ids))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return (verb, object_ids) if is_ours else None
