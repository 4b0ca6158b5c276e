"""The engine's verbs for threads, as far as they open, tell of, keep and free a cache dir; and how a thread calls.

All engines of a process on one cache dir share the loop, since a cache lock serves one loop at a time; they share
nothing else. The first one opened starts it, in a thread of its own; the last one closed stops it. An interrupted wait
(KeyboardInterrupt, as a rule) cancels its call and lasts until the call has cleaned up; a second interrupt does not
wait for that. Not for threads that run an event loop, nor across a fork: both are refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType

from aiocache_engine.config import Config, locate_cache_dir
from aiocache_engine.engine import CacheEngine
from aiocache_engine.errors import UsageError
from aiocache_engine.hints import Any, Self, TypeVar
from aiocache_engine.model.listing import CacheSize, Entry, Usage
from aiocache_engine.model.records import Pin, Referrer
from aiocache_engine.model.removal import PLAIN, PrunePolicy, Removal, RemovalPlan
from aiocache_engine.model.why import Explanation
from aiocache_engine.pipeline.joining import inside
from aiocache_engine.pipeline.lease import PipelineLease
from aiocache_engine.pipeline.shared_loop import LOOPS, SharedCall, SharedLoop, refuse_event_loop
from aiocache_engine.pipeline.undertake import listed
from aiocache_engine.report import Reporter

Result = TypeVar("Result")


class BlockingCacheKeeper:
    """The part of the engine for threads that keeps and frees; `aiocache_engine.BlockingCacheEngine` is all of it."""

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
