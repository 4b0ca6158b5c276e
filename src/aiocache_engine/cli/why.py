"""`aioc why`: tell why something is still in the cache, and what would release it."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.prune import PruneOptions
from aiocache_engine.cli.render_why import why_document, why_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.errors import UsageError
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.collector.why import why
from aiocache_engine.pipeline.kit import open_kit


@value(kw_only=True)
class WhyOptions(Options):
    """What `why` may be told."""

    what: str | None = None


OPTIONS = WhyOptions


def run(options: WhyOptions, terminal: Terminal) -> None:
    """Tell what keeps what is named, or that the next prune takes it."""
    if options.what is None:
        raise UsageError("say what is meant: `aioc why REQ`, an id as `aioc ls -v` lists them, or a path")
    policy = PruneOptions().policy(os.environ)
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    answers = kit.conductor().perform(why(kit.cache, options.what, policy))
    if not answers:
        terminal.says(f"nothing in the cache matches {options.what}")
    terminal.show(lambda: why_document(answers), lambda: why_text(answers))
    free_condemned_now(kit)
