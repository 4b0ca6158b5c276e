"""Key locks: one at a time per piece of work, a file that may go, and holders that stall."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from aiocache_engine.errors import KeyLockTimeoutError, LockError, NestedHoldError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.keylock import KeyLock
from aiocache_engine.system.lock import CacheLock
from aiocache_engine.system.process import locks_on
from concurrency.locking.neighbour import Neighbour


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "key"


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


async def test_tasks_threads_and_processes_are_let_in_one_at_a_time(path: Path, neighbour: Neighbour) -> None:
    inside = 0
    done = 0

    def work_now() -> None:
        nonlocal inside, done
        with KeyLock(path).hold_now(what="the work") as hold:
            assert hold.held
            inside += 1
            assert inside == 1
            assert not neighbour.can_take(path)
            inside -= 1
            done += 1

    async def work() -> None:
        nonlocal inside, done
        async with KeyLock(path).hold(what="the work") as hold:
            assert hold.held
            inside += 1
            await checkpoint()
            assert inside == 1
            inside -= 1
            done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(work)
            tasks.start_soon(to_thread.run_sync, work_now)
    assert done == 10
    assert neighbour.can_take(path)


def test_a_link_in_the_place_of_a_key_is_followed_by_nobody(path: Path) -> None:
    path.symlink_to(path.with_name("outside"))
    with (
        pytest.raises(LockError, match="a symbolic link stands in the place of the lock file; remove it"),
        KeyLock(path).hold_now(what="the work"),
    ):
        pass
    assert not path.with_name("outside").exists()


async def test_a_waiter_of_another_process_gives_up_in_time_and_names_the_holder(
    path: Path, neighbour: Neighbour
) -> None:
    assert neighbour.ask("key", path) == "yes"
    with pytest.raises(KeyLockTimeoutError) as caught:
        async with KeyLock(path).hold(what="the download of six", timeout_seconds=0.02):
            pass
    assert "for the download of six" in str(caught.value)
    assert f"pid {neighbour.pid}" in caught.value.holders[0]
    neighbour.ask("end", path)
    async with KeyLock(path).hold(what="the download of six", timeout_seconds=0) as hold:
        assert hold.held


async def test_a_key_unlinked_by_its_holder_passes_to_exactly_one_of_those_who_wait(
    path: Path, neighbour: Neighbour
) -> None:
    assert neighbour.ask("key", path) == "yes"
    old_inode = os.stat(path).st_ino
    held = anyio.Event()
    end = anyio.Event()

    async def wait_for_it() -> None:
        async with KeyLock(path).hold(what="the work") as hold:
            assert hold.held
            held.set()
            await end.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for_it)
        # A second link keeps the old inode's number in use, so that the new file has another.
        os.link(path, f"{path}.old")
        with anyio.fail_after(5):
            neighbour.ask("unlink", path)
            neighbour.ask("end", path)
            await held.wait()
            assert old_inode != os.stat(path).st_ino
        with pytest.raises(KeyLockTimeoutError):
            async with KeyLock(path).hold(what="the work", timeout_seconds=0):
                pass
        assert not neighbour.can_take(path)
        end.set()


async def test_who_waits_for_a_stalled_holder_goes_on_without_the_lock(path: Path, neighbour: Neighbour) -> None:
    assert neighbour.ask("key", path) == "yes"
    async with KeyLock(path).hold(what="the work", stall_seconds=0.05, timeout_seconds=5) as hold:
        assert not hold.held
        assert hold.waited_seconds >= 0.05
        hold.progress()
        assert locks_on(str(path)) == ((neighbour.pid, LockMode.EXCLUSIVE),)
    assert locks_on(str(path)) == ((neighbour.pid, LockMode.EXCLUSIVE),)


async def test_a_holder_of_the_same_process_stalls_like_any_other(path: Path) -> None:
    async with KeyLock(path).hold(what="the work"), KeyLock(path).hold(what="the same", stall_seconds=0.02) as second:
        assert not second.held
    async with KeyLock(path).hold(what="the work", timeout_seconds=0) as hold:
        assert hold.held


async def test_progress_of_the_holder_keeps_the_others_waiting(path: Path, neighbour: Neighbour) -> None:
    assert neighbour.ask("key", path) == "yes"
    os.utime(path, (1, 1))
    before = os.stat(path).st_mtime_ns
    finished = anyio.Event()
    held: list[bool] = []

    async def wait_for_it() -> None:
        async with KeyLock(path).hold(what="the work", stall_seconds=1.0) as hold:
            held.append(hold.held)
        finished.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for_it)
        began = anyio.current_time()
        while anyio.current_time() - began < 1.5:
            assert neighbour.ask("progress", path) == "yes"
            await anyio.sleep(0.1)
        assert not finished.is_set()
        neighbour.ask("end", path)
    assert held == [True]
    assert os.stat(path).st_mtime_ns != before


async def test_a_key_is_never_waited_for_inside_a_hold_of_the_cache(path: Path, tmp_path: Path) -> None:
    async with CacheLock.at(tmp_path / "cache.lock").hold(LockMode.SHARED):
        with pytest.raises(NestedHoldError):
            async with KeyLock(path).hold(what="the work"):
                pass
    async with KeyLock(path).hold(what="the work"), CacheLock.at(tmp_path / "cache.lock").hold(LockMode.SHARED):
        pass


@pytest.mark.parametrize("at_sleep", [1, 2, 3])
async def test_cancelled_at_any_await_of_its_acquisition_a_key_stays_free(
    path: Path, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch, at_sleep: int
) -> None:
    sleep_count = 0
    scope = anyio.CancelScope()

    async def sleep_and_be_cancelled(seconds: float) -> None:
        nonlocal sleep_count
        sleep_count += 1
        if sleep_count == at_sleep:
            scope.cancel()
        await checkpoint()

    assert neighbour.ask("key", path) == "yes"
    with monkeypatch.context() as patch, scope:
        patch.setattr(anyio, "sleep", sleep_and_be_cancelled)
        async with KeyLock(path).hold(what="the work"):
            raise AssertionError("it was granted")
    assert at_sleep == sleep_count
    neighbour.ask("end", path)
    assert neighbour.can_take(path)
    async with KeyLock(path).hold(what="the work", timeout_seconds=0):
        pass


def test_a_key_in_a_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    with (
        pytest.raises(LockError, match="directory of the lock file is missing"),
        KeyLock(tmp_path / "gone" / "key").hold_now(what="the work"),
    ):
        pass
    assert not (tmp_path / "gone").exists()
