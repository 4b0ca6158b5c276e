"""Trash: where what was detached waits, and the deletion that gives its bytes back with no lock held.

Deleting goes directory by directory under descriptors that never follow a link, shared between two threads. Bytes are
counted as they go: the allocated blocks of every inode whose last link this deletion removed.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from aiocache_engine.store.layout import Layout
from aiocache_engine.system.pair import share

_BLOCK_BYTES = 512  #: the unit of st_blocks, whatever the file system's own
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
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

    Needs the exclusive lock.
    """
    destination = f"{layout.trash}/{kind}-{entry_id}-{secrets.token_hex(8)}"
    try:
        os.rename(path, destination)
    except FileNotFoundError:
        return None
    return destination


def sweep(path: str) -> Swept:
    """Delete a file or tree that nobody can find any more. What another sweeper deletes first is not counted."""
    tally = _Tally()
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return tally.result()
    if not stat.S_ISDIR(status.st_mode):
        _remove_file(os.path.basename(path), os.path.dirname(path), tally)
        return tally.result()
    directories = _directories(path)
    share(directories, lambda directory: _empty(directory, tally), least_jobs=8)
    for directory in reversed(directories):
        _remove_directory(directory, tally)
    return tally.result()


def measure(path: str) -> Swept:
    """Tell what `sweep` would give back now. Names of one inode inside the tree count as its links."""
    tally = _Tally()
    links: dict[tuple[int, int], int] = {}
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return tally.result()
    if not stat.S_ISDIR(status.st_mode):
        tally.add(1, status.st_size, status.st_blocks * _BLOCK_BYTES if status.st_nlink == 1 else 0)
        return tally.result()
    for directory in _directories(path):
        try:
            tally.add(0, 0, os.lstat(directory).st_blocks * _BLOCK_BYTES)
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        continue
                    status = entry.stat(follow_symlinks=False)
                    seen = links[status.st_dev, status.st_ino] = links.get((status.st_dev, status.st_ino), 0) + 1
                    freed = status.st_blocks * _BLOCK_BYTES if seen == status.st_nlink else 0
                    tally.add(1, status.st_size, freed)
        except FileNotFoundError:
            continue
    return tally.result()


def _directories(path: str) -> Sequence[str]:
    """List the tree's directories, parents first, by their paths. Links to directories are files here."""
    found = [path]
    for directory in found:
        try:
            with os.scandir(directory) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:  # we own it: nobody else puts anything into the cache dir
            os.chmod(directory, 0o700, follow_symlinks=False)
            with os.scandir(directory) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return found


def _empty(directory: str, tally: _Tally) -> None:
    """Delete the files that stand directly in a directory."""
    try:
        directory_fd = os.open(directory, _DIRECTORY_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        file_count = size_bytes = freed_bytes = 0
        with os.scandir(directory_fd) as entries:
            names = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        for name in names:
            try:
                status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
                _unlink(name, directory_fd)
            except FileNotFoundError:
                continue
            file_count += 1
            size_bytes += status.st_size
            if status.st_nlink == 1:
                freed_bytes += status.st_blocks * _BLOCK_BYTES
        tally.add(file_count, size_bytes, freed_bytes)
    finally:
        os.close(directory_fd)


def _unlink(name: str, directory_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=directory_fd)
    except PermissionError:
        os.fchmod(directory_fd, 0o700)
        os.unlink(name, dir_fd=directory_fd)


def _remove_file(name: str, parent: str, tally: _Tally) -> None:
    path = f"{parent}/{name}"
    try:
        status = os.lstat(path)
        os.unlink(path)
    except FileNotFoundError:
        return
    tally.add(1, status.st_size, status.st_blocks * _BLOCK_BYTES if status.st_nlink == 1 else 0)


def _remove_directory(directory: str, tally: _Tally) -> None:
    try:
        status = os.lstat(directory)
        os.rmdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    tally.add(0, 0, status.st_blocks * _BLOCK_BYTES)
