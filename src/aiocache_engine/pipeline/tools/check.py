"""Look whether a cached environment still has all its files, by what each of its distributions recorded."""

from __future__ import annotations

import os
import stat

from aiocache_engine.errors import CacheEngineError
from aiocache_engine.model.record import RecordError, parse_record
from aiocache_engine.python.environment import CONFIG
from aiocache_engine.python.installed import read_installed


def is_complete(root: str, projects: set[str]) -> bool:
    """Tell whether the interpreter and every recorded file of the projects is there, regular, and of its size."""
    config = f"{root}/{CONFIG}"
    if not (os.path.isfile(config) and os.path.getsize(config) and os.path.exists(f"{root}/bin/python")):
        return False
    try:
        installed = read_installed(_sites(root))
        return projects == {each.project for each in installed} and all(
            _has_every_file(each.dist_info) for each in installed
        )
    except (OSError, CacheEngineError, RecordError, UnicodeDecodeError):
        return False


def _sites(root: str) -> list[str]:
    """Give the directories of modules of an environment of any Python."""
    library = f"{root}/lib"
    return [f"{library}/{name}/site-packages" for name in sorted(os.listdir(library)) if "python" in name]


def _has_every_file(dist_info: str) -> bool:
    site = os.path.dirname(dist_info)
    with open(f"{dist_info}/RECORD", encoding="utf-8", newline="") as file:
        rows = parse_record(file.read())
    for row in rows:
        try:
            status = os.stat(os.path.join(site, row.path))
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or row.size_bytes not in (None, status.st_size):
            return False
    return bool(rows)
