"""Pages and metadata from indexes, and into the cache: what `Shelf` does not hold yet. Runs on the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from anyio import CapacityLimiter, create_task_group

from aiocache_engine.errors import IndexResponseError, InvalidWheelError
from aiocache_engine.index.client import IndexClient
from aiocache_engine.index.local import is_local
from aiocache_engine.model.index import Index
from aiocache_engine.model.page import StoredPage
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.pages import ask_indexes, unknown_page
from aiocache_engine.pipeline.resolution.metadata import is_static
from aiocache_engine.pipeline.resolution.shelf import Pages, Shelf
from aiocache_engine.pipeline.resolution.stored import read_local_metadata
from aiocache_engine.pipeline.resolution.wheel_metadata import Part, metadata_from_parts
from aiocache_engine.pipeline.steps import Conductor, Result, Steps
from aiocache_engine.pipeline.threads import in_thread

FetchWheel = Callable[[Choice], Awaitable[bytes]]  #: brings a whole wheel into the cache and gives its METADATA
AskSdist = Callable[[Choice], Awaitable[bytes]]  #: gives the METADATA that the wheel built of an sdist will have


class Fetcher:
    """Asks indexes, as many at a time as it is told."""

    def __init__(
        self,
        shelf: Shelf,
        client: Callable[[], Awaitable[IndexClient]],
        conductor: Conductor,
        fetch_wheel: FetchWheel,
        *,
        sdist_metadata: AskSdist,
        page_count: int,
    ) -> None:
        self.shelf = shelf
        self._client = client
        self._conductor = conductor
        self._fetch_wheel = fetch_wheel
        self._sdist_metadata = sdist_metadata
        self._page_count = page_count
        self._limiter = CapacityLimiter(page_count)

    def refreshing(self) -> Fetcher:
        """Give one that asks for every page again."""
        return Fetcher(
            self.shelf.refreshing(),
            self._client,
            self._conductor,
            self._fetch_wheel,
            sdist_metadata=self._sdist_metadata,
            page_count=self._page_count,
        )

    def perform(self, steps: Steps[Result], *, wait_for: Callable[[Callable[[], Awaitable[None]]], None]) -> Result:
        """Perform steps in a worker thread (`Conductor.perform_in_worker`)."""
        return self._conductor.perform_in_worker(steps, wait_for=wait_for)

    async def have_changed(self, projects: Iterable[str]) -> bool:
        """Ask again for the pages of projects, and tell whether one of them says something else than is stored."""
        names = list(projects)
        await self.read_stored(names)
        changed: list[str] = []

        async def look(project: str) -> None:
            for index in self.shelf.settings.indexes:
                stored = self.shelf.page(project, index)
                page = await self._page(project, index)
                if (page.lines if page else b"") != (stored.lines if stored else b""):
                    changed.append(project)

        async with create_task_group() as tasks:
            for name in names:
                tasks.start_soon(look, name)
        return bool(changed)

    async def read_stored(self, projects: list[str]) -> None:
        """Read what the cache holds of these projects."""
        await self._conductor.conduct(self.shelf.read(projects))

    async def pages(self, project: str, sha256s: frozenset[str]) -> Pages:
        """Give the pages that count for a project; `read_stored` came before.

        Raises:
            OfflineError, NetworkError, IndexResponseError: an index could not be asked.
        """
        usable = await in_thread(partial(self.shelf.usable_pages, project, sha256s))
        if usable is not None:
            return usable
        ask, is_settled = partial(self._page, project), partial(self.shelf.is_settled, sha256s=sha256s)
        return await ask_indexes(self.shelf.settings.indexes, ask, is_settled, what=project)

    async def stored_metadata(self, choices: list[Choice]) -> list[bytes | None]:
        """Give what the cache holds of the METADATA of these files."""
        return await self._conductor.conduct(self.shelf.read_metadata(choices))

    async def metadata(self, choice: Choice, *, stored: bytes | None) -> bytes:
        """Give the METADATA of a file, from wherever it costs least; `stored` is what the cache holds of it.

        Raises:
            OfflineError, NetworkError, IndexResponseError, HashMismatchError: it could not be had.
            InvalidWheelError, InvalidSdistError: the file is malformed.
            BuildError: an sdist does not say it without a build, and that failed.
        """
        if choice.is_wheel_here:
            return await in_thread(partial(read_local_metadata, choice))
        if stored is not None:
            return stored
        if choice.index.is_overlay:  # it was replaced or cleaned after its page was read: what is there now tells
            return await self._fetch_wheel(choice)
        async with self._limiter:
            content = await self._remote_metadata(choice)
        if content is None:  # without the limiter: fetching the file, and a build, have limits of their own
            content = await (self._sdist_metadata if choice.is_sdist else self._fetch_wheel)(choice)
        await self._conductor.conduct(self.shelf.write_metadata(choice, content))
        return content

    async def _page(self, project: str, index: Index) -> StoredPage | None:
        stored = self.shelf.page(project, index)
        if index.is_overlay:
            return stored
        async with self._limiter:
            page = await (await self._client()).page(project, index, stored=stored, refresh=self.shelf.refreshes)
        if page is None and not is_local(index.url):
            page = unknown_page(project, index)
        if page is not None and page is not stored and page.is_storable:
            await self._conductor.conduct(self.shelf.write_page(page))
        return page

    async def _remote_metadata(self, choice: Choice) -> bytes | None:
        """Ask for the file beside the wheel or sdist (PEP 658), else for the part of the wheel that holds it."""
        client = await self._client()
        content = await client.metadata(choice.file)
        if choice.is_sdist:
            return content if content is not None and is_static(content) else None
        if content is not None:
            return content

        async def read(start: int | None, length: int) -> Part | None:
            part = await client.part(choice.file, start, length)
            return None if part is None else Part(*part)

        try:
            return await metadata_from_parts(read, choice.file.filename, choice.file.size_bytes)
        except (IndexResponseError, InvalidWheelError):
            return None  # the whole wheel shows what is the matter, and whether anything is
