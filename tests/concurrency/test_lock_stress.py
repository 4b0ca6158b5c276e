"""Processes, tasks and threads at one lock, with cancellation, time-outs and kill -9: the journal shows no overlap."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock
from aiocache_engine.system.process import locks_on
from concurrency.locking.fray import Fray
from concurrency.locking.journal import Journalled, count_violations

LONG_SECONDS = float(os.environ.get("AIOC_TORTURE_SECONDS", "0"))


def run_fray(directory: Path, kind: str, *, seconds: float, kill_every_seconds: float | None) -> Fray:
    fray = Fray(directory, kind, time.monotonic() + seconds, random.Random(20))
    fray.rage(kill_every_seconds=kill_every_seconds)
    return fray


def check_exclusion(directory: Path, *, seconds: float) -> None:
    fray = run_fray(directory, "mixed", seconds=seconds, kill_every_seconds=0.8)
    left_over = fray.end()
    holds = fray.holds()
    assert count_violations(holds) == 0
    assert fray.killed_at
    assert {True, False} == {hold.is_exclusive for hold in holds}
    assert len(holds) > 30 * seconds, "too quiet to prove anything"
    assert sum(process["given_up"] for process in left_over) > 0
    assert {0} == {process[what] for process in left_over for what in ("held", "waiting", "open")}
    assert locks_on(str(fray.lock_path)) + locks_on(f"{fray.lock_path}.gate") == ()
    with CacheLock.at(fray.lock_path).hold_now(LockMode.EXCLUSIVE, timeout_seconds=0) as hold:
        assert hold.locked


def test_no_process_task_or_thread_ever_shares_an_exclusive_hold(tmp_path: Path) -> None:
    check_exclusion(tmp_path, seconds=4)


@pytest.mark.torture
@pytest.mark.skipif(not LONG_SECONDS, reason="the long form runs for AIOC_TORTURE_SECONDS")
def test_exclusion_holds_out_for_as_long_as_asked(tmp_path: Path) -> None:
    check_exclusion(tmp_path, seconds=LONG_SECONDS)


def test_the_same_fray_over_bare_fasteners_is_caught(tmp_path: Path) -> None:
    fray = run_fray(tmp_path, "naive", seconds=1.5, kill_every_seconds=None)
    for process in fray.processes:
        process.communicate(timeout=60)
    assert count_violations(fray.holds()) > 0


def test_the_judge_counts_what_overlaps_and_nothing_else() -> None:
    shared = Journalled(1, is_exclusive=False, entered_at=0, left_at=2)
    beside = Journalled(2, is_exclusive=False, entered_at=1, left_at=3)
    after = Journalled(3, is_exclusive=True, entered_at=3, left_at=4)
    into = Journalled(4, is_exclusive=True, entered_at=1.5, left_at=1.6)
    assert count_violations([shared, beside, after]) == 0
    assert count_violations([shared, beside, after, into]) == 1
