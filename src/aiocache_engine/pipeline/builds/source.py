"""Sdists as files: those that were downloaded stay in the cache, beside the page that lists them.

Only what has a hash beforehand is taken from there: of anything else nobody can tell without asking whether it is
still the file that its index has.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial

from anyio import CapacityLimiter

from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.index.local import is_local
from aiocache_engine.model.names import SdistName, digest, sdist_name
from aiocache_engine.model.records import FileKey
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.builds.unpack import unpack_sdist
from aiocache_engine.pipeline.download import download
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.steps import Conductor, in_shared_hold
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.store.work import Work
from aiocache_engine.system.disk import open_plain
from aiocache_engine.system.keylock import KeyHold, KeyLock
from aiocache_engine.system.lock import Hold

if TYPE_CHECKING:
    from aiocache_engine.index.client import IndexClient

_PIECE_BYTES = 1024 * 1024


@value
class Source:
    """An sdist that is here and has the right hash."""

    fd: int  #: open for reading, until the block ends
    name: SdistName
    sha256: str


class Sources:
    """Obtains sdists for one engine call."""

    def __init__(
        self, kit: Kit, work: Work, conductor: Conductor, client: Callable[[], Awaitable[IndexClient]]
    ) -> None:
        self._kit = kit
        self._work = work
        self._conductor = conductor
        self._client = client
        self._downloads = CapacityLimiter(kit.config.download_count)

    @asynccontextmanager
    async def open(self, choice: Choice) -> AsyncIterator[Source]:
        """Give an sdist, downloaded if the cache does not hold it.

        Raises:
            SourceError: it could not be had.
            InvalidNameError: its file name is none of an sdist.
        """
        name = sdist_name(choice.file.filename, choice.wanted.project)
        # A thread that opens a file notes it there itself: its result is lost to a cancellation that comes meanwhile.
        with ExitStack() as files:
            found = await self._stored(choice, files)
            if found is None:
                found = await self._download_once(choice, name.version, files)
            yield Source(found[0], name, found[1])

    async def _stored(self, choice: Choice, files: ExitStack) -> tuple[int, str] | None:
        """Give descriptor and hash of what is stored; None: nothing that is the right file."""
        key = _key(choice)

        def find(hold: Hold) -> int | None:
            self._work.begin(hold, [key.project])
            fd = None if key.sha256 is None else self._work.find_source(hold, key)
            return None if fd is None else _noted(files, fd)

        fd = await self._conductor.conduct(in_shared_hold(find))
        if fd is None or key.sha256 is None or await in_thread(partial(_sha256, fd)) != key.sha256:
            return None
        return fd, key.sha256

    async def _download_once(self, choice: Choice, version: str, files: ExitStack) -> tuple[int, str]:
        key, reporter = _key(choice), self._kit.reporter
        lock = KeyLock(self._kit.cache.layout.key_lock(digest(key.sha256 or f"{key.index}/{key.filename}")))
        what = f"the download of {key.filename}"
        async with self._downloads, lock.hold(what=what, on_wait=reporter.waits) as key_hold:
            found = await self._stored(choice, files)
            return await self._download(choice, version, key_hold, files) if found is None else found

    async def _download(self, choice: Choice, version: str, key_hold: KeyHold, files: ExitStack) -> tuple[int, str]:
        key, reporter = _key(choice), self._kit.reporter
        path = f"{await in_thread(self._work.new_staging)}.sdist"
        downloaded = await download(choice, path, client=self._client, reporter=reporter, key_hold=key_hold)
        fd = await in_thread(lambda: _noted(files, open_plain(path)))
        if key.sha256 is None or is_local(choice.file.url):
            os.unlink(path)
        else:
            write = partial(self._work.write_source, key=key, staged=path, version=version)
            await self._conductor.conduct(in_shared_hold(write))
        return fd, downloaded.sha256


async def unpacked(source: Source, directory: str) -> str:
    """Unpack into an empty directory; give the path of the project in it.

    Raises:
        InvalidSdistError: it is malformed or hostile.
    """
    stopping = threading.Event()
    unpacking = partial(unpack_sdist, source.fd, source.name.filename, directory, is_stopped=stopping.is_set)
    return await in_thread(unpacking, on_cancel=stopping.set)


def copy_from(fd: int, target: str) -> None:
    """Copy all that can be read from a descriptor into a new file; where it was read before does not matter.

    Raises:
        OSError: the target is there or cannot be written.
    """
    offset = 0
    with open(target, "xb") as copy:
        while piece := os.pread(fd, _PIECE_BYTES, offset):
            copy.write(piece)
            offset += len(piece)


def _noted(files: ExitStack, fd: int) -> int:
    """Have a file closed with the others."""
    files.callback(os.close, fd)
    return fd


def _key(choice: Choice) -> FileKey:
    return FileKey(choice.wanted.project, choice.index.digest, choice.file.filename, choice.sha256)


def _sha256(fd: int) -> str:
    hashed, offset = hashlib.sha256(), 0
    while piece := os.pread(fd, _PIECE_BYTES, offset):
        hashed.update(piece)
        offset += len(piece)
    return hashed.hexdigest()
