"""One engine call under way: its work on the cache, and how it gets what it wants. Runs on the event loop."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Self

from aiocache_engine.index.client import IndexClient
from aiocache_engine.model.index import IndexSettings
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.pipeline.fill import Filler
from aiocache_engine.pipeline.find import Choice, Finder, Ready
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.resolution.fetch import Fetcher
from aiocache_engine.pipeline.resolution.resolve import Resolved, metadata_of, resolve_live
from aiocache_engine.pipeline.resolution.shelf import Shelf
from aiocache_engine.pipeline.steps import Conductor, in_thread, in_thread_surely
from aiocache_engine.pipeline.warm import end_work
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.policy.resolution import Problem
from aiocache_engine.store.work import Work


class Call:
    """Use it as an asynchronous context manager: when its block ends, so does the lease of what it got."""

    def __init__(
        self,
        kit: Kit,
        conductor: Conductor,
        interpreter: Interpreter,
        client: Callable[[], Awaitable[IndexClient]],
        *,
        refreshes: bool,
    ) -> None:
        self._kit = kit
        self._conductor = conductor
        self._interpreter = interpreter
        self._client = client
        self._refreshes = refreshes
        self.work: Work = kit.work()
        self.resolved_at = self.obtained_at = time.monotonic()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await in_thread_surely(partial(end_work, self.work))

    async def obtain(self, wanted: Sequence[Wanted], *, suspects: Sequence[Ready] = ()) -> list[Ready]:
        """Find or fetch everything that is wanted.

        Args:
            wanted: what.
            suspects: what an earlier attempt found; those that lack a file are dropped first and fetched again.
        """
        finder = self._finder(await in_thread(self._kit.settings))
        filler = self._filler(finder)
        await filler.discard_damaged(suspects)
        lookup = await self._conductor.conduct(finder.find_all(wanted))
        missing = lookup.missing()
        if not missing:
            self.resolved_at = self.obtained_at = time.monotonic()
            return lookup.ready()
        choices = await filler.choose_all(missing)
        self.resolved_at = time.monotonic()
        fetched = {each.wanted.project: each for each in await filler.obtain_all(choices)}
        self.obtained_at = time.monotonic()
        found = {each.wanted.project: each for each in lookup.ready()}
        return [fetched.get(each.project) or found[each.project] for each in wanted]

    async def resolve(self, problem: Problem) -> Resolved:
        """Find versions that suit everybody, dependencies followed; a wheel is fetched only where nothing less tells.

        Raises:
            UnsatisfiableError: there are none.
            SourceError: something could not be had.
        """
        settings = await in_thread(self._kit.settings)
        filler = self._filler(self._finder(settings))

        async def fetch_wheel(choice: Choice) -> bytes:
            (ready,) = await filler.obtain_all([choice])
            return await in_thread(partial(metadata_of, ready))

        shelf = Shelf(self.work, settings, is_offline=self._kit.config.is_offline, refreshes=self._refreshes)
        page_count = self._kit.config.page_count
        fetcher = Fetcher(shelf, self._client, self._conductor, fetch_wheel, page_count=page_count)
        resolved = await resolve_live(problem, self._interpreter, fetcher)
        self.resolved_at = time.monotonic()
        return resolved

    def _finder(self, settings: IndexSettings) -> Finder:
        is_offline = self._kit.config.is_offline
        chooser = WheelChooser(self._interpreter)
        return Finder(self.work, settings, chooser, is_offline=is_offline, refreshes=self._refreshes)

    def _filler(self, finder: Finder) -> Filler:
        config = self._kit.config
        return Filler(
            finder,
            self._client,
            self._conductor,
            self._kit.reporter,
            download_count=config.download_count,
            page_count=config.page_count,
        )
