"""A crowd of environments and leases makes no hold of a collector long: what is opened in each is counted here.

`benchmarks/crowd.py` makes the crowd, and measures the time.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.store.archives import set_linked
from caches import Place
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
    count: int, crowd: ModuleType, filled: tuple[Place, tuple[str, ...]], tmp_path: Path
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
    # Records are forgotten by the hundred: each is read, and removed from its directory, opened below the cache dir.
    assert max(sum(name in records for name in names) for names in opened) <= 100
    assert max(map(len, opened)) <= 3 * 100 + 10
