"""Search for environments that are missing, farther away than among their neighbours, within narrow bounds.

Found is what bears the id of one: itself, moved to another directory, or a copy of it. Looked at are the directories
below the nearest one that is still there and below some around that, on its file system alone: no more than 20,000
entries for all that a scan misses together. What lies farther away is not found. Takes its time: in no hold.
"""

from __future__ import annotations

import os
from collections import deque

from aiocache_engine.model.records import Referrer
from aiocache_engine.python.environment import IDENTITY, environment_id
from aiocache_engine.store.layout import MARKER
from aiocache_engine.system.mounts import mount_points

ENTRIES = 20_000
LEVELS_UP = 2
LEVELS_DOWN = 5
_PASSED_BY = frozenset({".git", "__pycache__", "node_modules", "site-packages"})


class Search:
    """Finds missing environments; what it lists for one serves the others."""

    def __init__(self) -> None:
        self._left = ENTRIES
        self._listed: dict[str, int] = {}  #: how far below a directory was looked, by its path
        self._found: dict[str, list[str]] = {}  #: environments by the id that they bear
        self._mounts: frozenset[str] | None = None

    def find(self, referrer: Referrer, nearest: str) -> str | None:
        """Give the path of an environment, or else of a copy; None: there is none within bounds.

        Args:
            referrer: what is missing.
            nearest: the directory above it that is still there.
        """
        place = nearest
        for _ in range(LEVELS_UP + 1):
            if place == "/":
                break
            self._look_below(place, referrer.device)
            if (path := self._choose(referrer)) is not None:
                return path
            if os.path.ismount(place):
                break
            place = os.path.dirname(place)
        return None

    def _choose(self, referrer: Referrer) -> str | None:
        places = [each for each in self._found.get(referrer.id, ()) if environment_id(each) == referrer.id]
        moved = [each for each in places if inode_of(each) == (referrer.device, referrer.inode)]
        return next(iter([*moved, *places]), None)

    def _look_below(self, top: str, device: int) -> None:
        queue = deque([(top, LEVELS_DOWN)])
        while queue and self._left > 0:
            directory, levels = queue.popleft()
            names = self._list(directory, levels, device)
            queue += [(f"{directory}/{name}", levels - 1) for name in names if levels > 0]

    def _list(self, directory: str, levels: int, device: int) -> list[str]:
        """Give the directories in one, or none where it is no place for environments or was looked at before."""
        if self._listed.get(directory, -1) >= levels or directory in self._mount_points():
            return []
        self._listed[directory] = levels
        here = inode_of(directory)
        if here is None or here[0] != device:
            return []
        directories: list[str] = []
        names: set[str] = set()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    self._left -= 1
                    if self._left < 0:
                        break
                    names.add(entry.name)
                    if entry.is_dir(follow_symlinks=False) and entry.name not in _PASSED_BY:
                        directories.append(entry.name)
        except OSError:  # it may not be read, or went just now
            return []
        if IDENTITY in names and (found := environment_id(directory)) is not None:
            places = self._found.setdefault(found, [])
            places += [directory] if directory not in places else []
            return []
        return [] if MARKER in names else sorted(directories)

    def _mount_points(self) -> frozenset[str]:
        """Give where something is mounted: even asking a dead mount for its device waits for ever."""
        if self._mounts is None:
            self._mounts = mount_points() - {"/"}
        return self._mounts


def inode_of(path: str) -> tuple[int, int] | None:
    """Give device and inode of a directory; None if it is not there."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
