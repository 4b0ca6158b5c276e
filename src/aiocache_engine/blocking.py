"""The engine's verbs for threads: each waits in its thread for a call that runs on one shared event loop.

All engines of a process on one cache dir share the loop, since a cache lock serves one loop at a time; they share
nothing else. The first one opened starts it, in a thread of its own; the last one closed stops it. An interrupted wait
(KeyboardInterrupt, as a rule) cancels its call and lasts until the call has cleaned up; a second interrupt does not
wait for that. Not for threads that run an event loop, nor across a fork: both are refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType

from aiocache_engine.config import Config, locate_cache_dir
from aiocache_engine.engine import CacheEngine
from aiocache_engine.errors import UsageError
from aiocache_engine.hints import Any, Self, TypeVar
from aiocache_engine.model.listing import CacheSize, Entry, Usage
from aiocache_engine.model.outcome import (
    AddReport,
    BuildReport,
    FetchReport,
    InstallReport,
    ResolveReport,
    SourceReport,
)
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.records import Pin, Referrer
from aiocache_engine.model.removal import PLAIN, PrunePolicy, Removal, RemovalPlan
from aiocache_engine.model.why import Explanation
from aiocache_engine.pipeline.add import DEFAULT_OVERLAY
from aiocache_engine.pipeline.build import BuildRequest
from aiocache_engine.pipeline.joining import inside
from aiocache_engine.pipeline.lease import PipelineLease
from aiocache_engine.pipeline.shared_loop import LOOPS, SharedCall, SharedLoop, refuse_event_loop
from aiocache_engine.pipeline.tools.environment import HeldEnvironment
from aiocache_engine.pipeline.tools.request import EnvironmentRequest, Tool
from aiocache_engine.pipeline.undertake import Fetching, FetchRequest, Installation, InstallRequest, listed
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.report import Reporter

Result = TypeVar("Result")


class BlockingCacheEngine:
    """`CacheEngine` for threads: the same verbs, each of which returns when its work is done.

    Use it as a context manager, and from any number of threads at once. Closing it waits for the calls under way.
    Results, errors and exception groups are those of `CacheEngine`; what is given as an iterable is read in the calling
    thread, and the reporter is told in others.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        config: Config | None = None,
        reporter: Reporter | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Say what the engine shall work on; arguments as for `CacheEngine`."""
        self._cache_dir = cache_dir
        self._environ = os.environ if environ is None else environ
        self._engine = CacheEngine(cache_dir, config=config, reporter=reporter, environ=environ)
        self._loop: SharedLoop | None = None  #: while open
        self._outcomes: set[Future[Any]] = set()  #: of the calls under way

    def __enter__(self) -> Self:
        """Open the cache dir, making it if it is absent.

        Raises:
            ForeignCacheDirError, ReadOnlyCacheError, DiskError: it cannot be used.
            UsageError: this thread runs an event loop, or the engine is open already.
        """
        refuse_event_loop()
        if self._loop is not None:
            self._loop.refuse_fork()
            raise UsageError("this BlockingCacheEngine is open already; make another one")
        loop = LOOPS.join(os.path.realpath(locate_cache_dir(self._cache_dir, self._environ)))
        try:
            loop.wait_for(SharedCall(self._engine.__aenter__))
        except BaseException:
            LOOPS.leave(loop)
            raise
        self._loop = loop
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the calls under way, refuse new ones, and close the connections to indexes."""
        if self._loop is not None and self._loop.is_of_parent:
            return
        refuse_event_loop()
        with LOOPS.mutex:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            for outcome in tuple(self._outcomes):
                with suppress(CancelledError):
                    outcome.exception()
            loop.wait_for(SharedCall(partial(self._engine.__aexit__, None, None, None)))
        finally:
            LOOPS.leave(loop)

    @property
    def cache_dir(self) -> str:
        """The absolute path of the opened cache dir."""
        self._opened.refuse_fork()
        return self._engine.cache_dir

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

    def plan_clean(
        self,
        names: Iterable[str] = (),
        *,
        tools: Iterable[str] = (),
        overlay: str | None = None,
        dependencies: bool = False,
        even_in_use: bool = False,
    ) -> RemovalPlan:
        """Plan a clean, as `clean` does it. Touches nothing.

        Errors as for `CacheEngine.plan_clean`.
        """
        named, its_tools = listed("names", names), listed("tools", tools)
        options = {"dependencies": dependencies, "even_in_use": even_in_use}
        return self._call(partial(self._engine.plan_clean, named, tools=its_tools, overlay=overlay, **options))

    def clean(
        self,
        names: Iterable[str] | RemovalPlan = (),
        *,
        tools: Iterable[str] = (),
        overlay: str | None = None,
        dependencies: bool = False,
        even_in_use: bool = False,
        wait: bool = False,
    ) -> Removal:
        """Clean what is named, or without names and tools everything, while anything else may be running.

        Arguments, what holds when it returns, and errors as for `CacheEngine.clean`.
        """
        named = names if isinstance(names, RemovalPlan) else listed("names", names)
        its_tools = listed("tools", tools)
        options = {"dependencies": dependencies, "even_in_use": even_in_use, "wait": wait}
        return self._call(partial(self._engine.clean, named, tools=its_tools, overlay=overlay, **options))

    def plan_prune(self, policy: PrunePolicy = PLAIN) -> RemovalPlan:
        """Plan a prune. Touches nothing."""
        return self._call(partial(self._engine.plan_prune, policy))

    def prune(self, policy: PrunePolicy | RemovalPlan = PLAIN) -> Removal:
        """Remove what nothing uses, and what dead work left, while anything else may be running.

        Policy and errors as for `CacheEngine.prune`.
        """
        return self._call(partial(self._engine.prune, policy))

    def foresee(self, plan: RemovalPlan) -> Removal:
        """Tell what executing a plan now would free, by looking at every file it names and touching none."""
        return self._call(partial(self._engine.foresee, plan))

    def pin(self, requirements: Iterable[str], *, name: str | None = None) -> tuple[Pin, ...]:
        """Keep what the cache holds of these, with its names, whatever is cleaned or pruned; gives the pins.

        Arguments and errors as for `CacheEngine.pin`.
        """
        return self._call(partial(self._engine.pin, listed("requirements", requirements), name=name))

    def unpin(self, name: str) -> Pin:
        """Take a pin off; what it kept stays until a clean or prune takes it.

        Errors as for `CacheEngine.unpin`.
        """
        return self._call(partial(self._engine.unpin, name))

    def pins(self) -> tuple[Pin, ...]:
        """List the pins."""
        return self._call(self._engine.pins)

    def forget(self, *paths: str | os.PathLike[str]) -> tuple[Referrer, ...]:
        """Forget environments that are gone for good, so that they keep nothing any more; gives what was forgotten.

        Arguments and errors as for `CacheEngine.forget`.
        """
        return self._call(partial(self._engine.forget, *paths))

    def entries(self, name: str | None = None) -> tuple[Entry, ...]:
        """List what is in the cache, of one project or version, or all.

        Errors as for `CacheEngine.entries`.
        """
        return self._call(partial(self._engine.entries, name))

    def why(self, what: str, policy: PrunePolicy = PLAIN) -> tuple[Explanation, ...]:
        """Tell what keeps something in the cache, and what would release it. Touches nothing.

        Arguments and errors as for `CacheEngine.why`.
        """
        return self._call(partial(self._engine.why, what, policy))

    @contextmanager
    def lease(self, *, name: str = "pipeline") -> Iterator[BlockingPipelineLease]:
        """Hold whatever the calls in the block look up, fetch or build, until it ends.

        Which calls are inside, and arguments, as for `CacheEngine.lease`. Calls of other threads are, too, unless they
        are made in a block of their own.
        """
        using = self._engine.lease(name=name)
        lease = self._call(using.__aenter__)
        try:
            with inside(lease.share):
                yield BlockingPipelineLease(lease, self._call)
        finally:
            if self._loop is not None:
                self._call(partial(using.__aexit__, None, None, None))
            elif lease.share is not None:  # the engine was closed before
                lease.share.end()

    def leases(self) -> Usage:
        """Tell who uses the cache now: live leases, and holders of its lock files."""
        return self._call(self._engine.leases)

    def size(self) -> CacheSize:
        """Tell how much the cache holds, from its manifests."""
        return self._call(self._engine.size)

    @property
    def _opened(self) -> SharedLoop:
        if self._loop is None:
            raise UsageError("open the engine first: `with BlockingCacheEngine(…) as engine:`")
        return self._loop

    def _call(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do this on the shared loop, and wait for it."""
        self._opened.refuse_fork()
        refuse_event_loop()
        call = SharedCall(work)
        with LOOPS.mutex:  # so that closing either sees this call and waits for it, or refuses it
            loop = self._opened
            self._outcomes.add(call.outcome)
        call.outcome.add_done_callback(self._outcomes.discard)
        return loop.wait_for(call)


class BlockingPipelineLease:
    """What a pipeline of threads holds on to; as `PipelineLease`."""

    def __init__(self, lease: PipelineLease, call: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self.name = lease.name  #: as `aioc ps` shows it
        self.id = lease.id  #: as `leases()` gives it; None in a read-only cache dir, where nothing can be held
        self._lease = lease
        self._call = call

    def variables(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the variables for child processes whose calls shall be held as well; None: those of this process."""
        return self._lease.variables(environ)

    def drop(self, *names: str) -> None:
        """Give up what the pipeline holds of these, whichever of its processes used it.

        Arguments and errors as for `PipelineLease.drop`.
        """
        self._call(partial(self._lease.drop, *names))


def _listed_or_none(what: str, given: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if given is None else listed(what, given)
