"""Trash: where what was detached waits, and the deletion that gives its bytes back with no lock held.

Deleting goes directory by directory under descriptors that never follow a link, shared between two threads as long as
nobody else wants the second processor. Bytes are counted as they go: the allocated blocks of every inode whose last
link this deletion removed.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from contextlib import suppress

from aiocache_engine.errors import TargetError
from aiocache_engine.model.value import value
from aiocache_engine.store.archives import USED
from aiocache_engine.store.layout import Layout
from aiocache_engine.system.descent import PATH_FLAGS, Descent, directory_of
from aiocache_engine.system.pair import share, wants_more_processors

_BLOCK_BYTES = 512  #: the unit of st_blocks, whatever the file system's own
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_OBJECTS = frozenset({"archive", "environment", "bytecode"})  #: kinds that are too large to be deleted in a hold
_DIRECTORIES_A_JOB = 8


@value
class Swept:
    """What one deletion gave back, or would give back."""

    file_count: int
    size_bytes: int  #: logical
    freed_bytes: int  #: allocated bytes of inodes whose last link went


class _Tally:
    """Adds up over two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.file_count = 0
        self.size_bytes = 0
        self.freed_bytes = 0

    def add(self, file_count: int, size_bytes: int, freed_bytes: int) -> None:
        with self._lock:
            self.file_count += file_count
            self.size_bytes += size_bytes
            self.freed_bytes += freed_bytes

    def result(self) -> Swept:
        return Swept(self.file_count, self.size_bytes, self.freed_bytes)


def to_trash(layout: Layout, path: str, *, kind: str, entry_id: str) -> str | None:
    """Rename a file or directory into trash and give its new path; None if it is gone already.

    Where a full disk has no room for the new directory entry, an object (whose names are gone by now) is to be deleted
    where it stands, so its own path is given; anything else is small and is deleted at once. Needs the exclusive lock.

    A link is renamed like a file, and what lies behind one is gone: all goes by descriptors of the directories between
    the cache dir and the entry, since a bucket may have become a link after it was listed.

    Raises:
        TargetError: a link stands in the place of trash.
        OSError: the file system refuses; it names the path.
    """
    directory, name = os.path.split(path)
    destination = f"{kind}-{entry_id[:64]}-{os.urandom(8).hex()}"
    root_fd = os.open(layout.root, PATH_FLAGS)
    try:
        with Descent(root_fd, layout.root) as places, Descent(root_fd, layout.root) as trashes:
            trash_fd = trashes.enter(layout.trash[len(layout.root) + 1 :])
            try:
                place_fd = places.enter(directory[len(layout.root) + 1 :])
            except (FileNotFoundError, TargetError):
                return None
            try:
                os.rename(name, destination, src_dir_fd=place_fd, dst_dir_fd=trash_fd)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise OSError(error.errno, error.strerror, path) from error
                return _give_up_in_place(name, place_fd, path, kind)
    finally:
        os.close(root_fd)
    return f"{layout.trash}/{destination}"


def _give_up_in_place(name: str, place_fd: int, path: str, kind: str) -> str | None:
    if kind not in _OBJECTS:
        _sweep_in(place_fd, name, path, _Tally())
        return None
    with suppress(FileNotFoundError, TargetError), Descent(place_fd, os.path.dirname(path)) as descent:
        os.unlink(USED, dir_fd=descent.enter(name))
    return path


def sweep(path: str) -> Swept:
    """Delete a file or tree that nobody can find any more. What another sweeper deletes first is not counted.

    Nothing goes where a link has come into the place of the directory that it stands in.
    """
    tally = _Tally()
    with directory_of(path) as parent_fd:
        if parent_fd is not None:
            _sweep_in(parent_fd, os.path.basename(path), path, tally)
    return tally.result()


def _sweep_in(parent_fd: int, name: str, path: str, tally: _Tally) -> None:
    status = _look(name, parent_fd)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        _remove_file(name, parent_fd, tally)
    elif status is not None and (root_fd := _open(name, parent_fd)) is not None:
        try:
            _empty_tree(root_fd, path, tally)
        finally:
            os.close(root_fd)
        _remove_directory(name, parent_fd, tally)


Links = dict[tuple[int, int], int]  #: how many names of an inode were met, by device and inode


def measure(path: str, *, without: Collection[str] = (), links: Links | None = None) -> Swept:
    """Tell what `sweep` would give back now. Names of one inode inside the tree count as its links.

    Args:
        path: a file or tree.
        without: paths in it that are counted elsewhere.
        links: what was met in all that is swept before this; filled further.
    """
    tally = _Tally()
    links = {} if links is None else links
    for place, status in _walk(path):
        if place in without and place != path:
            continue
        if stat.S_ISDIR(status.st_mode):
            tally.add(0, 0, _allocated(status))
            continue
        seen = links[status.st_dev, status.st_ino] = links.get((status.st_dev, status.st_ino), 0) + 1
        tally.add(1, status.st_size, _allocated(status) if seen == status.st_nlink else 0)
    return tally.result()


@value
class FreedFiles:
    """Files whose last link a deletion would take."""

    count: int
    size_bytes: int  #: allocated


