"""The document of an installation's journal, read back: whole, of the right types and of this release, or an error."""

from __future__ import annotations

import os

from aiocache_engine.errors import TargetError
from aiocache_engine.hints import Any
from aiocache_engine.model.plain_json import load
from aiocache_engine.python.installed import FORMAT, JOURNAL
from aiocache_engine.system.disk import NO_PLAIN_FILE, read_bytes

_PATHS = ("directories", "kept", "stashed", "known", "floor", "compiled")
_DISTRIBUTION_FIELDS = 3  #: site, name of the dist-info, digest of its RECORD


def read_journal(name: str, journal_fd: int, root: str) -> dict[str, Any] | None:
    """Read the document `name` of the journal; None where there is none.

    Raises:
        TargetError: it is of another release of this software, or damaged.
        OSError: the disk refused.
    """
    try:
        content = read_bytes(name, dir_fd=journal_fd)
        if content is None:
            return None
        document = load(content)
    except OSError as error:
        if error.errno in NO_PLAIN_FILE:
            raise damaged(root) from error
        raise
    except (ValueError, RecursionError) as error:
        raise damaged(root) from error
    if not isinstance(document, dict) or "format" not in document:
        raise damaged(root)
    if document["format"] != FORMAT:
        raise TargetError(
            os.path.join(root, JOURNAL), "another release of aioc left it; run that release once, or a newer one"
        )
    if not _is_whole(document):
        raise damaged(root)
    return document


def damaged(root: str) -> TargetError:
    """Give the error for a journal that cannot be made sense of."""
    return TargetError(
        os.path.join(root, JOURNAL),
        "it is damaged; make the environment anew, or remove this directory and reinstall everything",
    )


def _is_whole(document: dict[str, Any]) -> bool:
    archives, distributions = document.get("archives"), document.get("distributions")
    return (
        isinstance(archives, dict)
        and all(isinstance(mode, str) for mode in archives.values())
        and isinstance(distributions, list)
        and all(_are_texts(one) and len(one) == _DISTRIBUTION_FIELDS for one in distributions)
        and all(_are_texts(document.get(name)) for name in _PATHS)
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
