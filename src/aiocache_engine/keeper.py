"""The keeper: opens a cache dir, tells what is in it and why, keeps what is pinned, and gives space back.

Nothing comes into the cache here: that is the engine's part, which is a keeper too. No verb waits for, or breaks, what
anybody else does to the same cache dir at the same time.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType

from aiocache_engine.config import Config
from aiocache_engine.errors import UsageError
from aiocache_engine.hints import Self, TypeVar
from aiocache_engine.model.listing import CacheSize, Entry, Usage
from aiocache_engine.model.records import Pin, Referrer
from aiocache_engine.model.removal import PLAIN, CleanPolicy, CleanTarget, PrunePolicy, Removal, RemovalPlan
from aiocache_engine.model.why import Explanation
from aiocache_engine.pipeline.cold import ending
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.forgetting import forget_by_hand
from aiocache_engine.pipeline.collector.inspect import list_entries, list_usage, measure_cache
from aiocache_engine.pipeline.collector.pinning import pin, unpin
from aiocache_engine.pipeline.collector.remove import carry_out, clean_steps, timed
from aiocache_engine.pipeline.collector.why import why
from aiocache_engine.pipeline.inputs.arguments import path_text, prune_policy, removal_plan, text, texts
from aiocache_engine.pipeline.inputs.requirements import clean_targets, parse_clean_target
from aiocache_engine.pipeline.joining import inside
from aiocache_engine.pipeline.kit import Kit, open_kit, with_pipelines
from aiocache_engine.pipeline.lease import PipelineLease, begin_pipeline, end_pipeline
from aiocache_engine.pipeline.steps import Steps
from aiocache_engine.pipeline.threads import in_thread, in_thread_surely
from aiocache_engine.pipeline.undertake import listed
from aiocache_engine.report import Reporter
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.pins import read_pins
from aiocache_engine.system.disk import translated

Result = TypeVar("Result")


class CacheKeeper:
    """A cache dir that is opened: what is in it, what keeps it, and how space is given back.

    Use it as an asynchronous context manager, on asyncio.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        config: Config | None = None,
        reporter: Reporter | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Say what the engine shall work on.

        Args:
            cache_dir: the cache dir; None: AIOC_CACHE_DIR, else the user's.
            config: settings of all calls; None: what the environment says.
            reporter: is told of progress.
            environ: where variables are looked up; None: this process's own.
        """
        self._cache_dir = cache_dir
        self._environ = os.environ if environ is None else environ
        self._config = config
        self._reporter = reporter or Reporter()
        self._kit: Kit | None = None
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the cache dir, making it if it is absent.

        Raises:
            ForeignCacheDirError, ReadOnlyCacheError, DiskError: it cannot be used.
        """
        if self._kit is not None:  # made by `engine_over`
            return self
        config = self._config or Config.from_environ(self._environ)
        opening = partial(open_kit, self._cache_dir, config=config, environ=self._environ, reporter=self._reporter)
        self._kit = with_pipelines(await in_thread(opening))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what was opened on the way."""
        await self._closing.aclose()
        self._kit = None

    @property
    def cache_dir(self) -> str:
        """The absolute path of the opened cache dir."""
        return self._opened.cache.root

    async def plan_clean(
        self,
        names: Iterable[str] = (),
        *,
        tools: Iterable[str] = (),
        overlay: str | None = None,
        dependencies: bool = False,
        even_in_use: bool = False,
    ) -> RemovalPlan:
        """Plan a clean, as `clean` does it. Touches nothing.

        Raises:
            InvalidRequirementError, InvalidNameError, UsageError: as for `clean`.
        """
        targets = _targets(names, tools, overlay)
        policy = CleanPolicy(takes_dependencies=dependencies, takes_in_use=even_in_use)
        return await self._opened.conductor().conduct(Collector(self._opened.cache).plan_clean(targets, policy))

    async def clean(
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

        When it returns, no look-up finds what was there, and work that began before cannot bring it back. Bytes that
        are in use are freed when their last user is gone. Given a plan, what it lists is cleaned, everything checked
        again, and no archive or environment that came since; pages and metadata go as without a plan. Its options are
        the plan's.

        Args:
            names: projects, versions of them ("torch<2.5"), patterns of projects ("nvidia-*") and ids of archives or
                cached environments; or a plan.
            tools: tools whose cached environments go, and nothing else of them.
            overlay: what is named, or without names everything, goes from this overlay alone, and with it cached
                environments that have some of it in them.
            dependencies: what is named goes with what it needs, and with what else was in the environments that go, as
                far as nothing else uses or needs that.
            even_in_use: what is used by running work, or by an environment through symbolic links, or pinned, goes with
                its bytes at once; who used it is told by the warnings, and may break.
            wait: wait until nobody uses any of this, and free it; the reporter is told for whom. What this process
                uses itself is not waited for.

        Raises:
            InvalidRequirementError: a name means nothing that can be cleaned, or not in an overlay.
            InvalidNameError: no overlay can be called so.
            UsageError: it is a plan of a prune, or options of a plan are given beside it, or tools beside an overlay.
            LockTimeoutError, ReadOnlyCacheError, DiskError: the machine refused.
        """
        if isinstance(names, RemovalPlan):
            plan = removal_plan(names, "clean")
            if _texts("tools", tools) or overlay is not None or dependencies or even_in_use:
                raise UsageError("give tools, overlay, dependencies and even_in_use to plan_clean, not beside a plan")
            steps = clean_steps(self._opened, plan.targets, plan.clean_policy, waits=wait, planned=plan)
        else:
            targets = _targets(names, tools, overlay)
            policy = CleanPolicy(takes_dependencies=dependencies, takes_in_use=even_in_use)
            steps = clean_steps(self._opened, targets, policy, waits=wait)
        return await self._remove(steps)

    async def plan_prune(self, policy: PrunePolicy = PLAIN) -> RemovalPlan:
        """Plan a prune. Touches nothing."""
        rules = prune_policy(policy)
        return await self._opened.conductor().conduct(Collector(self._opened.cache).plan_prune(rules))

    async def prune(self, policy: PrunePolicy | RemovalPlan = PLAIN) -> Removal:
        """Remove what nothing uses, and what dead work left, while anything else may be running.

        What a policy gives up goes too, if it is not in use. Given a plan, what it lists goes, everything checked
        again, and no archive or environment that came since.

        Raises:
            UsageError: it is a plan of a clean.
            LockTimeoutError, ReadOnlyCacheError, DiskError: the machine refused.
        """
        planned = removal_plan(policy, "prune") if isinstance(policy, RemovalPlan) else None
        rules = prune_policy(policy) if planned is None else planned.prune_policy
        return await self._remove(carry_out(self._opened.cache, lambda each: each.prune(rules, planned=planned)))

    async def foresee(self, plan: RemovalPlan) -> Removal:
        """Tell what executing a plan now would free, by looking at every file it names and touching none."""
        return await self._off_loop(partial(foresee, self._opened.cache, removal_plan(plan)))

    async def pin(self, requirements: Iterable[str], *, name: str | None = None) -> tuple[Pin, ...]:
        """Keep what the cache holds of these, with its names, whatever is cleaned or pruned; gives the pins.

        What comes into the cache later is not pinned. A pin takes the place of one of the same name.

        Args:
            requirements: projects, versions of them, patterns of projects and ids of archives.
            name: of one pin for all of them, by which it is taken off; None: one for each, called as it is named.

        Raises:
            InvalidRequirementError: one means nothing that can be pinned.
            NotInCacheError: nothing in the cache matches one of them; then nothing is pinned.
            UsageError: the name cannot be said again: it is empty, or no UTF-8.
        """
        kit = self._opened
        wanted = _texts("requirements", requirements)
        async with ending(kit):
            return await kit.conductor().conduct(pin(kit, wanted, name))

    async def unpin(self, name: str) -> Pin:
        """Take a pin off; what it kept stays until a clean or prune takes it.

        Raises:
            NotInCacheError: there is no pin of that name.
        """
        kit = self._opened
        async with ending(kit):
            return await kit.conductor().conduct(unpin(kit, name))

    async def pins(self) -> tuple[Pin, ...]:
        """List the pins."""
        found = await self._off_loop(partial(read_pins, self._opened.cache.layout))
        return found.readable

    async def forget(self, *paths: str | os.PathLike[str]) -> tuple[Referrer, ...]:
        """Forget environments that are gone for good, so that they keep nothing any more; gives what was forgotten.

        A prune does it for those of which it can see that. They themselves are not touched. What one has by symbolic
        links, though it is still there, the next prune takes from it.

        Args:
            paths: where they were; a directory that was a `--target`, too.

        Raises:
            NotInCacheError: none is known at one of the paths; then none is forgotten.
        """
        kit = self._opened
        steps = forget_by_hand(kit.cache, [path_text(path) for path in paths])
        async with ending(kit):
            return await kit.conductor().conduct(steps)

    async def entries(self, name: str | None = None) -> tuple[Entry, ...]:
        """List what is in the cache, of one project or version, or all.

        Raises:
            InvalidRequirementError: the name is no project name with a version specifier.
        """
        target = None if name is None else parse_clean_target(text("the name", name))
        return await self._off_loop(partial(list_entries, self._opened.cache, target, matches=version_matches))

    async def why(self, what: str, policy: PrunePolicy = PLAIN) -> tuple[Explanation, ...]:
        """Tell what keeps something in the cache, and what would release it. Touches nothing.

        Args:
            what: a project or version, the id of an entry, or a path: of an environment, or of anything in the cache.
            policy: of the prune that comes next; an answer has no reasons exactly where that would take the entry.

        Raises:
            InvalidRequirementError: it is neither path nor id, and no project name with a version specifier.
        """
        return await self._opened.conductor().conduct(
            why(self._opened.cache, text("what `why` is asked about", what), prune_policy(policy))
        )

    @asynccontextmanager
    async def lease(self, *, name: str = "pipeline") -> AsyncIterator[PipelineLease]:
        """Hold whatever the calls in the block look up, fetch or build, until it ends.

        Inside are the calls of this engine in the block itself and in tasks and threads that were started in it and
        have its context. A call that is in no such block, such as of a thread that was there before, counts as inside
        every one that is open. Child processes join by `PipelineLease.variables`. What is cleaned inside is given up.

        Args:
            name: as those who ask who uses the cache are told.
        """
        kit = self._opened
        lease = await begin_pipeline(kit, name)
        try:
            with inside(lease.share):
                yield lease
        finally:
            await in_thread_surely(partial(end_pipeline, kit, lease))
            async with ending(kit):  # nothing is left to do but what every end of a lease does
                pass

    async def leases(self) -> Usage:
        """Tell who uses the cache now: live leases, and holders of its lock files."""
        return await self._off_loop(partial(list_usage, self._opened.cache))

    async def size(self) -> CacheSize:
        """Tell how much the cache holds, from its manifests."""
        return await self._off_loop(partial(measure_cache, self._opened.cache))

    @property
    def _opened(self) -> Kit:
        if self._kit is None:
            raise UsageError("open the engine first: `async with CacheEngine(…) as engine:`")
        return self._kit

    async def _off_loop(self, work: Callable[[], Result]) -> Result:
        """Do this in a worker thread, and tell errors of the disk as ours."""
        with translated(self._opened.cache.root):
            return await in_thread(work)

    async def _remove(self, steps: Steps[Removal]) -> Removal:
        conductor = self._opened.conductor()
        return timed(await conductor.conduct(steps), conductor)


def _targets(names: Iterable[str], tools: Iterable[str], overlay: str | None) -> tuple[CleanTarget, ...]:
    where = None if overlay is None else text("the overlay", overlay)
    return clean_targets(_texts("names", names), _texts("tools", tools), where)


def _texts(what: str, given: Iterable[str]) -> tuple[str, ...]:
    return texts(what, listed(what, given))
