"""Make the cached environment of a tool: resolve, obtain, link into staging, publish. Runs on the event loop.

Whoever wants the same environment at the same time waits for the one who makes it, and then finds it. That lock stands
where the lock of an environment stands: before the locks of the files that are fetched meanwhile (rule 3). It saves
work and guards nothing: two who make the same publish two, and the later one counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from aiocache_engine.errors import DamagedEntryError
from aiocache_engine.index.client import IndexClient
from aiocache_engine.model.names import digest
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.pipeline.call import Call
from aiocache_engine.pipeline.deliver import Supply
from aiocache_engine.pipeline.inputs.requirements import parse_requirement
from aiocache_engine.pipeline.inputs.requirements_file import FileOptions
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.pipeline.threads import in_thread, in_thread_surely, while_showing_life
from aiocache_engine.pipeline.tools.environment import HeldEnvironment, doubt, look_up
from aiocache_engine.pipeline.tools.request import Tool
from aiocache_engine.pipeline.tools.staging import EnvironmentMaker
from aiocache_engine.policy.resolution import Problem
from aiocache_engine.store.trash import sweep
from aiocache_engine.store.work import Work
from aiocache_engine.system.keylock import KeyLock


async def make_held(kit: Kit, client: Callable[[], Awaitable[IndexClient]], tool: Tool) -> HeldEnvironment:
    """Make the environment of a tool, unless it is there by now; the caller releases it.

    Raises:
        InterpreterError: the interpreter cannot be used.
        UsageError: a requirement cannot be understood.
        UnsatisfiableError, SourceError, InvalidWheelError: what is needed cannot be had.
        TargetError: its distributions cannot be in one environment.
        DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused.
    """
    kit.cache.ensure_writable()
    interpreter = await in_thread(partial(kit.describe_interpreter, tool.executable))
    files = FileOptions(builds=tool.builds, no_binary=tool.no_binary)
    call = Call(kit, kit.conductor(), interpreter, client, refreshes=tool.refreshes, files=files)
    making = _Making(kit, call, tool, interpreter)
    try:
        held = await making.make_alone() if tool.is_isolated else await making.make_or_find()
        await in_thread(partial(_sweep_staging, call.work))
    except BaseException:
        await in_thread_surely(partial(end_work, call.work))
        raise
    return held


class _Making:
    """One environment in the making."""

    def __init__(self, kit: Kit, call: Call, tool: Tool, interpreter: Interpreter) -> None:
        self._kit = kit
        self._call = call
        self._work = call.work
        self._tool = tool
        self._interpreter = interpreter
        self._conductor = kit.conductor()
        self._maker = EnvironmentMaker(kit, call.work, tool, interpreter)

    async def make_or_find(self) -> HeldEnvironment:
        """Make it, or find what another one made meanwhile."""
        tool, reporter = self._tool, self._kit.reporter
        lock = KeyLock(self._kit.cache.layout.key_lock(digest("tool", tool.project, tool.digest)))
        async with lock.hold(what=tool.what, on_wait=reporter.waits) as key_hold:
            found = None if tool.refreshes else await self._conductor.conduct(look_up(self._work, tool))
            if found is not None:
                return HeldEnvironment(self._work, found.environment, found.pointer)
            return await while_showing_life(key_hold, self.make_alone)

    async def make_alone(self) -> HeldEnvironment:
        """Make it, whoever else does."""
        async with self._call.compiling() as bytecoder:
            renews = self._tool.refreshes and not self._tool.is_isolated
            if renews:
                await self._conductor.conduct(doubt(self._work, self._tool))
            supply = await self._obtain()
            if renews:  # asking anew may have changed nothing
                archives = frozenset(each.archive.id for each in supply.ready)
                found = await self._conductor.conduct(look_up(self._work, self._tool, made_of=archives))
                if found is not None:
                    return HeldEnvironment(self._work, found.environment, found.pointer)
            try:
                return await self._conductor.conduct(self._maker.make(supply, bytecoder))
            except DamagedEntryError:
                if bytecoder is not None:
                    bytecoder.distrust()
                supply = await self._call.obtain_again(supply)
                return await self._conductor.conduct(self._maker.make(supply, bytecoder))

    async def _obtain(self) -> Supply:
        """Resolve and fetch all that is asked for."""
        wanted = await in_thread(self._parse)
        if not wanted:
            return Supply((), (), frozenset())
        supply = await self._call.resolve_and_obtain(Problem(roots=wanted))
        for warning in supply.warnings:
            self._kit.reporter.warns(warning)
        return supply

    def _parse(self) -> tuple[Wanted, ...]:
        each = (parse_requirement(text, self._interpreter.markers) for text in self._tool.requirements)
        return tuple(wanted for wanted in each if wanted is not None)


def _sweep_staging(work: Work) -> None:
    """Remove what was needed for making it: who runs a tool does not come back to do so."""
    if (directory := work.staging_directory()) is not None:
        sweep(directory)
