"""Referrers: environments outside the cache that were linked from it (rules 24, 26)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from typing import Any

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.records import Referrer
from aiocache_engine.store.archives import set_linked
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import NewerFormatError, decode, encode, list_directory, read_document
from aiocache_engine.system.disk import replace_bytes
from aiocache_engine.system.lock import Hold

_FIELDS = tuple(field.name for field in fields(Referrer))


def fresh_stamp() -> str:
    """Give a value that no registration ever had."""
    return secrets.token_hex(16)


def register(hold: Hold, cache: CacheDir, referrer: Referrer, *, links: bool) -> None:
    """Register an environment, and mark its archives as linked if `links`.

    Needs the shared lock. The environment's directory exists already, and nothing of these archives is linked yet.
    """
    hold.require(LockMode.SHARED)
    cache.ensure_ours(hold)
    content = encode({name: getattr(referrer, name) for name in _FIELDS})
    replace_bytes(cache.layout.referrer(referrer.id), content, by_way_of=cache.temporary())
    if links:
        for archive_id in referrer.archives:
            with suppress(FileNotFoundError):  # one that the environment used before, and that a clean took
                set_linked(cache.layout.archive(archive_id))


def read_referrer(path: str) -> Referrer | None:
    """Read one record; None where it is absent or cannot be read."""
    content = read_document(path)
    return None if content is None else _parse(content)


def read_referrers(directory: str) -> tuple[list[Referrer], list[str]]:
    """Read every record; the second list names those that cannot be read, which therefore keep everything."""
    referrers: list[Referrer] = []
    unreadable: list[str] = []
    for name in list_directory(directory):
        if not is_object_id(name):
            continue
        path = f"{directory}/{name}"
        content = read_document(path)
        if content is None:
            continue
        referrer = _parse(content)
        if referrer is None:
            unreadable.append(path)
        else:
            referrers.append(referrer)
    return referrers, unreadable


def forget(hold: Hold, cache: CacheDir, referrers: Iterable[Referrer]) -> int:
    """Remove records that still bear the stamp of the scan; gives how many went. Needs the exclusive lock."""
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    forgotten = 0
    for referrer in referrers:
        path = cache.layout.referrer(referrer.id)
        content = read_document(path)
        now = None if content is None else _parse(content)
        if now is not None and now.stamp == referrer.stamp:
            os.unlink(path)
            forgotten += 1
    return forgotten


def _parse(content: bytes) -> Referrer | None:
    try:
        document: dict[str, Any] | None = decode(content)
        if document is None:
            return None
        values = {name: document[name] for name in _FIELDS}
    except (NewerFormatError, KeyError):
        return None
    values["site_directories"] = tuple(values["site_directories"])
    return Referrer(**values)
