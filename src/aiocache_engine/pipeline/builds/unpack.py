"""Unpack one sdist into an empty directory. Reading and writing are our own: `tarfile`'s filters are not relied upon.

Regular files and directories; symbolic links only where they lead to a place inside of the sdist, and made last; hard
links only to a file unpacked before; all else is refused, and so is a name that would be written outside, twice, or
through a link. What is unpacked is counted while it is made, and memory stays bounded by small pieces. An sdist that
breaks a rule is refused; then what is in the directory is the caller's to remove.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiocache_engine.errors import InvalidSdistError
from aiocache_engine.pipeline.builds.gunzip import Gunzip, UnsafeTarError
from aiocache_engine.pipeline.builds.tar_members import Kind, TarMember, tar_members
from aiocache_engine.pipeline.builds.tree import Tree
from aiocache_engine.pipeline.threads import StoppedError, until_stopped
from aiocache_engine.pipeline.wheels.zip_directory import DEFAULT_LIMITS, UnpackLimits, UnsafeZipError, read_directory
from aiocache_engine.pipeline.wheels.zip_members import member_pieces
from aiocache_engine.system.descent import PATH_FLAGS
from aiocache_engine.system.disk import translated

_MIB = 1024 * 1024


def unpack_sdist(
    fd: int,
    filename: str,
    directory: str,
    *,
    limits: UnpackLimits = DEFAULT_LIMITS,
    is_stopped: Callable[[], bool] = lambda: False,
) -> str:
    """Unpack an open sdist into a directory that exists and is empty; give the path of its one top directory.

    Args:
        fd: of the file, open for reading; its offset does not matter and is not changed.
        filename: by which it is known: its ending tells tar from zip, and errors name it.
        directory: an absolute path.
        limits: how much it may claim and give.
        is_stopped: asked between members and between pieces of big ones.

    Raises:
        StoppedError: `is_stopped` said so.
        InvalidSdistError: the sdist breaks a rule.
        DiskError: it cannot be read, or the directory cannot be written.
    """
    with translated(directory), _refusing(filename):
        root_fd = os.open(directory, PATH_FLAGS)
        tree = Tree(root_fd, directory, limits)
        try:
            unpack = _unpack_zip if filename.endswith(".zip") else _unpack_tar
            unpack(fd, tree, limits, is_stopped)
            top = tree.top()
            tree.make_symlinks()
        finally:
            tree.close()
            os.close(root_fd)
    return os.path.join(directory, top)


@contextmanager
def _refusing(filename: str) -> Iterator[None]:
    try:
        yield
    except (UnsafeTarError, UnsafeZipError) as error:
        raise InvalidSdistError(filename, error.reason, member=error.member) from error


def _unpack_tar(fd: int, tree: Tree, limits: UnpackLimits, is_stopped: Callable[[], bool]) -> None:
    stream = Gunzip(fd, limits)
    for member in tar_members(stream, limits):
        if is_stopped():
            raise StoppedError
        match member.kind:
            case Kind.DIRECTORY:
                tree.add_directory(member.name)
            case Kind.FILE:
                pieces = until_stopped(_tar_pieces(stream, member), is_stopped)
                tree.add_file(member.name, pieces, modified_at=member.modified_at, is_executable=member.is_executable)
            case Kind.HARD_LINK:
                tree.add_hard_link(member.name, member.target)
            case Kind.SYMLINK:
                tree.add_symlink(member.name, member.target)


def _tar_pieces(stream: Gunzip, member: TarMember) -> Iterator[memoryview]:
    left = member.size_bytes
    while left:
        piece = stream.piece(min(left, _MIB))
        if not piece:
            raise UnsafeTarError("it was cut short", member=member.name)
        left -= len(piece)
        yield piece


def _unpack_zip(fd: int, tree: Tree, limits: UnpackLimits, is_stopped: Callable[[], bool]) -> None:
    # The times in a zip file are of no time zone; one for all keeps builds from taking a file for outdated.
    now = time.time()
    for member in read_directory(fd, limits):
        pieces = until_stopped(member_pieces(fd, member), is_stopped)
        if member.is_directory:
            tree.add_directory(member.name)
            for _ in pieces:  # reading it is checking it
                pass
            continue
        tree.add_file(member.name, pieces, modified_at=now, is_executable=member.is_executable)
