"""Jobs shared by two threads: all done once, errors told, and a second thread that takes none where it is too much."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from aiocache_engine.system import pair
from aiocache_engine.system.pair import share, wants_more_processors


def test_every_job_is_done_once() -> None:
    done: Counter[int] = Counter()
    share(range(500), lambda job: done.update([job]))
    assert done == Counter(range(500))


def test_both_threads_work_where_there_is_room() -> None:
    meeting = threading.Barrier(2, timeout=30)  # passed only if two are at work at the same time
    share([1, 2], lambda _: void(meeting.wait()), is_crowded=lambda: False)


def test_the_caller_does_all_jobs_while_it_is_crowded() -> None:
    workers: set[int] = set()
    done: list[int] = []

    def work(job: int) -> None:
        workers.add(threading.get_ident())
        done.append(job)

    share(range(50), work, is_crowded=lambda: True)
    assert done == list(range(50))
    assert workers == {threading.get_ident()}


def test_the_second_thread_helps_as_soon_as_it_is_crowded_no_more() -> None:
    caller = threading.get_ident()
    is_crowded, helps = threading.Event(), threading.Event()
    is_crowded.set()

    def work(_: int) -> None:
        if threading.get_ident() != caller:
            helps.set()
            return
        is_crowded.clear()
        assert helps.wait(30)

    share(range(3), work, is_crowded=is_crowded.is_set)


@pytest.mark.parametrize("crowded", [False, True])
def test_the_error_of_a_job_is_raised(*, crowded: bool) -> None:
    def work(job: int) -> None:
        if job == 7:
            raise OSError("the seventh")

    with pytest.raises(OSError, match="the seventh"):
        share(range(20), work, is_crowded=lambda: crowded)


@pytest.mark.parametrize(
    ("content", "crowded"),
    [
        ("0.10 0.20 0.30 99999/100000 4711\n", True),
        ("99.00 99.00 99.00 1/100000 4711\n", False),
        ("", False),
        ("0.1 0.2 0.3 many 4\n", False),
        (None, False),
    ],
    ids=["more run than there are processors", "one runs", "empty", "unreadable", "missing"],
)
def test_a_machine_wants_more_processors_while_more_is_running_than_it_has(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, crowded: bool
) -> None:
    file = tmp_path / "loadavg"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(pair, "_RUNNING", str(file))
    assert wants_more_processors() is crowded


def void(_: object) -> None:
    """Drop a value."""
