"""Take archives out of pins: what a clean does first that takes what is pinned."""

from __future__ import annotations

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import digest
from aiocache_engine.model.records import Pin
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import is_over
from aiocache_engine.store.pins import PinReader, Pins, take_pin_off, write_pin
from aiocache_engine.store.trash import Swept, measure
from aiocache_engine.system.lock import Hold


def emptied(pins: Pins, archive_ids: frozenset[str]) -> list[Pin]:
    """Give the pins that keep nothing without these archives."""
    return [pin for pin in pins.readable if not pin.without(archive_ids).archives]


def release_pins(
    hold: Hold, cache: CacheDir, reader: PinReader, archive_ids: frozenset[str]
) -> tuple[list[Swept], bool]:
    """Take archives out of all pins, and pins off that keep nothing more; gives what that freed, and if it is all.

    Stops after 10 ms and leaves the rest to another hold. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    swept: list[Swept] = []
    is_begun = False
    for pin in reader.read().readable:
        left = pin.without(archive_ids)
        if left == pin and pin.archives:
            continue
        if is_begun and is_over(hold):
            return swept, False
        is_begun = True
        if left.archives:
            write_pin(hold, cache, left)
        else:
            record = measure(cache.layout.pin(digest(pin.name)))
            if take_pin_off(hold, cache, pin.name):
                swept.append(record)
    return swept, True
