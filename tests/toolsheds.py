"""Hand-made cached environments: linked from archives that are there, named or not, as the runner of tools does it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import digest, new_object_id
from aiocache_engine.model.records import EnvironmentPointer, Member, ToolCommand
from aiocache_engine.store.archives import read_totals
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.environments import FoundEnvironment, PublishedEnvironment, write_environment_description
from aiocache_engine.store.work import Work
from aiocache_engine.system.lock import Hold
from caches import HOLDER, Place, in_hold


def fetched(place: Place, *requirements: str) -> tuple[str, ...]:
    """Fetch from a test that runs no loop; gives the archives in the order in which they are asked for."""
    return tuple(asyncio.run(place.fetch(requirement))[0] for requirement in requirements)


def begin(cache: CacheDir, *projects: str) -> Work:
    """Begin a work: it has a lease, and has read the generations."""
    work = Work(cache, HOLDER)
    in_hold(cache, LockMode.SHARED, lambda hold: work.begin(hold, projects))
    return work


def describe(cache: CacheDir, archive_ids: Sequence[str], tool: str | None = None, **what: Any) -> EnvironmentPointer:
    """Say what the name of an environment made of archives says; the tool is its first project, or "" for builds."""
    totals = [read_totals(cache.layout.archive(archive_id)) for archive_id in archive_ids]
    members = tuple(
        Member(each.project, each.version, archive_id)
        for each, archive_id in zip(totals, archive_ids, strict=True)
        if each is not None
    )
    said = {
        "environment_id": new_object_id(),
        "tool": members[0].project if tool is None else tool,
        "digest": digest("a request"),
        "executable": sys.executable,
        "members": members,
        "commands": (ToolCommand("tool", "bin/tool", members[0].project),),
        "created_at": 1.0,
    }
    return EnvironmentPointer(**{**said, **what})


def stage(work: Work, pointer: EnvironmentPointer) -> str:
    """Link the trees of all members into a staged environment, and describe it."""
    staged = work.new_staging()
    for member in pointer.members:
        tree = f"{work.cache.layout.archive(member.archive_id)}/tree"
        for directory, _, files in os.walk(tree):
            place = f"{staged}/env/site{directory.removeprefix(tree)}"
            os.makedirs(place, exist_ok=True)
            for name in files:
                os.link(f"{directory}/{name}", f"{place}/{member.project}-{name}")
    with open(f"{staged}/env/pyvenv.cfg", "x", encoding="utf-8") as file:
        file.write("home = nowhere\n")
    write_environment_description(staged, pointer, boot_id="boot")
    return staged


def publish(work: Work, pointer: EnvironmentPointer, *, is_named: bool = True) -> PublishedEnvironment:
    """Stage an environment and make it visible."""
    staged = stage(work, pointer)

    def steps(hold: Hold) -> PublishedEnvironment:
        work.keep(hold, [each.archive_id for each in pointer.members])
        return work.publish_environment(hold, staged, pointer.environment_id, pointer, is_named=is_named)

    published: PublishedEnvironment = in_hold(work.cache, LockMode.SHARED, steps)
    return published


def finish(work: Work) -> None:
    """End a work as its call does."""
    staging = work.staging_directory()
    work.end()
    if staging is not None:
        with suppress(FileNotFoundError):  # nobody's any more: a prune beside may be quicker
            shutil.rmtree(staging)


def make_tool(cache: CacheDir, archive_ids: Sequence[str], tool: str | None = None, **what: Any) -> EnvironmentPointer:
    """Make a cached environment of archives, and end the work: nobody uses it. Gives what its name says."""
    pointer = describe(cache, archive_ids, tool, **what)
    work = begin(cache, *(each.project for each in pointer.members))
    published = publish(work, pointer)
    finish(work)
    assert published.is_named
    return pointer


def run_tool(cache: CacheDir, pointer: EnvironmentPointer) -> tuple[Work, FoundEnvironment | None]:
    """Look an environment up as its runner does; it is in use until the work ends."""
    work = begin(cache)
    found = in_hold(cache, LockMode.SHARED, lambda hold: work.find_environment(hold, pointer.tool, pointer.digest))
    return work, found
