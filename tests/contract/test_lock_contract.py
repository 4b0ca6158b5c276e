"""What the cache lock promises, asked of both its doors: `hold` for tasks and `hold_now` for threads."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from aiocache_engine.errors import (
    CacheDirError,
    CacheReplacedError,
    DiskError,
    LockError,
    LocksUnsupportedError,
    LockTimeoutError,
)
from aiocache_engine.model.locking import LockMode, Wait
from aiocache_engine.system import lockfile
from aiocache_engine.system.lock import CacheLock, Hold, OnWait
from concurrency.locking.neighbour import Neighbour
from lock_state import state_of


class Door:
    """One of the two ways to a hold, used from a test's thread."""

    def __init__(self, portal: BlockingPortal | None) -> None:
        self.portal = portal

    def hold(
        self, lock: CacheLock, mode: LockMode, *, timeout_seconds: float = 5, on_wait: OnWait | None = None
    ) -> AbstractContextManager[Hold]:
        if self.portal is None:
            return lock.hold_now(mode, timeout_seconds=timeout_seconds, on_wait=on_wait)
        return self.portal.wrap_async_context_manager(lock.hold(mode, timeout_seconds=timeout_seconds, on_wait=on_wait))


@pytest.fixture(params=["hold", "hold_now"])
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    if request.param == "hold_now":
        yield Door(None)
        return
    with start_blocking_portal() as portal:
        yield Door(portal)


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.lock"


@pytest.fixture
def lock(path: Path) -> CacheLock:
    return CacheLock.at(path)


def open_lock_files(path: Path) -> list[str]:
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return [target for target in map(os.path.realpath, links) if target.startswith(str(path))]


@pytest.mark.parametrize("pair", list(itertools.product(LockMode, LockMode)))
def test_only_shared_beside_shared_is_granted_across_processes(
    door: Door, lock: CacheLock, path: Path, neighbour: Neighbour, pair: tuple[LockMode, LockMode]
) -> None:
    ours, theirs = pair
    assert neighbour.ask("hold", path, theirs.value) == "yes"
    if ours is theirs is LockMode.SHARED:
        with door.hold(lock, ours, timeout_seconds=0) as hold:
            assert hold.locked
    else:
        with pytest.raises(LockTimeoutError), door.hold(lock, ours, timeout_seconds=0):
            pass
    assert neighbour.ask("end", path) == "yes"
    with door.hold(lock, ours, timeout_seconds=0) as hold:
        assert ours is hold.mode


@pytest.mark.parametrize("pair", list(itertools.product(LockMode, LockMode)))
def test_our_locks_and_those_of_fasteners_as_it_comes_exclude_each_other(
    lock: CacheLock, path: Path, neighbour: Neighbour, pair: tuple[LockMode, LockMode]
) -> None:
    ours, theirs = pair
    fits = "yes" if ours is theirs is LockMode.SHARED else "no"
    with lock.hold_now(ours):
        assert neighbour.ask("fasten", path, theirs.value) == fits
    if fits == "no":
        assert neighbour.ask("fasten", path, theirs.value) == "yes"
        with pytest.raises(LockTimeoutError), lock.hold_now(ours, timeout_seconds=0):
            pass
    assert neighbour.ask("loosen", path) == "yes"
    with lock.hold_now(LockMode.EXCLUSIVE, timeout_seconds=5) as hold:
        assert hold.locked


def test_locking_loads_nothing_of_fasteners_but_the_module_that_locks() -> None:
    code = "import sys, aiocache_engine.system.lock; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(ran.stdout.split())
    assert "aiocache_engine.system.lock" in modules
    assert not {"fasteners", "logging", "typing", "pathlib", "dataclasses"} & modules


def test_nothing_is_created_before_the_first_hold_and_nothing_stays_locked_after_it(
    door: Door, lock: CacheLock, path: Path, neighbour: Neighbour
) -> None:
    assert not path.exists()
    for mode in LockMode:
        with door.hold(lock, mode):
            assert not neighbour.can_take(path)
        assert neighbour.can_take(path)
        assert neighbour.can_take(f"{path}.gate")
    assert open_lock_files(path) == []


def test_the_lock_is_released_when_the_block_raises(
    door: Door, lock: CacheLock, path: Path, neighbour: Neighbour
) -> None:
    with pytest.raises(ZeroDivisionError), door.hold(lock, LockMode.EXCLUSIVE):
        raise ZeroDivisionError
    assert neighbour.can_take(path)
    assert not state_of(lock).has_writer


def test_a_time_out_names_lock_mode_wait_and_holder_and_leaves_nothing_open(
    door: Door, lock: CacheLock, path: Path, neighbour: Neighbour
) -> None:
    neighbour.ask("hold", path, "shared")
    with (
        pytest.raises(LockTimeoutError) as caught,
        door.hold(lock, LockMode.EXCLUSIVE, timeout_seconds=0.05),
    ):
        pass
    assert (str(path), "exclusive") == (caught.value.path, caught.value.mode)
    assert caught.value.waited_seconds >= 0.05
    assert len(caught.value.holders) == 1
    assert caught.value.holders[0].startswith(f"pid {neighbour.pid} (neighbour.py")
    assert "for exclusive use of the cache" in str(caught.value)
    assert open_lock_files(path) == []
    assert state_of(lock).waiting_count == 0


