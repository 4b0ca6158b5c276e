"""`aioc dir`: print the path of the cache dir. Looks at nothing and makes nothing."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.config import locate_cache_dir

OPTIONS = Options


def run(options: Options, terminal: Terminal) -> None:
    """Print the path."""
    path = locate_cache_dir(options.cache_dir, os.environ)
    entry = {"kind": "cache-dir", "project": None, "version": None, "id": None, "name": None, "path": path}
    terminal.show(lambda: {"schema": "aioc.done/1", "command": "dir", "entries": [entry]}, lambda: path)
