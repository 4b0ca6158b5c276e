"""Bring the files of many wheels into a target, from their manifests, with two threads.

No directory is read and no file is looked at: what goes where was decided before. Jobs of a few hundred files are
shared between two threads, so that one giant wheel is split too; each thread makes the directories that it needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from aiocache_engine.errors import FileConflictError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.linking.placement import Generated, Piece, Placement
from aiocache_engine.pipeline.linking.transaction import Journal
from aiocache_engine.system.descent import Descent
from aiocache_engine.system.pair import share
from aiocache_engine.system.transfer import Source, transfer

_FILES_A_JOB = 400
_DIRECTORY_WEIGHT = 2  #: files; making and opening a directory costs about as much
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@value
class LinkWork:
    """What all jobs of one installation share."""

    mode: LinkMode  #: any but AUTO
    root: str  #: absolute, links resolved
    root_fd: int
    journal: Journal
    records: dict[
        int, int
    ]  #: position in the stash of the RECORD that stands where that of a wheel goes, by its number


@value
class _Part:
    """A run of a piece's files."""

    piece: Piece
    start: int
    stop: int


def link_files(work: LinkWork, pieces: Iterable[Piece]) -> None:
    """Link every file of the pieces.

    Raises:
        FileConflictError: another program put a file there meanwhile.
        DamagedEntryError: a file is missing from the cache.
        OSError: the disk refused.
    """

    def do(job: list[_Part]) -> None:
        with Descent(work.root_fd, work.root) as descent:
            for part in job:
                _link_part(work, part, descent)

    share(_jobs(pieces), do)


def write_files(work: LinkWork, generated: Iterable[Generated]) -> None:
    """Write every generated file.

    Raises:
        FileConflictError: another program put a file there meanwhile.
        OSError: the disk refused.
    """
    with Descent(work.root_fd, work.root) as descent:
        for one in generated:
            if one.name:
                _write(work, one, descent.enter(one.target, make=True))


def link_dist_infos(work: LinkWork, placements: Sequence[Placement]) -> None:
    """Fill the dist-infos; each is complete, and its distribution installed, when its RECORD moves in.

    Raises:
        as `link_files`.
    """

    def do(numbers: range) -> None:
        with Descent(work.root_fd, work.root) as descent:
            for number in numbers:
                placement = placements[number]
                for piece in placement.dist_info_pieces:
                    _link_part(work, _Part(piece, 0, len(piece.names)), descent)
                place = f"{placement.site}/{placement.dist_info}" if placement.site else placement.dist_info
                dir_fd = descent.enter(place, make=True)
                for one in placement.dist_info_generated:
                    if one.name:
                        _write(work, one, dir_fd)
                if number in work.records:
                    work.journal.stash("RECORD", work.records[number], dir_fd)
                work.journal.place_record(number, dir_fd)

    count = len(placements)
    share([range(start, min(start + 16, count)) for start in range(0, count, 16)], do)


def _jobs(pieces: Iterable[Piece]) -> Iterator[list[_Part]]:
    job: list[_Part] = []
    room = _FILES_A_JOB
    for piece in pieces:
        start, count = 0, len(piece.names)
        while start < count:
            stop = min(count, start + max(room, 1))
            job.append(_Part(piece, start, stop))
            room -= stop - start + _DIRECTORY_WEIGHT
            start = stop
            if room <= 0:
                yield job
                job, room = [], _FILES_A_JOB
    if job:
        yield job


def _link_part(work: LinkWork, part: _Part, descent: Descent) -> None:
    piece = part.piece
    names = piece.names[part.start : part.stop]
    target_fd = descent.enter(piece.target, make=True)
    for name in piece.replaces.keys() & set(names) if piece.replaces else ():
        work.journal.stash(name, piece.replaces[name], target_fd)
    source = Source(
        path=f"{piece.tree}/{piece.source}" if piece.source else piece.tree,
        spare=os.path.dirname(piece.tree),
        executables=piece.executables,
    )
    try:
        transfer(work.mode, names, piece.sizes[part.start : part.stop], source, target_fd)
    except FileExistsError as error:
        name = error.filename2 or error.filename
        raise _taken(work, piece.target, os.fsdecode(name)) from error


def _write(work: LinkWork, one: Generated, dir_fd: int) -> None:
    if one.replaces is not None:
        work.journal.stash(one.name, one.replaces, dir_fd)
    try:
        fd = os.open(one.name, _NEW, 0o755 if one.is_executable else 0o644, dir_fd=dir_fd)
    except FileExistsError as error:
        raise _taken(work, one.target, one.name) from error
    try:
        view = memoryview(one.content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _taken(work: LinkWork, directory: str, name: str) -> FileConflictError:
    path = f"{directory}/{name}" if directory else name
    work.journal.spare(path)
    return FileConflictError(
        os.path.join(work.root, path), "another program put a file here meanwhile; run the command again"
    )
