"""`aioc size`: tell how much the cache holds."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_listing import size_document, size_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.collector.inspect import measure_cache
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.system.disk import translated

OPTIONS = Options


def run(options: Options, terminal: Terminal) -> None:
    """Add up what the manifests say."""
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    free_condemned_now(kit)  # before, so that it does not count what is gone when this ends
    with translated(kit.cache.root):
        size = measure_cache(kit.cache)
    terminal.show(lambda: size_document(size), lambda: size_text(size))
