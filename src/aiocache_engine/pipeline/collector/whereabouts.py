"""Tell what became of the environments outside the cache: whether they are there, were renamed, are gone, or who knows.

Only what is certain counts as gone. An environment that bears its id, or of which something that we linked is left, is
there. Where it is missing, it was perhaps renamed, or a directory above it was: the same directory (by device, inode
and id) is looked for below the neighbours of what is missing. One of symbolic links, which would break, is searched for
farther away, and so is a copy of it (`aiocache_engine.pipeline.collector.search`).
"""

from __future__ import annotations

import os
from contextlib import suppress

from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.records import Referrer
from aiocache_engine.model.snapshot import ReferrerState, SeenReferrer
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.search import Search, inode_of
from aiocache_engine.python.environment import IDENTITY, environment_id
from aiocache_engine.python.installed import archives_in_use
from aiocache_engine.system.process import me

_UNREACHABLE = ReferrerState.UNREACHABLE


class Whereabouts:
    """Says of each environment what became of it; what one look has listed serves the others."""

    def __init__(self) -> None:
        #: by directory and the path below each of its entries: the paths that there are, by device and inode
        self._seen: dict[tuple[str, str], dict[tuple[int, int], str]] = {}
        self._search = Search()

    def look_at(self, referrer: Referrer) -> SeenReferrer:
        """Say what became of an environment, and what it uses; one that was moved is told with its new path."""
        state, uses = _look(referrer)
        if state is ReferrerState.MISSING and (found := self._found_again(referrer)) is not None:
            state, uses = _look(found)
            return SeenReferrer(found, state, found.archives if uses is None else uses, is_renamed=True)
        return SeenReferrer(referrer, state, referrer.archives if uses is None else uses)

    def _found_again(self, referrer: Referrer) -> Referrer | None:
        """Look for an environment that was renamed, itself or one directory above it."""
        directory, name = os.path.split(os.path.realpath(referrer.path))
        below = ""
        while directory != "/" and not os.path.isdir(directory):
            below = f"{name}/{below}" if below else name
            directory, name = os.path.split(directory)
        path = self._in(directory, below).get((referrer.device, referrer.inode))
        if path is None or environment_id(path) != referrer.id:
            is_linked = LinkMode.SYMLINK.value in referrer.archives.values()
            path = self._search.find(referrer, directory) if is_linked else None
        if path is None or path == referrer.path or (inode := inode_of(path)) is None:
            return None
        sites = tuple(path + site.removeprefix(referrer.path) for site in referrer.site_directories)
        return replace(referrer, path=path, site_directories=sites, device=inode[0], inode=inode[1])

    def _in(self, directory: str, below: str) -> dict[tuple[int, int], str]:
        """List the directories that stand at this path below each entry of a directory, or are the entries."""
        seen = self._seen.get((directory, below))
        if seen is None:
            seen = self._seen[directory, below] = {}
            with suppress(OSError), os.scandir(directory) as entries:
                for entry in entries:
                    with suppress(OSError):
                        path = f"{entry.path}/{below}" if below else entry.path
                        status = os.lstat(path)
                        seen[status.st_dev, status.st_ino] = path
        return seen


def _look(referrer: Referrer) -> tuple[ReferrerState, dict[str, str] | None]:
    """Say what became of an environment, and what it uses as far as it tells itself."""
    state = _state(referrer)
    if state is ReferrerState.MISSING:
        return state, {}
    uses = archives_in_use(referrer.site_directories, referrer.path) if state is ReferrerState.ALIVE else None
    if uses is None:
        return _UNREACHABLE, None
    if not uses and environment_id(referrer.path) is None:
        # Its place is there, and nothing of it is left; or it is an empty mount point.
        return (ReferrerState.MISSING, uses) if _is_where_it_was(referrer) else (_UNREACHABLE, None)
    return state, uses


def _state(referrer: Referrer) -> ReferrerState:
    """Tell by its id alone, and by its place where it has none."""
    try:
        os.stat(f"{referrer.path}/{IDENTITY}")  # a dead mount answers with an error, not with absence
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError:
        return _UNREACHABLE
    bears = environment_id(referrer.path)
    here = me()
    if bears == referrer.id:
        state = ReferrerState.ALIVE
    elif (referrer.machine_id, referrer.mount_namespace) != (here.machine_id, here.mount_namespace):
        state = _UNREACHABLE
    elif bears is not None:
        state = ReferrerState.MISSING  # another environment stands in its place, with a record of its own
    elif os.path.exists(referrer.path):
        state = ReferrerState.ALIVE  # only its id is lost: its dist-infos tell what it uses
    else:
        state = ReferrerState.MISSING if _is_where_it_was(referrer) else _UNREACHABLE
    return state


def _is_where_it_was(referrer: Referrer) -> bool:
    """Tell whether what is left of an environment's path is of the file system that the environment was on.

    Environments mostly go with their whole project, so the nearest directory that is still there tells, by its device.
    """
    place = os.path.realpath(referrer.path)
    while True:
        try:
            with os.scandir(place) as entries:
                is_empty = next(entries, None) is None
            # Another file system in its place may have got the device number of the one that was unmounted.
            return os.stat(place).st_dev == referrer.device and not (is_empty and os.path.ismount(place))
        except FileNotFoundError:
            place = os.path.dirname(place)
        except OSError:  # no directory, or one that may not be read: nothing is certain
            return False
