"""Builds wait for key locks and slots in turn, never for one while holding the other, and never in a circle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from anyio import CancelScope, Event, create_task_group, fail_after, wait_all_tasks_blocked

from aiocache_engine.errors import BuildCycleError, KeyLockTimeoutError
from aiocache_engine.pipeline.builds.yard import BuildYard, Errand, default_build_count
from aiocache_engine.system.keylock import KeyLock


class Site:
    """A yard with one slot, and builds in it that are done when they are told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.yard = BuildYard(1)
        self.built: list[str] = []
        self.gates: dict[str, Event] = {}

    def lock(self, name: str) -> KeyLock:
        return KeyLock(self.root / name)

    async def build(self, name: str) -> str:
        self.gates[name] = Event()

        async def find() -> str | None:
            return name if name in self.built else None

        async def make() -> str:
            await self.gates[name].wait()
            return name

        async def finish(made: str) -> str:
            self.built.append(made)
            return f"{made} built"

        errand = Errand(self.lock(name), name, lambda _: None)
        return await self.yard.alone(errand, find=find, build=make, finish=finish)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def is_free(lock: KeyLock) -> bool:
    try:
        async with lock.hold(what="a look", timeout_seconds=0):
            return True
    except KeyLockTimeoutError:
        return False


async def test_who_waits_for_a_slot_holds_no_key_lock(site: Site) -> None:
    with fail_after(20):
        async with create_task_group() as tasks:
            tasks.start_soon(site.build, "first")
            while "first" not in site.gates or await is_free(site.lock("first")):
                await wait_all_tasks_blocked()
            tasks.start_soon(site.build, "second")
            await wait_all_tasks_blocked()
            assert not await is_free(site.lock("first"))
            assert await is_free(site.lock("second"))
            site.gates["first"].set()
            site.gates["second"].set()
    assert site.built == ["first", "second"]


async def test_who_waits_for_a_key_lock_holds_no_slot_and_finds_what_was_built(site: Site) -> None:
    results: list[str] = []

    async def build() -> None:
        results.append(await site.build("first"))

    with fail_after(20):
        async with create_task_group() as tasks, site.lock("first").hold(what="somebody else's"):
            tasks.start_soon(build)
            await wait_all_tasks_blocked()
            async with site.yard.slot():
                pass
            site.built.append("first")
    assert results == ["first"]


def doing(outcome: str | Exception, gate: Event | None = None) -> Callable[[], Awaitable[str]]:
    async def do() -> str:
        if gate is not None:
            await gate.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return do


async def test_an_error_of_a_build_is_that_of_all_tasks_that_waited_for_it(site: Site) -> None:
    gate, caught = Event(), list[str]()

    async def want(work: Callable[[], Awaitable[str]]) -> None:
        try:
            caught.append(await site.yard.once(["one"], "place", work))
        except ValueError as error:
            caught.append(str(error))

    async with create_task_group() as tasks:
        tasks.start_soon(want, doing(ValueError("it failed"), gate))
        await wait_all_tasks_blocked()
        tasks.start_soon(want, doing("never done"))
        await wait_all_tasks_blocked()
        gate.set()
    assert caught == ["it failed", "it failed"]


async def test_a_build_that_is_cancelled_is_done_by_who_waited_for_it(site: Site) -> None:
    results: list[str] = []

    async def want(scope: CancelScope, work: Callable[[], Awaitable[str]]) -> None:
        with scope:
            results.append(await site.yard.once(["one"], "place", work))

    first = CancelScope()
    async with create_task_group() as tasks:
        tasks.start_soon(want, first, doing("never done", Event()))
        await wait_all_tasks_blocked()
        tasks.start_soon(want, CancelScope(), doing("done"))
        await wait_all_tasks_blocked()
        first.cancel()
    assert results == ["done"]


async def test_a_circle_is_seen_by_the_task_that_closes_it(site: Site) -> None:
    """Each needs the next one, and all have begun before the first asks."""
    names, begun, chains = ["a", "b", "c"], Event(), list[tuple[str, ...]]()

    async def build(name: str, needed: str) -> None:
        async def work() -> None:
            await begun.wait()
            await site.yard.once([name, needed], "place", doing("done"))

        try:
            await site.yard.once([name], "place", work)
        except BuildCycleError as error:
            chains.append(error.chain)

    with fail_after(20):
        async with create_task_group() as tasks:
            for name, needed in zip(names, ["b", "c", "a"], strict=True):
                tasks.start_soon(build, name, needed)
            await wait_all_tasks_blocked()
            begun.set()
    assert chains == [("c", "a", "b", "c")] * 3


def test_at_least_one_build_runs_at_a_time() -> None:
    assert default_build_count() >= 1
