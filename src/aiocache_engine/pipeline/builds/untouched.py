"""Whether a build left its environment as it was: others build there later, and its files may be those of archives.

Nothing keeps a backend from writing there, so the environment is looked at before the first hook and after the last. A
changed one is found by nobody any more, and so is every archive whose files were changed through it. Who builds there
at the same time has the change already. This finds accidents and carelessness, not a backend that restores times and
sizes; and nobody looks where aioc itself was killed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from aiocache_engine.errors import CacheEngineError
from aiocache_engine.model.records import Member
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.steps import in_exclusive_hold
from aiocache_engine.pipeline.threads import in_thread, in_thread_surely
from aiocache_engine.pipeline.tools.environment import HeldEnvironment
from aiocache_engine.store.archives import TREE
from aiocache_engine.store.detach import take_damaged
from aiocache_engine.store.trash import sweep
from aiocache_engine.store.withdraw import environments_with, take_environment

_MOST_SHOWN = 3

Traits = tuple[int, ...]  #: device, inode and mode; of what is no directory also its size and time of change
_File = tuple[int, int]  #: device and inode


@asynccontextmanager
async def withdrawn_if_changed(kit: Kit, environment: HeldEnvironment, what: str) -> AsyncIterator[None]:
    """Have hooks called in this block; if they change the environment, nobody finds it again, and a warning says so.

    Args:
        kit: the opened cache dir.
        environment: leased for longer than the block.
        what: is built there, for the warning.
    """
    before = await in_thread(partial(look, environment.root))
    try:
        yield
    finally:
        await in_thread_surely(partial(_settle, kit, environment, what, before))


def look(root: str) -> dict[str, Traits]:
    """Give the traits of everything below a directory by its path there; no link is followed.

    What cannot be read is left out, so that it differs from what could.
    """
    found: dict[str, Traits] = {}
    waiting = [""]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(f"{root}/{place}") as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    path = place + entry.name
                    found[path] = _traits(status)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(f"{path}/")
        except OSError:
            found.pop(place.removesuffix("/"), None)
    return found


def _traits(status: os.stat_result) -> Traits:
    if stat.S_ISDIR(status.st_mode):
        return status.st_dev, status.st_ino, status.st_mode
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


def _settle(kit: Kit, environment: HeldEnvironment, what: str, before: Mapping[str, Traits]) -> None:
    """Compare, and take the names of what was changed. Also where the build failed or was cancelled."""
    after = look(environment.root)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if not changed:
        return
    more = f" and {len(changed) - _MOST_SHOWN} more" if len(changed) > _MOST_SHOWN else ""
    said = f"while {what} was built, its build environment was changed ({', '.join(changed[:_MOST_SHOWN])}{more})"
    suspects = {_file(traits): traits for path, traits in before.items() if traits != after.get(path)}
    damaged = [each for each in environment.members if _is_changed(kit, each, suspects)]
    try:
        _withdraw(kit, environment, damaged)
    except CacheEngineError as error:  # the build is what its caller waits for
        kit.reporter.warns(f"{said}, and others will find it: {error}")
        return
    kit.reporter.warns(f"{said}: no other build gets it")
    for each in damaged:
        kit.reporter.warns(
            f"while {what} was built, files of {each.project} {each.version} in the cache were changed: it is fetched "
            "anew, and environments that share its files by hard link have the change"
        )


def _file(traits: Traits) -> _File:
    return traits[0], traits[1]


def _is_changed(kit: Kit, member: Member, suspects: Mapping[_File, Traits]) -> bool:
    """Tell whether files of an archive, or of its bytecode, are among these and are not any more as they were."""
    layout = kit.cache.layout
    places = (f"{layout.archive(member.archive_id)}/{TREE}", layout.bytecode(member.archive_id))
    found = (traits for place in places for traits in look(place).values())
    return any(suspects.get(_file(traits), traits) != traits for traits in found)


def _withdraw(kit: Kit, environment: HeldEnvironment, damaged: Sequence[Member]) -> None:
    """Take the names of the environment, of damaged archives (rule 41), and of all environments made of those."""
    cache, conductor = kit.cache, kit.conductor()
    name = cache.layout.environment_pointer("", environment.digest)
    takes = [partial(take_environment, cache=cache, name=name, environment_id=environment.id)]
    takes += [partial(take_damaged, cache=cache, project=each.project, archive_id=each.archive_id) for each in damaged]
    trashed = [path for take in takes for path in conductor.perform(in_exclusive_hold(take))]
    if damaged:  # only now: until then they were found, and environments made of them
        for path, environment_id in environments_with(cache, (each.archive_id for each in damaged)):
            take = partial(take_environment, cache=cache, name=path, environment_id=environment_id)
            trashed += conductor.perform(in_exclusive_hold(take))
    for path in trashed:
        sweep(path)
