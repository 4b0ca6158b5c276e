"""Tasks of an engine cancelled at every point where they wait, in both ways there are, others at work beside."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import pytest

from aiocache_engine.config import Config
from aiocache_engine.engine import CacheEngine
from aiocache_engine.model.manifest import Manifest
from aiocache_engine.model.python import LinkMode
from aiocache_engine.pipeline import fill
from aiocache_engine.pipeline.resolution.live import LiveSource
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.pipeline.wheels.unpack import unpack
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.store.leases import LeaseReader
from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound
from caches import Place
from lock_state import held_elsewhere, state_of
from shares import Share

if TYPE_CHECKING:
    from aiocache_engine.pipeline.resolution.catalog import IndexCatalog
    from aiocache_engine.pipeline.resolution.fetch import Fetcher
    from aiocache_engine.pipeline.resolution.stored import StoredSource


class CountingLoop(asyncio.SelectorEventLoop):
    """Cancels a task when the loop has gone round a number of times since it began."""

    rounds = 0
    strike_at = 0
    strike: Callable[[], object] | None = None

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self.rounds += 1
        if self.strike is not None and self.rounds == self.strike_at:
            strike, self.strike = self.strike, None
            strike()


def run(work: Callable[[CountingLoop], Awaitable[object]]) -> CountingLoop:
    loop = CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work(loop))  # type: ignore[arg-type]
    return loop


async def struck(loop: CountingLoop, how: str, at: int, work: Callable[[], Awaitable[object]]) -> str:
    """Do the work and cancel it at the N-th round of the loop: "done" or "cancelled"."""
    loop.rounds, loop.strike_at = 0, at
    if how == "asyncio":
        task = asyncio.ensure_future(work())
        loop.strike = task.cancel
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        finally:
            loop.strike = None
        return "done"
    with anyio.CancelScope() as scope:
        loop.strike = scope.cancel
        await work()
    loop.strike = None
    return "cancelled" if scope.cancelled_caught else "done"


def rounds_to_strike(whole: int, share: Share) -> tuple[int, ...]:
    """Choose some of all rounds: the first, and our part of those that follow."""
    step = max(1, whole // 16)
    return 1, *share.part(range(1 + step, whole, step))


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
@pytest.mark.parametrize("state", ["cold", "warm"])
def test_an_installation_cancelled_anywhere_leaves_cache_and_target_sound_and_nothing_leased(
    tmp_path: Path, how: str, state: str, share: Share
) -> None:
    place = Place(tmp_path)
    place.wheel("tiny", file_count=5)
    place.wheel("other")
    kept = tmp_path / "kept"
    outcomes: list[str] = []

    async def prepare() -> None:
        place.opened()
        if state == "warm":
            await place.fetch("tiny", "other")

    async def strike(loop: CountingLoop, at: int) -> None:
        async with place.engine() as engine:
            install = lambda: engine.install(  # noqa: E731 - the work, to be begun when it is struck
                ["tiny", "other"], target=TargetChoice(venv=str(tmp_path / "env")), link_mode=LinkMode.SYMLINK
            )
            outcomes.append(await struck(loop, how, at, install))
            check(place, tmp_path / "env", is_done=outcomes[-1] == "done")
            await install()
            assert_environment_sound(tmp_path / "env")

    with IndexServer(place.wheels) as server:
        place.config = lambda **_: Place.config(place, index_url=server.index_url, find_links=())  # type: ignore[method-assign]
        asyncio.run(prepare())
        shutil.copytree(place.cache, kept)
        whole = run(lambda loop: strike(loop, 0)).rounds
        for at in rounds_to_strike(whole, share):
            shutil.rmtree(tmp_path / "env")
            shutil.rmtree(place.cache)
            shutil.copytree(kept, place.cache)
            run(lambda loop, at=at: strike(loop, at))  # type: ignore[misc]
    # How many rounds a later run takes is the machine's affair; the first of them is always there to be cancelled in.
    assert outcomes[:2] == ["done", "cancelled"]
    asyncio.run(finish(place))


def check(place: Place, environment: Path, *, is_done: bool) -> None:
    assert_sound(place.cache)
    assert os.listdir(place.cache / "leases") == []
    assert os.listdir(place.cache / "staging") == []
    [*locks] = (path for path in (place.cache / ".locks" / "keys").iterdir() if held(path))
    assert not locks
    dist_infos = list(environment.rglob("*.dist-info"))
    assert len(dist_infos) == (2 if is_done or dist_infos else 0), "wholly, or not at all"
    if environment.exists():
        assert_environment_sound(environment)


def held(path: Path) -> bool:
    status = path.stat()
    mine = f":{status.st_ino} "
    return any(mine in line for line in Path("/proc/locks").read_text().splitlines())


async def finish(place: Place) -> None:
    await place.prune()
    assert_sound(place.cache, is_pruned=True)


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
async def test_a_thread_is_never_left_behind(how: str) -> None:
    seen: list[str] = []
    has_begun = anyio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        seen.append("begun")
        loop.call_soon_threadsafe(has_begun.set)
        time.sleep(0.1)  # the length of a system call that cannot be interrupted, not an order of events
        seen.append("ended")

    if how == "asyncio":
        task = asyncio.ensure_future(in_thread(work))
        await has_begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(in_thread, work)
                while not seen:
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
    assert seen == ["begun", "ended"]


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
async def test_work_that_can_stop_halfway_is_told_of_the_cancellation_and_waited_for(how: str) -> None:
    stopping = threading.Event()
    seen: list[object] = []

    def work() -> None:
        seen.append("begun")
        seen.append(stopping.wait(timeout=60))

    async def cancel_once_begun(cancel: Callable[[], object]) -> None:
        while not seen:
            await anyio.lowlevel.checkpoint()
        cancel()

    if how == "asyncio":
        task = asyncio.ensure_future(in_thread(work, on_cancel=stopping.set))
        await cancel_once_begun(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(in_thread, work, on_cancel=stopping.set))
            await cancel_once_begun(tasks.cancel_scope.cancel)
    assert seen == ["begun", True]


async def test_a_fetch_that_is_cancelled_stops_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    place.wheel(file_count=400)
    told: list[bool] = []
    has_begun = threading.Event()

    def hesitating(*arguments: Any, is_stopped: Callable[[], bool], **named: Any) -> Manifest:
        def asks() -> bool:
            has_begun.set()
            deadline = time.monotonic() + 30
            while not is_stopped() and time.monotonic() < deadline:
                time.sleep(0.001)
            told.append(is_stopped())
            return True

        return unpack(*arguments, is_stopped=asks, **named)

    monkeypatch.setattr(fill, "unpack", hesitating)
    task = asyncio.ensure_future(place.fetch("tiny"))
    await anyio.to_thread.run_sync(has_begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(told) == {True}
    assert list((place.cache / "staging").iterdir()) == []


async def test_a_thread_left_by_impatience_does_not_begin() -> None:
    began: list[bool] = []
    limiter = anyio.CapacityLimiter(1)
    async with limiter:
        task = asyncio.ensure_future(in_thread(lambda: began.append(True), limiter=limiter))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.sleep(0)
    assert not began


async def test_an_error_in_a_thread_that_was_cancelled_is_not_lost_silently_as_a_success() -> None:
    async def fail() -> None:
        await in_thread(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        await fail()


@pytest.mark.parametrize("is_native", [False, True], ids=["by a scope", "by the task"])
@pytest.mark.parametrize("is_reading", [False, True], ids=["from the indexes", "from the cache alone"])
def test_a_resolution_that_is_cancelled_while_its_thread_computes_ends_at_its_next_question(
    *, is_reading: bool, is_native: bool
) -> None:
    answers: list[object] = []

    async def cancel_computing() -> None:
        task = asyncio.current_task()
        assert task is not None
        with anyio.CancelScope() as scope:

            def compute() -> None:
                anyio.from_thread.run_sync(task.cancel if is_native else scope.cancel)
                for _ in range(5):  # whatever there is to be cancelled is, and nothing else goes on
                    anyio.from_thread.run(anyio.lowlevel.checkpoint)
                source.pages("late")

            source = LiveSource(cast("Fetcher", None))
            if is_reading:
                source.read_first(cast("StoredSource", Everything()))
            try:
                await source.serve(cast("IndexCatalog", Everything()), compute)
            except asyncio.CancelledError:
                answers.append("cancelled")
                raise

    class Everything:
        def is_direct(self, _project: str) -> bool:
            return False

        def serve(self, _catalog: object) -> None:
            """Be asked for nothing: whoever was cancelled asks no more."""

    def run() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(cancel_computing())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert answers == ["cancelled"], "it still waits for what nobody brings"


@pytest.mark.parametrize("is_native", [False, True], ids=["by a scope", "by the task"])
@pytest.mark.parametrize("waits_for", ["a page", "the lock"])
async def test_a_resolution_that_waits_ends_when_it_is_cancelled(
    tmp_path: Path, waits_for: str, *, is_native: bool
) -> None:
    place = Place(tmp_path)
    place.wheel("tiny", "1.0")
    await place.fetch("tiny==1.0")
    with IndexServer(place.wheels) as server:
        server.fault("/simple/tiny/", Fault(bytes_per_second=1))
        scope = anyio.CancelScope()
        async with CacheEngine(place.cache, config=Config(index_url=server.index_url)) as engine:

            async def resolve() -> None:
                with scope:
                    await engine.resolve(["tiny"])

            lock = place.opened().lock
            with held_elsewhere(lock) if waits_for == "the lock" else nullcontext():
                task = asyncio.create_task(resolve())
                while not (state_of(lock).waiting_count or server.counts["/simple/tiny/"]):
                    await anyio.lowlevel.checkpoint()
                if is_native:
                    task.cancel()
                else:
                    scope.cancel()
                done, _ = await asyncio.wait([task], timeout=30)
    assert done == {task}
    assert task.cancelled() is is_native
    assert scope.cancelled_caught is not is_native


async def test_a_clean_and_a_prune_cancelled_anywhere_leave_whole_entries_or_trash(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for version in ("1.0", "2.0", "3.0"):
        place.wheel("tiny", version, file_count=30)
    for remove in ("clean", "version", "prune"):
        for delay in range(0, 40, 3):
            for version in ("1.0", "2.0", "3.0"):
                await place.fetch(f"tiny=={version}")
            if remove == "prune":
                shutil.rmtree(place.cache / "projects-v1" / "tiny")
            async with place.engine() as engine:
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(removing(engine, remove))
                        for _ in range(delay):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()
            assert_sound(place.cache)
    await place.clean()
    await place.prune()
    assert_sound(place.cache, is_pruned=True)


def removing(engine: CacheEngine, remove: str) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        if remove == "prune":
            await engine.prune()
        else:
            await engine.clean(["tiny" if remove == "clean" else "tiny<3"])

    return work


async def test_two_engines_of_one_process_share_a_cache_and_fetch_a_file_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel("tiny", file_count=200)
    with IndexServer(place.wheels) as server:
        options = {"index_url": server.index_url, "find_links": ()}
        async with place.engine(**options) as one, place.engine(**options) as other, anyio.create_task_group() as tasks:
            for number, engine in enumerate((one, other, one, other)):
                tasks.start_soon(install_into, engine, tmp_path / f"env{number}")
        downloads = {path: count for path, count in server.counts.items() if path.endswith(".whl")}
    assert list(downloads.values()) == [1]
    assert len(place.archives()) == 1
    for number in range(4):
        assert_environment_sound(tmp_path / f"env{number}")
    await finish(place)


async def install_into(engine: CacheEngine, environment: Path) -> None:
    await engine.install(["tiny"], target=TargetChoice(venv=str(environment)))


async def test_one_failure_among_many_leaves_the_others_published_and_the_target_alone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    (place.wheels / "broken-1.0-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises((Exception, ExceptionGroup)) as failed:
        await place.install("env", "tiny", "broken")
    assert "broken" in repr(failed.value)
    assert not list((tmp_path / "env").rglob("*.dist-info"))
    assert LeaseReader(str(place.cache / "leases")).read() == []
    await finish(place)


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
def test_the_making_of_a_cached_environment_cancelled_anywhere_leaves_nothing_half_there(
    tmp_path: Path, how: str, share: Share
) -> None:
    place = Place(tmp_path)
    place.wheel("tool", requires=["needed"], entry_points={"console_scripts": {"tool": "tool:main"}})
    place.wheel("needed")
    outcomes: list[str] = []

    async def use(engine: CacheEngine) -> None:
        async with engine.environment("tool") as environment:
            assert_environment_sound(Path(environment.root))

    async def strike(loop: CountingLoop, at: int) -> None:
        async with place.engine() as engine:
            outcomes.append(await struck(loop, how, at, lambda: use(engine)))
        assert_sound(place.cache)
        assert os.listdir(place.cache / "leases") == []
        assert os.listdir(place.cache / "staging") == []
        async with place.engine() as engine:
            await use(engine)
        assert len(os.listdir(place.cache / "environments-v1")) == 1

    with IndexServer(place.wheels) as server:
        place.config = lambda **_: Place.config(place, index_url=server.index_url, find_links=())  # type: ignore[method-assign]
        whole = run(lambda loop: strike(loop, 0)).rounds
        for at in rounds_to_strike(whole, share):
            shutil.rmtree(place.cache)
            run(lambda loop, at=at: strike(loop, at))  # type: ignore[misc]
    assert outcomes[:2] == ["done", "cancelled"]
