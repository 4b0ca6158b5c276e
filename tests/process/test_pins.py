"""Pins: what one keeps stays whole, found by its names, through every clean and prune, until it is taken off."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.errors import InvalidRequirementError, NotInCacheError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.removal import KeepCode, PrunePolicy, Removal
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.pinning import pin
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.store.pins import read_pins
from aiocache_engine.store.work import Work
from aiocache_engine.testing.invariants import assert_sound
from caches import HOLDER, Place, in_hold, perform, prune_now
from toolsheds import fetched, make_tool


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


def kept(removal: Removal) -> dict[str, set[KeepCode]]:
    return {each.object.id: {reason.code for reason in each.reasons} for each in removal.kept}


def cleaned(engine: BlockingCacheEngine, *names: str) -> Removal:
    """Clean, having told before exactly what that does."""
    foreseen = engine.foresee(engine.plan_clean(names))
    removal = engine.clean(names)
    assert sorted((e.kind, e.id or "") for e in foreseen.removed) == sorted(
        (e.kind, e.id or "") for e in removal.removed
    )
    assert foreseen.freed_bytes == removal.freed_bytes
    assert kept(foreseen) == kept(removal)
    return removal


@pytest.mark.parametrize("names", [(), ("tiny",), ("t*",), ("tiny<3",), ("other", "tiny==1.0")])
def test_a_clean_leaves_what_is_pinned_with_all_its_names_and_tells_so(
    place: Place, engine: BlockingCacheEngine, names: tuple[str, ...]
) -> None:
    old, _, _ = fetched(place, "tiny==1.0", "tiny==2.0", "other")
    before = {name for name in place.names() if "tiny-1.0" in name}
    assert engine.pin(["tiny==1.0"])[0].name == "tiny==1.0"
    removal = cleaned(engine, *names)
    assert kept(removal)[old] == {KeepCode.PIN}
    assert {name for name in place.names() if "tiny-1.0" in name} == before
    assert len([name for name in place.names() if name.startswith("tiny/hash/")]) == (2 if "tiny==1.0" in names else 1)
    assert old in place.archives()
    assert_sound(place.cache)


def test_what_was_pinned_is_found_after_a_clean_of_everything_with_no_index(place: Place) -> None:
    asyncio.run(place.fetch("tiny==1.0"))
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        engine.pin(["tiny"])
        engine.clean()
        (entry,) = engine.entries()
    with BlockingCacheEngine(place.cache, config=place.config(is_offline=True)) as engine:
        (again,) = engine.fetch(["tiny==1.0"]).fetched
    assert (again.archive_id, again.origin) == (entry.id, "cache")


@pytest.mark.parametrize(("pins", "stays"), [(["tiny==1.0"], True), ([], False)])
def test_what_is_known_of_interpreters_goes_with_everything_unless_what_is_pinned_is_looked_up_by_it(
    place: Place, engine: BlockingCacheEngine, pins: list[str], *, stays: bool
) -> None:
    interpreters = place.cache / "interpreters-v1"
    fetched(place, "tiny==1.0", "other")
    before = sorted(os.listdir(interpreters))
    assert before
    if pins:
        engine.pin(pins)
    cleaned(engine)
    assert sorted(os.listdir(interpreters)) == (before if stays else [])


@pytest.mark.parametrize(
    "policy", [PrunePolicy(unused_for_seconds=0), PrunePolicy(is_ci=True), PrunePolicy(max_size_bytes=0)]
)
def test_no_policy_of_prune_takes_what_is_pinned(
    place: Place, engine: BlockingCacheEngine, policy: PrunePolicy
) -> None:
    old, *_ = fetched(place, "tiny==1.0", "tiny==2.0", "other")
    engine.pin(["tiny<2"])
    removal = engine.prune(policy)
    assert place.archives() == {old}
    assert kept(removal) == {old: {KeepCode.PIN}}


def test_what_was_linked_and_is_pinned_stays_when_its_environments_are_gone(
    place: Place, engine: BlockingCacheEngine
) -> None:
    root = asyncio.run(place.install("env", "tiny==1.0"))
    (archive,) = place.archives()
    engine.pin(["tiny"])
    shutil.rmtree(root)
    engine.prune()
    assert place.archives() == {archive}
    (answer,) = engine.why("tiny")
    assert [(reason.code, reason.via) for reason in answer.reasons] == [(KeepCode.PIN, ("tiny",))]
    engine.unpin("tiny")
    engine.prune()
    assert place.archives() == set()


def test_an_environment_with_something_pinned_in_it_goes_as_others_do(
    place: Place, engine: BlockingCacheEngine
) -> None:
    tiny, other = fetched(place, "tiny==1.0", "other")
    make_tool(place.opened(), [tiny, other])
    engine.pin([tiny])
    cleaned(engine, "tiny")
    assert os.listdir(place.cache / "environments-v1") == []
    assert place.archives() == {tiny, other}


def test_one_name_is_one_pin_and_the_last_one_counts(place: Place, engine: BlockingCacheEngine) -> None:
    old, new, other = fetched(place, "tiny==1.0", "tiny==2.0", "other")
    (both,) = engine.pin(["tiny==1.0", "other"], name="release")
    assert {each.archive_id for each in both.archives} == {old, other}
    engine.pin(["tiny==2.0"], name="release")
    assert [pin.name for pin in engine.pin(["other", "tiny>1"])] == ["other", "tiny>1"]
    assert {pin.name: {each.archive_id for each in pin.archives} for pin in engine.pins()} == {
        "release": {new},
        "other": {other},
        "tiny>1": {new},
    }
    assert engine.unpin("release").archives[0].archive_id == new
    engine.clean()
    assert place.archives() == {new, other}


def test_what_is_not_there_cannot_be_pinned_or_taken_off(place: Place, engine: BlockingCacheEngine) -> None:
    fetched(place, "tiny==1.0")
    for missing in ("other", "tiny>1", "0" * 32, "z*"):
        with pytest.raises(NotInCacheError, match="aioc fetch"):
            engine.pin(["tiny", missing])
    assert engine.pins() == ()
    with pytest.raises(InvalidRequirementError):
        engine.pin(["tiny @ file:///x.whl"])
    engine.pin(["tiny"])
    with pytest.raises(NotInCacheError, match="tiny"):
        engine.unpin("other")


def test_what_was_cleaned_while_in_use_can_be_pinned_no_more(place: Place, engine: BlockingCacheEngine) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    cache = place.opened()
    work = Work(cache, HOLDER)
    in_hold(cache, LockMode.SHARED, lambda hold: (work.begin(hold, []), work.keep(hold, [tiny])))
    engine.clean()
    assert place.archives() == {tiny}
    with pytest.raises(NotInCacheError):
        engine.pin(["tiny"])
    work.end()
    engine.prune()
    assert place.archives() == set()


@pytest.mark.parametrize("names", [(), ("tiny",)])
def test_a_pin_made_between_the_look_and_the_clean_of_names_keeps(
    place: Place, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    (tiny,) = fetched(place, "tiny==1.0")
    kit = open_kit(place.cache, config=place.config(), environ={})
    scan = Collector.scan
    is_pinned: list[bool] = []

    def pin_after(self: Collector):  # type: ignore[no-untyped-def]
        snapshot = yield from scan(self)
        if not is_pinned:
            is_pinned.append(True)
            kit.conductor().perform(pin(kit, ["tiny"], None))
        return snapshot

    monkeypatch.setattr(Collector, "scan", pin_after)
    cache = place.opened()
    removal: Removal = perform(cache, Collector(cache).clean(clean_targets(names, ())))
    assert kept(removal) == {tiny: {KeepCode.PIN}}
    assert any("tiny-1.0" in name for name in place.names())


def test_a_pin_made_between_the_look_and_the_removal_keeps(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    root = asyncio.run(place.install("env", "tiny==1.0"))
    shutil.rmtree(root)
    kit = open_kit(place.cache, config=place.config(), environ={})
    detach = Collector._detach
    is_pinned: list[bool] = []

    def pin_before(self: Collector, plan):  # type: ignore[no-untyped-def]
        if not is_pinned:
            is_pinned.append(True)
            kit.conductor().perform(pin(kit, ["tiny"], None))
        return (yield from detach(self, plan))

    monkeypatch.setattr(Collector, "_detach", pin_before)
    assert not [each for each in prune_now(place.opened()).removed if each.kind == "archive"]
    assert len(place.archives()) == 1


@pytest.mark.parametrize("content", [b'{"format": 1}', b"", b'{"format": 2, "checksum": "x"}'])
def test_a_pin_that_cannot_be_read_keeps_everything(place: Place, engine: BlockingCacheEngine, content: bytes) -> None:
    everything = {*fetched(place, "tiny==1.0", "other")}
    (place.cache / "pins" / ("0" * 32)).write_bytes(content)
    names = {name for name in place.names() if not name.endswith(".metadata")}
    removal = cleaned(engine)
    engine.prune(PrunePolicy(is_ci=True))
    assert place.archives() == everything
    assert kept(removal) == {each: {KeepCode.UNKNOWN} for each in everything}
    assert {name for name in place.names() if not name.endswith(".metadata")} == names
    (place.cache / "pins" / ("0" * 32)).unlink()
    cleaned(engine)
    assert place.archives() == set()


def test_a_cache_dir_of_an_older_release_gets_its_place_for_pins(place: Place) -> None:
    fetched(place, "other")
    (place.cache / "pins").rmdir()
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        (made,) = engine.pin(["other"])
    assert read_pins(place.opened().layout).readable == (made,)
