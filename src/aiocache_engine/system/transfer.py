"""Get files of the cache into another directory: by clone, hard link, copy or symbolic link.

The way is decided once per pair of file systems and remembered for the process. Both directories are given by
descriptors, and names are kept. A hard-linked file shares its inode with the cache: nobody here changes a file that
is there already, neither its bytes nor its mode nor its times.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Container, Iterable
from contextlib import suppress

from aiocache_engine.errors import DamagedEntryError, TargetError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.value import value
from aiocache_engine.system.descent import PATH_FLAGS

_FICLONE = 0x40049409
_WHOLE_BYTES = 1 << 20  #: files up to this size are copied through memory in one piece
_CANNOT_CLONE = frozenset({
    errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EBADF
})  # fmt: skip
_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC

_decisions: dict[tuple[int, int], LinkMode] = {}


@value
class Source:
    """A directory of an archive, as the one that files are taken from."""

    path: str  #: absolute
    spare: str  #: an absolute directory beside the tree, for a fresh inode on its way
    executables: Container[str]  #: names of the files that bear the executable bit


def decide(wanted: LinkMode, *, sample: str, by_way_of: str) -> LinkMode:
    """Find the way from the file system of `sample` to that of `by_way_of`.

    Args:
        wanted: AUTO, or the way that was asked for.
        sample: a file of the cache.
        by_way_of: a path in the target's file system at which nothing stands; made and removed where it must be tried.

    Raises:
        TargetError: the way asked for does not exist between the two.
        DamagedEntryError: there is no such file in the cache.
    """
    if wanted in (LinkMode.COPY, LinkMode.SYMLINK):
        return wanted
    if wanted is not LinkMode.AUTO:
        if not _works(wanted, sample, by_way_of):
            what = "cloned" if wanted is LinkMode.CLONE else "hard-linked"
            raise TargetError(
                os.path.dirname(by_way_of),
                f"files of the cache cannot be {what} into this file system; use --link-mode copy, or leave it out",
            )
        return wanted
    target_device = os.stat(os.path.dirname(by_way_of)).st_dev
    try:
        pair = (os.stat(sample).st_dev, target_device)
    except FileNotFoundError as error:
        raise _missing(sample) from error
    if pair in _decisions:
        return _decisions[pair]
    ways = (LinkMode.CLONE, LinkMode.HARDLINK)
    decision = next((mode for mode in ways if _works(mode, sample, by_way_of)), LinkMode.COPY)
    if decision is not LinkMode.COPY or pair[0] != target_device:  # two mounts of one device say nothing of the rest
        _decisions[pair] = decision
    return decision


def transfer(mode: LinkMode, names: Iterable[str], sizes: Iterable[int], source: Source, target_fd: int) -> None:
    """Bring the named files of one directory into another; none of them may be there yet.

    Args:
        mode: any but AUTO.
        names: file names in both directories.
        sizes: bytes, in the order of the names.
        source: where they come from.
        target_fd: the directory they go to.

    Raises:
        FileExistsError: something stands at one of the names; its `filename` tells which.
        DamagedEntryError: a file of the cache is missing, or has another size (where it is read at all).
        OSError: the disk refused.
    """
    if mode is LinkMode.SYMLINK:
        for name in names:
            os.symlink(f"{source.path}/{name}", name, dir_fd=target_fd)
        return
    try:
        source_fd = os.open(source.path, PATH_FLAGS)
    except FileNotFoundError as error:
        raise _missing(source.path) from error
    try:
        if mode is LinkMode.HARDLINK:
            _link_all(names, source, source_fd, target_fd)
            return
        for name, size in zip(names, sizes, strict=True):
            _write_one(mode, name, size, source, (source_fd, target_fd))
    finally:
        os.close(source_fd)


def _link_all(names: Iterable[str], source: Source, source_fd: int, target_fd: int) -> None:
    link = os.link
    for name in names:
        try:
            link(name, name, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        except OSError as error:
            _link_otherwise(error, name, source, source_fd, target_fd)


def _link_otherwise(error: OSError, name: str, source: Source, source_fd: int, target_fd: int) -> None:
    """Go on where a plain link is refused for this one file; raises where that is impossible."""
    if error.errno == errno.EMLINK:
        _freshen(name, source)
        os.link(name, name, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        return
    if error.errno == errno.EXDEV:  # a mount inside the target, say
        _write_one(LinkMode.COPY, name, None, source, (source_fd, target_fd))
        return
    if isinstance(error, FileNotFoundError) and not os.path.lexists(f"{source.path}/{name}"):
        raise _missing(f"{source.path}/{name}") from error
    raise error


def _freshen(name: str, source: Source) -> None:
    """Put a fresh inode with the same bytes, mode and times in the place of a file that bears no further link."""
    path = f"{source.path}/{name}"
    fresh = os.path.join(source.spare, f"fresh-{os.urandom(8).hex()}")
    source_fd = os.open(path, _OLD)
    try:
        status = os.fstat(source_fd)
        fresh_fd = os.open(fresh, _NEW, stat.S_IMODE(status.st_mode))
        try:
            _copy_bytes(source_fd, fresh_fd, status.st_size)
            os.utime(fresh_fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(fresh_fd)
        os.replace(fresh, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh)
        raise
    finally:
        os.close(source_fd)


def _write_one(mode: LinkMode, name: str, size: int | None, source: Source, fds: tuple[int, int]) -> None:
    """Clone or copy one file, with its executable bit and its modification time."""
    source_fd, target_fd = fds
    try:
        from_fd = os.open(name, _OLD, dir_fd=source_fd)
    except FileNotFoundError as error:
        raise _missing(f"{source.path}/{name}") from error
    try:
        status = os.fstat(from_fd)
        if size is not None and status.st_size != size:
            raise DamagedEntryError(
                f"{source.path}/{name}", f"the file has {status.st_size} bytes, not {size}; fetch it again (--refresh)"
            )
        to_fd = os.open(name, _NEW, 0o755 if name in source.executables else 0o644, dir_fd=target_fd)
        try:
            if mode is LinkMode.CLONE:
                _clone_bytes(from_fd, to_fd)
            else:
                _copy_bytes(from_fd, to_fd, status.st_size)
            os.utime(to_fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(to_fd)
    finally:
        os.close(from_fd)


def _copy_bytes(from_fd: int, to_fd: int, size: int) -> None:
    if size <= _WHOLE_BYTES:
        content = memoryview(os.read(from_fd, size)) if size else memoryview(b"")
        while content:
            content = content[os.write(to_fd, content) :]
        return
    while True:
        try:
            done = os.copy_file_range(from_fd, to_fd, 1 << 30) if sys.platform == "linux" else 0
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            done = 0
        if not done:
            break
    # What the kernel would not copy by itself; at the end of the file this reads nothing.
    while chunk := os.read(from_fd, _WHOLE_BYTES):
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(to_fd, rest) :]


def _clone_bytes(from_fd: int, to_fd: int) -> None:
    import fcntl  # noqa: PLC0415 - few file systems get here

    fcntl.ioctl(to_fd, _FICLONE, from_fd)


def _works(mode: LinkMode, sample: str, by_way_of: str) -> bool:
    """Try a way on a real file."""
    if mode is LinkMode.HARDLINK:
        try:
            os.link(sample, by_way_of, follow_symlinks=False)
        except FileNotFoundError as error:
            raise _missing(sample) from error
        except OSError as error:
            if error.errno == errno.EMLINK:
                return True
            if error.errno in _CANNOT_LINK:
                return False
            raise
        os.unlink(by_way_of)
        return True
    if sys.platform != "linux":
        return False
    try:
        from_fd = os.open(sample, _OLD)
    except FileNotFoundError as error:
        raise _missing(sample) from error
    try:
        to_fd = os.open(by_way_of, _NEW, 0o600)
        try:
            _clone_bytes(from_fd, to_fd)
        except OSError as error:
            if error.errno in _CANNOT_CLONE:
                return False
            raise
        finally:
            os.close(to_fd)
            os.unlink(by_way_of)
        return True
    finally:
        os.close(from_fd)


def _missing(path: str) -> DamagedEntryError:
    return DamagedEntryError(path, "the file is missing from the cache; fetch it again (--refresh)")