def freed_files(path: str, links: MutableMapping[tuple[int, int], int]) -> FreedFiles:
    """Tell of which files in a tree a deletion would take the last link; `links` as for `measure`."""
    count = size_bytes = 0
    for _, status in _walk(path):
        if stat.S_ISDIR(status.st_mode):
            continue
        inode = status.st_dev, status.st_ino
        links[inode] = links.get(inode, 0) + 1
        if links[inode] == status.st_nlink:
            count += 1
            size_bytes += _allocated(status)
    return FreedFiles(count, size_bytes)


def _walk(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Give a path and all below it that can be read, as far as nobody deletes it meanwhile. Links are files here.

    Paths may be longer than any that could be opened: as in a sweep, all is reached by descriptors.
    """
    parent, root = os.path.split(path)
    try:
        parent_fd = os.open(parent, PATH_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        status = _look(root, parent_fd)
        if status is None:
            return
        yield path, status
        if not stat.S_ISDIR(status.st_mode):
            return
        stack = [root]
        with Descent(parent_fd, parent) as descent:
            while stack:
                directory = stack.pop()
                for name, status in _list(directory, descent):
                    yield f"{parent}/{directory}/{name}", status
                    if stat.S_ISDIR(status.st_mode):
                        stack.append(f"{directory}/{name}")
    finally:
        os.close(parent_fd)


def _list(directory: str, descent: Descent) -> list[tuple[str, os.stat_result]]:
    """List a directory; empty if it is gone or cannot be read."""
    above, _, name = directory.rpartition("/")
    try:
        fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=descent.enter(above))
    except (FileNotFoundError, NotADirectoryError, PermissionError, TargetError):
        return []
    found: list[tuple[str, os.stat_result]] = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                with suppress(FileNotFoundError, PermissionError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
    finally:
        os.close(fd)
    return found


def _empty_tree(root_fd: int, root: str, tally: _Tally) -> None:
    """Delete all below a directory, two threads taking its files."""
    directories = _directories(root_fd, root)
    jobs = [directories[i : i + _DIRECTORIES_A_JOB] for i in range(0, len(directories), _DIRECTORIES_A_JOB)]

    def empty(part: Sequence[str]) -> None:
        with Descent(root_fd, root) as descent:
            for directory in part:
                _remove_files(directory, descent, tally)

    share(jobs, empty, is_crowded=wants_more_processors)
    with Descent(root_fd, root) as descent:
        for directory in reversed(directories):
            above, _, name = directory.rpartition("/")
            if directory:
                with suppress(FileNotFoundError, TargetError):
                    _remove_directory(name, descent.enter(above), tally)


def _directories(root_fd: int, root: str) -> Sequence[str]:
    """List the tree's directories relative to its root, parents first. Links to directories are files here."""
    found: list[str] = []
    stack = [""]
    with Descent(root_fd, root) as descent:
        while stack:
            directory = stack.pop()
            fd = _enter(directory, descent)
            if fd is None:
                continue
            found.append(directory)
            try:
                with os.scandir(fd) as entries:
                    names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            finally:
                os.close(fd)
            stack += [f"{directory}/{name}" if directory else name for name in names]
    return found


def _remove_files(directory: str, descent: Descent, tally: _Tally) -> None:
    """Delete the files that stand directly in a directory."""
    fd = _enter(directory, descent)
    if fd is None:
        return
    try:
        with os.scandir(fd) as entries:
            names = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        file_count = size_bytes = freed_bytes = 0
        for name in names:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                _unlink(name, fd)
            except FileNotFoundError:
                continue
            file_count += 1
            size_bytes += status.st_size
            if status.st_nlink == 1:
                freed_bytes += _allocated(status)
        tally.add(file_count, size_bytes, freed_bytes)
    finally:
        os.close(fd)


def _enter(directory: str, descent: Descent) -> int | None:
    """Open a directory for listing; None if it is gone, or something else stands there now."""
    try:
        if not directory:
            return _open(".", descent.enter(""))
        above, _, name = directory.rpartition("/")
        return _open(name, descent.enter(above))
    except (FileNotFoundError, TargetError):
        return None


def _open(name: str, parent_fd: int) -> int | None:
    try:
        return os.open(name, _DIRECTORY_FLAGS, dir_fd=parent_fd)
    except PermissionError:  # we own it: nobody else puts anything into the cache dir
        os.chmod(name, 0o700, dir_fd=parent_fd)
        return os.open(name, _DIRECTORY_FLAGS, dir_fd=parent_fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _look(name: str, parent_fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _unlink(name: str, directory_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=directory_fd)
    except PermissionError:
        os.fchmod(directory_fd, 0o700)
        os.unlink(name, dir_fd=directory_fd)


def _remove_file(name: str, parent_fd: int, tally: _Tally) -> None:
    try:
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        os.unlink(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    tally.add(1, status.st_size, _allocated(status) if status.st_nlink == 1 else 0)


def _remove_directory(name: str, parent_fd: int, tally: _Tally) -> None:
    try:
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        os.rmdir(name, dir_fd=parent_fd)
    except (FileNotFoundError, NotADirectoryError):
        return
    tally.add(0, 0, _allocated(status))


def _allocated(status: os.stat_result) -> int:
    return status.st_blocks * _BLOCK_BYTES
