"""`aioc clean`: remove what is named, or everything, while anything else may be running."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_removal import removal_document, removal_text, unmatched_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.model.removal import CleanPolicy, CleanTarget
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.remove import clean_now
from aiocache_engine.pipeline.kit import open_kit


@value(kw_only=True)
class CleanOptions(Options):
    """What `clean` may be told."""

    names: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    overlay: str | None = None
    takes_dependencies: bool = False
    takes_in_use: bool = False
    waits: bool = False
    is_dry_run: bool = False


OPTIONS = CleanOptions


def run(options: CleanOptions, terminal: Terminal) -> None:
    """Clean, and tell what went and what stays until its users are gone."""
    targets: tuple[CleanTarget, ...] = ()
    if options.names or options.tools or options.overlay is not None:
        from aiocache_engine.pipeline.inputs.requirements import clean_targets  # noqa: PLC0415 - names need `packaging`

        targets = clean_targets(options.names, options.tools, options.overlay)
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    policy = CleanPolicy(takes_dependencies=options.takes_dependencies, takes_in_use=options.takes_in_use)
    removal = clean_now(kit, targets, policy, is_dry_run=options.is_dry_run, waits=options.waits)
    for warning in removal.warnings:
        terminal.warns(warning)
    if removal.unmatched:
        terminal.says(unmatched_text(removal))
    terminal.show(lambda: removal_document(removal), lambda: removal_text(removal, verbosity=terminal.verbosity))
