"""What a plan that is handed back does not list: names of what came into the cache since it was made.

What is named between this look and the hold that takes the names may lose its name with them, as by a clean that comes
a moment later; its bytes are never taken.

Pages and metadata are no part of it: they go as with every clean of the same targets, for they may still promise what
was cleaned, whatever came to be looked up by them since.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from aiocache_engine.model.removal import CleanTarget
from aiocache_engine.store.archives import is_present
from aiocache_engine.store.environments import read_environment_pointer
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.name_choice import environment_names, pointers_of, project_directories


def unlisted_paths(layout: Layout, targets: tuple[CleanTarget, ...], listed: Collection[str]) -> frozenset[str]:
    """Give the names that lead to what is there and not listed; no targets: all of them.

    Opens every name of the projects that the targets take, and of every environment: not for a hold.
    """
    paths: set[str] = set()
    for directory in project_directories(layout):
        if targets and not any(target.takes(os.path.basename(directory)) for target in targets):
            continue
        for path, pointer in pointers_of(layout, directory):
            if pointer.archive_id not in listed and is_present(layout.archive(pointer.archive_id)):
                paths.add(path)
    for path in environment_names(layout):
        made = read_environment_pointer(path)
        if (
            made is not None
            and made.environment_id not in listed
            and is_present(layout.environment(made.environment_id))
        ):
            paths.add(path)
    return frozenset(paths)
