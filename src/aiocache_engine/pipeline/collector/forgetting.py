"""Forget environments by hand: those that cannot be reached, and of which only a person knows that they are gone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

from aiocache_engine.config import absolute
from aiocache_engine.errors import NotInCacheError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Referrer
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.referrers import forget, read_referrers


def forget_by_hand(cache: CacheDir, paths: Iterable[str]) -> Steps[tuple[Referrer, ...]]:
    """Forget the environments at these paths; gives what was forgotten. They themselves are neither read nor changed.

    What they used goes with the next prune, unless something else keeps it; what is installed into one of them
    meanwhile makes it known again.

    Raises:
        NotInCacheError: none is known at a path; then none is forgotten.
    """
    cache.ensure_writable()
    found: list[Referrer] = yield Outside(partial(_find, cache, tuple(paths)))
    forgotten: list[Referrer] = yield InHold(LockMode.EXCLUSIVE, partial(forget, cache=cache, referrers=found))
    return tuple(forgotten)


def _find(cache: CacheDir, paths: Iterable[str]) -> list[Referrer]:
    referrers, _, _ = read_referrers(cache.layout.referrers)
    found: dict[str, Referrer] = {}
    for path in paths:
        place = absolute(path)
        # As it is written first: to look at a dead mount may take for ever.
        there = [each for each in referrers if each.path == place]
        there = there or [each for each in referrers if each.path == os.path.realpath(place)]
        if not there:
            raise NotInCacheError(path, "environment", "`aioc prune` names those that it cannot reach")
        found |= {each.id: each for each in there}
    return list(found.values())
