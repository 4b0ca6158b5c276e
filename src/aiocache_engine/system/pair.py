"""Share a list of jobs between two threads, one from the front and one from the back.

For jobs that are long in system calls (link, unpack, delete): the calling thread and one more take them until they
meet. Measured on two cores this beats both more threads and a hop per file. Works with and without an event loop.

Work that nobody waits for takes its second thread only while a processor is idle. A lower priority would not do: who
holds the interpreter's lock and gets no processor keeps the other thread, or an event loop, waiting.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable

from aiocache_engine.hints import TypeVar

Job = TypeVar("Job")

_CROWDED_PAUSE_SECONDS = 0.025
_RUNNING = "/proc/loadavg"  #: its fourth field: how many want a processor now, of how many there are


def share(
    jobs: Iterable[Job],
    work: Callable[[Job], None],
    *,
    least_jobs: int = 2,
    is_crowded: Callable[[], bool] | None = None,
) -> None:
    """Do every job; with fewer than `least_jobs` jobs the caller does all of them alone.

    The first error of either thread stops both after their current job and is raised here.

    Args:
        jobs: what is to be done.
        work: does one.
        least_jobs: that a second thread is worth its start for.
        is_crowded: asked by the second thread before each job; while it is true, that thread takes none.
    """
    queue = deque(jobs)
    if len(queue) < least_jobs:
        while queue:
            work(queue.popleft())
        return
    failures: list[BaseException] = []
    is_done = threading.Event()

    def drain(take: Callable[[], Job], is_crowded: Callable[[], bool] | None = None) -> None:
        try:
            while not failures:
                if is_crowded is not None and is_crowded():
                    if is_done.wait(_CROWDED_PAUSE_SECONDS):
                        return
                    continue
                try:
                    job = take()
                except IndexError:  # the two have met
                    return
                work(job)
        except BaseException as error:  # noqa: BLE001 - carried over to the calling thread and raised there
            failures.append(error)

    other = threading.Thread(target=drain, args=(queue.pop, is_crowded), name="aioc-pair", daemon=True)
    other.start()
    drain(queue.popleft)
    is_done.set()
    other.join()
    if failures:
        raise failures[0]


def wants_more_processors() -> bool:
    """Tell whether more is running on this machine now than it has processors; False where that cannot be told."""
    try:
        with open(_RUNNING, "rb") as file:
            running_count = int(file.read().split()[3].partition(b"/")[0])
    except (OSError, ValueError, IndexError):
        return False
    return running_count > (os.cpu_count() or 1)
