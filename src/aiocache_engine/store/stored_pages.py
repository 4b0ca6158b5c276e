"""Pages of indexes, metadata, sdists and logs, as entries that a prune may take: a look-up misses them then."""

from __future__ import annotations

import os
from collections import deque

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.removal import PlannedPage
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import is_over
from aiocache_engine.store.trash import to_trash
from aiocache_engine.system.lock import Hold


def last_use_of_page(path: str) -> float | None:
    """Give when it was written or, where the file system notes that, read; None: it is gone.

    In seconds since the epoch.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return max(status.st_mtime, status.st_atime)


def size_of_page(path: str) -> int:
    """Give the logical size; nothing where it went a moment ago."""
    try:
        return os.lstat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def take_pages(hold: Hold, cache: CacheDir, queue: deque[PlannedPage]) -> list[tuple[str, PlannedPage]]:
    """Take pages that nobody has read or written since they were seen; gives where they lie in trash.

    Stops after 10 ms and leaves the rest in the queue. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    trashed: list[tuple[str, PlannedPage]] = []
    while queue:
        item = queue.popleft()
        page = item.page
        if last_use_of_page(page.path) == page.last_used_at:
            path = to_trash(cache.layout, page.path, kind=page.kind.value, entry_id=page.project)
            trashed += [] if path is None else [(path, item)]
        if is_over(hold):
            break
    return trashed
