"""`aioc add`: publish wheels that were built elsewhere in an overlay."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_added import added_document, added_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.add import DEFAULT_OVERLAY, add_wheels
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.kit import end_work, open_kit


@value(kw_only=True)
class AddOptions(Options):
    """What `add` may be told."""

    wheels: tuple[str, ...] = ()
    overlay: str | None = None


OPTIONS = AddOptions


def run(options: AddOptions, terminal: Terminal) -> None:
    """Add the wheels, and tell which they are."""
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    work = kit.work()
    try:
        report = kit.conductor().perform(add_wheels(kit, work, options.wheels, options.overlay or DEFAULT_OVERLAY))
    finally:
        end_work(work)
    terminal.show(lambda: added_document(report), lambda: added_text(report))
    free_condemned_now(kit)
