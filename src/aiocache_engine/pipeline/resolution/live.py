"""Resolving with indexes at hand: the solver runs in a thread, and what it needs is fetched on the event loop.

The search never starts over for something that is missing: its thread waits for that one thing. Meanwhile everything
that is likely to be wanted is on its way: the pages of all dependencies seen so far, the metadata of the best file on
each of them, and what those depend on in turn. What is guessed costs requests and never changes the answer; nothing
is built for a guess. As long as the cache has everything, the solver's thread reads it itself, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

from anyio import CapacityLimiter, Event, create_task_group, from_thread
from anyio.abc import TaskGroup

from aiocache_engine.hints import TYPE_CHECKING, Any, Generic, TypeVar
from aiocache_engine.index.local import is_local
from aiocache_engine.model.index import Index
from aiocache_engine.model.page import StoredPage
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.resolution.fetch import Fetcher
from aiocache_engine.pipeline.resolution.stored import LacksError, StoredSource
from aiocache_engine.pipeline.threads import StoppedError, in_thread
from aiocache_engine.policy.resolution import Demand

if TYPE_CHECKING:
    from aiocache_engine.pipeline.resolution.catalog import IndexCatalog
    from aiocache_engine.pipeline.resolution.shelf import Pages

_GUESSES = 1000  #: so many projects may be guessed; then only what the solver asks for is fetched

Result = TypeVar("Result")
Value = TypeVar("Value")


class _Once(Generic[Value]):
    """Something that is fetched once, whoever waits for it."""

    def __init__(self) -> None:
        self._done = Event()
        self._value: list[Value] = []
        self._error: BaseException | None = None

    async def fill(self, work: Callable[[], Awaitable[Value]]) -> None:
        """Do the work; what goes wrong is told to those who wait, and to nobody else."""
        try:
            self._value.append(await work())
        except Exception as error:  # noqa: BLE001 - it is raised by `get`
            self._error = error
        except BaseException:
            self._error = StoppedError()
            raise
        finally:
            self._done.set()

    def stop(self) -> None:
        """Let nobody wait for it any longer."""
        if not self._done.is_set():
            self._error = StoppedError()
            self._done.set()

    async def get(self) -> Value:
        """Wait for it."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value[0]


