"""The engine's verbs for threads: each waits in its thread for a call that runs on one shared event loop.

How threads share that loop, and what refuses to: `aiocache_engine.blocking_keeper`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from aiocache_engine.blocking_keeper import BlockingCacheKeeper
from aiocache_engine.model.outcome import (
    AddReport,
    BuildReport,
    FetchReport,
    InstallReport,
    ResolveReport,
    SourceReport,
)
from aiocache_engine.model.python import LinkMode
from aiocache_engine.pipeline.add import DEFAULT_OVERLAY
from aiocache_engine.pipeline.build import BuildRequest
from aiocache_engine.pipeline.tools.environment import HeldEnvironment
from aiocache_engine.pipeline.tools.request import EnvironmentRequest, Tool
from aiocache_engine.pipeline.undertake import Fetching, FetchRequest, Installation, InstallRequest, listed
from aiocache_engine.python.target import TargetChoice


class BlockingCacheEngine(BlockingCacheKeeper):
    """`CacheEngine` for threads: the same verbs, each of which returns when its work is done.

    Use it as a context manager, and from any number of threads at once. Closing it waits for the calls under way.
    Results, errors and exception groups are those of `CacheEngine`; what is given as an iterable is read in the calling
    thread, and the reporter is told in others.
    """

    def resolve(
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

        Arguments and errors as for `CacheEngine.resolve`.
        """
        return self._call(
            partial(
                self._engine.resolve,
                listed("requirements", requirements),
                files=listed("files", files),
                constraints=listed("constraints", constraints),
                constraint_files=listed("constraint_files", constraint_files),
                no_build=no_build,
                no_binary=listed("no_binary", no_binary),
                python=python,
                refresh=refresh,
                overlays=_listed_or_none("overlays", overlays),
            )
        )

    def install(
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
        compile: bool = True,  # noqa: A002 - as in `CacheEngine`
        overlays: Iterable[str] | None = None,
    ) -> InstallReport:
        """Install into an environment outside the cache: linked, not copied, wherever that is possible.

        Arguments and errors as for `CacheEngine.install`.
        """
        return self._call(
            partial(
                self._engine.install,
                listed("requirements", requirements),
                files=listed("files", files),
                constraints=listed("constraints", constraints),
                constraint_files=listed("constraint_files", constraint_files),
                dependencies=dependencies,
                require_hashes=require_hashes,
                no_build=no_build,
                no_binary=listed("no_binary", no_binary),
                target=target,
                link_mode=link_mode,
                upgrade=upgrade,
                reinstall=reinstall,
                refresh=refresh,
                ephemeral=ephemeral,
                compile=compile,
                overlays=_listed_or_none("overlays", overlays),
            )
        )

    def plan_install(
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
        compile: bool = True,  # noqa: A002 - as in `CacheEngine`
        overlays: Iterable[str] | None = None,
    ) -> InstallReport:
        """Do all of `install` up to the point where it would touch the target, and tell what it would do to it.

        Arguments and errors as for `CacheEngine.plan_install`.
        """
        return self._call(
            partial(
                self._engine.plan_install,
                listed("requirements", requirements),
                files=listed("files", files),
                constraints=listed("constraints", constraints),
                constraint_files=listed("constraint_files", constraint_files),
                dependencies=dependencies,
                require_hashes=require_hashes,
                no_build=no_build,
                no_binary=listed("no_binary", no_binary),
                target=target,
                link_mode=link_mode,
                upgrade=upgrade,
                reinstall=reinstall,
                refresh=refresh,
                ephemeral=ephemeral,
                compile=compile,
                overlays=_listed_or_none("overlays", overlays),
            )
        )

    def run_install(self, request: InstallRequest | Installation) -> InstallReport:
        """Do an installation that is described by a value, or was looked into already; as `install`."""
        return self._call(partial(self._engine.run_install, request))

    def fetch(
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

        Arguments and errors as for `CacheEngine.fetch`.
        """
        return self._call(
            partial(
                self._engine.fetch,
                listed("requirements", requirements),
                files=listed("files", files),
                constraints=listed("constraints", constraints),
                constraint_files=listed("constraint_files", constraint_files),
                dependencies=dependencies,
                require_hashes=require_hashes,
                no_build=no_build,
                no_binary=listed("no_binary", no_binary),
                python=python,
                refresh=refresh,
                overlays=_listed_or_none("overlays", overlays),
            )
        )

    def run_fetch(self, request: FetchRequest | Fetching) -> FetchReport:
        """Do a fetch that is described by a value, or was looked into already; as `fetch`."""
        return self._call(partial(self._engine.run_fetch, request))

    def build(
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

        Arguments and errors as for `CacheEngine.build`.
        """
        return self._call(
            partial(
                self._engine.build,
                listed("sources", sources),
                wheel_dir=wheel_dir,
                python=python,
                config_settings=config_settings,
                jobs=jobs,
                overlays=None if overlays is None else listed("overlays", overlays),
            )
        )

    def run_build(self, request: BuildRequest) -> BuildReport:
        """Build what is described by a value; as `build`."""
        return self._call(partial(self._engine.run_build, request))

    def inspect(
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

        Arguments and errors as for `CacheEngine.inspect`.
        """
        return self._call(
            partial(
                self._engine.inspect,
                source,
                asks_backend=asks_backend,
                sdist_dir=sdist_dir,
                python=python,
                config_settings=config_settings,
                overlays=_listed_or_none("overlays", overlays),
            )
        )

    def add(self, wheels: Iterable[str | os.PathLike[str]], *, overlay: str = DEFAULT_OVERLAY) -> AddReport:
        """Add wheels that were built elsewhere to an overlay, where whoever names it finds them at once.

        Arguments and errors as for `CacheEngine.add`.
        """
        return self._call(partial(self._engine.add, listed("wheels", wheels), overlay=overlay))

    @contextmanager
    def environment(
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
    ) -> Iterator[HeldEnvironment]:
        """Use a cached environment for the length of the block; it is made if there is none for these arguments.

        Arguments and errors as for `CacheEngine.environment`.
        """
        using = self._engine.environment(
            requirement,
            additions=listed("additions", additions),
            python=python,
            refresh=refresh,
            isolated=isolated,
            no_build=no_build,
            no_binary=listed("no_binary", no_binary),
            overlays=_listed_or_none("overlays", overlays),
        )
        held = self._call(using.__aenter__)
        try:
            yield held
        finally:
            held.release()  # also where the engine was closed before
            if self._loop is not None:
                self._call(partial(using.__aexit__, None, None, None))

    def hold_environment(self, request: EnvironmentRequest | Tool) -> HeldEnvironment:
        """Give an environment that is described by a value, or was looked into already; as `environment`.

        Whoever calls this releases it.
        """
        return self._call(partial(self._engine.hold_environment, request))


def _listed_or_none(what: str, given: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if given is None else listed(what, given)
