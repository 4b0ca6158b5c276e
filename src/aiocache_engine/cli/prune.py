"""`aioc prune`: remove what nothing uses, while anything else may be running."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_removal import removal_document, removal_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.pipeline.remove import prune_now


@value(kw_only=True)
class PruneOptions(Options):
    """What `prune` may be told."""

    is_dry_run: bool = False


OPTIONS = PruneOptions


def run(options: PruneOptions, terminal: Terminal) -> None:
    """Prune, and tell what went."""
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    removal = prune_now(kit, is_dry_run=options.is_dry_run)
    for warning in removal.warnings:
        terminal.warns(warning)
    terminal.show(lambda: removal_document(removal), lambda: removal_text(removal, verbosity=terminal.verbosity))
