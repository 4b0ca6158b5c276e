"""Pages of indexes and metadata of wheels, as entries that a prune may take: a look-up misses them then."""

from __future__ import annotations

import os
from collections import deque

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.snapshot import SeenPage
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import is_over
from aiocache_engine.store.trash import to_trash
from aiocache_engine.system.lock import Hold

PAGE_KIND = "page"


def last_use_of_page(path: str) -> float | None:
    """Give when it was written or, where the file system notes that, read; None: it is gone.

    In seconds since the epoch.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return max(status.st_mtime, status.st_atime)


def take_pages(hold: Hold, cache: CacheDir, queue: deque[SeenPage]) -> list[tuple[str, SeenPage]]:
    """Take pages that nobody has read or written since they were seen; gives where they lie in trash.

    Stops after 10 ms and leaves the rest in the queue. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    trashed: list[tuple[str, SeenPage]] = []
    while queue:
        page = queue.popleft()
        if last_use_of_page(page.path) == page.last_used_at:
            path = to_trash(cache.layout, page.path, kind=PAGE_KIND, entry_id=page.project)
            trashed += [] if path is None else [(path, page)]
        if is_over(hold):
            break
    return trashed
