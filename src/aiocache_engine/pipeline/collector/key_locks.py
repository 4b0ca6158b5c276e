"""Take away the key lock files that nobody holds; who waits for one notices that it went (rule 5)."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from aiocache_engine.errors import KeyLockTimeoutError, LockError
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.trash import sweep, to_trash
from aiocache_engine.system.keylock import KeyLock


def remove_idle_key_locks(layout: Layout) -> None:
    """Remove key lock files that nobody holds, each while it is held, and whatever else stands among them."""
    for name in list_directory(layout.key_locks):
        path = f"{layout.key_locks}/{name}"
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:  # what stands there next is somebody's who works now
            continue
        if not stat.S_ISREG(mode):  # nobody can hold it, and it stops whoever wants to
            _remove_stray(layout, path)
            continue
        try:
            with suppress(KeyLockTimeoutError):
                KeyLock(path).remove_now()
        except LockError:
            if os.path.isdir(layout.key_locks) and not os.path.islink(path):  # a link just now: the next prune's
                raise


def _remove_stray(layout: Layout, path: str) -> None:
    """Take away what is no lock file, unless somebody else did, and a lock file was made there since."""
    trashed = to_trash(layout, path, kind="lock", entry_id="stray")
    if trashed is None:
        return
    try:
        if stat.S_ISREG(os.lstat(trashed).st_mode):
            # Whoever wanted it again meanwhile has made another one: then two do the same work, no more (rule 4).
            with suppress(FileExistsError):
                os.link(trashed, path)
    except FileNotFoundError:  # another prune has swept it
        return
    sweep(trashed)
