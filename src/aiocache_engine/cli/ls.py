"""`aioc ls`: list what is in the cache."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_listing import entries_document, entries_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.collector.inspect import list_entries
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.store.generations import version_matches
from aiocache_engine.system.disk import translated


@value(kw_only=True)
class LsOptions(Options):
    """What `ls` may be told."""

    name: str | None = None


OPTIONS = LsOptions


def run(options: LsOptions, terminal: Terminal) -> None:
    """List the entries of one project or version, or all."""
    target = None
    if options.name is not None:
        from aiocache_engine.pipeline.inputs.requirements import parse_clean_target  # noqa: PLC0415 - names need `packaging`

        target = parse_clean_target(options.name)
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    free_condemned_now(kit)  # before, so that it does not list what is gone when this ends
    with translated(kit.cache.root):
        entries = list_entries(kit.cache, target, matches=version_matches)
    if not entries:
        terminal.says("the cache is empty" if options.name is None else f"nothing in the cache matches {options.name}")
    terminal.show(lambda: entries_document(entries), lambda: entries_text(entries, verbosity=terminal.verbosity))
