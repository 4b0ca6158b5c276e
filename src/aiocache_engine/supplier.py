"""What brings wheels about that no index has, and tells what that takes: builds, looks into sdists, adds to overlays.

The connections to indexes are kept here, too: a build needs them as an installation does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType

from aiocache_engine.index.client import IndexClient
from aiocache_engine.keeper import CacheKeeper
from aiocache_engine.model.names import overlay_name
from aiocache_engine.model.outcome import AddReport, BuildReport, SourceReport
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.add import DEFAULT_OVERLAY, add_wheels
from aiocache_engine.pipeline.build import BuildRequest, build_wheels, settings_of
from aiocache_engine.pipeline.cold import ending
from aiocache_engine.pipeline.inputs.arguments import directory_text, job_count, path_text, source_text
from aiocache_engine.pipeline.inspect import InspectRequest, inspect_source
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.pipeline.threads import in_thread, in_thread_surely
from aiocache_engine.pipeline.undertake import listed


class CacheSupplier(CacheKeeper):
    """The part of the engine that makes wheels; `aiocache_engine.CacheEngine` is the whole of it."""

    _client: IndexClient | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections to indexes."""
        await super().__aexit__(kind, error, trace)
        self._client = None

    async def build(
        self,
        sources: Iterable[str | os.PathLike[str]],
        *,
        wheel_dir: str | os.PathLike[str],
        python: str | None = None,
        config_settings: Mapping[str, str | Sequence[str]] | None = None,
        jobs: int | None = None,
        overlays: Iterable[str] | None = None,
    ) -> BuildReport:
        """Build wheels into a directory, several at the same time. What fails is told in the report, and stops nothing.

        Wheels of sdists stay in the cache, too: the same one is built once, whoever wants it. A project directory is
        built anew each time, where it stands.

        Args:
            sources: paths of project directories (with a slash, or "."), paths or URLs of sdists, and requirement
                strings, of which the sdist is built whatever wheels there are; a Path is always a path.
            wheel_dir: where the wheels go; made if missing.
            python: the interpreter to build for, as for `fetch`.
            config_settings: what build backends are told (PEP 517); not those of build requirements.
            jobs: how many backends run at the same time; None: as configured.
            overlays: as for `install`, for what builds need as well.

        Raises:
            UsageError: a source is nothing that can be built.
            InterpreterError: the interpreter cannot be used.
            DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused.
        """
        request = BuildRequest(
            sources=tuple(source_text(each) for each in listed("sources", sources)),
            wheel_dir=directory_text("wheel_dir", wheel_dir),
            python=python,
            settings=settings_of(config_settings or {}),
            job_count=job_count(jobs),
        )
        return await build_wheels(self._with_overlays(overlays), request, self._index_client)

    async def run_build(self, request: BuildRequest) -> BuildReport:
        """Build what is described by a value; as `build`."""
        return await build_wheels(self._opened, request, self._index_client)

    async def inspect(
        self,
        source: str | os.PathLike[str],
        *,
        asks_backend: bool = False,
        sdist_dir: str | os.PathLike[str] | None = None,
        python: str | None = None,
        config_settings: Mapping[str, str | Sequence[str]] | None = None,
        overlays: Iterable[str] | None = None,
    ) -> SourceReport:
        """Tell what an sdist says of itself and what its build needs. Nothing is built.

        Args:
            source: a requirement string, of which the sdist is taken whatever wheels there are, or the path or URL of
                an sdist.
            asks_backend: ask its build backend, too, what it needs; for that, what the sdist says that the backend
                needs is installed into a build environment, and built where it must be.
            sdist_dir: where a copy of the sdist goes; made if missing.
            python: the interpreter it would be built for, as for `fetch`.
            config_settings: what its backend is told.
            overlays: as for `install`, for what its backend needs.

        Raises:
            UsageError: the source is nothing that can be built.
            SourceError: it cannot be had, or its backend's needs cannot.
            InvalidSdistError: it is malformed or hostile.
            BuildError: it does not say how it is built, or its backend gave no answer.
            DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused.
        """
        request = InspectRequest(
            source=source_text(source),
            python=python,
            sdist_dir=None if sdist_dir is None else directory_text("sdist_dir", sdist_dir),
            asks_backend=asks_backend,
            settings=settings_of(config_settings or {}),
        )
        return await inspect_source(self._with_overlays(overlays), request, self._index_client)

    async def add(self, wheels: Iterable[str | os.PathLike[str]], *, overlay: str = DEFAULT_OVERLAY) -> AddReport:
        """Add wheels that were built elsewhere to an overlay, where whoever names it finds them at once.

        A wheel takes the place of one of the same file name; who is installing that one gets it whole. All of them are
        read and unpacked before the first is added: one that is no wheel, or not a right one, stops them all. Then they
        are added one after another: what ends the call there (a full disk, a cancellation) leaves those added before.

        Args:
            wheels: paths of wheels; they are read, and neither moved nor linked.
            overlay: its name; there is one as soon as something is added to it.

        Raises:
            UsageError: one is no wheel on this machine, or the overlay cannot have that name.
            InvalidWheelError: a wheel is malformed or hostile. Several failures come in an ExceptionGroup.
            DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused.
        """
        kit = self._opened
        paths = [path_text(each) for each in listed("wheels", wheels)]
        async with ending(kit):
            work = kit.work()
            try:
                return await kit.conductor().conduct(add_wheels(kit, work, paths, overlay))
            finally:
                await in_thread_surely(partial(end_work, work))

    def _with_overlays(self, overlays: Iterable[str] | None) -> Kit:
        """Give what a call works with that names overlays of its own."""
        kit = self._opened
        if overlays is None:
            return kit
        names = tuple(dict.fromkeys(map(overlay_name, listed("overlays", overlays))))
        return replace(kit, config=replace(kit.config, overlays=names))

    async def _index_client(self) -> IndexClient:
        """Give the one client of this engine; the first call that needs the network makes it."""
        if self._client is None:
            kit = self._opened
            settings = await in_thread(kit.settings)
            if self._client is None:
                client = IndexClient(settings, offline=kit.config.is_offline, warn=kit.reporter.warns)
                self._client = await self._closing.enter_async_context(client)
        return self._client
