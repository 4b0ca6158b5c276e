"""`aioc ps`: tell who uses the cache now."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_listing import usage_document, usage_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.collector.inspect import list_usage
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.system.disk import translated

OPTIONS = Options


def run(options: Options, terminal: Terminal) -> None:
    """List live leases, and holders of lock files."""
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    with translated(kit.cache.root):
        usage = list_usage(kit.cache)
    terminal.show(lambda: usage_document(usage), lambda: usage_text(usage, verbosity=terminal.verbosity))
    free_condemned_now(kit)