def test_a_writer_waiting_for_main_keeps_new_readers_of_other_processes_out(
    door: Door, lock: CacheLock, path: Path, neighbour: Neighbour
) -> None:
    """The neighbour plays a writer that has passed the gate."""
    neighbour.ask("take", f"{path}.gate", "exclusive")
    with pytest.raises(LockTimeoutError), door.hold(lock, LockMode.SHARED, timeout_seconds=0.02):
        pass
    neighbour.ask("drop", f"{path}.gate")
    with door.hold(lock, LockMode.SHARED, timeout_seconds=0):
        pass


def test_a_long_wait_is_told_once_with_who_holds(
    door: Door, lock: CacheLock, path: Path, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockfile, "_TELL_AFTER_SECONDS", 0.02)
    told: list[Wait] = []
    neighbour.ask("hold", path, "exclusive")
    with (
        pytest.raises(LockTimeoutError),
        door.hold(lock, LockMode.SHARED, timeout_seconds=0.2, on_wait=told.append),
    ):
        pass
    assert [(str(path), "shared")] == [(wait.path, wait.mode) for wait in told]
    assert told[0].waited_seconds >= 0.02
    assert f"pid {neighbour.pid}" in told[0].holders[0]


def test_a_listener_that_fails_leaves_nothing_waiting(
    door: Door, lock: CacheLock, path: Path, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(wait: Wait) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lockfile, "_TELL_AFTER_SECONDS", 0.0)
    neighbour.ask("hold", path, "shared")
    with pytest.raises(ZeroDivisionError), door.hold(lock, LockMode.EXCLUSIVE, on_wait=fail):
        pass
    assert state_of(lock).waiting_count == 0
    assert neighbour.can_take(f"{path}.gate")


def test_a_lock_file_deleted_or_replaced_while_held_is_noticed(door: Door, lock: CacheLock, path: Path) -> None:
    with door.hold(lock, LockMode.EXCLUSIVE) as hold:
        hold.ensure_current()
        path.unlink()
        with pytest.raises(CacheReplacedError):
            hold.ensure_current()
        path.touch()
        with pytest.raises(CacheReplacedError):
            hold.ensure_current()
    with door.hold(lock, LockMode.EXCLUSIVE) as hold:
        hold.ensure_current()


@pytest.mark.parametrize("name", ["cache.lock", "cache.lock.gate"])
def test_a_file_replaced_between_opening_and_locking_it_is_locked_anew(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    victim = tmp_path / name
    lock_a_file = fcntl.lockf
    replaced: list[int] = []

    def replace_then_lock(file: FileIO, flags: int) -> None:
        if not replaced and os.fstat(file.fileno()).st_ino == os.stat(victim).st_ino:
            os.link(victim, f"{victim}.old")  # else the new file could get the old one's number
            victim.unlink()
            victim.touch()
            replaced.append(flags)
        lock_a_file(file, flags)

    victim.touch()
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "lockf", replace_then_lock)
        context = door.hold(CacheLock.at(tmp_path / "cache.lock"), LockMode.EXCLUSIVE)
        with context as hold, Neighbour() as neighbour:
            assert replaced
            hold.ensure_current()
            assert not neighbour.can_take(victim)


def test_a_hold_proves_its_mode_and_only_while_it_lasts(door: Door, lock: CacheLock) -> None:
    with door.hold(lock, LockMode.SHARED) as shared:
        shared.require(LockMode.SHARED)
        with pytest.raises(LockError, match="exclusive hold is needed"):
            shared.require(LockMode.EXCLUSIVE)
    with pytest.raises(LockError, match="has ended"):
        shared.require(LockMode.SHARED)
    with door.hold(lock, LockMode.EXCLUSIVE) as exclusive:
        exclusive.require(LockMode.SHARED)
        exclusive.require(LockMode.EXCLUSIVE)


def test_a_missing_directory_is_named_and_not_created(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "gone" / "cache.lock"
    for mode in LockMode:
        with pytest.raises(CacheDirError) as caught, door.hold(CacheLock.at(path), mode):
            pass
        assert str(path.parent) == caught.value.path
    assert not path.parent.exists()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, 524])
def test_a_file_system_without_locks_is_a_clear_error(
    door: Door, lock: CacheLock, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(LocksUnsupportedError, match=r"no locks here.*--cache-dir"), door.hold(lock, LockMode.SHARED):
        pass
    assert state_of(lock).waiting_count == 0


def test_another_refusal_of_the_system_keeps_its_cause(
    door: Door, lock: CacheLock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(DiskError, match="broken disk") as caught, door.hold(lock, LockMode.EXCLUSIVE):
        pass
    assert isinstance(caught.value.__cause__, OSError)
    assert open_lock_files(path) == []


def test_every_spelling_of_a_path_leads_to_one_owner(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert CacheLock.at(tmp_path / "cache.lock") is CacheLock.at(str(tmp_path / "link" / "cache.lock"))
