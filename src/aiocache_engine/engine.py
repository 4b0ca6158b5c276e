"""The engine: runs the calls on a cache dir, several at the same time, from one event loop.

Every call takes a lease of its own, so that any number of them, in any number of processes, may run beside any clean or
prune. The engine reports through a `Reporter` and returns values; it prints nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

from aiocache_engine.model.outcome import FetchReport, InstallReport, ResolveReport
from aiocache_engine.model.python import LinkMode
from aiocache_engine.pipeline.cold import ending, fetch_cold, install_cold, resolve_cold
from aiocache_engine.pipeline.deliver import Options
from aiocache_engine.pipeline.kit import Kit, with_pipelines
from aiocache_engine.pipeline.threads import in_thread_surely
from aiocache_engine.pipeline.tools.environment import HeldEnvironment, find_held
from aiocache_engine.pipeline.tools.make import make_held
from aiocache_engine.pipeline.tools.request import EnvironmentRequest, Tool, look_into_environment
from aiocache_engine.pipeline.undertake import (
    Fetching,
    FetchRequest,
    Installation,
    InstallRequest,
    inputs_of,
    listed,
    look_into_fetch,
    look_into_install,
    target_choice,
)
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.supplier import CacheSupplier


class CacheEngine(CacheSupplier):
    """A package cache that can be cleaned while everything is running.

    Use it as an asynchronous context manager, on asyncio. Its methods may run at the same time as each other, and as
    anything that other processes do to the same cache dir. Making one touches nothing.
    """

    async def resolve(
        self,
        requirements: Iterable[str] = (),
        *,
        files: Iterable[str] = (),
        constraints: Iterable[str] = (),
        constraint_files: Iterable[str] = (),
        no_build: bool = False,
        no_binary: Iterable[str] = (),
        python: str | None = None,
        refresh: bool = False,
        overlays: Iterable[str] | None = None,
    ) -> ResolveReport:
        """Find one version of every project that is needed, dependencies followed; install nothing.

        The pins that come back, given to `install` or `fetch`, are a complete list. The newest versions that suit
        everybody are taken, always the same for the same indexes. What the metadata of an sdist leaves to a build is
        found out by building.

        Args:
            requirements: requirement strings (PEP 508), and paths or URLs of wheels and sdists.
            files: paths of requirements files and lock files.
            constraints: requirement strings that hold for a project only if it is needed.
            constraint_files: paths of files of such.
            no_build: as for `install`.
            no_binary: as for `install`.
            python: the interpreter to resolve for; None: the one of the environment that `install` would choose.
            refresh: ask the indexes even where their stored pages are fresh.
            overlays: as for `install`.

        Raises:
            UsageError: a requirement or file cannot be understood.
            UnsatisfiableError: no versions suit everybody; its text says why, in words.
            SourceError: something cannot be had from its index.
        """
        inputs = inputs_of(
            *(requirements, files, constraints, constraint_files),
            refreshes=refresh,
            builds=not no_build,
            no_binary=no_binary,
        )
        kit = self._with_overlays(overlays)
        fetching = await self._off_loop(partial(look_into_fetch, kit, FetchRequest(inputs, python)))
        return await resolve_cold(kit, fetching, self._index_client)

    async def install(
        self,
        requirements: Iterable[str] = (),
        *,
        files: Iterable[str] = (),
        constraints: Iterable[str] = (),
        constraint_files: Iterable[str] = (),
        dependencies: bool = True,
        require_hashes: bool = False,
        no_build: bool = False,
        no_binary: Iterable[str] = (),
        target: TargetChoice | None = None,
        link_mode: LinkMode | None = None,
        upgrade: bool = False,
        reinstall: bool = False,
        refresh: bool = False,
        ephemeral: bool = False,
        compile: bool = True,  # noqa: A002 - what every installer calls it
        overlays: Iterable[str] | None = None,
    ) -> InstallReport:
        """Install into an environment outside the cache: linked, not copied, wherever that is possible.

        Dependencies are followed. What the target has already is kept where it suits everybody. A lock file is a
        complete list: it is installed as it is.

        Args:
            requirements: requirement strings (PEP 508), and paths or URLs of wheels and sdists.
            files: paths of requirements files and lock files.
            constraints: requirement strings that hold for a project only if it is needed.
            constraint_files: paths of files of such.
            dependencies: False: take what is named and nothing else.
            require_hashes: refuse what has no hash; a single requirement with a hash means that too.
            no_build: build nothing; a version without a wheel that fits is no candidate.
            no_binary: projects that are built, whatever wheels they have; ":all:": every one.
            target: where to; None: VIRTUAL_ENV, else CONDA_PREFIX, else `.venv`. Missing environments are made.
            link_mode: how files get there; None: as configured.
            upgrade: take the newest versions, also where those that are there would do.
            reinstall: also what is there already in the same version.
            refresh: ask the indexes even where their stored pages are fresh.
            ephemeral: the environment is short-lived: what it used does not count as linked once it is gone.
            compile: modules come with their bytecode, compiled once for all environments; False: Python compiles them.
            overlays: names of overlays, asked before any index, in this order; None: as configured.

        Raises:
            UsageError: a requirement or file cannot be understood.
            UnsatisfiableError: no versions suit everybody; its text says why, in words.
            SourceError: something cannot be had from its index; several of them in an ExceptionGroup.
            InvalidWheelError, InvalidSdistError: a file is malformed or hostile; nothing of it is kept.
            BuildError: what is there only as source cannot be built; its text names the log.
            TargetError: the target cannot be written so; it is as it was before.
            DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused; the target is as it was before.
        """
        inputs = inputs_of(
            *(requirements, files, constraints, constraint_files),
            follows_dependencies=dependencies,
            requires_hashes=require_hashes,
            builds=not no_build,
            no_binary=no_binary,
            refreshes=refresh,
        )
        options = Options(
            link_mode=link_mode or self._opened.config.link_mode,
            reinstalls=reinstall,
            is_ephemeral=ephemeral,
            is_dry_run=False,
            compiles=compile,
            upgrades=upgrade,
        )
        kit = self._with_overlays(overlays)
        return await self._install(kit, InstallRequest(inputs, target_choice(target), options))

    async def plan_install(
        self,
        requirements: Iterable[str] = (),
        *,
        files: Iterable[str] = (),
        constraints: Iterable[str] = (),
        constraint_files: Iterable[str] = (),
        dependencies: bool = True,
        require_hashes: bool = False,
        no_build: bool = False,
        no_binary: Iterable[str] = (),
        target: TargetChoice | None = None,
        link_mode: LinkMode | None = None,
        upgrade: bool = False,
        reinstall: bool = False,
        refresh: bool = False,
        ephemeral: bool = False,
        compile: bool = True,  # noqa: A002 - as for `install`
        overlays: Iterable[str] | None = None,
    ) -> InstallReport:
        """Do all of `install` up to the point where it would touch the target, and tell what it would do to it.

        Wheels are fetched into the cache: only they show whether their files get along with what is there.
        Arguments and errors as for `install`.
        """
        inputs = inputs_of(
            *(requirements, files, constraints, constraint_files),
            follows_dependencies=dependencies,
            requires_hashes=require_hashes,
            builds=not no_build,
            no_binary=no_binary,
            refreshes=refresh,
        )
        options = Options(
            link_mode=link_mode or self._opened.config.link_mode,
            reinstalls=reinstall,
            is_ephemeral=ephemeral,
            is_dry_run=True,
            compiles=compile,
            upgrades=upgrade,
        )
        kit = self._with_overlays(overlays)
        return await self._install(kit, InstallRequest(inputs, target_choice(target), options))

    async def run_install(self, request: InstallRequest | Installation) -> InstallReport:
        """Do an installation that is described by a value, or was looked into already; as `install`."""
        return await self._install(self._opened, request)

    async def _install(self, kit: Kit, request: InstallRequest | Installation) -> InstallReport:
        if isinstance(request, InstallRequest):
            request = await self._off_loop(partial(look_into_install, kit, request))
        return await install_cold(kit, request, self._index_client)

    async def fetch(
        self,
        requirements: Iterable[str] = (),
        *,
        files: Iterable[str] = (),
        constraints: Iterable[str] = (),
        constraint_files: Iterable[str] = (),
        dependencies: bool = True,
        require_hashes: bool = False,
        no_build: bool = False,
        no_binary: Iterable[str] = (),
        python: str | None = None,
        refresh: bool = False,
        overlays: Iterable[str] | None = None,
    ) -> FetchReport:
        """Bring wheels into the cache and do nothing else with them.

        `python` is the interpreter that they are for, by path or version; None: the one of the environment that
        `install` would choose, else the running one. The other arguments, and errors, are those of `install`.
        """
        inputs = inputs_of(
            *(requirements, files, constraints, constraint_files),
            follows_dependencies=dependencies,
            requires_hashes=require_hashes,
            builds=not no_build,
            no_binary=no_binary,
            refreshes=refresh,
        )
        return await self._fetch(self._with_overlays(overlays), FetchRequest(inputs, python))

    async def run_fetch(self, request: FetchRequest | Fetching) -> FetchReport:
        """Do a fetch that is described by a value, or was looked into already; as `fetch`."""
        return await self._fetch(self._opened, request)

    async def _fetch(self, kit: Kit, request: FetchRequest | Fetching) -> FetchReport:
        if isinstance(request, FetchRequest):
            request = await self._off_loop(partial(look_into_fetch, kit, request))
        return await fetch_cold(kit, request, self._index_client)

    @asynccontextmanager
    async def environment(
        self,
        requirement: str,
        *,
        additions: Iterable[str] = (),
        python: str | None = None,
        refresh: bool = False,
        isolated: bool = False,
        no_build: bool = False,
        no_binary: Iterable[str] = (),
        overlays: Iterable[str] | None = None,
    ) -> AsyncIterator[HeldEnvironment]:
        """Use a cached environment for the length of the block; it is made if there is none for these arguments.

        It has what is named and all that this depends on. While the block lasts it stays as it is, whatever is cleaned;
        do not change it. The next use of the same arguments gets the same one.

        Args:
            requirement: whose environment it is: a requirement string, or the path or URL of a wheel.
            additions: requirements of what else shall be in it.
            python: its interpreter, by path, command or version; None: the one that this program runs on.
            refresh: ask the indexes, and make a new environment if they have something else by now.
            isolated: make one for this block alone.
            no_build: as for `install`.
            no_binary: as for `install`.
            overlays: as for `install`.

        Raises:
            UsageError: a requirement cannot be understood.
            InterpreterError: the interpreter cannot be used.
            UnsatisfiableError: no versions suit everybody; its text says why, in words.
            SourceError, InvalidWheelError, InvalidSdistError, BuildError: something cannot be had.
            DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused.
        """
        request = EnvironmentRequest(
            *(requirement, listed("additions", additions), python, refresh, isolated),
            builds=not no_build,
            no_binary=listed("no_binary", no_binary),
        )
        held = await self._hold_environment(self._with_overlays(overlays), request)
        try:
            yield held
        finally:
            await in_thread_surely(held.release)
        async with ending(self._opened):  # nothing is left to do but what every end of a lease does
            pass

    async def hold_environment(self, request: EnvironmentRequest | Tool) -> HeldEnvironment:
        """Give an environment that is described by a value, or was looked into already; as `environment`.

        Whoever calls this releases it.
        """
        return await self._hold_environment(self._opened, request)

    async def _hold_environment(self, kit: Kit, request: EnvironmentRequest | Tool) -> HeldEnvironment:
        held: list[HeldEnvironment] = []  # a cancellation may come when it is there already, and not yet returned
        try:
            if isinstance(request, EnvironmentRequest):
                request = await self._off_loop(partial(look_into_environment, kit, request))
                find = partial(find_held, kit, request)
                await self._off_loop(lambda: held.extend(filter(None, [find()])))
            if not held:
                async with ending(kit):
                    held.append(await make_held(kit, self._index_client, request))
        except BaseException:
            for each in held:
                await in_thread_surely(each.release)
            raise
        return held[0]


def engine_over(kit: Kit) -> CacheEngine:
    """Make an engine on a cache dir that is open already."""
    engine = CacheEngine(kit.cache.root, config=kit.config, reporter=kit.reporter, environ=kit.environ)
    engine._kit = with_pipelines(kit)  # noqa: SLF001 - the other way to make one
    return engine
