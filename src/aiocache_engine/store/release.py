"""Take archives out of pins: what a clean does first that takes what is pinned."""

from __future__ import annotations

from aiocache_engine.model.locking import LockMode
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import is_over
from aiocache_engine.store.pins import PinReader, take_pin_off, write_pin
from aiocache_engine.system.lock import Hold


def release_pins(hold: Hold, cache: CacheDir, reader: PinReader, archive_ids: frozenset[str]) -> bool:
    """Take archives out of all pins, and pins off that keep nothing more; tells if that is all.

    Stops after 10 ms and leaves the rest to another hold. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    is_begun = False
    for pin in reader.read().readable:
        left = pin.without(archive_ids)
        if left == pin and pin.archives:
            continue
        if is_begun and is_over(hold):
            return False
        is_begun = True
        if left.archives:
            write_pin(hold, cache, left)
        else:
            take_pin_off(hold, cache, pin.name)
    return True
