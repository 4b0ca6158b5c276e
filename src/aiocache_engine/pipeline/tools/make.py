"""Make the cached environment of a tool: resolve, obtain, link into staging, publish. Runs on the event loop.

Whoever wants the same environment at the same time waits for the one who makes it, and then finds it. That lock stands
where the lock of an environment stands: before the locks of the files that are fetched meanwhile (rule 3). It saves
work and guards nothing: two who make the same publish two, and the later one counts.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aiocache_engine.errors import DamagedEntryError, TargetError
from aiocache_engine.hints import TypeVar
from aiocache_engine.index.client import IndexClient
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import digest, new_object_id
from aiocache_engine.model.python import Interpreter, LinkMode
from aiocache_engine.model.records import EnvironmentPointer, Member
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.bytecode import Bytecoder
from aiocache_engine.pipeline.call import Call
from aiocache_engine.pipeline.deliver import Options, Supply, prepare
from aiocache_engine.pipeline.find import Ready
from aiocache_engine.pipeline.inputs.requirements import parse_requirement
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.pipeline.linking.install import apply_install
from aiocache_engine.pipeline.steps import InHold, Outside, Steps, in_thread, in_thread_surely
from aiocache_engine.pipeline.tools.commands import commands_of
from aiocache_engine.pipeline.tools.environment import HeldEnvironment, doubt, look_up
from aiocache_engine.pipeline.tools.request import Tool
from aiocache_engine.policy.resolution import Problem
from aiocache_engine.python.environment import write_environment
from aiocache_engine.python.target import environment_target
from aiocache_engine.store.bytecode import Bytecode
from aiocache_engine.store.environments import (
    ROOT,
    CachedEnvironment,
    PublishedEnvironment,
    write_environment_description,
)
from aiocache_engine.store.trash import sweep
from aiocache_engine.store.work import Work
from aiocache_engine.system.keylock import KeyHold, KeyLock
from aiocache_engine.system.process import me

Result = TypeVar("Result")


@value
class _Staged:
    """An environment that is complete, and that nobody sees yet."""

    path: str  #: in staging
    id: str  #: that it is made for
    pointer: EnvironmentPointer


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
    call = Call(kit, kit.conductor(), interpreter, client, refreshes=tool.refreshes)
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

    async def make_or_find(self) -> HeldEnvironment:
        """Make it, or find what another one made meanwhile."""
        tool, reporter = self._tool, self._kit.reporter
        lock = KeyLock(self._kit.cache.layout.key_lock(digest("tool", tool.project, tool.digest)))
        async with lock.hold(what=tool.what, on_wait=reporter.waits) as key_hold:
            found = None if tool.refreshes else await self._conductor.conduct(look_up(self._work, tool))
            if found is not None:
                return HeldEnvironment(self._work, found.environment, found.pointer)
            return await _while_showing_life(key_hold, self.make_alone)

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
                return await self._conductor.conduct(self._build(supply, bytecoder))
            except DamagedEntryError:
                if bytecoder is not None:
                    bytecoder.distrust()
                supply = await self._call.obtain_again(supply)
                return await self._conductor.conduct(self._build(supply, bytecoder))

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

    def _build(self, supply: Supply, bytecoder: Bytecoder | None) -> Steps[HeldEnvironment]:
        """Link everything into an environment in staging, and publish it (rules 18-20 and 24)."""
        bytecode: dict[str, Bytecode] = {}
        if bytecoder is not None:
            bytecode = yield from bytecoder.bring(supply.ready)
        staged: _Staged = yield Outside(partial(self._stage, supply, bytecode))
        publish = partial(
            self._work.publish_environment,
            staged=staged.path,
            environment_id=staged.id,
            pointer=staged.pointer,
            is_named=not self._tool.is_isolated,
        )
        published: PublishedEnvironment = yield InHold(LockMode.SHARED, publish)
        return HeldEnvironment(self._work, published.environment, staged.pointer)

    def _stage(self, supply: Supply, bytecode: Mapping[str, Bytecode]) -> _Staged:
        """Write the environment. Its scripts name the place where it will be, so its id is drawn first."""
        layout, tool = self._kit.cache.layout, self._tool
        environment_id = new_object_id()
        place = CachedEnvironment(environment_id, layout.environment(environment_id))
        staged = self._work.new_staging()
        root = f"{staged}/{ROOT}"
        write_environment(root, self._interpreter, prompt=tool.project, location=place.root)
        target = environment_target(root, self._interpreter, location=place.root)
        link_mode = self._kit.config.link_mode
        options = Options(link_mode=link_mode, reinstalls=False, is_ephemeral=False, is_dry_run=False)
        try:
            prepared = prepare(target, supply, options, bytecode)
            outcome = apply_install(prepared)
        except TargetError as error:
            raise type(error)(self._shown(error.path, root), self._shown(error.reason, root)) from error
        for warning in outcome.warnings:
            self._kit.reporter.warns(self._shown(warning, root))
        pointer = EnvironmentPointer(
            environment_id=environment_id,
            tool=tool.project,
            digest=tool.digest,
            executable=tool.executable,
            members=tuple(_member(each) for each in supply.ready),
            commands=commands_of(prepared),
            created_at=time.time(),
        )
        is_cloned = outcome.link_mode is LinkMode.CLONE
        write_environment_description(staged, pointer, boot_id=me().boot_id, is_cloned=is_cloned)
        return _Staged(staged, environment_id, pointer)

    def _shown(self, text: str, root: str) -> str:
        """Name places as somebody knows them who never saw the staging directory."""
        return text.replace(f"{root}/", f"{self._tool.what}, ")


def _member(ready: Ready) -> Member:
    totals = ready.manifest.totals
    return Member(totals.project, totals.version, ready.archive.id)


def _sweep_staging(work: Work) -> None:
    """Remove what was needed for making it: who runs a tool does not come back to do so."""
    if (directory := work.staging_directory()) is not None:
        sweep(directory)


async def _while_showing_life(key_hold: KeyHold, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do this, showing those who wait every second that it goes on (rule 4)."""
    from anyio import create_task_group, sleep  # noqa: PLC0415 - as everywhere in this room

    async def show() -> None:
        while True:
            key_hold.progress()
            await sleep(1)

    outcome: list[Result] = []
    failure: list[Exception] = []
    async with create_task_group() as tasks:
        tasks.start_soon(show)
        try:
            outcome.append(await work())
        except Exception as error:  # noqa: BLE001 - raised below: a task group would wrap it
            failure.append(error)
        tasks.cancel_scope.cancel()
    if failure:
        raise failure[0]
    return outcome[0]
