"""The end of every command that removes nothing itself: what was cleaned while it was in use is freed (rule 35)."""

from __future__ import annotations

from contextlib import suppress

from aiocache_engine.errors import LockTimeoutError
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.store.notes import read_notes
from aiocache_engine.system.disk import translated


def free_condemned_now(kit: Kit) -> None:
    """Free it, if its last user is gone. If the cache is busy, the next command does it."""
    if kit.cache.is_read_only:
        return
    with translated(kit.cache.root):
        notes = read_notes(kit.cache.layout.condemned)
    if not notes:
        return
    from aiocache_engine.pipeline.collector.collect import Collector  # noqa: PLC0415 - mostly there is nothing to free

    with suppress(LockTimeoutError):
        kit.housekeeper().perform(Collector(kit.cache).free_condemned())
