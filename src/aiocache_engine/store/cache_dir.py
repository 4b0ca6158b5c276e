"""The cache dir itself: recognised, made, or refused. Everything else in the store starts from an opened one.

A directory is ours if it bears our marker. An empty or absent one may be made ours; any other is refused, and so is one
that it would be a mistake to write to or to clean.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress

from aiocache_engine.errors import CacheReplacedError, ForeignCacheDirError, ReadOnlyCacheError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.store.documents import NewerFormatError, decode, encode
from aiocache_engine.store.layout import MARKER, Layout
from aiocache_engine.system.descent import make_directory
from aiocache_engine.system.disk import NO_PLAIN_FILE, read_bytes, translated, write_bytes
from aiocache_engine.system.lock import CacheLock, Hold

CACHEDIR_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# This directory is a package cache made by aioc.\n"
RESERVE_BYTES = 256 * 1024  #: given back first when a clean or prune finds the disk full
GONE = "the cache dir was removed or replaced while in use; run the command again"  #: what a `CacheReplacedError` says
_BIRTH_PREFIX = ".birth-"


class CacheDir:
    """An opened cache dir: its paths, its lock, and whether it may be written."""

    __slots__ = ("_identity", "is_read_only", "layout", "lock")

    def __init__(self, layout: Layout, *, is_read_only: bool) -> None:
        self.layout = layout
        self.is_read_only = is_read_only
        self.lock = CacheLock.at(layout.lock)
        self._identity = _identity(layout.root)

    @property
    def root(self) -> str:
        """The absolute path of the cache dir."""
        return self.layout.root

    def ensure_ours(self, hold: Hold) -> None:
        """Check, inside a hold, that cache dir and lock file are still those that were opened (rules 19, 31).

        In an exclusive hold, which may take away whole directories, those of the cache are looked at again, too.

        Raises:
            CacheReplacedError: somebody removed or replaced one of them.
            ForeignCacheDirError: somebody put a link in the place of a directory.
        """
        hold.ensure_current()
        if _identity(self.root) != self._identity:
            raise CacheReplacedError(self.root, GONE)
        if hold.mode is LockMode.EXCLUSIVE:
            _is_furnished(self.layout)

    def temporary(self) -> str:
        """Give a fresh path in staging for a small file that is renamed into place within one hold."""
        return f"{self.layout.staging}/{_BIRTH_PREFIX}{os.urandom(8).hex()}"

    def ensure_writable(self) -> None:
        """Check that the cache dir can be written.

        Raises:
            ReadOnlyCacheError: it cannot.
        """
        if self.is_read_only:
            raise ReadOnlyCacheError(self.root, "the cache dir is read-only, and this needs to write to it")


def open_cache_dir(path: str, *, trust: bool = False) -> CacheDir:
    """Open a cache dir, making it if it is absent or empty.

    Args:
        path: where it is; made absolute here.
        trust: take a directory that would be refused because of its owner, its mode or a link in its place.

    Raises:
        ForeignCacheDirError: it is not ours, or must not be used as a cache dir.
        ReadOnlyCacheError: it is absent and cannot be made.
    """
    root = os.path.abspath(path)
    with translated(root):
        _refuse_precious(root)
        try:
            status = os.lstat(root)
        except FileNotFoundError:
            _make_root(root)
            status = os.lstat(root)
        if not trust:
            _refuse_strange(root, status)
        layout = Layout(os.path.realpath(root))
        is_read_only = not os.access(layout.root, os.W_OK | os.X_OK)
        if not _is_marked(layout):
            _claim(layout, is_read_only=is_read_only)
        if not _is_furnished(layout) and not is_read_only:
            furnish(layout)
        return CacheDir(layout, is_read_only=is_read_only)


def _refuse_precious(root: str) -> None:
    homes = {os.path.realpath(os.path.expanduser("~")), os.path.realpath("/")}
    if os.path.realpath(root) in homes:
        raise ForeignCacheDirError(root, "this must not be a cache dir; name a directory of its own with --cache-dir")


def _refuse_strange(root: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise ForeignCacheDirError(root, "the cache dir is a symbolic link; name its target, or say --trust-cache")
    if not stat.S_ISDIR(status.st_mode):
        raise ForeignCacheDirError(root, "the cache dir is no directory; name another with --cache-dir")
    if status.st_uid != os.geteuid():
        raise ForeignCacheDirError(
            root, "the cache dir belongs to somebody else; choose your own, or say --trust-cache"
        )
    if status.st_mode & stat.S_IWOTH:
        raise ForeignCacheDirError(root, "everybody may write to the cache dir; chmod o-w it, or say --trust-cache")


def _make_root(root: str) -> None:
    os.makedirs(os.path.dirname(root), exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(root, 0o700)


def _is_marked(layout: Layout) -> bool:
    try:
        content = read_bytes(layout.marker)
        if content is None:
            return False
        marker = decode(content)
    except OSError as error:
        if error.errno not in NO_PLAIN_FILE:
            raise
        marker = None
    except NewerFormatError:
        raise ForeignCacheDirError(
            layout.root, "a newer aioc made this cache dir; use that one, or another dir"
        ) from None
    if marker is None:
        raise ForeignCacheDirError(
            layout.root, f"its {MARKER} is damaged; remove the directory if it is a cache of aioc"
        )
    return True


def _claim(layout: Layout, *, is_read_only: bool) -> None:
    """Make an empty directory ours. Several processes may do it at once: the marker appears whole, and first."""
    if any(not name.startswith(_BIRTH_PREFIX) and name != MARKER for name in os.listdir(layout.root)):
        if _is_marked(layout):  # another process was quicker
            return
        raise ForeignCacheDirError(
            layout.root,
            f"the directory is not empty and has no {MARKER}; name an empty or absent one with --cache-dir,"
            " or run the command again if a cache dir was just removed there",
        )
    if is_read_only:
        raise ReadOnlyCacheError(
            layout.root, "the directory is empty and cannot be written; name another with --cache-dir"
        )
    temporary = f"{layout.root}/{_BIRTH_PREFIX}{os.urandom(8).hex()}"
    write_bytes(temporary, encode({"created": time.time()}))
    os.rename(temporary, layout.marker)


def _is_furnished(layout: Layout) -> bool:
    """Tell whether every directory is there: a full clean that died leaves one out, and so do people.

    Raises:
        ForeignCacheDirError: something else stands in the place of one. Work would leave the cache dir through a link.
    """
    is_complete = True
    for directory in layout.directories():
        try:
            mode = os.lstat(directory).st_mode
        except FileNotFoundError:
            is_complete = False
            continue
        if not stat.S_ISDIR(mode):
            what = "a symbolic link" if stat.S_ISLNK(mode) else "something else"
            raise ForeignCacheDirError(directory, f"{what} stands in the place of a directory of the cache; remove it")
    return is_complete


def furnish(layout: Layout) -> None:
    """Make every directory and the small files, as far as they are missing."""
    for directory in layout.directories():
        make_directory(directory, layout.root)
    for name, content in (("CACHEDIR.TAG", CACHEDIR_TAG), (".gitignore", b"*\n"), (".reserve", bytes(RESERVE_BYTES))):
        with suppress(FileExistsError):
            write_bytes(f"{layout.root}/{name}", content)


def _identity(root: str) -> tuple[int, int]:
    try:
        status = os.stat(root)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return (-1, -1)
        raise
    return (status.st_dev, status.st_ino)
