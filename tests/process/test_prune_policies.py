"""Policies of a prune on a real cache: what they take goes from the disk, and what is in use stays."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine import BlockingCacheEngine
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.removal import PrunePolicy, Removal
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.testing.invariants import assert_sound
from caches import Place, in_hold, perform
from toolsheds import begin, fetched, finish, make_tool, run_tool

DAY = 24 * 3600.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for name in ("tool", "dep", "other"):
        place.wheel(name, files={f"{name}/__init__.py": f"x = {name!r}\n" * 2000})
    return place


def prune(place: Place, **policy: object) -> Removal:
    """Foresee a prune, do it, and see that both tell the same."""
    cache = place.opened()
    what = PrunePolicy(**policy)  # type: ignore[arg-type]
    foreseen = foresee(cache, perform(cache, Collector(cache).plan_prune(what)))
    done: Removal = perform(cache, Collector(cache).prune(what))
    assert told(done) == told(foreseen)
    assert done.freed_bytes == foreseen.freed_bytes
    assert_sound(place.cache)
    return done


def install(place: Place, *what: str, **how: Any) -> Path:
    return asyncio.run(place.install(*what, **how))


def told(removal: Removal) -> list[tuple[str, str | None, str]]:
    return sorted((each.kind, each.project or each.tool or "", each.reason.value) for each in removal.removed)


def age(path: Path, days: float) -> None:
    """Let a file be last used some days ago."""
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def age_object(place: Place, bucket: str, object_id: str, days: float) -> None:
    age(place.cache / f"{bucket}-v1" / object_id / "used", days)


def test_tools_take_every_environment_that_is_not_running(place: Place) -> None:
    tool, dep = fetched(place, "tool", "dep")
    make_tool(place.opened(), [tool, dep])
    running = make_tool(place.opened(), [dep], digest="1" * 32)
    work, found = run_tool(place.opened(), running)
    assert found is not None
    removal = prune(place, takes_tools=True)
    assert os.listdir(place.cache / "environments-v1") == [running.environment_id]
    assert ("environment", "tool", "tools") in told(removal)
    assert place.archives() == {dep}
    finish(work)
    prune(place, takes_tools=True)
    assert (place.archives(), os.listdir(place.cache / "environments-v1")) == (set(), [])


def test_keep_latest_leaves_the_newest_environment_of_a_tool(place: Place) -> None:
    (tool,) = fetched(place, "tool")
    make_tool(place.opened(), [tool], digest="1" * 32, created_at=1.0)
    newest = make_tool(place.opened(), [tool], digest="2" * 32, created_at=2.0)
    assert told(prune(place)) == []
    assert told(prune(place, keeps_latest=True)) == [("environment", "tool", "superseded")]
    assert os.listdir(place.cache / "environments-v1") == [newest.environment_id]
    assert place.archives() == {tool}
    assert told(prune(place, keeps_latest=True)) == []


def test_what_nobody_used_for_long_goes_and_what_was_used_lately_stays(place: Place) -> None:
    old, new = fetched(place, "tool", "dep")
    install(place, "env", "other")
    (linked,) = place.archives() - {old, new}
    age_object(place, "archives", old, 31)
    age_object(place, "archives", new, 29)
    age_object(place, "archives", linked, 365)
    removal = prune(place, unused_for_seconds=30 * DAY)
    assert ("archive", "tool", "unused") in told(removal)
    assert place.archives() == {new, linked}
    assert not any(path.startswith("tool/") for path in place.names())


def test_what_an_environment_left_stays_for_as_long_as_the_policy_says(place: Place) -> None:
    environment = install(place, "env", "tool")
    (archive,) = place.archives()
    shutil.rmtree(environment)
    assert list(told(prune(place, unused_for_seconds=30 * DAY))) == []
    age_object(place, "archives", archive, 31)
    assert ("archive", "tool", "unused") in told(prune(place, unused_for_seconds=30 * DAY))
    assert place.archives() == set()


def test_idle_pages_go_by_themselves(place: Place) -> None:
    install(place, "env", "tool")
    stored = place.cache / "projects-v1" / "tool" / ("0" * 32)
    stored.mkdir(exist_ok=True)
    page, metadata = stored / "page", stored / "tool-1.0-py3-none-any.whl.metadata"
    page.write_bytes(b"x" * 9000)
    metadata.write_bytes(b"x")
    age(page, 31)
    removal = prune(place, unused_for_seconds=30 * DAY)
    (told_of,) = removal.removed
    assert (told_of.kind, told_of.project, told_of.file_count, told_of.size_bytes) == ("page", "tool", 1, 9000)
    assert (page.exists(), metadata.exists()) == (False, True)
    assert told_of.freed_bytes >= 9000


def test_before_a_ci_cache_is_saved_only_what_environments_use_is_left(place: Place) -> None:
    fetched(place, "dep")
    make_tool(place.opened(), fetched(place, "other"))
    install(place, "env", "tool", mode=LinkMode.COPY)
    removal = prune(place, is_ci=True)
    left = [path for path in (place.cache / "archives-v1").iterdir() if (path / "tree" / "tool").exists()]
    assert [path.name for path in left] == [*place.archives()]
    assert os.listdir(place.cache / "environments-v1") == []
    assert os.listdir(place.cache / "bytecode-v1") == []
    assert {("archive", "dep", "ci"), ("environment", "other", "ci"), ("bytecode", "tool", "ci")} <= {*told(removal)}
    assert not list(place.cache.glob("projects-v1/*/*/page"))
    assert told(prune(place, is_ci=True)) == []


def test_the_engine_for_threads_takes_the_same_policies(place: Place) -> None:
    (tool,) = fetched(place, "tool")
    make_tool(place.opened(), [tool])
    with BlockingCacheEngine(place.cache, config=place.config(), environ={"PATH": os.environ["PATH"]}) as engine:
        policy = PrunePolicy(takes_tools=True)
        foreseen = engine.foresee(engine.plan_prune(policy))
        assert told(engine.prune(policy)) == told(foreseen)
    assert place.archives() == set()


def test_a_page_that_is_read_again_before_its_turn_stays(place: Place) -> None:
    fetched(place, "tool")
    cache = place.opened()
    page = place.cache / "projects-v1" / "tool" / ("0" * 32) / "page"
    page.parent.mkdir(exist_ok=True)
    page.write_bytes(b"x")
    age(page, 31)
    collector = Collector(cache)
    plan = perform(cache, collector.plan_prune(PrunePolicy(unused_for_seconds=30 * DAY)))
    assert [each.page.path for each in plan.pages] == [str(page)]
    age(page, 0)
    perform(cache, collector._take_pages(plan))
    assert page.exists()


def test_bytecode_of_what_comes_into_use_before_its_turn_stays(place: Place) -> None:
    install(place, "env", "tool", mode=LinkMode.COPY)
    (archive,) = place.archives()
    cache = place.opened()
    collector = Collector(cache)
    plan = perform(cache, collector.plan_prune(PrunePolicy(is_ci=True)))
    assert [item.object.id for item in plan.bytecode] == [archive]
    work = begin(cache)
    in_hold(cache, LockMode.SHARED, lambda hold: work.keep(hold, [archive]))
    perform(cache, collector._take_bytecode(plan))
    assert os.listdir(place.cache / "bytecode-v1") == [archive]
    finish(work)
    perform(cache, Collector(cache).prune(PrunePolicy(is_ci=True)))
    assert os.listdir(place.cache / "bytecode-v1") == []
