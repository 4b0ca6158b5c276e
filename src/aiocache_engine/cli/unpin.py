"""`aioc unpin`: take a pin off. What it kept stays until a clean or prune takes it."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_pins import pins_document, pins_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.errors import UsageError
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.collector.pinning import unpin
from aiocache_engine.pipeline.kit import open_kit


@value(kw_only=True)
class UnpinOptions(Options):
    """What `unpin` may be told."""

    name: str | None = None


OPTIONS = UnpinOptions


def run(options: UnpinOptions, terminal: Terminal) -> None:
    """Take it off, and tell what it kept."""
    if options.name is None:
        raise UsageError("say which pin: `aioc unpin NAME`; `aioc pin` lists them")
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    pin = kit.conductor().perform(unpin(kit, options.name))
    terminal.show(lambda: pins_document("unpin", [pin]), lambda: f"no longer pinned: {pins_text([pin])}")
    free_condemned_now(kit)
