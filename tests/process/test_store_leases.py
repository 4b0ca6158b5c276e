"""Leases between real processes: alive exactly as long as somebody holds the file (rules 7 to 12)."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import new_object_id
from aiocache_engine.store.archives import write_description
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import dead_staging
from aiocache_engine.store.documents import _checksum, _dump, encode
from aiocache_engine.store.leases import Lease, LeaseFile, LeaseReader, is_dead
from aiocache_engine.testing.invariants import assert_sound
from caches import HOLDER, Place, clean_now, in_hold, process, prune_now, said, tell

OBJECT = "0123456789abcdef" * 2
HOLD_ONE = """
import json, os, sys
from caches import *
from aiocache_engine.store.leases import Lease
cache = open_cache_dir(sys.argv[1])
lease = in_hold(cache, LockMode.SHARED, lambda hold: Lease.birth(hold, cache.layout.leases, HOLDER))
in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [sys.argv[2]]))
print(json.dumps(lease.path), flush=True)
"""
WAIT = "sys.stdin.readline()\n"
HAND_ON = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.readline()"], pass_fds=[lease._fd], stdin=0)
print(child.pid, flush=True)
"""


@pytest.fixture
def cache(tmp_path: Path) -> CacheDir:
    return Place(tmp_path).opened()


WRONG = encode({**{name: getattr(HOLDER, name) for name in HOLDER.__slots__}, "since": "yesterday"})


def read(cache: CacheDir) -> list[LeaseFile]:
    return LeaseReader(cache.layout.leases).read()


def born(cache: CacheDir) -> Lease:
    lease: Lease = in_hold(cache, LockMode.SHARED, lambda hold: Lease.birth(hold, cache.layout.leases, HOLDER))
    return lease


def archive(cache: CacheDir, object_id: str) -> Path:
    """Put an archive into the bucket that nothing leads to."""
    path = Path(cache.layout.archive(object_id))
    (path / "tree").mkdir(parents=True)
    write_description(str(path), b"no manifest\n", "boot")
    return path


def test_a_lease_is_seen_with_its_holder_and_objects_until_it_ends(cache: CacheDir) -> None:
    lease = born(cache)
    in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [OBJECT]))
    [seen] = read(cache)
    assert (seen.id, seen.holder, seen.objects) == (lease.id, HOLDER, frozenset({OBJECT}))
    assert seen.is_alive()
    lease.end()
    assert read(cache) == []
    assert os.listdir(cache.layout.leases) == []


def test_a_reader_sees_what_was_added_since_it_last_looked(cache: CacheDir) -> None:
    reader = LeaseReader(cache.layout.leases)
    lease = born(cache)
    assert reader.read()[0].objects == frozenset()
    in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [OBJECT]))
    assert reader.read()[0].objects == {OBJECT}
    lease.end()


@pytest.mark.parametrize("torn", [b'\n{"add": ["', b'\n{"add"', b"\n", b'\n{"add": ["00112233445566778899aabbccddeeff'])
def test_an_unfinished_line_is_ignored_and_spoils_no_later_one(cache: CacheDir, torn: bytes) -> None:
    lease = born(cache)
    with open(lease.path, "ab") as file:
        file.write(torn)
    in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [OBJECT]))
    assert read(cache)[0].objects == {OBJECT}
    lease.end()


@pytest.mark.parametrize(
    "line",
    [
        b'{"add": 5}',
        b'{"add": [["x"]]}',
        b'{"add": ["x"]}',
        b'{"add": {}}',
        b'{"add": [], "drop": []}',
        b'{"take": []}',
        b"{}",
        b"5",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_lease_with_a_line_that_cannot_be_understood_covers_everything_while_it_is_held(
    cache: CacheDir, line: bytes
) -> None:
    lease = born(cache)
    with open(lease.path, "ab") as file:
        file.write(b"\n" + line + b"\n")
    archive(cache, OBJECT)
    [seen] = read(cache)
    assert (seen.holder, seen.objects) == (HOLDER, None)
    assert [each.object.id for each in prune_now(cache).kept] == [OBJECT]
    lease.end()


def test_a_lease_that_gave_something_up_covers_it_no_longer(cache: CacheDir) -> None:
    lease = born(cache)
    in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [OBJECT]))
    with open(lease.path, "ab") as file:
        file.write(f'\n{{"drop":["{OBJECT}"]}}\n'.encode())
    assert read(cache)[0].objects == frozenset()
    lease.end()


