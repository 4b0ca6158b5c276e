"""What a clean or prune says that it freed is what the disk got back, to the byte, and what its dry run said before."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from threading import Thread

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.model.locking import LockMode, Wait
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.removal import CleanPolicy, Removal
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.remove import carry_out
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.pipeline.steps import Steps
from aiocache_engine.report import Reporter
from aiocache_engine.store.leases import Lease
from aiocache_engine.system.lock import Hold
from aiocache_engine.testing.invariants import assert_sound
from caches import HOLDER, Place, clean_now, in_hold, perform
from reports import allocated

EVEN_IN_USE = CleanPolicy(takes_in_use=True)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel("tiny")
    place.wheel("other")
    asyncio.run(place.fetch("tiny", "other"))
    return place


def lease_on(place: Place, archive_ids: set[str]) -> Lease:
    cache = place.opened()

    def birth(hold: Hold) -> Lease:
        lease = Lease.birth(hold, cache.layout.leases, HOLDER)
        lease.add(hold, archive_ids)
        return lease

    lease: Lease = in_hold(cache, LockMode.SHARED, birth)
    return lease


def die(lease: Lease) -> None:
    """End a lease as the death of its holder does: the file stays, and nobody frees anything."""
    content = Path(lease.path).read_bytes()
    lease.end()
    Path(lease.path).write_bytes(content)


def with_a_dead_lease(place: Place) -> None:
    die(lease_on(place, place.archives()))


def with_something_condemned(place: Place) -> None:
    lease = lease_on(place, place.archives())
    clean_now(place.opened(), "other")
    die(lease)


def with_pins(place: Place) -> None:
    with BlockingCacheEngine(place.cache, config=place.config()) as engine:
        engine.pin(["tiny"])
        engine.pin(["tiny", "other"], name="both")


def with_what_follows(place: Place) -> None:
    """Have every generation file that a clean of these would have to make."""
    clean_now(place.opened(), "tiny")
    clean_now(place.opened())
    clean_now(place.opened(), "tiny")
    asyncio.run(place.fetch("tiny", "other"))


def with_environments_gone(place: Place) -> None:
    for name in ("one", "two"):
        asyncio.run(place.install(name, "tiny", mode=LinkMode.HARDLINK))
        shutil.rmtree(place.root / name)


def as_it_is(place: Place) -> None:
    assert place.archives()


SCENES = [
    as_it_is,
    with_a_dead_lease,
    with_something_condemned,
    with_pins,
    with_what_follows,
    with_environments_gone,
]


@pytest.mark.parametrize(
    ("command", "scene"),
    [
        *product(["clean", "clean tiny"], SCENES),
        ("clean tiny<2", as_it_is),
        ("clean ti*", as_it_is),
        ("even tiny", with_pins),
        ("prune", with_a_dead_lease),
        ("prune", with_something_condemned),
        ("prune", with_environments_gone),
    ],
)
def test_what_is_said_is_what_goes_to_the_byte(place: Place, scene: Callable[[Place], None], command: str) -> None:
    scene(place)
    cache = place.opened()
    verb, *names = command.split()
    policy = EVEN_IN_USE if verb == "even" else CleanPolicy()
    targets = clean_targets(names, ())
    with_plan = Collector(cache)
    plan = perform(cache, with_plan.plan_prune() if verb == "prune" else with_plan.plan_clean(targets, policy))
    foreseen = foresee(cache, plan)
    before = allocated(place.cache)
    removal: Removal = perform(
        cache,
        carry_out(cache, lambda each: each.prune() if verb == "prune" else each.clean(targets, policy)),
    )
    assert rows(foreseen) == rows(removal)
    # Where nothing goes, the new generation is a block that is told of nowhere.
    assert removal.freed_bytes == max(0, before - allocated(place.cache))
    assert all(each.freed_bytes >= 0 for each in removal.removed)
    assert_sound(place.cache)


def rows(removal: Removal) -> list[tuple[object, ...]]:
    return sorted(
        (each.kind, each.project or "", each.id or "", each.file_count, each.size_bytes, each.freed_bytes)
        for each in removal.removed
    )


def test_what_its_last_user_frees_meanwhile_is_told_by_the_clean_that_waits_for_it(place: Place) -> None:
    lease = lease_on(place, place.archives())
    ended: list[Wait] = []

    def end() -> None:
        lease.end()
        cache = place.opened()
        assert perform(cache, Collector(cache).free_condemned())

    class Listener(Reporter):
        def waits(self, wait: Wait) -> None:
            ended.append(wait)
            user = Thread(target=end)
            user.start()
            user.join()

    before = allocated(place.cache) - os.stat(lease.path).st_blocks * 512
    with BlockingCacheEngine(place.cache, config=place.config(), reporter=Listener()) as engine:
        removal = engine.clean(wait=True)
    assert ended
    assert not removal.kept
    assert {each.project for each in removal.removed if each.kind == "archive"} == {"tiny", "other"}
    assert removal.freed_bytes == before - allocated(place.cache)


def test_what_lost_its_last_user_during_a_clean_is_told_as_gone_and_not_as_kept(place: Place) -> None:
    lease, cache = lease_on(place, place.archives()), place.opened()
    before = allocated(place.cache) - os.stat(lease.path).st_blocks * 512

    def clean(collector: Collector) -> Steps[Removal]:
        removal = yield from collector.clean(())
        assert len(removal.kept) == 2
        lease.end()
        return removal

    removal: Removal = perform(cache, carry_out(cache, clean))
    assert not removal.kept
    assert removal.freed_bytes == before - allocated(place.cache)
