"""The modes in which the cache lock is held, and what a long wait tells."""

from __future__ import annotations

import enum

from aiocache_engine.model.value import value


class LockMode(enum.Enum):
    """How the cache is used during a hold."""

    SHARED = "shared"  #: look up, lease, publish: everything that adds
    EXCLUSIVE = "exclusive"  #: detach: everything that takes names or objects away


@value
class Wait:
    """One wait above a second, as it is told to the person who waits."""

    path: str  #: the lock file
    mode: str  #: "shared", "exclusive", or what the key lock is for
    waited_seconds: float
    holders: tuple[str, ...]  #: who is known to hold it, as "pid 17 (aioc prune)"; empty where that cannot be told
