"""`clean --even-in-use`: the bytes of what is used or pinned go at once, as told before, and nothing else with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.removal import CleanPolicy, Removal
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.store.work import Work
from aiocache_engine.testing.invariants import assert_sound
from caches import HOLDER, Place, in_hold, perform
from toolsheds import fetched, finish, make_tool, run_tool


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for name, version in (("tiny", "1.0"), ("tiny", "2.0"), ("other", "1.0")):
        place.wheel(name, version, files={f"{name}/__init__.py": f"x = {version!r}\n" * 2000})
    return place


@pytest.fixture
def engine(place: Place) -> Iterator[BlockingCacheEngine]:
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        yield engine


def cleaned(engine: BlockingCacheEngine, *names: str) -> Removal:
    """Clean by a plan, having told before exactly what that does."""
    plan = engine.plan_clean(names, even_in_use=True)
    foreseen, removal = engine.foresee(plan), engine.clean(plan)
    assert sorted((e.kind, e.id or "") for e in foreseen.removed) == sorted(
        (e.kind, e.id or "") for e in removal.removed
    )
    assert foreseen.freed_bytes == removal.freed_bytes
    assert foreseen.warnings == removal.warnings
    return removal


@pytest.mark.parametrize("names", [(), ("tiny",)])
def test_a_running_tool_loses_what_it_uses_and_is_named(
    place: Place, engine: BlockingCacheEngine, names: tuple[str, ...]
) -> None:
    tiny, other = fetched(place, "tiny==1.0", "other")
    cache = place.opened()
    work, _ = run_tool(cache, make_tool(cache, [tiny, other]))
    removal = cleaned(engine, *names)
    assert removal.kept == ()
    assert [each for each in removal.warnings if "process 1 (a test) uses what is removed" in each]
    assert place.archives() == ({other} if names else set())
    assert not list((place.cache / "environments-v1").iterdir())
    finish(work)
    engine.prune()
    assert_sound(place.cache, is_pruned=True)


@pytest.mark.parametrize("mode", [LinkMode.SYMLINK, LinkMode.HARDLINK])
def test_an_environment_of_symbolic_links_breaks_and_is_named_and_any_other_keeps_its_files(
    place: Place, engine: BlockingCacheEngine, mode: LinkMode
) -> None:
    root = asyncio.run(place.install("env", "tiny==1.0", mode=mode))
    (module,) = root.rglob("tiny/__init__.py")
    removal = cleaned(engine, "tiny")
    assert place.archives() == set()
    assert module.exists() is (mode is LinkMode.HARDLINK)
    assert len([each for each in removal.warnings if str(root) in each]) == (mode is LinkMode.SYMLINK)
    asyncio.run(place.install("env", "tiny==1.0", mode=mode, reinstall=True))
    assert module.exists()


@pytest.mark.parametrize("names", [(), ("tiny<2",)])
def test_a_pin_is_released_of_what_goes_and_keeps_the_rest(
    place: Place, engine: BlockingCacheEngine, names: tuple[str, ...]
) -> None:
    _, new, other = fetched(place, "tiny==1.0", "tiny==2.0", "other")
    engine.pin(["tiny", "other"], name="all")
    engine.pin(["tiny==1.0"])
    removal = cleaned(engine, *names)
    others = "" if names else "other 1.0, "
    rest = "" if names else ", tiny 2.0"
    assert removal.warnings == (
        f"pin all keeps no longer what is removed: {others}tiny 1.0{rest}",
        "pin tiny==1.0 keeps no longer what is removed: tiny 1.0",
    )
    assert place.archives() == ({new, other} if names else set())
    left = {pin.name: {each.archive_id for each in pin.archives} for pin in engine.pins()}
    assert left == ({"all": {new, other}} if names else {})
    engine.clean()
    assert place.archives() == ({new, other} if names else set())
    assert_sound(place.cache)


def test_what_is_used_anew_before_every_removal_goes_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    cache = place.opened()
    work = Work(cache, HOLDER)
    detach = Collector._detach

    def use_before(self: Collector, plan):  # type: ignore[no-untyped-def]
        in_hold(cache, LockMode.SHARED, lambda hold: (work.begin(hold, []), work.keep(hold, [tiny])))
        return (yield from detach(self, plan))

    monkeypatch.setattr(Collector, "_detach", use_before)
    perform(cache, Collector(cache).clean(clean_targets(["tiny"], ()), CleanPolicy(takes_in_use=True)))
    assert place.archives() == set()
    work.end()


def test_work_under_way_brings_nothing_back_and_what_comes_after_is_fresh(
    place: Place, engine: BlockingCacheEngine
) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    cache = place.opened()
    work = Work(cache, HOLDER)
    in_hold(cache, LockMode.SHARED, lambda hold: (work.begin(hold, ["tiny"]), work.keep(hold, [tiny])))
    cleaned(engine, "tiny")
    (again,) = engine.fetch(["tiny==1.0"]).fetched
    assert (again.origin, place.archives()) == ("index", {again.archive_id})
    assert again.archive_id != tiny
    work.end()
    engine.prune()
    assert place.archives() == {again.archive_id}
