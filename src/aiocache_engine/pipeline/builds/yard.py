"""What all builds of an engine share: how many backends run at a time, and who is building what right now.

Tasks of one engine that want the same built wait for each other here, with no lock held, before the key locks that do
the same between processes: else every project that two others need would be prepared twice, its own needs four times,
and so on. Whoever waits is entered as needing what it waits for, so that a circle is seen from whichever side it is
closed. Used from one event loop.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

from aiocache_engine.errors import BuildCycleError
from aiocache_engine.hints import TYPE_CHECKING, Any, Final, TypeVar
from aiocache_engine.model.locking import Wait
from aiocache_engine.model.value import value
from aiocache_engine.system.memory import available_memory_bytes

if TYPE_CHECKING:
    from anyio import CapacityLimiter, Event

    from aiocache_engine.system.keylock import KeyHold, KeyLock

Made = TypeVar("Made")
Result = TypeVar("Result")

CHAIN_VARIABLE: Final = "AIOC_BUILD_CHAIN"  #: what is being built around this process, outermost first
_MOST_LINKS: Final = 32  #: builds within builds; more are meant to have no end
_BUILD_BYTES: Final = 1024**3  #: of memory that a compiler is likely to want


def default_build_count() -> int:
    """Give how many backends may run at a time: one for each processor, if there is memory for so many."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_bytes = available_memory_bytes()
    return processors if memory_bytes is None else max(1, min(processors, memory_bytes // _BUILD_BYTES))


@value
class Errand:
    """One build that is done once."""

    lock: KeyLock
    what: str  #: as a person who waits is told of it
    on_wait: Callable[[Wait], None]


class BuildYard:
    """The slots and the builds under way of one engine."""

    def __init__(self, build_count: int | None = None) -> None:
        """Say how many backends may run at a time; None: as many as the machine can bear."""
        self._build_count = build_count
        self._slots: CapacityLimiter | None = None
        self._under_way: dict[str, _Build] = {}

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Take a slot for the length of the block, which waits for nothing but a backend."""
        if self._slots is None:
            from anyio import CapacityLimiter  # noqa: PLC0415 - a warm command builds nothing

            self._slots = CapacityLimiter(self._build_count or default_build_count())
        async with self._slots:
            yield

    async def alone(
        self,
        errand: Errand,
        *,
        find: Callable[[], Awaitable[Result | None]],
        build: Callable[[], Awaitable[Made]],
        finish: Callable[[Made], Awaitable[Result]],
    ) -> Result:
        """Build what nobody in any process is building meanwhile, or find what they built.

        Who holds the key lock does not wait for a slot, nor the other way round: a backend may itself be waiting, in a
        process of its own, for what is locked here.

        Args:
            errand: its key lock, and how those are told of it who wait.
            find: looks whether it is there.
            build: runs the backend, in a slot.
            finish: publishes what that made.
        """
        from aiocache_engine.pipeline.threads import while_showing_life  # noqa: PLC0415 - as above
        from aiocache_engine.system.keylock import KeyHold  # noqa: PLC0415 - as above

        is_stalled = False
        while (found := await find()) is None:
            async with AsyncExitStack() as held:
                async with self.slot():
                    key_hold = KeyHold(None, waited_seconds=0.0) if is_stalled else await _taken(errand, held)
                    if key_hold is not None:
                        if (found := await find()) is not None:
                            return found
                        made = await while_showing_life(key_hold, build)
                if key_hold is not None:
                    return await while_showing_life(key_hold, partial(finish, made))
            async with errand.lock.hold(what=errand.what, on_wait=errand.on_wait) as waited:
                is_stalled = not waited.held
        return found

    async def once(
        self, chain: Sequence[str], place: str, work: Callable[[], Awaitable[Result]], *, shares: bool = False
    ) -> Result:
        """Do this, but not while another task builds the same; then do it all the same: it finds what that one made.

        Args:
            chain: what is being built, outermost first; the last is what this is for.
            place: what tells it from other work on the same, or on another file of that name: an error of the same
                work is that of all who waited for it.
            work: to be done.
            shares: so is its result, which nobody has to lease.

        Raises:
            BuildCycleError: it is needed by itself, or without end.
        """
        what = chain[-1]
        check_chain(chain)
        outer = self._under_way.get(chain[-2]) if len(chain) > 1 else None
        while (other := self._under_way.get(what)) is not None:
            self._refuse_circle(chain)
            with _needing(outer, what):
                await other.is_done.wait()
            if other.place == place and other.error is not None:
                raise other.error
            if other.place == place and shares and other.results:
                shared: Result = other.results[0]
                return shared
        with _needing(outer, what):
            return await self._do(what, place, work)

    async def _do(self, what: str, place: str, work: Callable[[], Awaitable[Result]]) -> Result:
        from anyio import Event  # noqa: PLC0415 - as above

        mine = self._under_way[what] = _Build(place, Event())
        try:
            result = await work()
        except Exception as error:
            mine.error = error
            raise
        else:
            mine.results.append(result)
            return result
        finally:
            del self._under_way[what]
            mine.is_done.set()

    def _refuse_circle(self, chain: Sequence[str]) -> None:
        """Refuse to wait for what waits, over however many others, for one of those who would wait."""
        outer = set(chain[:-1])
        seen: dict[str, tuple[str, ...]] = {chain[-1]: (chain[-1],)}
        queue = [chain[-1]]
        while queue:
            way = seen[queue.pop()]
            build = self._under_way.get(way[-1])
            for needed in () if build is None else build.needs:
                if needed in outer:
                    raise BuildCycleError((*chain[chain.index(needed) : -1], *way, needed))
                if needed not in seen:
                    seen[needed] = (*way, needed)
                    queue.append(needed)


async def _taken(errand: Errand, held: AsyncExitStack) -> KeyHold | None:
    """Take the key lock, to be held with the others there; None: somebody else has it."""
    from aiocache_engine.errors import KeyLockTimeoutError  # noqa: PLC0415 - as above

    try:
        return await held.enter_async_context(errand.lock.hold(what=errand.what, timeout_seconds=0))
    except KeyLockTimeoutError:
        return None


class _Build:
    """One build under way."""

    __slots__ = ("error", "is_done", "needs", "place", "results")

    def __init__(self, place: str, is_done: Event) -> None:
        self.place = place
        self.is_done = is_done
        self.needs: list[str] = []  #: what its build requirements have being built now
        self.error: Exception | None = None
        self.results: list[Any] = []  #: one when it is done, none if it failed or was cancelled


@contextmanager
def _needing(outer: _Build | None, what: str) -> Iterator[None]:
    if outer is None:
        yield
        return
    outer.needs.append(what)
    try:
        yield
    finally:
        outer.needs.remove(what)


def check_chain(chain: Sequence[str]) -> None:
    """Refuse what needs itself to be built, or needs builds without end.

    Raises:
        BuildCycleError: it does.
    """
    what = chain[-1]
    if what in chain[:-1]:
        raise BuildCycleError(tuple(chain[chain.index(what) :]))
    if len(chain) > _MOST_LINKS:
        raise BuildCycleError(tuple(chain), is_endless=True)
