"""Link what is ready into an environment in staging, and publish it: of a tool, or for builds.

Written as steps. Everything that goes in is leased by the work; a crash before the publication leaves only staging.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from aiocache_engine.errors import TargetError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import new_object_id
from aiocache_engine.model.python import Interpreter, LinkMode
from aiocache_engine.model.records import EnvironmentPointer, Member
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.bytecode import Bytecoder
from aiocache_engine.pipeline.deliver import Options, Supply, prepare
from aiocache_engine.pipeline.find import Ready
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.linking.install import apply_install
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.pipeline.tools.commands import commands_of
from aiocache_engine.pipeline.tools.environment import HeldEnvironment
from aiocache_engine.pipeline.tools.request import Tool
from aiocache_engine.python.environment import write_environment
from aiocache_engine.python.target import environment_target
from aiocache_engine.store.bytecode import Bytecode
from aiocache_engine.store.environments import (
    ROOT,
    CachedEnvironment,
    PublishedEnvironment,
    write_environment_description,
)
from aiocache_engine.store.work import Work
from aiocache_engine.system.process import me


@value
class _Staged:
    """An environment that is complete, and that nobody sees yet."""

    path: str  #: in staging
    id: str  #: that it is made for
    pointer: EnvironmentPointer


class EnvironmentMaker:
    """Makes one environment, of whatever it is given."""

    def __init__(self, kit: Kit, work: Work, tool: Tool, interpreter: Interpreter) -> None:
        self._kit = kit
        self._work = work
        self._tool = tool
        self._interpreter = interpreter

    def make(self, supply: Supply, bytecoder: Bytecoder | None) -> Steps[HeldEnvironment]:
        """Link everything into an environment in staging, and publish it (rules 18-20 and 24).

        Raises:
            TargetError: its distributions cannot be in one environment.
            DamagedEntryError: an archive lacks a file.
        """
        bytecode: dict[str, Bytecode] = {}
        if bytecoder is not None:
            bytecode = yield from bytecoder.bring(supply.ready)
        staged: _Staged = yield Outside(partial(self._stage, supply, bytecode))
        publish = partial(
            self._work.publish_environment,
            staged=staged.path,
            environment_id=staged.id,
            pointer=staged.pointer,
            is_named=not self._tool.is_isolated,
        )
        published: PublishedEnvironment = yield InHold(LockMode.SHARED, publish)
        return HeldEnvironment(self._work, published.environment, staged.pointer)

    def _stage(self, supply: Supply, bytecode: Mapping[str, Bytecode]) -> _Staged:
        """Write the environment. Its scripts name the place where it will be, so its id is drawn first."""
        layout, tool = self._kit.cache.layout, self._tool
        environment_id = new_object_id()
        place = CachedEnvironment(environment_id, layout.environment(environment_id))
        staged = self._work.new_staging()
        root = f"{staged}/{ROOT}"
        write_environment(root, self._interpreter, prompt=tool.project or "build", location=place.root)
        target = environment_target(root, self._interpreter, location=place.root)
        link_mode = self._kit.config.link_mode
        options = Options(link_mode=link_mode, reinstalls=False, is_ephemeral=False, is_dry_run=False)
        try:
            prepared = prepare(target, supply, options, bytecode)
            outcome = apply_install(prepared)
        except TargetError as error:
            raise type(error)(self._shown(error.path, root), self._shown(error.reason, root)) from error
        for warning in outcome.warnings:
            self._kit.reporter.warns(self._shown(warning, root))
        pointer = EnvironmentPointer(
            environment_id=environment_id,
            tool=tool.project,
            digest=tool.digest,
            executable=tool.executable,
            members=tuple(_member(each) for each in supply.ready),
            commands=commands_of(prepared),
            created_at=time.time(),
        )
        is_cloned = outcome.link_mode is LinkMode.CLONE
        write_environment_description(staged, pointer, boot_id=me().boot_id, is_cloned=is_cloned)
        return _Staged(staged, environment_id, pointer)

    def _shown(self, text: str, root: str) -> str:
        """Name places as somebody knows them who never saw the staging directory."""
        return text.replace(f"{root}/", f"{self._tool.what}, ")


def _member(ready: Ready) -> Member:
    totals = ready.manifest.totals
    return Member(totals.project, totals.version, ready.archive.id)
