"""One engine call under way: its work on the cache, and how it gets what it wants. Runs on the event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from aiocache_engine.hints import Self
from aiocache_engine.index.client import IndexClient
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.builds.builder import Builder, Settings, settings_text
from aiocache_engine.pipeline.bytecode import Bytecoder
from aiocache_engine.pipeline.deliver import Supply
from aiocache_engine.pipeline.fill import Filler
from aiocache_engine.pipeline.find import Choice, Finder, Lookup, Ready
from aiocache_engine.pipeline.inputs.requirements_file import FileOptions
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.pipeline.resolution.fetch import Fetcher
from aiocache_engine.pipeline.resolution.resolve import Resolved, doubt_of, metadata_of, resolve_live
from aiocache_engine.pipeline.resolution.shelf import Shelf
from aiocache_engine.pipeline.standing import Standing, without
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.pipeline.threads import in_thread, in_thread_surely
from aiocache_engine.pipeline.undertake import Sought
from aiocache_engine.pipeline.warm import chooser_of, satisfied_by
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
        files: FileOptions | None = None,
        chain: tuple[str, ...] = (),
        build_settings: Settings | None = None,
    ) -> None:
        """Begin.

        Args:
            kit: the opened cache dir.
            conductor: performs the holds.
            interpreter: for which everything is.
            client: gives the client of the engine's own indexes, opened once it is needed.
            refreshes: ask the indexes even where stored pages are fresh.
            files: what requirements files say of indexes and wheels.
            chain: what is being built around this call, outermost first.
            build_settings: what build backends are told.
        """
        self._kit = kit
        self._conductor = conductor
        self._interpreter = interpreter
        self._shared_client = client
        self._own_client: IndexClient | None = None
        self._bytecoder: Bytecoder | None = None
        self._refreshes = refreshes
        self._files = files or FileOptions()
        self._chain = chain
        self._build_settings = build_settings
        self._own_builder: Builder | None = None
        self.work: Work = kit.work()
        self.resolved_at = self.obtained_at = time.monotonic()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await in_thread_surely(partial(end_work, self.work))
        finally:
            if self._own_client is not None:
                await self._own_client.aclose()

    @asynccontextmanager
    async def compiling(self, *, compiles: bool = True) -> AsyncIterator[Bytecoder | None]:
        """Compile what is obtained in this block in the background, from the moment it is there.

        Give what comes to `deliver`, or take its bytecode from it. None: nothing is to be compiled.
        """
        if not compiles:
            yield None
            return
        self._bytecoder = bytecoder = Bytecoder(self.work, self._interpreter, self._kit.reporter)
        try:
            yield bytecoder
        finally:
            self._bytecoder = None
            await in_thread_surely(bytecoder.close)

    async def supply(self, sought: Sought, standing: Standing) -> Supply:
        """Find, resolve and fetch all that is sought and not there already.

        Raises:
            UsageError: two requirements contradict each other.
            UnsatisfiableError: there are no versions that suit everybody.
            SourceError: something could not be had.
        """
        satisfied = await in_thread(partial(satisfied_by, standing, sought))
        if satisfied is not None:
            self.resolved_at = self.obtained_at = time.monotonic()
            return satisfied
        if not sought.is_complete:
            return await self.resolve_and_obtain(sought.problem, standing)
        there = standing.named(sought.wanted)
        ready = await self.obtain(without(there, sought.wanted))
        return Supply(tuple(ready), there, frozenset(each.project for each in sought.wanted))

    async def resolve_and_obtain(self, problem: Problem, standing: Standing | None = None) -> Supply:
        """Find versions that suit everybody, dependencies followed, and fetch what the cache lacks of them.

        Args:
            problem: what is asked for.
            standing: what a target has already; it is kept where it suits everybody. None: nothing.

        Raises:
            As `supply`.
        """
        resolved = await self.resolve(problem, standing)
        ready = await self.obtain_choices(resolved.choices)
        doubts = [await self._doubt(*each) for each in zip(ready, resolved.believed, strict=True)]
        warnings = (*resolved.warnings, *(doubt for doubt in doubts if doubt is not None))
        return Supply(tuple(ready), resolved.kept, resolved.asked, warnings)

    async def obtain(self, wanted: Sequence[Wanted]) -> list[Ready]:
        """Find or fetch everything that is wanted, and nothing that it depends on."""
        finder = await self._finder()
        filler = self._filler(finder)
        lookup = await self._conductor.conduct(finder.find_all(wanted))
        choices = await filler.choose_all(lookup.missing())
        self.resolved_at = time.monotonic()
        return await self._complete(lookup, choices, filler)

    async def obtain_choices(self, choices: Sequence[Choice]) -> list[Ready]:
        """Find or fetch files that were chosen."""
        finder = await self._finder()
        lookup = await self._conductor.conduct(finder.find(choices))
        missing = [each.choice for each in lookup.missing() if each.choice is not None]
        return await self._complete(lookup, missing, self._filler(finder))

    async def choose_source(self, wanted: Wanted) -> Choice:
        """Choose the sdist of what is wanted, whatever wheels there are; what it needs may still come as wheels.

        Raises:
            SourceError: there is none, or an index cannot be asked.
        """
        finder = await self._finder(for_source=True)
        (result,) = (await self._conductor.conduct(finder.find_all([wanted]))).results
        if isinstance(result, Ready):
            return result.choice
        (choice,) = await self._filler(finder).choose_all([result])
        return choice

    async def obtain_again(self, supply: Supply) -> Supply:
        """Fetch again what turned out to lack a file."""
        filler = self._filler(await self._finder())
        await filler.discard_damaged(supply.ready)
        return replace(supply, ready=tuple(await self.obtain_choices([each.choice for each in supply.ready])))

    async def resolve(self, problem: Problem, standing: Standing | None = None) -> Resolved:
        """Find versions that suit everybody, dependencies followed; a wheel is fetched only where nothing less tells.

        Raises:
            UnsatisfiableError: there are none.
            SourceError: something could not be had.
        """
        started = time.monotonic()
        finder = await self._finder()
        filler = self._filler(finder)

        async def fetch_wheel(choice: Choice) -> bytes:
            (ready,) = await filler.obtain_all([choice])
            return await in_thread(partial(metadata_of, ready))

        page_count = self._kit.config.page_count
        fetcher = Fetcher(
            self._shelf(finder),
            self._client,
            self._conductor,
            fetch_wheel,
            sdist_metadata=self.builder.metadata,
            page_count=page_count,
        )
        resolved = await resolve_live(problem, self._interpreter, fetcher, chooser=finder.chooser, standing=standing)
        self.resolved_at = self.obtained_at = time.monotonic()
        self._kit.reporter.resolved(len(resolved.pins), self.resolved_at - started)
        return resolved

    async def _doubt(self, ready: Ready, believed: frozenset[str]) -> str | None:
        """Say how a wheel that was just unpacked belies what resolving believed; from now on it is believed itself."""
        if ready.origin == "cache":
            return None
        doubt = await in_thread(partial(doubt_of, ready, believed))
        if doubt is not None:
            shelf = self._shelf(await self._finder())
            content = await in_thread(partial(metadata_of, ready))
            await self._conductor.conduct(shelf.write_metadata(ready.choice, content))
        return doubt

    def _shelf(self, finder: Finder) -> Shelf:
        return Shelf(self.work, finder.settings, is_offline=self._kit.config.is_offline, refreshes=self._refreshes)

    async def _complete(self, lookup: Lookup, missing: list[Choice], filler: Filler) -> list[Ready]:
        """Fetch what a look-up did not find, and give all of it in its order."""
        there = {each.wanted.project: each for each in lookup.ready()}
        there |= {each.wanted.project: each for each in await filler.obtain_all(missing)}
        self.obtained_at = time.monotonic()
        return [there[each.wanted.project] for each in lookup.results]

    async def _finder(self, *, for_source: bool = False) -> Finder:
        """Make what finds wheels, or what is built whatever wheels there are."""
        settings = await in_thread(partial(self._kit.settings, self._files))
        told = (settings_text(self._build_settings),) if self._build_settings else ()
        files = replace(self._files, no_binary=(), only_binary=()) if for_source else self._files
        chooser = chooser_of(self._interpreter, files, settings, told=told, takes_wheels=not for_source)
        if for_source:  # overlays have wheels alone, and hide indexes
            settings = replace(settings, indexes=tuple(each for each in settings.indexes if not each.is_overlay))
        is_offline = self._kit.config.is_offline
        return Finder(self.work, settings, chooser, is_offline=is_offline, refreshes=self._refreshes)

    def _filler(self, finder: Finder) -> Filler:
        config = self._kit.config
        return Filler(
            finder,
            self._client,
            self._conductor,
            self._kit.reporter,
            build=self.builder.wheel,
            download_count=config.download_count,
            page_count=config.page_count,
            on_ready=None if self._bytecoder is None else self._bytecoder.begin,
        )

    @property
    def builder(self) -> Builder:
        """What builds for this call."""
        if self._own_builder is None:
            self._own_builder = Builder(
                self._kit,
                self.work,
                self._conductor,
                self._interpreter,
                client=self._client,
                nest=self._nested,
                chain=self._chain,
                settings=self._build_settings,
            )
        return self._own_builder

    def _nested(self, interpreter: Interpreter, chain: tuple[str, ...]) -> Call:
        """Begin a call on the same indexes for what a build needs."""
        client, files = self._client, self._files
        return Call(self._kit, self._kit.conductor(), interpreter, client, refreshes=False, files=files, chain=chain)

    async def _client(self) -> IndexClient:
        """Give the engine's client, or one of this call where requirements files name indexes of their own."""
        if not self._files.names_indexes():
            return await self._shared_client()
        if self._own_client is None:
            settings = await in_thread(partial(self._kit.settings, self._files))
            if self._own_client is None:
                kit = self._kit
                self._own_client = IndexClient(settings, offline=kit.config.is_offline, warn=kit.reporter.warns)
        return self._own_client
