"""The environment that a build runs in: made of its requirements, cached by what is in it, not by what was asked for.

So all projects whose requirements come to the same wheels share one. Everything in it is resolved, fetched and, where
it must be, built by a call of its own, whose lease keeps the environment for as long as the build needs it. No build's
key lock and no slot is held meanwhile (rule 22).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial

from aiocache_engine.errors import BuildCycleError, BuildError, CacheEngineError, DamagedEntryError, UsageError
from aiocache_engine.hints import Protocol, Self
from aiocache_engine.model.names import digest
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.pipeline.bytecode import Bytecoder
from aiocache_engine.pipeline.deliver import Supply
from aiocache_engine.pipeline.inputs.requirements import parse_requirement
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.threads import in_thread, while_showing_life
from aiocache_engine.pipeline.tools.environment import HeldEnvironment, look_up
from aiocache_engine.pipeline.tools.request import Tool
from aiocache_engine.pipeline.tools.staging import EnvironmentMaker
from aiocache_engine.policy.resolution import Problem
from aiocache_engine.python.interpreter import identity_of
from aiocache_engine.store.work import Work
from aiocache_engine.system.keylock import KeyLock

_MOST_NOTES = 5


class Supplier(Protocol):
    """Obtains what a build needs: `aiocache_engine.pipeline.call.Call`, which builds and so cannot be named here."""

    work: Work  #: leases what is obtained

    async def __aenter__(self) -> Self:
        """Begin."""

    async def __aexit__(self, *_: object) -> None:
        """End the lease."""

    def compiling(self) -> AbstractAsyncContextManager[Bytecoder | None]:
        """Compile what is obtained in the block."""

    async def resolve_and_obtain(self, problem: Problem) -> Supply:
        """Find versions that suit everybody, and fetch or build them."""

    async def obtain_again(self, supply: Supply) -> Supply:
        """Fetch again what turned out to lack a file."""


@asynccontextmanager
async def build_environment(
    kit: Kit, call: Supplier, interpreter: Interpreter, requires: Sequence[str], *, what: str, link: str
) -> AsyncIterator[HeldEnvironment]:
    """Give an environment with these requirements and all that they need, there until the block ends.

    Args:
        kit: the opened cache dir.
        call: obtains what is needed; it ends with the block.
        interpreter: what the environment is made of: no environment itself.
        requires: requirements (PEP 508).
        what: is built there, for messages.
        link: the same, as circles of builds name it.

    Raises:
        BuildError: a requirement cannot be understood, or has to be built and cannot be.
        SourceError, InvalidWheelError, TargetError: they cannot be had, or not together; a note says what for.
    """
    async with call:
        with _said_to_be_for(what, link):
            held = await _Making(kit, call, interpreter, what).make_or_find(requires)
        yield held


class _Making:
    """One build environment in the making."""

    def __init__(self, kit: Kit, call: Supplier, interpreter: Interpreter, what: str) -> None:
        self._kit = kit
        self._call = call
        self._interpreter = interpreter
        self._what = what
        self._conductor = kit.conductor()

    async def make_or_find(self, requires: Sequence[str]) -> HeldEnvironment:
        kit, call = self._kit, self._call
        async with call.compiling() as bytecoder:
            supply = await self._supply(requires)
            for warning in supply.warnings:
                kit.reporter.warns(warning)
            tool = self._named_by(supply)
            held = await self._find(tool)
            if held is not None:
                return held
            lock = KeyLock(kit.cache.layout.key_lock(digest("build environment", tool.digest)))
            async with lock.hold(what=tool.what, on_wait=kit.reporter.waits) as key_hold:
                held = await self._find(tool)
                if held is None:
                    held = await while_showing_life(key_hold, partial(self._make, tool, supply, bytecoder))
                return held

    async def _supply(self, requires: Sequence[str]) -> Supply:
        wanted = await in_thread(partial(self._parse, requires))
        if not wanted:
            return Supply((), (), frozenset())
        return await self._call.resolve_and_obtain(Problem(roots=wanted))

    def _parse(self, requires: Sequence[str]) -> tuple[Wanted, ...]:
        try:
            each = [parse_requirement(text, self._interpreter.markers) for text in requires]
        except UsageError as error:
            raise BuildError(self._what, f"of its build requirements, {error}") from error
        return tuple(wanted for wanted in each if wanted is not None)

    def _named_by(self, supply: Supply) -> Tool:
        executable = self._interpreter.executable
        wheels = sorted(each.pointer.sha256 for each in supply.ready)
        return Tool(
            project="",
            requirements=(),
            executable=executable,
            digest=digest("build environment", identity_of(executable), *wheels),
            refreshes=False,
            is_isolated=False,
            started_at=time.monotonic(),
        )

    async def _find(self, tool: Tool) -> HeldEnvironment | None:
        found = await self._conductor.conduct(look_up(self._call.work, tool))
        return None if found is None else HeldEnvironment(self._call.work, found.environment, found.pointer)

    async def _make(self, tool: Tool, supply: Supply, bytecoder: Bytecoder | None) -> HeldEnvironment:
        maker = EnvironmentMaker(self._kit, self._call.work, tool, self._interpreter)
        try:
            return await self._conductor.conduct(maker.make(supply, bytecoder))
        except DamagedEntryError:
            if bytecoder is not None:
                bytecoder.distrust()
            supply = await self._call.obtain_again(supply)
            return await self._conductor.conduct(maker.make(supply, bytecoder))


@contextmanager
def _said_to_be_for(what: str, link: str) -> Iterator[None]:
    """Add to an error what could not be had for."""
    try:
        yield
    except CacheEngineError as error:
        _note(error, what, link)
        raise
    except ExceptionGroup as group:
        for each in group.exceptions:
            _note(each, what, link)
        raise


def _note(error: Exception, what: str, link: str) -> None:
    if isinstance(error, BuildError) and error.what == what:
        return
    if isinstance(error, BuildCycleError) and link in error.chain:
        return
    note, notes = f"it is needed to build {what}", getattr(error, "__notes__", ())
    if note not in notes and len(notes) < _MOST_NOTES:  # an error of one build is that of all who wait for it
        error.add_note(note)
