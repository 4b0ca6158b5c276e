"""Make pins and take them off, as steps: what is pinned was looked up, leased and stamped before (rule 1).

Leased is in short holds, however much it is; the last hold finds the names as they were then, and writes the pins.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial

from aiocache_engine.errors import NotInCacheError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Member, Pin
from aiocache_engine.model.removal import CleanTarget, TargetKind
from aiocache_engine.model.snapshot import FileIdentity
from aiocache_engine.pipeline.inputs.arguments import pin_name
from aiocache_engine.pipeline.inputs.requirements import parse_clean_target_or_id
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.store.archives import is_present
from aiocache_engine.store.detach import is_over
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.layout import HASH_NAMES, Layout
from aiocache_engine.store.name_choice import files_in, identity, may_be_pointer, project_directories
from aiocache_engine.store.names import read_pointer
from aiocache_engine.store.pins import read_pins, take_pin_off, write_pin
from aiocache_engine.store.work import Work
from aiocache_engine.system.clock import SystemClock
from aiocache_engine.system.lock import Hold

_Name = tuple[str, FileIdentity | None]  #: its path, and which file it was when it was read
_Named = dict[Member, list[_Name]]  #: the names that lead to each archive


def pin(kit: Kit, requirements: Iterable[str], name: str | None) -> Steps[tuple[Pin, ...]]:
    """Pin all archives in the cache that are meant; gives the pins, one for each requirement or all in one.

    Args:
        kit: whose cache dir.
        requirements: as a clean names them, tools aside.
        name: of one pin for all of them; None: one for each, called like it.

    Raises:
        InvalidRequirementError: a requirement means nothing that can be pinned.
        NotInCacheError: nothing in the cache matches one of them; nothing is pinned then.
        UsageError: a pin cannot be called that.
    """
    called = None if name is None else pin_name(name)
    kit.cache.ensure_writable()
    targets = {text: parse_clean_target_or_id(text) for text in requirements}
    names = {text: called or _called(target) for text, target in targets.items()}
    found: dict[str, _Named] = yield Outside(
        lambda: {text: _find(kit.cache.layout, target) for text, target in targets.items()}
    )
    work = kit.work()
    try:
        queue = deque({member: None for named in found.values() for member in named})
        while queue:
            yield InHold(LockMode.SHARED, partial(_lease, work=work, queue=queue))
        write = partial(_pin, kit=kit, found=found, names=names, now=SystemClock().now())
        pins: tuple[Pin, ...] = yield InHold(LockMode.SHARED, write)
    finally:
        end_work(work)
    return pins


def unpin(kit: Kit, name: str) -> Steps[Pin]:
    """Take a pin off; gives what it was.

    Raises:
        NotInCacheError: there is no pin of that name.
    """
    name = pin_name(name)
    kit.cache.ensure_writable()
    pins = yield Outside(partial(read_pins, kit.cache.layout))
    is_off = yield InHold(LockMode.SHARED, partial(take_pin_off, cache=kit.cache, name=name))
    if not is_off:
        known = ", ".join(pin.name for pin in pins.readable)
        raise NotInCacheError(name, "pin", f"there are {known}" if known else "there are none")
    return next((pin for pin in pins.readable if pin.name == name), Pin(name, (), 0.0))


def _called(target: CleanTarget) -> str:
    return f"{target.project}{target.specifier or ''}"


def _find(layout: Layout, target: CleanTarget) -> _Named:
    """Give the archives that are meant and to which a name leads: what has none was cleaned."""
    found: _Named = {}
    for directory in project_directories(layout):
        if target.kind is not TargetKind.ID and not target.takes(os.path.basename(directory)):
            continue
        for path, file, member in _members(layout, directory):
            if _is_meant(member, target):
                found.setdefault(member, []).append((path, file))
    return found


def _members(layout: Layout, directory: str) -> Iterator[tuple[str, FileIdentity | None, Member]]:
    for index, path in files_in(layout, directory):
        if index == HASH_NAMES or not may_be_pointer(index, path):
            continue
        file = identity(path)
        if (pointer := read_pointer(path)) is not None:
            yield path, file, Member(pointer.project, pointer.version, pointer.archive_id)


def _is_meant(member: Member, target: CleanTarget) -> bool:
    if target.kind is TargetKind.ID:
        return member.archive_id == target.project
    return target.specifier is None or version_matches(target.specifier, member.version)


def _lease(hold: Hold, work: Work, queue: deque[Member]) -> None:
    """Lease and stamp what is in the queue and there. Stops after 10 ms; needs the shared lock."""
    work.begin(hold, [])
    while queue:
        work.keep(hold, [queue.popleft().archive_id])
        if is_over(hold):
            break


def _pin(hold: Hold, kit: Kit, found: dict[str, _Named], names: dict[str, str], now: float) -> tuple[Pin, ...]:
    """Pin what is leased and the names still lead to. Needs the shared lock."""
    layout = kit.cache.layout
    members: dict[str, dict[Member, None]] = {}
    for text, named in found.items():
        there = [member for member, paths in named.items() if any(_leads(layout, name, member) for name in paths)]
        if not there:
            raise NotInCacheError(text, "archive", "bring it there with `aioc fetch` first")
        members.setdefault(names[text], {}).update(dict.fromkeys(there))
    pins = tuple(Pin(name, tuple(group), now) for name, group in members.items())
    for each in pins:
        write_pin(hold, kit.cache, each)
    return pins


def _leads(layout: Layout, name: _Name, member: Member) -> bool:
    """Tell whether a name leads to a leased archive still: it is the file that was read, or says so again."""
    path, file = name
    now = identity(path)
    if now is None or not is_present(layout.archive(member.archive_id)):
        return False
    if now == file:
        return True
    pointer = read_pointer(path)
    return pointer is not None and pointer.archive_id == member.archive_id
