"""Asks indexes for pages, metadata and files. The one object that the pipeline talks to when the cache cannot answer.

One client serves any number of tasks of one event loop; how many ask at once is theirs to limit. It writes nothing but
the file that `download` is told to make, and that only whole: what failed is removed. Pages go back to the caller, who
keeps them; nothing here knows the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import TracebackType

import anyio

from aiocache_engine.errors import HashMismatchError, OfflineError
from aiocache_engine.hints import Self
from aiocache_engine.index.credentials import Credentials
from aiocache_engine.index.download import Downloaded, Downloader, Progress, no_progress
from aiocache_engine.index.exchange import Exchange, Limits
from aiocache_engine.index.local import (
    has_local_location,
    is_local,
    local_path,
    local_validator,
    read_local_page,
    usable_page,
)
from aiocache_engine.index.pages import PageFetcher
from aiocache_engine.index.parts import PartReader
from aiocache_engine.index.transport import Httpx2Transport, Transport
from aiocache_engine.index.urls import shown
from aiocache_engine.model.index import Index, IndexFile, IndexSettings
from aiocache_engine.model.page import StoredPage
from aiocache_engine.system import disk
from aiocache_engine.system.clock import Clock, SystemClock


def _ignore(_message: str) -> None:
    """Warn nobody."""


class IndexClient:
    """Pages, metadata and files of indexes."""

    def __init__(
        self,
        settings: IndexSettings,
        *,
        transport: Transport | None = None,
        credentials: Credentials | None = None,
        offline: bool = False,
        clock: Clock | None = None,
        limits: Limits | None = None,
        warn: Callable[[str], None] = _ignore,
    ) -> None:
        self.settings = settings
        self.credentials = credentials or Credentials(settings, warn=warn)
        self._transport = transport or Httpx2Transport(settings)
        self._offline = offline
        self._clock = clock or SystemClock()
        self._warn = warn
        self._warned: set[str] = set()
        limits = limits or Limits()
        exchange = Exchange(
            self._transport, self.credentials, clock=self._clock, retries=settings.retries, limits=limits
        )
        self._pages = PageFetcher(exchange, clock=self._clock, limits=limits)
        self._downloader = Downloader(exchange, limits)
        self._parts = PartReader(exchange, limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def page(
        self, project: str, index: Index, *, stored: StoredPage | None = None, refresh: bool = False
    ) -> StoredPage | None:
        """Give the page of a project (normalized name), asking the index only if `stored` cannot be used.

        None: the project is unknown there. `stored` itself comes back where nothing changed that is worth writing.

        Raises:
            OfflineError: the index would have to be asked.
            NetworkError: it could not be reached.
            IndexResponseError: what it answered is no page.
        """
        if is_local(index.url):
            return await self._local_page(project, index, stored)
        if stored and usable_page(stored, now=self._clock.now(), offline=self._offline, refresh=refresh):
            return stored
        if self._offline:
            raise OfflineError(f"the page of {project} on {shown(index.url)}")
        return await self._pages.fetch(project, index, stored, refresh=refresh)

    async def metadata(self, file: IndexFile) -> bytes | None:
        """Give the core metadata that the index serves beside a wheel (PEP 658); None if it serves none.

        Raises:
            OfflineError: the index would have to be asked.
            NetworkError: it could not be reached.
            HashMismatchError: other bytes came than its page promised.
        """
        if file.metadata_sha256 is None:
            return None
        if is_local(file.url):
            content = await anyio.to_thread.run_sync(disk.read_bytes, local_path(file.url) + ".metadata")
        else:
            if self._offline:
                raise OfflineError(f"the metadata of {file.filename}")
            content = await self._pages.fetch_metadata(file.url + ".metadata")
        if content is None:
            return None
        actual = hashlib.sha256(content).hexdigest()
        if file.metadata_sha256 and file.metadata_sha256 != actual:
            raise HashMismatchError(f"{file.filename}.metadata", expected=file.metadata_sha256, actual=actual)
        return content

    async def download(self, file: IndexFile, into: str, *, progress: Progress = no_progress) -> Downloaded:
        """Fetch a file into a new file at the path `into`, whole and checked, or leave nothing there.

        Raises:
            OfflineError: the file is not on this machine.
            NetworkError: it could not be had, after all retries.
            IndexResponseError: something else came (a web page, other sizes).
            HashMismatchError: the bytes are not those that the page or the requirement promised.
            DiskError: they could not be written.
        """
        if not is_local(file.url) and self._offline:
            raise OfflineError(file.filename)
        return await self._downloader.fetch(file, into, progress)

    async def part(self, file: IndexFile, start: int | None, length: int) -> tuple[int, bytes, int] | None:
        """Give where a part of a remote file begins, its bytes, and the file's size; None: its server gives no parts.

        Raises:
            OfflineError: the server would have to be asked.
            NetworkError: it could not be reached.
            IndexResponseError: it sends something else than it was asked for.
        """
        if self._offline:
            raise OfflineError(f"the metadata of {file.filename}")
        return await self._parts.read(file.url, start, length)

    async def revalidate(self, file: IndexFile, *, etag: str | None, last_modified: str | None) -> bool:
        """Tell whether a file without a hash is still the one that was downloaded with these validators.

        Offline it is taken to be.

        Raises:
            NetworkError: the index could not be asked.
        """
        if is_local(file.url):
            return etag is not None and await anyio.to_thread.run_sync(local_validator, file) == etag
        if self._offline:
            return True
        if not etag and not last_modified:
            return False
        return await self._downloader.is_unchanged(file, etag=etag, last_modified=last_modified)

    async def _local_page(self, project: str, index: Index, stored: StoredPage | None) -> StoredPage | None:
        def look() -> StoredPage | None:
            if index.url not in self._warned and not has_local_location(index):
                self._warned.add(index.url)
                self._warn(f"{local_path(index.url)} does not exist and is skipped")
                return None
            return read_local_page(project, index, stored=stored, now=self._clock.now())

        return await anyio.to_thread.run_sync(look)
