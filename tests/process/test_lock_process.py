"""The locks among real processes: fork, kill -9, a cache that cannot be written."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock
from concurrency.locking.neighbour import Neighbour

NOBODY = 65534


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


def run(program: str, *arguments: object) -> str:
    """Run a program of its own: a fork of the test process would take pytest along."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


FORK = """
import os, sys
from aiocache_engine.errors import LockError, LockTimeoutError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.keylock import KeyLock
from aiocache_engine.system.lock import CacheLock
from aiocache_engine.system.process import locks_on, me

path = sys.argv[1]
lock, key = CacheLock.at(path), KeyLock(path + ".key")

def held():
    return [pid == parent for name in (path, path + ".gate", path + ".key") for pid, _ in locks_on(name)]

parent = os.getpid()
identity = me()
with key.hold_now(what="the test") as key_hold, lock.hold_now(LockMode.EXCLUSIVE) as hold:
    child = os.fork()
    if child == 0:
        assert hold.has_ended and not key_hold.held
        assert not lock._granted_tickets
        assert me().pid != identity.pid
        names = [os.path.realpath("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd")]
        assert not [n for n in names if n.startswith(path)], names
        # Closing the inherited descriptors took nothing from the parent, and asking anew works as in any process.
        assert held() == [True, True, True], held()
        try:
            with lock.hold_now(LockMode.SHARED, timeout_seconds=0):
                os._exit(3)
        except LockTimeoutError:
            pass
    else:
        assert os.waitpid(child, 0)[1] == 0
        hold.require(LockMode.EXCLUSIVE)
        assert held() == [True, True, True], held()
if child == 0:
    # The blocks were left in the child too, and that released nothing.
    os._exit(0 if held() == [True, True, True] else 4)
assert held() == []
child = os.fork()
if child == 0:
    with key.hold_now(what="the test", timeout_seconds=0), lock.hold_now(LockMode.EXCLUSIVE, timeout_seconds=0):
        os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""


def test_a_forked_child_holds_nothing_takes_nothing_away_and_can_begin_anew(tmp_path: Path) -> None:
    assert run(FORK, tmp_path / "cache.lock") == "done\n"


@pytest.mark.parametrize("mode", LockMode)
def test_what_a_killed_process_held_is_free_at_once(tmp_path: Path, neighbour: Neighbour, mode: LockMode) -> None:
    path = tmp_path / "cache.lock"
    assert neighbour.ask("hold", path, mode.value) == "yes"
    neighbour.kill()
    with CacheLock.at(path).hold_now(LockMode.EXCLUSIVE, timeout_seconds=0) as hold:
        assert hold.locked


READ_ONLY = """
import os, random, sys
import aiocache_engine.system.process
from aiocache_engine.errors import CacheEngineError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock

# What is imported on demand is imported above: nobody may be unable to read this interpreter's library.
if os.geteuid() == 0:
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
for mode in LockMode:
    try:
        with CacheLock.at(sys.argv[1]).hold_now(mode, timeout_seconds=0) as hold:
            hold.ensure_current()
            print(mode.value, "locked" if hold.locked else "unlocked")
    except CacheEngineError as error:
        print(mode.value, type(error).__name__)
"""


@pytest.fixture
def cache_dir() -> Iterator[Path]:
    """A directory that another user can reach, so that root can be tested as nobody."""
    top = Path(tempfile.mkdtemp(prefix="aioc-test-"))
    locks = top / "cache" / ".locks"
    locks.mkdir(parents=True)
    top.chmod(0o755)
    yield top / "cache"
    for directory in (top / "cache", locks):
        if directory.exists():
            directory.chmod(stat.S_IRWXU)
    shutil.rmtree(top)


def close_to_writers(cache_dir: Path) -> None:
    for path in [*cache_dir.rglob("*"), cache_dir]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_a_read_only_cache_is_shared_through_its_files_and_never_taken_exclusively(
    cache_dir: Path, neighbour: Neighbour
) -> None:
    path = cache_dir / ".locks" / "cache.lock"
    with CacheLock.at(path).hold_now(LockMode.SHARED):
        pass
    close_to_writers(cache_dir)
    assert run(READ_ONLY, path, NOBODY) == "shared locked\nexclusive ReadOnlyCacheError\n"
    if os.geteuid() == 0:
        assert neighbour.ask("hold", path, "exclusive") == "yes"
        assert run(READ_ONLY, path, NOBODY) == "shared LockTimeoutError\nexclusive ReadOnlyCacheError\n"


def test_a_read_only_cache_without_lock_files_gives_a_hold_with_nothing_behind_it(cache_dir: Path) -> None:
    close_to_writers(cache_dir)
    path = cache_dir / ".locks" / "cache.lock"
    assert run(READ_ONLY, path, NOBODY) == "shared unlocked\nexclusive ReadOnlyCacheError\n"


def test_a_read_only_cache_without_the_lock_directory_is_served_too(cache_dir: Path) -> None:
    (cache_dir / ".locks").rmdir()
    close_to_writers(cache_dir)
    path = cache_dir / ".locks" / "cache.lock"
    assert run(READ_ONLY, path, NOBODY).startswith("shared unlocked\n")


def test_a_lock_file_that_may_not_even_be_read_is_a_clear_error(cache_dir: Path) -> None:
    path = cache_dir / ".locks" / "cache.lock"
    path.touch()
    path.chmod(0)
    path.parent.chmod(0o555)
    assert run(READ_ONLY, path, NOBODY) == "shared CacheDirError\nexclusive ReadOnlyCacheError\n"
