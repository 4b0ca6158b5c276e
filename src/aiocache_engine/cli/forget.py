"""`aioc forget`: give up environments that cannot be reached and are gone for good."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.terminal import Terminal, printable
from aiocache_engine.errors import UsageError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.collector.forgetting import forget_by_hand
from aiocache_engine.pipeline.kit import open_kit


@value(kw_only=True)
class ForgetOptions(Options):
    """What `forget` may be told."""

    paths: tuple[str, ...] = ()


OPTIONS = ForgetOptions


def run(options: ForgetOptions, terminal: Terminal) -> None:
    """Forget them, and warn where one that is there after all would break."""
    if not options.paths:
        raise UsageError("say which environment or directory is gone for good: `aioc forget PATH…`")
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    forgotten = kit.conductor().perform(forget_by_hand(kit.cache, options.paths))
    for each in forgotten:
        if LinkMode.SYMLINK.value in each.archives.values():
            terminal.warns(f"{each.path} is made of symbolic links: if it is still there, the next prune may break it")
    entries = [
        {"kind": "environment", "project": None, "version": None, "id": each.id, "name": None, "path": each.path}
        for each in forgotten
    ]
    terminal.show(
        lambda: {"schema": "aioc.done/1", "command": "forget", "entries": entries},
        lambda: "\n".join(printable(f"forgotten: {each.path}") for each in forgotten),
    )
    free_condemned_now(kit)
