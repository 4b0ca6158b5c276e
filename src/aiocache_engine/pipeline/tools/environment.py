"""A cached environment that somebody uses, and how it is found in the cache alone: the whole of a warm run.

What was found is leased in the hold that found it, so that nobody removes it before the lease ends (rules 15 and 27).
A program that takes this process's place gets the lease with its descriptor (rule 11).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from aiocache_engine.errors import CommandNotFoundError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import EnvironmentPointer, Member
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.pipeline.tools.request import PYTHON, Tool
from aiocache_engine.store.archives import is_checked, mark_checked, mark_unchecked
from aiocache_engine.store.environments import (
    ENVIRONMENT_VARIABLE,
    CachedEnvironment,
    FoundEnvironment,
    read_environment_pointer,
)
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.work import Work
from aiocache_engine.system.lock import Hold
from aiocache_engine.system.process import me


class HeldEnvironment:
    """A cached environment that stays whole until it is released, whatever is cleaned meanwhile. Not to be changed."""

    __slots__ = ("_pointer", "_work", "id", "root")

    def __init__(self, work: Work, environment: CachedEnvironment, pointer: EnvironmentPointer) -> None:
        self.id = environment.id
        self.root = environment.root  #: absolute path
        self._pointer = pointer
        self._work = work

    @property
    def python(self) -> str:
        """The absolute path of its interpreter."""
        return f"{self.scripts}/{PYTHON}"

    @property
    def scripts(self) -> str:
        """The absolute path of the directory of its commands."""
        return f"{self.root}/bin"

    @property
    def digest(self) -> str:
        """Of all that was asked for, or, of one for builds, of its interpreter and of all wheels in it."""
        return self._pointer.digest

    @property
    def members(self) -> tuple[Member, ...]:
        """What it is made of."""
        return self._pointer.members

    @property
    def versions(self) -> dict[str, str]:
        """The version of every project in it."""
        return {each.project: each.version for each in self._pointer.members}

    @property
    def commands(self) -> tuple[str, ...]:
        """The names of its commands, whoever brings them."""
        return tuple(sorted(each.name for each in self._pointer.commands))

    def command(self, name: str) -> str:
        """Give the absolute path of a command; `python` is the interpreter.

        Raises:
            CommandNotFoundError: it has no command of that name; the text says which there are.
        """
        if name == PYTHON:
            return self.python
        for each in self._pointer.commands:
            if each.name == name:
                return f"{self.root}/{each.path}"
        from aiocache_engine.pipeline.tools.commands import missing_command  # noqa: PLC0415 - only to say no

        raise CommandNotFoundError(name, missing_command(name, self._pointer))

    def is_complete(self) -> bool:
        """Look whether it still has all its files. Where it has not, its next user looks too, and passes it over."""
        from aiocache_engine.pipeline.tools.check import is_complete  # noqa: PLC0415 - only where it did not start

        if is_complete(self.root, set(self.versions)):
            return True
        _doubt(self._work.cache.layout, self._pointer)
        return False

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Give the variables with which its commands are started: they find each other on PATH."""
        path = environ.get("PATH", os.defpath)
        return {**environ, "PATH": f"{self.scripts}{os.pathsep}{path}", ENVIRONMENT_VARIABLE: self.id}

    @property
    def descriptor(self) -> int | None:
        """The lease's, for a program that is to hold it as well; None where the cache dir is read-only."""
        lease = self._work.lease
        return None if lease is None else lease.fileno()

    def release(self) -> None:
        """End the lease: what is cleaned may go from now on."""
        end_work(self._work)


def find_held(kit: Kit, tool: Tool) -> HeldEnvironment | None:
    """Find the current environment of a tool in the cache; None, and nothing done, where one has to be made.

    Raises:
        LockTimeoutError, DiskError: the machine refused.
    """
    if tool.refreshes or tool.is_isolated:
        return None
    work = kit.work()
    try:
        found = kit.conductor().perform(look_up(work, tool))
    except BaseException:
        end_work(work)
        raise
    if found is None:
        end_work(work)
        return None
    return HeldEnvironment(work, found.environment, found.pointer)


def look_up(work: Work, tool: Tool, *, made_of: frozenset[str] | None = None) -> Steps[FoundEnvironment | None]:
    """Find the current environment of a tool and lease it; None where there is none that can be used.

    Args:
        work: whose lease it is.
        tool: whose environment.
        made_of: ids of the archives that it must consist of; None: any.
    """

    def find(hold: Hold) -> FoundEnvironment | None:
        work.begin(hold, ())
        if made_of is not None:
            pointer = read_environment_pointer(work.cache.layout.tool_pointer(tool.project, tool.digest))
            if pointer is None or made_of != {each.archive_id for each in pointer.members}:
                return None  # and nothing of it is leased
        return work.find_environment(hold, tool.project, tool.digest)

    found: FoundEnvironment | None = yield InHold(LockMode.SHARED, find)
    if found is None or (yield Outside(partial(_is_whole, found))):
        return found
    return None


def doubt(work: Work, tool: Tool) -> Steps[None]:
    """Have the current environment of a tool, and what it is made of, looked at at their next use. Leases nothing."""

    def mark(hold: Hold) -> None:
        hold.require(LockMode.SHARED)
        layout = work.cache.layout
        pointer = read_environment_pointer(layout.tool_pointer(tool.project, tool.digest))
        if pointer is not None:
            _doubt(layout, pointer)

    yield InHold(LockMode.SHARED, mark)


def _doubt(layout: Layout, pointer: EnvironmentPointer) -> None:
    # Its files may be those of the archives: what was written into one is in the other, too.
    for path in (layout.environment(pointer.environment_id), *(layout.archive(m.archive_id) for m in pointer.members)):
        mark_unchecked(path)


def _is_whole(found: FoundEnvironment) -> bool:
    """Tell whether nothing is missing; looked at once after each start of the machine (a power cut may take files).

    And where it is in doubt.
    """
    environment, boot_id = found.environment, me().boot_id
    if is_checked(environment.path, boot_id):
        return os.path.exists(f"{environment.root}/bin/{PYTHON}")
    from aiocache_engine.pipeline.tools.check import is_complete  # noqa: PLC0415 - once per boot

    if not is_complete(environment.root, {each.project for each in found.pointer.members}):
        return False
    mark_checked(environment.path, boot_id)
    return True
