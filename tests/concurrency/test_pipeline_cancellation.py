"""A pipeline and an `add` cancelled at every point where they wait: nothing stays leased, staged or half added."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aiocache_engine.engine import CacheEngine
from aiocache_engine.testing.invariants import assert_sound
from aiocache_engine.testing.wheels import build_wheel
from caches import Place
from shares import Share

from .test_engine_cancellation import CountingLoop, run, struck


async def pipeline(engine: CacheEngine, _: Path) -> None:
    async with engine.lease(name="nightly") as lease:
        await engine.fetch(["tiny"], python=sys.executable)
        await lease.drop("tiny")
        await engine.clean(["tiny"])


async def add(engine: CacheEngine, wheel: Path) -> None:
    await engine.add([wheel])


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
@pytest.mark.parametrize("work", [pipeline, add], ids=["pipeline", "add"])
def test_wherever_it_is_cancelled_nothing_stays_leased_or_staged(
    tmp_path: Path, how: str, work: Callable[[CacheEngine, Path], Awaitable[None]], share: Share
) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    (tmp_path / "built").mkdir()
    wheel = build_wheel(tmp_path / "built", "mine", "1.0", file_count=5)
    outcomes: list[str] = []

    async def strike(loop: CountingLoop, at: int) -> None:
        async with place.engine() as engine:
            outcomes.append(await struck(loop, how, at, lambda: work(engine, wheel)))
            assert_sound(place.cache)
            assert os.listdir(place.cache / "leases") == []
            assert os.listdir(place.cache / "staging") == []
            await work(engine, wheel)
            await engine.clean()
            assert place.archives() == set()

    whole = run(lambda loop: strike(loop, 0)).rounds
    # Every round in which a lease may begin, then some.
    for at in (*range(1, 16), *share.part(range(16, whole, max(1, whole // 12)))):
        run(lambda loop, at=at: strike(loop, at))  # type: ignore[misc]
    # How many rounds a later run takes is the machine's affair; the first of them is always there to be cancelled in.
    assert outcomes[:2] == ["done", "cancelled"]
    assert asyncio.run(leases_of(place)) == ()


async def leases_of(place: Place) -> tuple[object, ...]:
    async with place.engine() as engine:
        return (await engine.leases()).leases