@pytest.mark.parametrize("record", [b'{"format": 2}\n', b"\n", b"", b'{"format": 1, "pid": 1}\n', WRONG])
def test_a_lease_whose_record_cannot_be_read_covers_everything_while_it_is_held(cache: CacheDir, record: bytes) -> None:
    lease = born(cache)
    with open(lease.path, "r+b") as file:
        file.truncate(0)
        file.write(record)
    path = archive(cache, OBJECT)
    [seen] = read(cache)
    assert seen.objects is None
    kept = prune_now(cache).kept
    assert [(each.object.id, each.reasons[0].code.value) for each in kept] == [(OBJECT, "lease")]
    lease.end()
    prune_now(cache)
    assert not path.exists()


def test_a_lease_of_a_newer_format_covers_everything(cache: CacheDir) -> None:
    lease = born(cache)
    document = {"format": 2, "what": "ever"}
    with open(lease.path, "r+b") as file:
        file.truncate(0)
        file.write(_dump({**document, "checksum": _checksum(document)}) + b"\n")
    assert read(cache)[0].covers(new_object_id())
    lease.end()


def test_a_killed_holder_s_lease_is_dead_at_once_and_its_file_goes_with_the_next_prune(cache: CacheDir) -> None:
    path = archive(cache, OBJECT)
    with process(HOLD_ONE + WAIT, cache.root, OBJECT) as holder:
        file = said(holder)
        prune_now(cache)
        assert path.exists()
        holder.kill()
        holder.wait()
    [seen] = read(cache)
    assert (seen.path, seen.is_alive()) == (file, False)
    prune_now(cache)
    assert not path.exists()
    assert_sound(cache.root, is_pruned=True)


def test_a_stopped_holder_is_alive(cache: CacheDir) -> None:
    path = archive(cache, OBJECT)
    with process(HOLD_ONE + WAIT, cache.root, OBJECT) as holder:
        said(holder)
        holder.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
        assert read(cache)[0].is_alive()
        prune_now(cache)
        assert path.exists()


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_lease_lives_on_with_a_child_that_inherited_it(cache: CacheDir, how: str) -> None:
    path = archive(cache, OBJECT)
    script = (
        HOLD_ONE
        + HAND_ON
        + (WAIT if how == "killed" else "lease.end()\nprint(1, flush=True)\nimport time; time.sleep(60)\n")
    )
    with process(script, cache.root, OBJECT) as parent:
        said(parent)
        child = said(parent)
        if how == "killed":
            parent.kill()
            parent.wait()
        else:
            said(parent)
        assert read(cache)[0].is_alive()
        prune_now(cache)
        assert path.exists()
        pid = os.pidfd_open(child)
        os.kill(child, signal.SIGKILL)
        # Its parent may be gone, so that nobody of ours can wait for it but through its descriptor.
        select.select([pid], [], [], 10)
        os.close(pid)
        assert not read(cache)[0].is_alive()
        prune_now(cache)
        assert not path.exists()


def test_a_forked_child_holds_no_lease_of_its_parent(cache: CacheDir) -> None:
    lease = born(cache)
    reader, writer = os.pipe()
    told, tells = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.write(tells, b"x")
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    os.read(told, 1)
    lease.end()
    left = os.listdir(cache.layout.leases)
    for fd in (writer, told, tells):
        os.close(fd)
    os.waitpid(child, 0)
    assert left == []


def test_a_forked_child_sees_its_parent_s_lease_as_alive(cache: CacheDir) -> None:
    lease = born(cache)
    child = os.fork()
    if not child:
        os._exit(10 + is_dead(cache.layout.leases, lease.id))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 10
    lease.end()


