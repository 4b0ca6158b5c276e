"""Who we are and who holds a lock, as messages and records tell it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.process import THIS_PROCESS, command_of, describe, holders_of, locks_on, me, start_time
from concurrency.locking.neighbour import Neighbour


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


def test_our_identity_is_what_others_can_see_of_us() -> None:
    identity = me()
    assert identity.pid == os.getpid()
    assert identity.started_at == start_time(os.getpid())
    assert identity.host
    assert identity.machine_id
    assert identity.boot_id
    assert identity is me()


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_namespaces_are_told_on_linux() -> None:
    assert me().pid_namespace == os.stat("/proc/self/ns/pid").st_ino
    assert me().mount_namespace == os.stat("/proc/self/ns/mnt").st_ino


def test_a_process_that_is_gone_has_neither_start_nor_description(neighbour: Neighbour) -> None:
    assert start_time(neighbour.pid) is not None
    neighbour.kill()
    assert start_time(neighbour.pid) is None
    assert describe(neighbour.pid) is None
    assert command_of(neighbour.pid) is None


@pytest.mark.parametrize("mode", LockMode)
def test_holders_of_record_locks_are_found_without_opening_the_file(
    tmp_path: Path, neighbour: Neighbour, mode: LockMode
) -> None:
    path = tmp_path / "lock"
    assert holders_of(str(path)) == ()
    neighbour.ask("take", path, mode.value)
    assert locks_on(str(path)) == ((neighbour.pid, mode),)
    assert holders_of(str(path)) == (f"pid {neighbour.pid} (neighbour.py)",)
    neighbour.ask("drop", path)
    assert holders_of(str(path)) == ()


def test_our_own_flock_is_told_as_ours(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert locks_on(str(path)) == ((os.getpid(), LockMode.EXCLUSIVE),)
        assert holders_of(str(path)) == (THIS_PROCESS,)


def told_command(*arguments: object) -> str | None:
    """What is told of a process that has certainly started."""
    with subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"started\n"
        told = command_of(process.pid)
        process.communicate(b"\n")
    return told


WAIT = "print('started', flush=True); input()"


def test_a_command_is_told_without_interpreter_directories_and_passwords(tmp_path: Path) -> None:
    program = tmp_path / "aioc"
    program.write_text(WAIT)
    told = told_command(program, "fetch", "--index-url=https://me:se/cret@127.0.0.1/simple")
    assert told == "aioc fetch --index-url=https://***@127.0.0.1/simple"


def test_a_long_command_is_cut() -> None:
    told = told_command("-c", WAIT, "x" * 1000)
    assert told is not None
    assert len(told) == 120
    assert told.endswith("…")
