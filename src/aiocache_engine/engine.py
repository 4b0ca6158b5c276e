"""The engine: opens a cache dir and runs the calls on it, several at the same time, from one event loop.

Every call takes a lease of its own, so that any number of them, in any number of processes, may run beside any clean or
prune. The engine reports through a `Reporter` and returns values; it prints nothing.
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
from aiocache_engine.index.client import IndexClient
from aiocache_engine.model.listing import CacheSize, Entry, Usage
from aiocache_engine.model.outcome import FetchReport, InstallReport, ResolveReport
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.records import Pin, Referrer
from aiocache_engine.model.removal import PLAIN, CleanPolicy, PrunePolicy, Removal, RemovalPlan
from aiocache_engine.model.why import Explanation
from aiocache_engine.pipeline.cold import ending, fetch_cold, install_cold, resolve_cold
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.forgetting import forget_by_hand
from aiocache_engine.pipeline.collector.inspect import list_entries, list_usage, measure_cache
from aiocache_engine.pipeline.collector.pinning import pin, unpin
from aiocache_engine.pipeline.collector.remove import carry_out, clean_steps, timed
from aiocache_engine.pipeline.collector.why import why
from aiocache_engine.pipeline.deliver import Options
from aiocache_engine.pipeline.inputs.requirements import clean_targets, parse_clean_target
from aiocache_engine.pipeline.kit import Kit, open_kit
from aiocache_engine.pipeline.steps import Steps, in_thread, in_thread_surely
from aiocache_engine.pipeline.tools.environment import HeldEnvironment, find_held
from aiocache_engine.pipeline.tools.make import make_held
from aiocache_engine.pipeline.tools.request import EnvironmentRequest, Tool, look_into_environment
from aiocache_engine.pipeline.undertake import (
    Fetching,
    FetchRequest,
    Inputs,
    Installation,
    InstallRequest,
    listed,
    look_into_fetch,
    look_into_install,
    target_choice,
)
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.report import Reporter
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.pins import read_pins
from aiocache_engine.system.disk import translated

Result = TypeVar("Result")


class CacheEngine:
    """A package cache that can be cleaned while everything is running.

    Use it as an asynchronous context manager, on asyncio. Its methods may run at the same time as each other, and as
    anything that other processes do to the same cache dir. Making one touches nothing.
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
        self._client: IndexClient | None = None
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
        self._kit = await in_thread(opening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections to indexes."""
        await self._closing.aclose()
        self._kit = self._client = None

    @property
    def cache_dir(self) -> str:
        """The absolute path of the opened cache dir."""
        return self._opened.cache.root

    async def resolve(
        self,
        requirements: Iterable[str] = (),
        *,
        files: Iterable[str] = (),
        constraints: Iterable[str] = (),
        constraint_files: Iterable[str] = (),
        python: str | None = None,
        refresh: bool = False,
    ) -> ResolveReport:
        """Find one version of every project that is needed, dependencies followed; install nothing.

        The pins that come back, given to `install` or `fetch`, are a complete list. The newest versions that suit
        everybody are taken, always the same for the same indexes; versions without a wheel are no candidates.

        Args:
            requirements: requirement strings (PEP 508), and paths or URLs of wheels.
            files: paths of requirements files and lock files.
            constraints: requirement strings that hold for a project only if it is needed.
            constraint_files: paths of files of such.
            python: the interpreter to resolve for; None: the one of the environment that `install` would choose.
            refresh: ask the indexes even where their stored pages are fresh.

        Raises:
            UsageError: a requirement or file cannot be understood.
            UnsatisfiableError: no versions suit everybody; its text says why, in words.
            SourceError: something cannot be had from its index.
        """
        inputs = Inputs(
            requirements=listed("requirements", requirements),
            files=listed("files", files),
            constraints=listed("constraints", constraints),
            constraint_files=listed("constraint_files", constraint_files),
            refreshes=refresh,
        )
        kit = self._opened
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
        target: TargetChoice | None = None,
        link_mode: LinkMode | None = None,
        upgrade: bool = False,
        reinstall: bool = False,
        refresh: bool = False,
        ephemeral: bool = False,
        compile: bool = True,  # noqa: A002 - what every installer calls it
    ) -> InstallReport:
        """Install into an environment outside the cache: linked, not copied, wherever that is possible.

        Dependencies are followed. What the target has already is kept where it suits everybody. A lock file is a
        complete list: it is installed as it is.

        Args:
            requirements: requirement strings (PEP 508), and paths or URLs of wheels.
            files: paths of requirements files and lock files.
            constraints: requirement strings that hold for a project only if it is needed.
            constraint_files: paths of files of such.
            dependencies: False: take what is named and nothing else.
            require_hashes: refuse what has no hash; a single requirement with a hash means that too.
            target: where to; None: VIRTUAL_ENV, else CONDA_PREFIX, else `.venv`. Missing environments are made.
            link_mode: how files get there; None: as configured.
            upgrade: take the newest versions, also where those that are there would do.
            reinstall: also what is there already in the same version.
            refresh: ask the indexes even where their stored pages are fresh.
            ephemeral: the environment is short-lived: what it used does not count as linked once it is gone.
            compile: modules come with their bytecode, compiled once for all environments; False: Python compiles them.

        Raises:
            UsageError: a requirement or file cannot be understood.
            UnsatisfiableError: no versions suit everybody; its text says why, in words.
            SourceError: something cannot be had from its index; several of them in an ExceptionGroup.
            InvalidWheelError: a wheel is malformed or hostile; nothing of it is kept.
            TargetError: the target cannot be written so; it is as it was before.
            DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused; the target is as it was before.
        """
        inputs = Inputs(
            requirements=listed("requirements", requirements),
            files=listed("files", files),
            constraints=listed("constraints", constraints),
            constraint_files=listed("constraint_files", constraint_files),
            follows_dependencies=dependencies,
            requires_hashes=require_hashes,
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
        return await self.run_install(InstallRequest(inputs, target_choice(target), options))

    async def plan_install(
        self,
        requirements: Iterable[str] = (),
        *,
        files: Iterable[str] = (),
        constraints: Iterable[str] = (),
        constraint_files: Iterable[str] = (),
        dependencies: bool = True,
        require_hashes: bool = False,
        target: TargetChoice | None = None,
        link_mode: LinkMode | None = None,
        upgrade: bool = False,
        reinstall: bool = False,
        refresh: bool = False,
        ephemeral: bool = False,
        compile: bool = True,  # noqa: A002 - as for `install`
    ) -> InstallReport:
        """Do all of `install` up to the point where it would touch the target, and tell what it would do to it.

        Wheels are fetched into the cache: only they show whether their files get along with what is there.
        Arguments and errors as for `install`.
        """
        inputs = Inputs(
            requirements=listed("requirements", requirements),
            files=listed("files", files),
            constraints=listed("constraints", constraints),
            constraint_files=listed("constraint_files", constraint_files),
            follows_dependencies=dependencies,
            requires_hashes=require_hashes,
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
        return await self.run_install(InstallRequest(inputs, target_choice(target), options))

    async def run_install(self, request: InstallRequest | Installation) -> InstallReport:
        """Do an installation that is described by a value, or was looked into already; as `install`."""
        kit = self._opened
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
        python: str | None = None,
        refresh: bool = False,
    ) -> FetchReport:
        """Bring wheels into the cache and do nothing else with them.

        `python` is the interpreter that they are for, by path or version; None: the one of the environment that
        `install` would choose, else the running one. The other arguments, and errors, are those of `install`.
        """
        inputs = Inputs(
            requirements=listed("requirements", requirements),
            files=listed("files", files),
            constraints=listed("constraints", constraints),
            constraint_files=listed("constraint_files", constraint_files),
            follows_dependencies=dependencies,
            requires_hashes=require_hashes,
            refreshes=refresh,
        )
        return await self.run_fetch(FetchRequest(inputs, python))

    async def run_fetch(self, request: FetchRequest | Fetching) -> FetchReport:
        """Do a fetch that is described by a value, or was looked into already; as `fetch`."""
        kit = self._opened
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

        Raises:
            UsageError: a requirement cannot be understood.
            InterpreterError: the interpreter cannot be used.
            UnsatisfiableError: no versions suit everybody; its text says why, in words.
            SourceError, InvalidWheelError: something cannot be had from its index.
            DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused.
        """
        request = EnvironmentRequest(requirement, listed("additions", additions), python, refresh, isolated)
        held = await self.hold_environment(request)
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
        kit = self._opened
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

    async def plan_clean(
        self, names: Iterable[str] = (), *, tools: Iterable[str] = (), dependencies: bool = False
    ) -> RemovalPlan:
        """Plan a clean, as `clean` does it. Touches nothing.

        Raises:
            InvalidRequirementError: a name means nothing that can be cleaned.
        """
        targets = clean_targets(listed("names", names), listed("tools", tools))
        policy = CleanPolicy(takes_dependencies=dependencies)
        return await self._opened.conductor().conduct(Collector(self._opened.cache).plan_clean(targets, policy))

    async def clean(
        self,
        names: Iterable[str] | RemovalPlan = (),
        *,
        tools: Iterable[str] = (),
        dependencies: bool = False,
        wait: bool = False,
    ) -> Removal:
        """Clean what is named, or without names and tools everything, while anything else may be running.

        When it returns, no look-up finds what was there, and work that began before cannot bring it back. Bytes that
        are in use are freed when their last user is gone. Given a plan, what it names is cleaned, everything checked
        again.

        Args:
            names: projects, versions of them ("torch<2.5"), patterns of projects ("nvidia-*") and ids of archives or
                cached environments; or a plan.
            tools: tools whose cached environments go, and nothing else of them.
            dependencies: what is named goes with what it needs, and with what else was in the environments that go, as
                far as nothing else uses or needs that.
            wait: wait until nobody uses any of this, and free it; the reporter is told for whom. What this process
                uses itself is not waited for.

        Raises:
            InvalidRequirementError: a name means nothing that can be cleaned.
            LockTimeoutError, ReadOnlyCacheError, DiskError: the machine refused.
        """
        if isinstance(names, RemovalPlan):
            targets, policy = names.targets, names.clean_policy
        else:
            targets = clean_targets(listed("names", names), listed("tools", tools))
            policy = CleanPolicy(takes_dependencies=dependencies)
        return await self._remove(clean_steps(self._opened, targets, policy, waits=wait))

    async def plan_prune(self, policy: PrunePolicy = PLAIN) -> RemovalPlan:
        """Plan a prune. Touches nothing."""
        return await self._opened.conductor().conduct(Collector(self._opened.cache).plan_prune(policy))

    async def prune(self, policy: PrunePolicy = PLAIN) -> Removal:
        """Remove what nothing uses, and what dead work left, while anything else may be running.

        What a policy gives up goes too, if it is not in use.

        Raises:
            LockTimeoutError, ReadOnlyCacheError, DiskError: the machine refused.
        """
        return await self._remove(carry_out(self._opened.cache, lambda collector: collector.prune(policy)))

    async def foresee(self, plan: RemovalPlan) -> Removal:
        """Tell what executing a plan now would free, by looking at every file it names and touching none."""
        return await self._off_loop(partial(foresee, self._opened.cache, plan))

    async def pin(self, requirements: Iterable[str], *, name: str | None = None) -> tuple[Pin, ...]:
        """Keep what the cache holds of these, with its names, whatever is cleaned or pruned; gives the pins.

        What comes into the cache later is not pinned. A pin takes the place of one of the same name.

        Args:
            requirements: projects, versions of them, patterns of projects and ids of archives.
            name: of one pin for all of them, by which it is taken off; None: one for each, called as it is named.

        Raises:
            InvalidRequirementError: one means nothing that can be pinned.
            NotInCacheError: nothing in the cache matches one of them; then nothing is pinned.
        """
        kit = self._opened
        wanted = listed("requirements", requirements)
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
        steps = forget_by_hand(kit.cache, [os.fspath(path) for path in paths])
        async with ending(kit):
            return await kit.conductor().conduct(steps)

    async def entries(self, name: str | None = None) -> tuple[Entry, ...]:
        """List what is in the cache, of one project or version, or all.

        Raises:
            InvalidRequirementError: the name is no project name with a version specifier.
        """
        target = None if name is None else parse_clean_target(name)
        return await self._off_loop(partial(list_entries, self._opened.cache, target, matches=version_matches))

    async def why(self, what: str, policy: PrunePolicy = PLAIN) -> tuple[Explanation, ...]:
        """Tell what keeps something in the cache, and what would release it. Touches nothing.

        Args:
            what: a project or version, the id of an entry, or a path: of an environment, or of anything in the cache.
            policy: of the prune that comes next; an answer has no reasons exactly where that would take the entry.

        Raises:
            InvalidRequirementError: it is neither path nor id, and no project name with a version specifier.
        """
        return await self._opened.conductor().conduct(why(self._opened.cache, what, policy))

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

    async def _index_client(self) -> IndexClient:
        """Give the one client of this engine; the first call that needs the network makes it."""
        if self._client is None:
            kit = self._opened
            settings = await in_thread(kit.settings)
            if self._client is None:
                client = IndexClient(settings, offline=kit.config.is_offline, warn=kit.reporter.warns)
                self._client = await self._closing.enter_async_context(client)
        return self._client

    async def _remove(self, steps: Steps[Removal]) -> Removal:
        conductor = self._opened.conductor()
        return timed(await conductor.conduct(steps), conductor)


def engine_over(kit: Kit) -> CacheEngine:
    """Make an engine on a cache dir that is open already."""
    engine = CacheEngine(kit.cache.root, config=kit.config, reporter=kit.reporter, environ=kit.environ)
    engine._kit = kit  # noqa: SLF001 - the other way to make one
    return engine
