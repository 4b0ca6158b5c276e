"""Fill the cache with what it lacks: ask the index, fetch, unpack, publish; each file once, whoever wants it.

Runs on the event loop. The cache lock is held only for the few renames of a publication; a key lock per file keeps
others from fetching the same one, in this process and in others, and guards nothing but the work (rules 4, 17-22).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from anyio import CapacityLimiter, create_task_group

from aiocache_engine.errors import (
    CacheEngineError,
    DamagedEntryError,
    NoMatchingWheelError,
)
from aiocache_engine.index.client import IndexClient
from aiocache_engine.index.local import is_local
from aiocache_engine.model.index import Index, IndexFile
from aiocache_engine.model.manifest import dump_manifest
from aiocache_engine.model.names import digest, wheel_name
from aiocache_engine.model.page import StoredPage
from aiocache_engine.model.records import Pointer
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.pipeline.download import download
from aiocache_engine.pipeline.find import Choice, Finder, Missing, Ready
from aiocache_engine.pipeline.pages import ask_indexes, not_found, store_page, unknown_page
from aiocache_engine.pipeline.publish import discard_damaged, opened, publish_sound
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.pipeline.wheels.unpack import unpack
from aiocache_engine.report import Reporter
from aiocache_engine.store.archives import TREE, Archive, check_sizes, write_description
from aiocache_engine.store.layout import OVERLAY
from aiocache_engine.store.trash import sweep
from aiocache_engine.system.descent import remove_file
from aiocache_engine.system.disk import translated
from aiocache_engine.system.keylock import KeyHold, KeyLock
from aiocache_engine.system.process import me

Build = Callable[[Choice], Awaitable[Ready]]  #: gives the wheel that is built of an sdist, out of the cache if it can


class Filler:
    """Obtains wheels that a `Finder` did not find. One per engine call."""

    def __init__(
        self,
        finder: Finder,
        client: Callable[[], Awaitable[IndexClient]],
        conductor: Conductor,
        reporter: Reporter,
        *,
        build: Build,
        download_count: int,
        page_count: int,
        on_ready: Callable[[Ready], None] | None = None,
    ) -> None:
        """Keep what filling needs.

        Args:
            finder: found, or did not find, what is wanted.
            client: gives the client of the indexes.
            conductor: performs the holds.
            reporter: is told of progress.
            build: obtains what is there only as source.
            download_count: files that are fetched at the same time.
            page_count: pages that are.
            on_ready: called in a worker thread with each wheel that was fetched, while others are on their way.
        """
        self._on_ready = on_ready
        self._finder = finder
        self._work = finder.work
        self._client = client
        self._conductor = conductor
        self._reporter = reporter
        self._build = build
        self._downloads = CapacityLimiter(download_count)
        self._pages = CapacityLimiter(page_count)
        self._unpacking = CapacityLimiter(os.cpu_count() or 1)

    async def choose_all(self, missing: list[Missing]) -> list[Choice]:
        """Find out which file each missing wheel is, asking indexes at the same time.

        Raises:
            ProjectNotFoundError, NoMatchingWheelError, OfflineError, NetworkError, IndexResponseError: alone, or
                several in an ExceptionGroup.
        """
        choices: list[Choice | None] = [each.choice for each in missing]
        failures: list[CacheEngineError] = []

        async def settle(place: int, wanted: Wanted) -> None:
            try:
                with translated(self._work.cache.root):
                    choices[place] = await self._choose(wanted)
            except CacheEngineError as error:  # the others go on: whoever mistyped three names is told of all three
                failures.append(error)

        async with create_task_group() as tasks:
            for place, each in enumerate(missing):
                if each.choice is None:
                    tasks.start_soon(settle, place, each.wanted)
        if len(failures) > 1:
            raise ExceptionGroup("several wheels cannot be had", failures)
        if failures:
            raise failures[0]
        return [choice for choice in choices if choice is not None]

    async def obtain_all(self, choices: list[Choice]) -> list[Ready]:
        """Fetch or build, unpack and publish the chosen files, several at the same time.

        Raises:
            SourceError, InvalidWheelError, InvalidSdistError, BuildError, DiskError: alone, or several in an
                ExceptionGroup.
        """
        ready: list[Ready | None] = [None] * len(choices)
        failures: list[Exception] = []

        async def obtain(place: int, choice: Choice) -> None:
            try:
                with translated(self._work.cache.root):
                    ready[place] = done = await self._obtain(choice)
                    if self._on_ready is not None:
                        await in_thread(partial(self._on_ready, done))
            except Exception as error:  # noqa: BLE001 - raised below: alone, it shall not come in a group
                failures.append(error)
                journeys.cancel_scope.cancel()

        async with create_task_group() as journeys:
            for place, choice in enumerate(choices):
                journeys.start_soon(obtain, place, choice)
        if len(failures) > 1:
            raise ExceptionGroup("several wheels cannot be had", failures)
        if failures:
            raise failures[0]
        return [each for each in ready if each is not None]

    async def discard_damaged(self, suspects: Sequence[Ready]) -> None:
        """Look at every file of what was found, and discard what lacks one."""
        for ready in suspects:
            try:
                await in_thread(partial(check_sizes, ready.archive, ready.manifest))
            except DamagedEntryError as error:
                if ready.choice.index.is_overlay:
                    raise _added_and_damaged(ready.choice, error) from error
                self._reporter.warns(f"{error}; it is fetched again")
                await self._discard(ready.archive, ready.wanted.project)

    async def _discard(self, archive: Archive, project: str) -> None:
        await self._conductor.conduct(discard_damaged(self._work.cache, project, archive.id))

    async def _choose(self, wanted: Wanted) -> Choice:
        """Choose from pages that were asked for now; one index after the other, as the strategy says."""
        indexes = self._finder.settings.indexes
        ask, is_settled = partial(self._page, wanted.project), partial(self._finder.is_settled, wanted)
        pages = await ask_indexes(indexes, ask, is_settled, what=wanted.text)
        if not pages:
            raise await in_thread(partial(not_found, self._work.cache, wanted.project, indexes))
        chosen = await in_thread(partial(self._finder.choice_among, wanted, pages))
        if not isinstance(chosen, Choice):
            raise NoMatchingWheelError(wanted.text, chosen.reason)
        return chosen

    async def _page(self, project: str, index: Index) -> StoredPage | None:
        stored = self._finder.stored_page(project, index)
        if index.is_overlay:
            return stored
        async with self._pages:
            page = await (await self._client()).page(
                project, index, stored=stored, refresh=self._finder.asks_again(project)
            )
        if page is None and not is_local(index.url):
            page = unknown_page(project, index)
        if page is not None and page is not stored and page.is_storable:
            await self._conductor.conduct(store_page(self._work, page))
        return page

    async def _obtain(self, choice: Choice) -> Ready:
        """Get one file, alone: whoever else wants it waits, and then finds it."""
        if choice.is_sdist:
            return await self._build(choice)
        if choice.index.is_overlay:
            return await self._obtain_added(choice.wanted)
        key = choice.key
        cache = self._work.cache
        cache.ensure_writable()
        lock = KeyLock(cache.layout.key_lock(digest(key.sha256 or f"{key.index}/{key.filename}")))
        what = f"the download of {key.filename}"
        # The download's slot comes first: who waits for a slot while holding a key lock shows no progress to others.
        async with self._downloads, lock.hold(what=what, on_wait=self._reporter.waits) as key_hold:
            (again,) = (await self._conductor.conduct(self._finder.find([choice]))).results
            if isinstance(again, Ready):
                return again
            if again.stale is not None and await self._is_unchanged(again.stale):
                return again.stale
            if again.damaged is not None:
                self._reporter.warns(f"{again.damaged.error}; it is fetched again")
                await self._discard(again.damaged.archive, choice.wanted.project)
            return await self._fill(choice, key_hold)

    async def _obtain_added(self, wanted: Wanted) -> Ready:
        """Look again: what was chosen from an overlay was replaced or cleaned before it was looked up.

        Raises:
            DamagedEntryError: it is still there, and nobody but who added it can bring it again.
        """
        while True:
            (found,) = (await self._conductor.conduct(self._finder.find_all([wanted]))).results
            if isinstance(found, Ready):
                return found
            choice = found.choice or await self._choose(wanted)
            if not choice.index.is_overlay:
                return await self._obtain(choice)
            if found.damaged is not None:
                raise _added_and_damaged(choice, found.damaged.error) from found.damaged.error

    async def _is_unchanged(self, stale: Ready) -> bool:
        """Ask the index whether a file without a hash is still the one that was unpacked."""
        pointer = stale.pointer
        return await (await self._client()).revalidate(
            stale.choice.file, etag=pointer.etag or None, last_modified=pointer.last_modified or None
        )

    async def _fill(self, choice: Choice, key_hold: KeyHold) -> Ready:
        staged = await in_thread(self._work.new_staging)
        wheel = f"{staged}.whl"
        try:
            pointer = await self._download(choice, wheel, key_hold)
            stopping = threading.Event()
            unpacking = partial(self._unpack, choice.file, wheel, staged, pointer, is_stopped=stopping.is_set)
            await in_thread(unpacking, limiter=self._unpacking, on_cancel=stopping.set)
            ready = await self._publish(choice, staged, pointer)
        finally:
            with suppress(OSError):  # what cannot go now goes with the lease
                remove_file(wheel)
            await in_thread(partial(sweep, staged))
        self._reporter.published(choice.file.filename)
        return ready

    async def _publish(self, choice: Choice, staged: str, pointer: Pointer) -> Ready:
        publish = partial(self._work.publish, staged=staged, key=choice.key, pointer=pointer)
        check = partial(opened, choice, pointer, "index")
        steps = publish_sound(self._work.cache, self._reporter, pointer.project, publish, check)
        return await self._conductor.conduct(steps)

    async def _download(self, choice: Choice, wheel: str, key_hold: KeyHold) -> Pointer:
        file = choice.file
        name = wheel_name(file.filename)
        downloaded = await download(choice, wheel, client=self._client, reporter=self._reporter, key_hold=key_hold)
        return Pointer(
            archive_id="",
            project=name.project,
            version=name.version,
            filename=file.filename,
            sha256=downloaded.sha256,
            etag=downloaded.etag or "",
            last_modified=downloaded.last_modified or "",
        )

    def _unpack(
        self, file: IndexFile, wheel: str, staged: str, pointer: Pointer, *, is_stopped: Callable[[], bool]
    ) -> None:
        boot_id = me().boot_id
        is_alone = self._unpacking.borrowed_tokens == 1
        manifest = unpack(
            wheel,
            f"{staged}/{TREE}",
            name=wheel_name(file.filename),
            sha256=pointer.sha256,
            boot_id=boot_id,
            threads=2 if is_alone else 1,
            is_stopped=is_stopped,
        )
        with translated(staged):
            write_description(staged, dump_manifest(manifest), boot_id)


def _added_and_damaged(choice: Choice, error: DamagedEntryError) -> DamagedEntryError:
    """Say who can help: of a wheel that was added there is no other source."""
    file, overlay = choice.file.filename, choice.index.digest.removeprefix(OVERLAY)
    return DamagedEntryError(
        error.path, f"{error.reason}; it is {file} of the overlay {overlay}: add it again, or clean it from there"
    )
