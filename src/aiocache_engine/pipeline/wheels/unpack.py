"""Unpack one wheel into a fresh directory, checked on the way: one pass reads, inflates, hashes and writes.

What arrives in the tree has the bytes that RECORD promises, no link or device, and only the executable bit of its mode.
A wheel that breaks a rule is refused; then the half-made tree is the caller's to remove. Memory stays bounded by one
span and one small member per thread, however big the wheel is. Nothing is synced to disk: the boot id in the manifest
lets the first use after a reboot check sizes. Files get a time before that of unpacking, whatever the zip says.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from aiocache_engine.errors import InvalidWheelError
from aiocache_engine.model.manifest import Directory, Manifest, Totals
from aiocache_engine.model.names import WheelName
from aiocache_engine.pipeline.threads import StoppedError, until_stopped
from aiocache_engine.pipeline.wheels.contents import (
    Layout,
    Record,
    find_layout,
    read_entry_points,
    read_metadata,
    read_record,
    read_wheel,
)
from aiocache_engine.pipeline.wheels.zip_directory import (
    DEFAULT_LIMITS,
    Member,
    UnpackLimits,
    UnsafeZipError,
    read_directory,
)
from aiocache_engine.pipeline.wheels.zip_members import member_pieces, whole_member
from aiocache_engine.system.descent import place_of
from aiocache_engine.system.disk import open_plain, translated
from aiocache_engine.system.pair import share

__all__ = ["DEFAULT", "StoppedError", "UnpackLimits", "check_directory", "unpack"]

DEFAULT = DEFAULT_LIMITS

_MIB = 1024 * 1024
_SPAN_BYTES = _MIB  #: of members that are read with one call
_WHOLE_BYTES = 8 * _MIB  #: members up to this size are inflated in one piece
_TEXT_BYTES = 32 * _MIB  #: the most that METADATA, RECORD and their like may have
_DIRECTORY_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(
    wheel_path: str,
    tree: str,
    *,
    name: WheelName,
    sha256: str,
    boot_id: str,
    limits: UnpackLimits = DEFAULT,
    threads: int = 2,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Manifest:
    """Unpack a wheel into `tree`, which is made here and must not exist; give its manifest.

    `sha256` was checked by the caller. RECORD and its signatures stay out of the tree; the manifest holds RECORD's
    text. With `threads=1` all work is done in the calling thread. On an error the tree may be left half-made.
    `is_stopped` is asked between members and between pieces of big ones, from any thread.

    Raises:
        StoppedError: `is_stopped` said so.
        InvalidWheelError: the wheel breaks a rule of zip files or of wheels.
        DiskError: it cannot be read, or the tree cannot be written.
    """
    with translated(tree), _refusing(name):
        fd = os.open(wheel_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            members = read_directory(fd, limits)
            facts = _Facts(fd, members, name)
            sha256s = _write(
                fd, tree, members, facts.record, name, threads=threads, times=_times(sha256), is_stopped=is_stopped
            )
        finally:
            os.close(fd)
    files = [member for member in members if member.name in facts.sizes]
    return Manifest(
        totals=Totals(
            project=name.project,
            version=facts.version,
            filename=name.filename,
            sha256=sha256,
            file_count=len(files),
            size_bytes=sum(facts.sizes.values()),
            boot_id=boot_id,
        ),
        directories=_directories(facts.sizes, sha256s),
        executables=frozenset(member.name for member in files if member.is_executable),
        root_is_purelib=facts.root_is_purelib,
        dist_info=facts.layout.dist_info,
        data=facts.layout.data,
        record=facts.record.text,
        entry_points=facts.entry_points,
    )


def check_directory(wheel_path: str, name: WheelName) -> None:
    """Check what a wheel's zip file says that is in it, by reading no more than that; errors as for `unpack`."""
    with translated(wheel_path), _refusing(name), open(open_plain(wheel_path), "rb") as file:
        read_directory(file.fileno(), DEFAULT)


@contextmanager
def _refusing(name: WheelName) -> Iterator[None]:
    try:
        yield
    except UnsafeZipError as error:
        raise InvalidWheelError(name.filename, error.reason, member=error.member) from error


def _times(sha256: str) -> tuple[float, float]:
    """Give the times of last use and last change that the files of a wheel get.

    Python takes bytecode for that of a source with the same time, in whole seconds, and the same size. So the time of
    change is one that no later edit gives, and, within a day, one that hardly another wheel has: the next version of a
    module often has the size of this one.
    """
    now = time.time()
    return now, now - 2 - int(sha256[:4], 16)


class _Facts:
    """What is known and checked of a wheel before its first file is written."""

    def __init__(self, fd: int, members: list[Member], name: WheelName) -> None:
        files = {member.name: member for member in members if not member.is_directory}

        def content(path: str) -> bytes:
            member = files.get(path)
            if member is None:
                raise InvalidWheelError(name.filename, "it is missing", member=path)
            if member.size_bytes > _TEXT_BYTES:
                raise InvalidWheelError(name.filename, "it is too big to be true", member=path)
            return b"".join(member_pieces(fd, member))

        self.layout: Layout = find_layout((member.name for member in members), name)
        place = self.layout.dist_info + "/"
        #: bytes of every file that goes into the tree
        self.sizes = {path: file.size_bytes for path, file in files.items() if path not in self.layout.unrecorded}
        self.root_is_purelib = read_wheel(content(place + "WHEEL"), place + "WHEEL", name)
        self.version = read_metadata(content(place + "METADATA"), place + "METADATA", name)
        self.record: Record = read_record(content(place + "RECORD"), self.sizes, self.layout, name)
        path = place + "entry_points.txt"
        self.entry_points = read_entry_points(content(path), path, name) if path in files else ""


