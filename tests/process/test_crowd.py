"""A crowd of environments and leases makes no hold of a collector long: what is looked at in each is counted here.

`benchmarks/crowd.py` makes the crowd, and measures the time.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import holds as in_holds
from aiocache_engine.model.locking import LockMode
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.store import leases as lease_files
from aiocache_engine.store.archives import set_linked
from aiocache_engine.store.leases import Lease, LeaseReader
from caches import HOLDER, Place, in_hold, prune_now
from holds import watched_holds
from toolsheds import fetched

FEW, MANY = 3, 1000
GONE_OF = 4  #: every fourth environment is gone


@pytest.fixture(scope="module")
def crowd() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "crowd.py"
    spec = importlib.util.spec_from_file_location("crowd", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, tuple[str, ...]]:
    place = Place(tmp_path_factory.mktemp("filled"))
    for name in ("staying", "fading", "going"):
        place.wheel(name)
    return place, fetched(place, "staying", "fading", "going")


@pytest.mark.parametrize("count", [FEW, MANY])
def test_no_hold_opens_more_because_there_is_a_crowd(
    count: int,
    crowd: ModuleType,
    filled: tuple[Place, tuple[str, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, (staying, fading, going) = filled
    shutil.copytree(before.root, tmp_path, dirs_exist_ok=True)
    place = Place(tmp_path)
    cache = place.opened()
    environments = crowd.settle(place.cache, tmp_path / "environments", [staying], count)
    gone = environments[::GONE_OF]
    for environment in gone:
        shutil.rmtree(environment)
    set_linked(cache.layout.archive(going))
    looked_at: list[str] = []  # in holds, as far as it was not opened
    stat = os.stat

    def watching(path: Any, **how: Any) -> os.stat_result:
        if in_holds.is_watching():
            looked_at.append(os.path.basename(os.fsdecode(path)))
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", watching)
    with crowd.leases(place.cache, [staying, fading], count):
        leases = set(os.listdir(cache.layout.leases))
        records = set(os.listdir(cache.layout.referrers))
        with watched_holds(cache, LockMode.EXCLUSIVE) as (conductor, holds):
            pruned = conductor.perform(Collector(cache).prune())
            cleaned = conductor.perform(Collector(cache).clean(clean_targets(["fading"], ())))
        assert {each.id for each in pruned.removed if each.kind == "archive"} == {going}
        assert [each.object.id for each in cleaned.kept] == [fading]
        assert len(os.listdir(cache.layout.condemned)) == 1
    assert len(leases) == len(records) == count
    assert len(records - set(os.listdir(cache.layout.referrers))) == len(gone)
    opened = [[os.path.basename(path) for path in paths] for paths in holds]
    # A lease file is opened where it grew, or to ask the kernel about one that names what is to go: here once in all.
    assert sum(name in leases for names in opened for name in names) == 1
    # Of few each is looked at in the first hold of prune and of clean; of many that one alone, whether it still does.
    assert sum(name in leases for name in looked_at) == (2 * FEW if count == FEW else 0) + 1
    # Records are forgotten by the hundred: each is read, and removed from its directory, opened below the cache dir.
    assert max(sum(name in records for name in names) for names in opened) <= 100
    assert max(map(len, opened)) <= 3 * 100 + 10


@pytest.mark.parametrize("when", ["before the leases are read", "after they were read"])
def test_what_is_leased_between_two_holds_of_a_collector_stays_even_without_a_stamp(
    filled: tuple[Place, tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    before, (_, fading, going) = filled
    shutil.copytree(before.root, tmp_path, dirs_exist_ok=True)
    place = Place(tmp_path)
    cache = place.opened()
    for object_id in (fading, going):
        set_linked(cache.layout.archive(object_id))
    monkeypatch.setattr(lease_files, "FEW", -1)  # as in a crowd
    read_ahead = LeaseReader.read_ahead
    begun: list[Lease] = []

    def begin() -> None:
        begun.append(in_hold(cache, LockMode.SHARED, lambda hold: Lease.birth(hold, cache.layout.leases, HOLDER)))
        in_hold(cache, LockMode.SHARED, lambda hold: begun[0].add(hold, [going]))

    def reading(reader: LeaseReader) -> None:
        if not begun and when.startswith("before"):
            begin()
        read_ahead(reader)
        if not begun:
            begin()

    monkeypatch.setattr(LeaseReader, "read_ahead", reading)
    pruned = prune_now(cache)
    assert {each.id for each in pruned.removed if each.kind == "archive"} == {fading}
    assert [each.object.id for each in pruned.kept if each.object.id == going] == [going]
    assert going in place.archives()
    begun[0].end()
