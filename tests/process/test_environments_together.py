"""Makers, runners, cleans and prunes of cached environments at once, each a process of its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiocache_engine.testing.invariants import assert_sound
from caches import Place, process, prune_now, said

ROUNDS = 12
WORKER = """
import json, os, sys
from pathlib import Path
from aiocache_engine.errors import CacheEngineError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.store.archives import is_present
from caches import Place, clean_now, in_hold, prune_now
from toolsheds import begin, describe, fetched, finish, publish

place = Place(Path(sys.argv[1]))
cache = place.opened()
request = "d" * 32
seen = 0

def make():
    '''Make the environment anew, as a refresh does: fetched, leased, linked, published.'''
    archives = fetched(place, "tool", "dep")
    work = begin(cache, "tool", "dep")
    try:
        in_hold(cache, LockMode.SHARED, lambda hold: work.keep(hold, archives))
        if all(is_present(cache.layout.archive(each)) for each in archives):  # nobody cleaned it in between
            publish(work, describe(cache, archives, digest=request))
            return 1
        return 0
    finally:
        finish(work)

def run():
    '''Use the environment: as long as it is leased nothing of it may go.'''
    work = begin(cache)
    try:
        found = in_hold(cache, LockMode.SHARED, lambda hold: work.find_environment(hold, "tool", request))
        if found is None:
            return 0
        paths = [found.environment.path, *(cache.layout.archive(each.archive_id) for each in found.pointer.members)]
        before = [sorted(map(str, Path(path).rglob("*"))) for path in paths]
        for _ in range(20):
            assert [sorted(map(str, Path(path).rglob("*"))) for path in paths] == before
            assert all(Path(path, "manifest").read_bytes() for path in paths)
        return 1
    finally:
        finish(work)

def clean():
    '''Clean every so often once there is something to clean.'''
    global looks
    looks += os.path.exists(cache.layout.tool_pointer("tool", request))
    return len(clean_now(cache, "dep").removed) if looks % 200 == 199 else 0

def prune():
    return len(prune_now(cache).removed)

looks = 0
if sys.argv[2] == "make":
    for _ in range(int(sys.argv[3])):
        seen += make()
else:
    while not (place.root / "over").exists():
        seen += globals()[sys.argv[2]]()
print(json.dumps(seen), flush=True)
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel("tool")
    place.wheel("dep")
    place.opened()
    return place


def test_nothing_of_a_leased_environment_goes_and_nothing_is_left_at_the_end(place: Place) -> None:
    with ExitStack() as stack:
        workers = {
            role: stack.enter_context(process(WORKER, place.root, role.split()[0], ROUNDS))
            for role in ("make", "make too", "run", "run too", "clean", "prune")
        }
        makers = [said(workers[role]) for role in ("make", "make too")]
        (place.root / "over").touch()
        others = [said(worker) for role, worker in workers.items() if "make" not in role]
        assert len(makers + others) == len(workers)
        assert {worker.wait() for worker in workers.values()} == {0}
    prune_now(place.opened())
    assert_sound(place.cache, is_pruned=True)
    assert len(os.listdir(place.cache / "environments-v1")) <= 1
