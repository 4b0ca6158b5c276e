"""A little space set aside, so that clean and prune can work on a disk with no free block and no free inode."""

from __future__ import annotations

import os
from contextlib import suppress

from aiocache_engine.store.cache_dir import RESERVE_BYTES
from aiocache_engine.store.layout import Layout
from aiocache_engine.system.disk import write_bytes

_LEAST_INODES = 64


def spend_reserve(layout: Layout) -> None:
    """Give the reserve back to a full disk; leave it alone where there is room."""
    with suppress(FileNotFoundError):
        room = os.statvfs(layout.root)
        if room.f_bavail * room.f_frsize < RESERVE_BYTES or (room.f_files > 0 and room.f_favail < _LEAST_INODES):
            os.unlink(layout.reserve)


def restore_reserve(layout: Layout) -> None:
    """Set the reserve aside again, if there is room for it now."""
    if not os.path.exists(layout.reserve):
        with suppress(OSError):  # still full, or another process was quicker: the next prune tries again
            write_bytes(layout.reserve, bytes(RESERVE_BYTES))