def test_testing_its_own_leases_does_not_end_them(cache: CacheDir) -> None:
    lease = born(cache)
    for _ in range(3):
        assert read(cache)[0].is_alive()
    look = "import sys; from caches import *; from aiocache_engine.store.leases import *\n"
    look += "print(int(LeaseReader(open_cache_dir(sys.argv[1]).layout.leases).read()[0].is_alive()), flush=True)"
    with process(look, cache.root) as other:
        assert said(other) == 1
    lease.end()


def test_two_who_test_at_once_do_not_take_each_other_for_a_holder(cache: CacheDir) -> None:
    with process(HOLD_ONE + WAIT, cache.root, OBJECT) as holder:
        path = said(holder)
        holder.kill()
        holder.wait()
    with open(path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not read(cache)[0].is_alive()


def test_what_was_being_born_when_its_maker_died_goes_with_the_next_prune(cache: CacheDir) -> None:
    Path(cache.layout.leases, f".birth-{OBJECT}").write_bytes(b"half")
    Path(cache.layout.staging, ".birth-0011").write_bytes(b"half")
    prune_now(cache)
    assert_sound(cache.root, is_pruned=True)


def test_staging_of_a_work_that_begins_after_the_leases_were_read_is_not_taken_for_dead(cache: CacheDir) -> None:
    script = """
import json, sys
from caches import *
cache = open_cache_dir(sys.argv[1])
sys.stdin.readline()
work = begun(cache)
print(json.dumps(work.new_staging()), flush=True)
sys.stdin.readline()
"""
    with process(script, cache.root) as other:
        leases = LeaseReader(cache.layout.leases)
        leases.read()
        tell(other)
        staged = said(other)
        assert dead_staging(cache.layout) == []
        prune_now(cache)
        assert os.path.isdir(staged)
    assert dead_staging(cache.layout) == [os.path.dirname(staged)]
    prune_now(cache)
    assert_sound(cache.root, is_pruned=True)


def test_a_lease_that_a_full_disk_cut_short_is_refused(cache: CacheDir, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = born(cache)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: write(fd, content[: len(content) // 2]))
    with pytest.raises(OSError, match="No space left"):
        in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [OBJECT]))
    monkeypatch.undo()
    assert OBJECT not in lease.objects
    assert read(cache)[0].objects == frozenset()
    lease.end()


def test_leases_found_dead_cost_a_hold_no_more_than_their_listing(cache: CacheDir) -> None:
    for _ in range(3000):
        Path(cache.layout.lease(new_object_id())).write_bytes(b"dead\n")
    reader = LeaseReader(cache.layout.leases)
    lease = born(cache)
    alive, dead = reader.part()
    assert ([each.id for each in alive], len(dead)) == ([lease.id], 3000)
    in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [OBJECT]))
    late = born(cache)
    unknowing = LeaseReader(cache.layout.leases)
    unknowing.read()
    started = time.process_time()
    objects = {each.id: each.objects for each in reader.read_living()}
    living_seconds = time.process_time() - started
    assert len(unknowing.read()) == 3002
    assert living_seconds < (time.process_time() - started - living_seconds) / 2
    assert objects == {lease.id: frozenset({OBJECT}), late.id: frozenset()}
    lease.end()
    late.end()


def test_a_clean_removes_the_files_of_dead_leases_and_of_no_others(cache: CacheDir) -> None:
    Path(cache.layout.lease(new_object_id())).write_bytes(b"dead\n")
    lease = born(cache)
    page = Path(cache.layout.page("tiny", "0" * 32))
    page.parent.mkdir(parents=True)
    page.write_bytes(b"")  # a clean that finds nothing of the project takes nothing else
    clean_now(cache, "tiny")
    assert os.listdir(cache.layout.leases) == [lease.id]
    lease.end()


def test_an_exec_drops_a_lease_that_was_not_handed_on(cache: CacheDir) -> None:
    lease = born(cache)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.readline()"], stdin=subprocess.PIPE)
    lease.end()
    left = os.listdir(cache.layout.leases)
    child.kill()
    child.communicate()
    assert left == []
