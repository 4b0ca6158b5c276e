"""What a removal itself writes takes blocks, too: told by a rule, so that a dry run and the removal say the same."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from aiocache_engine.store.generations import Cleaned, size_after
from aiocache_engine.store.layout import Layout

_BLOCK_BYTES = 512  #: the unit of st_blocks, whatever the file system's own


def file_bytes(layout: Layout, size_bytes: int) -> int:
    """Give what a file of that size takes on the cache dir's file system: whole blocks."""
    block_bytes = os.statvfs(layout.root).f_frsize or 1
    return -(-size_bytes // block_bytes) * block_bytes


def empty_directory_bytes(layout: Layout) -> int:
    """Give what a new directory takes there: as little as any directory of the cache dir does."""
    taken = []
    for directory in layout.directories():
        with suppress(OSError):
            taken.append(os.lstat(directory).st_blocks * _BLOCK_BYTES)
    return min(taken, default=0)


def generation_growth(layout: Layout, path: str, cleaned: Iterable[Cleaned]) -> int:
    """Tell how many bytes of the disk more a generation file takes after these bumps."""
    try:
        size_bytes = os.lstat(path).st_size
    except FileNotFoundError:
        size_bytes = 0
    return file_bytes(layout, size_after(path, cleaned)) - file_bytes(layout, size_bytes)
