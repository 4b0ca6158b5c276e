"""How long one exclusive hold of a collector goes on taking entries, and in which order it notes and asks."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.pipeline.collector.scan import scan
from aiocache_engine.store import detach
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import condemn, take_dangling, take_lonely
from aiocache_engine.store.leases import Lease, LeaseReader
from aiocache_engine.store.shares import Share
from aiocache_engine.system.lock import Hold
from caches import HOLDER, Place, in_hold

PROJECTS = ["one", "three", "two"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for project in PROJECTS:
        place.wheel(project)
    anyio.run(place.fetch, *PROJECTS)
    return place


def names(cache: CacheDir) -> deque[Any]:
    return deque(scan(cache, LeaseReader(cache.layout.leases)).names)


def projects(cache: CacheDir) -> deque[Any]:
    return deque(f"{cache.layout.projects}/{project}" for project in PROJECTS)


TAKERS = [
    pytest.param(take_dangling, names, id="dangling"),
    pytest.param(take_lonely, projects, id="projects"),
]
Take = Callable[[Hold, CacheDir, deque[Any]], list[str]]


def in_holds(cache: CacheDir, take: Take, queue: deque[Any]) -> list[tuple[int, int]]:
    """Take until the queue is empty; give how many entries each hold looked at, and how many it took."""
    holds: list[tuple[int, int]] = []
    while queue:
        before = len(queue)
        taken = in_hold(cache, LockMode.EXCLUSIVE, lambda hold: take(hold, cache, queue))
        holds.append((before - len(queue), len(taken)))
    return holds


@pytest.mark.parametrize("time_is_over", [True, False])
@pytest.mark.parametrize("is_gone", [True, False])
@pytest.mark.parametrize(("take", "entries"), TAKERS)
def test_a_hold_looks_at_one_entry_at_least_and_at_no_other_once_its_time_is_over(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    take: Take,
    entries: Callable[[CacheDir], deque[Any]],
    *,
    is_gone: bool,
    time_is_over: bool,
) -> None:
    cache = place.opened()
    queue = entries(cache)
    count = len(queue)
    if is_gone and take is take_dangling:
        shutil.rmtree(place.cache / "archives-v1")
    elif is_gone:
        for name in place.names():
            (place.cache / "projects-v1" / name).unlink()
    monkeypatch.setattr(detach, "BATCH_SECONDS", -1.0 if time_is_over else 60.0)
    each = [(1, 1 if is_gone else 0)] * count if time_is_over else [(count, count if is_gone else 0)]
    assert in_holds(cache, take, queue) == each


@pytest.mark.parametrize("leave", ["drop", "end"])
def test_what_a_lease_gives_up_while_the_note_is_written_is_scanned_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, leave: str
) -> None:
    cache = place.opened()
    seen, other, _ = scan(cache, LeaseReader(cache.layout.leases)).archives.values()
    lease: Lease = in_hold(cache, LockMode.SHARED, lambda hold: Lease.birth(hold, cache.layout.leases, HOLDER))
    in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [seen.id]))
    write_note = detach.write_note

    def given_up_before(directory: str, object_id: str) -> None:
        if object_id == seen.id:  # whoever gives it up now finds no note yet, and frees nothing
            Share(lease.path, lease).drop([seen.id]) if leave == "drop" else lease.end()
        write_note(directory, object_id)

    monkeypatch.setattr(detach, "write_note", given_up_before)
    leases = LeaseReader(cache.layout.leases)
    free = in_hold(cache, LockMode.EXCLUSIVE, lambda hold: condemn(hold, cache, leases, [other, seen]))
    assert sorted(free) == sorted([seen.id, other.id])
    lease.end()
