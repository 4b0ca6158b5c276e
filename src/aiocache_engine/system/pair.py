"""Share a list of jobs between two threads, one from the front and one from the back.

For jobs that are long in system calls (link, unpack, delete): the calling thread and one more take them until they
meet. Measured on two cores this beats both more threads and a hop per file. Works with and without an event loop.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from aiocache_engine.hints import TypeVar

Job = TypeVar("Job")


def share(jobs: Iterable[Job], work: Callable[[Job], None], *, least_jobs: int = 2) -> None:
    """Do every job; with fewer than `least_jobs` jobs the caller does all of them alone.

    The first error of either thread stops both after their current job and is raised here.
    """
    queue = deque(jobs)
    if len(queue) < least_jobs:
        while queue:
            work(queue.popleft())
        return
    failures: list[BaseException] = []

    def drain(take: Callable[[], Job]) -> None:
        try:
            while not failures:
                try:
                    job = take()
                except IndexError:  # the two have met
                    return
                work(job)
        except BaseException as error:  # noqa: BLE001 - carried over to the calling thread and raised there
            failures.append(error)

    other = threading.Thread(target=drain, args=(queue.pop,), name="aioc-pair", daemon=True)
    other.start()
    drain(queue.popleft)
    other.join()
    if failures:
        raise failures[0]
