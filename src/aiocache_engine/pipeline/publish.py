"""Publish an archive, and take what is damaged out of the way: as every filler of the cache does (rules 19 and 41)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiocache_engine.errors import DamagedEntryError
from aiocache_engine.hints import TypeVar
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Pointer
from aiocache_engine.pipeline.find import Choice, Ready
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.report import Reporter
from aiocache_engine.store.archives import open_manifest
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import take_damaged
from aiocache_engine.store.trash import sweep
from aiocache_engine.store.work import Published
from aiocache_engine.system.lock import Hold
from aiocache_engine.system.process import me

Sound = TypeVar("Sound")


def publish_sound(
    cache: CacheDir,
    reporter: Reporter,
    project: str,
    publish: Callable[[Hold], Published],
    check: Callable[[Published], Sound],
) -> Steps[Sound]:
    """Publish what is staged; what was adopted instead is used only if it passes its first-use check (rule 19).

    Args:
        cache: the cache dir.
        reporter: is told of what was damaged.
        project: whose archive it is.
        publish: does it, in a shared hold.
        check: opens what was published, outside.

    Raises:
        DamagedEntryError: what was published cannot be used.
    """
    published: Published = yield InHold(LockMode.SHARED, publish)
    try:
        sound: Sound = yield Outside(partial(check, published))
    except DamagedEntryError as error:
        if not published.is_adopted:
            raise
        reporter.warns(f"{error}; it is replaced")
    else:
        return sound
    yield from discard_damaged(cache, project, published.archive.id)
    published = yield InHold(LockMode.SHARED, publish)
    sound = yield Outside(partial(check, published))
    return sound


def discard_damaged(cache: CacheDir, project: str, archive_id: str) -> Steps[None]:
    """Take the names of a damaged archive, so that the next fill makes a new one (rule 41)."""
    take = partial(take_damaged, cache=cache, project=project, archive_id=archive_id)
    trashed: list[str] = yield InHold(LockMode.EXCLUSIVE, take)
    for path in trashed:
        yield Outside(partial(sweep, path))


def opened(choice: Choice, pointer: Pointer, origin: str, published: Published) -> Ready:
    """Read what was published back; an adopted archive passes its first-use check here.

    Raises:
        DamagedEntryError: it did not.
    """
    manifest = open_manifest(published.archive, me().boot_id)
    return Ready(choice.wanted, choice, published.archive, pointer, manifest, origin)
