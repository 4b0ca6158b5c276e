"""A writer with many holds in a row lets readers of other processes in between them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock

HOLDS = 60
WRITER = f"""
import sys, time
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock
lock = CacheLock.at(sys.argv[1])
for _ in range({HOLDS}):
    with lock.hold_now(LockMode.EXCLUSIVE):
        if _ == 0:
            print("begun", flush=True)
        end = time.monotonic() + 0.010
        while time.monotonic() < end:
            pass
"""


def test_a_reader_waits_for_a_hold_or_two_and_not_for_all_that_a_collector_takes(tmp_path: Path) -> None:
    lock = CacheLock.at(tmp_path / "cache.lock")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "cache.lock")], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    waits = []
    while writer.poll() is None:
        with lock.hold_now(LockMode.SHARED) as hold:
            waits.append(hold.waited_seconds)
    writer.stdout.close()
    # All holds together last 0.6 s; whoever gets in at the end only has waited for most of that.
    assert max(waits) < 0.2
    assert len([wait for wait in waits if wait > 0.001]) > HOLDS / 6


def test_a_collector_that_will_not_wait_for_others_is_not_refused_for_the_gap_that_it_leaves_them(
    tmp_path: Path,
) -> None:
    lock = CacheLock.at(tmp_path / "cache.lock")
    for _ in range(3):
        with lock.hold_now(LockMode.EXCLUSIVE, timeout_seconds=0):
            end = time.monotonic() + 0.012
            while time.monotonic() < end:
                pass