def _write(
    fd: int,
    tree: str,
    members: list[Member],
    record: Record,
    name: WheelName,
    *,
    threads: int,
    times: tuple[float, float],
    is_stopped: Callable[[], bool],
) -> dict[str, str]:
    """Check every member and write those that RECORD lists; give their SHA-256 by path."""
    sha256s: dict[str, str] = {}
    base = os.path.basename(tree)
    with place_of(tree, _staging_of(tree)) as place_fd:
        os.mkdir(base, 0o755, dir_fd=place_fd)
        root = os.open(base, _DIRECTORY_FLAGS, dir_fd=place_fd)

    def work(span: list[Member]) -> None:
        place = _Place(root)
        try:
            for member, content in _contents(fd, span):
                pieces = until_stopped(content, is_stopped)
                expected = record.hashes.get(member.name)
                if expected is None:
                    for _ in pieces:  # reading it is checking it
                        pass
                    continue
                directory, _, base = member.name.rpartition("/")
                mode = 0o755 if member.is_executable else 0o644
                actual, sha256s[member.name] = _write_file(
                    place.enter(directory), base, mode, pieces, expected[0], times=times
                )
                if actual != expected[1]:
                    raise InvalidWheelError(name.filename, "its hash is not the one in RECORD", member=member.name)
        finally:
            place.leave()

    try:
        spans = list(_spans(members))
        share(spans, work, least_jobs=2 if threads > 1 else len(spans) + 1)
    finally:
        os.close(root)
    return sha256s


def _staging_of(tree: str) -> str:
    """Give the directory from which on no link leads to a tree: it is in a directory of its own, of a lease."""
    return os.path.dirname(os.path.dirname(os.path.dirname(tree)))


def _spans(members: list[Member]) -> Iterator[list[Member]]:
    """Cut the members into jobs: runs that are read with one call, and big ones alone."""
    span: list[Member] = []
    for member in members:
        if span and (_is_big(member) or member.end - span[0].offset > _SPAN_BYTES):
            yield span
            span = []
        span.append(member)
        if _is_big(member):
            yield span
            span = []
    if span:
        yield span


def _is_big(member: Member) -> bool:
    return member.size_bytes > _WHOLE_BYTES or member.end - member.offset > _WHOLE_BYTES


def _contents(fd: int, span: list[Member]) -> Iterator[tuple[Member, Iterable[bytes | memoryview]]]:
    if _is_big(span[0]):
        yield span[0], member_pieces(fd, span[0])
        return
    start = span[0].offset
    packed = memoryview(os.pread(fd, span[-1].end - start, start))
    for member in span:
        yield member, (whole_member(member, packed[member.offset - start : member.end - start]),)


class _Place:
    """The directory that a thread writes into; opened once for a run of files, made when it is first met."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._path = ""
        self._fd = -1

    def enter(self, path: str) -> int:
        """Give a descriptor of the directory; it is good until the next call."""
        if not path:
            return self._root
        if path != self._path:
            self.leave()
            try:
                self._fd = os.open(path, _DIRECTORY_FLAGS, dir_fd=self._root)
            except FileNotFoundError:
                self._make(path)
                self._fd = os.open(path, _DIRECTORY_FLAGS, dir_fd=self._root)
            self._path = path
        return self._fd

    def leave(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._path = -1, ""

    def _make(self, path: str) -> None:
        try:
            os.mkdir(path, 0o755, dir_fd=self._root)
        except FileExistsError:  # the other thread was first
            return
        except FileNotFoundError:
            self._make(path.rpartition("/")[0])
            self._make(path)


def _write_file(
    dir_fd: int,
    base: str,
    mode: int,
    pieces: Iterable[bytes | memoryview],
    algorithm: str,
    *,
    times: tuple[float, float],
) -> tuple[bytes, str]:
    """Write a new file; give its digest by the algorithm, and its SHA-256."""
    sha256 = hashlib.sha256()
    other = None if algorithm == "sha256" else hashlib.new(algorithm)
    fd = os.open(base, _FILE_FLAGS, mode, dir_fd=dir_fd)
    try:
        for piece in pieces:
            sha256.update(piece)
            if other is not None:
                other.update(piece)
            written = os.write(fd, piece) if piece else 0
            while written < len(piece):
                written += os.write(fd, memoryview(piece)[written:])
        os.utime(fd, times)
    finally:
        os.close(fd)
    return (sha256 if other is None else other).digest(), sha256.hexdigest()


def _directories(sizes: dict[str, int], sha256s: dict[str, str]) -> tuple[Directory, ...]:
    """Group the files by directory, every directory on the way included, parents first."""
    grouped: dict[str, list[str]] = {"": []}
    for path in sorted(sizes):
        directory = path.rpartition("/")[0]
        if directory not in grouped:
            parts = directory.split("/")
            for count in range(1, len(parts) + 1):
                grouped.setdefault("/".join(parts[:count]), [])
        grouped[directory].append(path)
    return tuple(
        Directory(
            path=directory,
            names=tuple(path.rpartition("/")[2] for path in paths),
            sizes=tuple(sizes[path] for path in paths),
            sha256=tuple(sha256s[path] for path in paths),
        )
        for directory, paths in grouped.items()
    )