class LiveSource:
    """Pages and metadata for a solver's thread, fetched on the event loop that runs `serve`."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        #: Answers in the solver's thread until something lacks, and what it was told of and not yet asked for.
        self._stored: StoredSource | None = None
        self._expected: dict[str, Demand] = {}
        self._expected_files: Sequence[Choice] = ()
        self._tasks: TaskGroup | None = None
        self._is_cancelled = False
        self._catalog: Any = None
        self._waits: list[_Once[Any]] = []
        self._pages: dict[str, _Once[Pages]] = {}
        self._metadata: dict[tuple[str, str], _Once[bytes]] = {}

    def read_first(self, stored: StoredSource) -> None:
        """Ask this in the solver's thread until something lacks."""
        self._stored = stored

    async def serve(self, catalog: IndexCatalog, work: Callable[[], Result]) -> Result:
        """Do the work in a thread, and fetch what it asks for through `catalog`.

        Who is cancelled waits no longer than until the work's next question, however the cancellation came.

        Raises:
            Whatever the work raises.
        """
        outcome: list[Result] = []
        failure: list[Exception] = []
        self._catalog = catalog
        if self._stored is not None:
            self._stored.serve(catalog)
        async with create_task_group() as self._tasks:
            try:
                # A thread of its own: it waits for what takes threads as well, and so do forty others.
                outcome.append(await in_thread(work, limiter=CapacityLimiter(1), on_cancel=self._cancel))
            except Exception as error:  # noqa: BLE001 - raised below, outside of the group that would wrap it
                failure.append(error)
            self._tasks.cancel_scope.cancel()
        if failure:
            raise failure[0]
        return outcome[0]

    def wait_for(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Have this done on the event loop, unless it is cancelled. Called from the solver's thread.

        Raises:
            StoppedError: this was cancelled.
        """
        return from_thread.run(self._do, work)

    def pages(self, project: str) -> Sequence[tuple[Index, StoredPage]]:
        """Give the pages of a project. Called from the solver's thread."""
        if (stored := self._still_stored()) is not None:
            with suppress(LacksError):
                pages = stored.pages(project)
                self._expected.pop(project, None)
                return pages
            self._go_live()
        return from_thread.run(self._get_pages, project)

    def metadata(self, choice: Choice) -> bytes:
        """Give the metadata of a wheel. Called from the solver's thread."""
        if (stored := self._still_stored()) is not None:
            with suppress(LacksError):
                return stored.metadata(choice)
            self._go_live()
        return from_thread.run(self._get_metadata, choice)

    def expect(self, demands: Sequence[Demand]) -> None:
        """Begin to fetch what will be asked for. Called from the solver's thread."""
        if (stored := self._still_stored()) is not None:
            stored.expect(demands)
            for demand in demands:
                self._expected.setdefault(demand.project, demand)
        elif demands:
            from_thread.run_sync(self._begin, demands)

    def expect_files(self, choices: Sequence[Choice]) -> None:
        """Begin to fetch metadata that will be asked for. Called from the solver's thread."""
        wheels = [choice for choice in choices if not choice.is_sdist]
        if (stored := self._still_stored()) is not None:
            stored.expect_files(wheels)
            self._expected_files = wheels
        elif wheels:
            from_thread.run_sync(self._begin_files, wheels)

    def _still_stored(self) -> StoredSource | None:
        """Give what answers from the cache alone, as long as nothing lacked.

        Raises:
            StoppedError: this was cancelled, and nobody waits for the solver any more.
        """
        if self._is_cancelled:
            raise StoppedError
        return self._stored

    def _go_live(self) -> None:
        """Ask the event loop from now on, and at once for all that will be asked for."""
        self._stored = None
        self.expect(list(self._expected.values()))
        self.expect_files(self._expected_files)

    async def _do(self, work: Callable[[], Awaitable[Result]]) -> Result:
        once: _Once[Result] = _Once()
        self._waits.append(once)
        self._group.start_soon(once.fill, work)
        return await once.get()

    async def _get_pages(self, project: str) -> Pages:
        if project not in self._pages:
            self._begin([Demand(project, frozenset(), "", None)])
        return await self._pages[project].get()

    async def _get_metadata(self, choice: Choice) -> bytes:
        return await self._begin_metadata(choice).get()

    def _begin(self, demands: Sequence[Demand]) -> None:
        group = self._group
        new: list[Demand] = []
        for demand in demands:
            if demand.project not in self._pages and not self._catalog.is_direct(demand.project):
                self._pages[demand.project] = _Once()
                new.append(demand)
        if new:
            group.start_soon(self._bring, new)

    def _begin_metadata(self, choice: Choice) -> _Once[bytes]:
        self._begin_files([choice])
        return self._metadata[_key(choice)]

    def _begin_files(self, choices: Sequence[Choice]) -> None:
        group = self._group
        new = {key: each for each in choices if (key := _key(each)) not in self._metadata}
        self._metadata.update((key, _Once()) for key in new)
        if new:
            group.start_soon(self._bring_files, list(new.values()))

    async def _bring_files(self, choices: list[Choice]) -> None:
        """Read in one go what is stored of these files, and fetch the others."""
        stored: Sequence[bytes | None] = [None] * len(choices)
        try:
            stored = await self._fetcher.stored_metadata(choices)
        finally:
            for choice, content in zip(choices, stored, strict=True):
                bring = partial(self._fetcher.metadata, choice, stored=content)
                self._go_on(self._metadata[_key(choice)].fill, bring)

    def _go_on(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
        """Start what comes next, unless nobody waits for it any more."""
        if not self._is_cancelled:
            self._group.start_soon(work, *arguments)

    @property
    def _group(self) -> TaskGroup:
        """Give what tasks are started in.

        Raises:
            StoppedError: they would come too late.
        """
        if self._tasks is None or self._is_cancelled:
            raise StoppedError
        return self._tasks

    def _cancel(self) -> None:
        """Begin nothing any more, and let the solver's thread wait for nothing: its next question is its end."""
        self._is_cancelled = True
        waited_for: list[_Once[Any]] = [*self._pages.values(), *self._metadata.values(), *self._waits]
        for once in waited_for:
            once.stop()

    async def _bring(self, demands: list[Demand]) -> None:
        """Read in one go what is stored of these projects, then settle each."""
        try:
            await self._fetcher.read_stored([demand.project for demand in demands])
        finally:
            for demand in demands:
                self._go_on(self._bring_project, demand)

    async def _bring_project(self, demand: Demand) -> None:
        """Bring the pages of a project, then guess on."""
        once = self._pages[demand.project]
        await once.fill(lambda: self._fetcher.pages(demand.project, self._catalog.sha256s(demand.project)))
        if len(self._pages) > _GUESSES:
            return
        try:
            await self._guess(demand, await once.get())
        except Exception:  # noqa: BLE001 - a guess that fails is no failure; the solver meets what is wrong itself
            return

    async def _guess(self, demand: Demand, pages: Pages) -> None:
        """Bring the metadata of the file that is likely to be taken, and the pages of what it depends on."""
        if not pages:
            return
        choice = await in_thread(lambda: self._catalog.foresee(demand.project, pages, demand.specifier))
        if choice is None or choice.is_sdist or (is_local(choice.file.url) and choice.file.metadata_sha256 is None):
            return
        content = await self._begin_metadata(choice).get()
        self._begin(await in_thread(lambda: self._catalog.foresee_demands(choice, content, demand.extras)))


def _key(choice: Choice) -> tuple[str, str]:
    return choice.index.digest, choice.file.filename
