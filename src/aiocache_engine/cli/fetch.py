"""`aioc fetch`: bring wheels into the cache."""

from __future__ import annotations

import os

from aiocache_engine.cli.asking import AskingOptions
from aiocache_engine.cli.cold import fetch_cold
from aiocache_engine.cli.render import fetch_document, fetch_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.errors import UsageError
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.pipeline.undertake import FetchRequest, look_into_fetch
from aiocache_engine.pipeline.warm import fetch_warm


@value(kw_only=True)
class FetchOptions(AskingOptions):
    """What `fetch` may be told."""

    python: str | None = None


OPTIONS = FetchOptions


def run(options: FetchOptions, terminal: Terminal) -> None:
    """Fetch what is named, and tell what is in the cache now."""
    if not options.requirements and not options.files:
        raise UsageError("nothing to fetch: name a requirement, or a file with -r")
    config = options.config(os.environ)
    request = FetchRequest(options.inputs(), options.python)
    kit = open_kit(options.cache_dir, config=config, environ=os.environ, reporter=terminal)
    fetching = look_into_fetch(kit, request)
    report = fetch_warm(kit, fetching) or fetch_cold(kit, fetching)
    for warning in report.warnings:
        terminal.warns(warning)
    terminal.show(lambda: fetch_document(report), lambda: fetch_text(report, verbosity=terminal.verbosity))
