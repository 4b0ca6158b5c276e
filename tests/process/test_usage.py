"""Who uses the cache, and what is asked about it, on real processes and environments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiocache_engine.model.removal import PLAIN
from aiocache_engine.model.why import Explanation
from aiocache_engine.pipeline.collector import wait
from aiocache_engine.pipeline.collector.inspect import list_usage
from aiocache_engine.pipeline.collector.why import why
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.store.leases import LeaseReader
from caches import Place, perform, process, said
from toolsheds import fetched, make_tool

LIVE = """
import os, sys
print(os.getpid(), flush=True)
sys.stdin.readline()
"""
RUN = """
import os, sys
from aiocache_engine.config import Config
from aiocache_engine.model.locking import LockMode
from aiocache_engine.pipeline.kit import open_kit
from caches import in_hold
kit = open_kit(sys.argv[1], config=Config(), environ={})
work = kit.work()
in_hold(kit.cache, LockMode.SHARED, lambda hold: work.begin(hold, []))
assert in_hold(kit.cache, LockMode.SHARED, lambda hold: work.find_environment(hold, "tiny", sys.argv[2]))
print(os.getpid(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel()
    return place


def test_a_process_that_lives_in_an_environment_without_a_lease_is_told(place: Place) -> None:
    cache = place.opened()
    tool = make_tool(cache, fetched(place, "tiny"))
    assert list_usage(cache).processes == ()
    with process(LIVE, environ={"AIOC_ENVIRONMENT": tool.environment_id}) as other:
        pid = said(other)
        assert [(each.pid, each.environment_id) for each in list_usage(cache).processes] == [(pid, tool.environment_id)]


def test_who_has_a_lease_and_lives_in_the_environment_is_told_once(place: Place) -> None:
    cache = place.opened()
    tool = make_tool(cache, fetched(place, "tiny"))
    environ = {"AIOC_ENVIRONMENT": tool.environment_id}
    with process(RUN, place.cache, tool.digest, environ=environ) as other:
        pid = said(other)
        usage = list_usage(cache)
        assert [each.pid for each in usage.leases] == [pid]
        assert usage.processes == ()
        kit = open_kit(place.cache, config=place.config(), environ={})
        users = wait._users(kit, LeaseReader(cache.layout.leases), {tool.environment_id})
    assert [name.partition(" (")[0] for name in users[tool.environment_id]] == [f"pid {pid}"]


def test_locks_are_told_where_nothing_was_ever_locked_by_its_name(place: Place) -> None:
    cache = place.opened()
    os.rmdir(cache.layout.key_locks)
    assert list_usage(cache).locks == ()


@pytest.mark.parametrize("name", [".venv", "e1"])
async def test_why_takes_the_bare_name_of_an_environment_for_its_path(
    name: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.install(name, "tiny")
    monkeypatch.chdir(place.root)
    [answer] = asked(place, name)
    assert answer.object.project == "tiny"


async def test_why_takes_the_name_of_a_project_in_the_cache_for_the_project(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.wheel("other")
    await place.install("tiny", "other")
    await place.fetch("tiny")
    monkeypatch.chdir(place.root)
    assert [each.object.project for each in asked(place, "tiny")] == ["tiny"]
    assert [each.object.project for each in asked(place, "./tiny")] == ["other"]


def test_why_finds_what_a_name_leads_to_though_its_manifest_is_damaged(place: Place) -> None:
    (archive_id,) = fetched(place, "tiny")
    Path(place.opened().layout.archive(archive_id), "manifest").write_bytes(b"{")
    for what, expected in (("tiny", [archive_id]), ("tiny==1.0", [archive_id]), ("tiny>1", [])):
        assert [each.object.id for each in asked(place, what)] == expected


def asked(place: Place, what: str) -> tuple[Explanation, ...]:
    cache = place.opened()
    answers: tuple[Explanation, ...] = perform(cache, why(cache, what, PLAIN))
    return answers
