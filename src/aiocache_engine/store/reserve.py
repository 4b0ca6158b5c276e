"""A little space set aside, so that clean and prune can work on a disk with no free block and no free inode."""

from __future__ import annotations

import os
from contextlib import suppress

from aiocache_engine.store.cache_dir import RESERVE_BYTES, furnish
from aiocache_engine.store.layout import Layout

_LEAST_INODES = 64


def spend_reserve(layout: Layout) -> None:
    """Give the reserve back to a full disk; leave it alone where there is room."""
    with suppress(FileNotFoundError):
        room = os.statvfs(layout.root)
        if room.f_bavail * room.f_frsize < RESERVE_BYTES or (room.f_files > 0 and room.f_favail < _LEAST_INODES):
            os.unlink(layout.reserve)


def restore_reserve(layout: Layout) -> None:
    """Set the reserve aside again, and make what a full disk refused to make, if there is room for it now."""
    with suppress(OSError):  # still full: the next prune tries again
        furnish(layout)
