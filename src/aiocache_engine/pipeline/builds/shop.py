"""The place where one project is built: its sources, a temporary home and the log, in staging, for one engine call.

A log outlives its build: it is moved to where the wheels built of the project are named, unless that was cleaned since.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from aiocache_engine.errors import BuildError, CacheEngineError, DiskError, InvalidNameError
from aiocache_engine.model.names import digest, project_name
from aiocache_engine.model.records import FileKey
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.builds.project import BuildSystem, project_root, read_build_system
from aiocache_engine.pipeline.builds.pyproject import PyprojectError, read_pyproject
from aiocache_engine.pipeline.builds.source import Sources, unpacked
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.steps import Conductor, in_shared_hold
from aiocache_engine.pipeline.threads import in_thread, in_thread_surely
from aiocache_engine.store.layout import BUILT
from aiocache_engine.store.trash import sweep
from aiocache_engine.store.work import Work
from aiocache_engine.system.lock import Hold


@value
class Shop:
    """A project that is ready to be built."""

    what: str  #: as messages name it: the file name of an sdist, or a directory
    root: str  #: the directory of the project
    system: BuildSystem
    staged: str  #: the directory of all that the build writes
    content: str  #: SHA-256 of the sdist; "" for a project directory
    log_key: FileKey  #: where the log goes
    sdist_fd: int | None = None  #: the sdist, open for reading until the block ends; None for a project directory

    @property
    def log(self) -> str:
        """The path of the log while it is written."""
        return f"{self.staged}/log"

    def directory(self, name: str) -> str:
        """Make a directory for something that the build writes."""
        path = f"{self.staged}/{name}"
        os.mkdir(path, 0o700)
        return path


class Shops:
    """The places in which one engine call builds."""

    def __init__(self, work: Work, conductor: Conductor, sources: Sources) -> None:
        self._work = work
        self._conductor = conductor
        self._sources = sources

    @asynccontextmanager
    async def of_sdist(self, choice: Choice) -> AsyncIterator[Shop]:
        """Have an sdist here and unpacked for the length of the block.

        Raises:
            SourceError, InvalidSdistError: it cannot be had or read.
            BuildError: it does not say how it is built; or it was raised in the block, and now names the stored log.
        """
        what = choice.file.filename + (f"#subdirectory={choice.subdirectory}" if choice.subdirectory else "")
        async with self._sources.open(choice) as source:
            staged = await in_thread(self._work.new_staging)
            try:
                await in_thread(partial(os.mkdir, f"{staged}/source"))
                top = await unpacked(source, f"{staged}/source")
                root = await in_thread(partial(project_root, top, choice.subdirectory, what))
                system = await in_thread(partial(read_build_system, root, what))
                log_key = FileKey(choice.wanted.project, BUILT, choice.built or digest("log", source.sha256), None)
                shop = Shop(what, root, system, staged, source.sha256, log_key, source.fd)
                async with self._logged(shop, source.name.version):
                    yield shop
            finally:
                await in_thread_surely(partial(sweep, staged))

    @asynccontextmanager
    async def of_directory(self, path: str) -> AsyncIterator[Shop]:
        """Make ready to build a project directory where it stands; errors as for `of_sdist`."""
        system = await in_thread(partial(read_build_system, path, path))
        log_key = FileKey(await in_thread(partial(project_in, path)), BUILT, digest("directory", path), None)
        await self._conductor.conduct(in_shared_hold(lambda hold: self._work.begin(hold, [log_key.project])))
        staged = await in_thread(self._work.new_staging)
        try:
            shop = Shop(path, path, system, staged, "", log_key)
            async with self._logged(shop, "0"):
                yield shop
        finally:
            await in_thread_surely(partial(sweep, staged))

    @asynccontextmanager
    async def _logged(self, shop: Shop, version: str) -> AsyncIterator[None]:
        """Keep the log of what is done in the block, and name it where it will be in errors that are of this build."""
        try:
            yield
        except BuildError as error:
            if type(error) is not BuildError or error.what != shop.what or error.log not in (None, shop.log):
                raise
            stored: str | None = None
            with suppress(CacheEngineError):  # the first error is the one to tell
                stored = await self.keep_log(shop, version)
            if stored == error.log:  # no backend was asked
                raise
            kept = BuildError(error.what, error.reason, log=stored, last_lines=error.last_lines)
            raise kept from error

    async def keep_log(self, shop: Shop, version: str) -> str | None:
        """Move the log to where it stays; give its path there, or None if the project was cleaned since."""

        def write(hold: Hold) -> bool:
            with suppress(FileNotFoundError):  # no backend was asked
                return self._work.write_build_log(hold, shop.log_key, shop.log, version)
            return False

        is_written = await self._conductor.conduct(in_shared_hold(write))
        return self._work.cache.layout.build_log(shop.log_key.project, shop.log_key.filename) if is_written else None


def project_in(path: str) -> str:
    """Give the name of the project in a directory, or what is most like one: the directory's, for its log."""
    names: list[object] = []
    with suppress(DiskError, PyprojectError):
        table = (read_pyproject(path) or {}).get("project")
        names.append(table.get("name") if isinstance(table, dict) else None)
    names.append(os.path.basename(os.path.realpath(path)))
    for name in names:
        if isinstance(name, str):
            with suppress(InvalidNameError):
                return project_name(name)
    return "unnamed"
