"""Referrers: environments outside the cache that were linked from it (rules 24, 26)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from aiocache_engine.hints import Any
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.records import Referrer
from aiocache_engine.model.value import field_names, replace
from aiocache_engine.store.archives import set_linked
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import NewerFormatError, decode, encode, list_directory, read_document
from aiocache_engine.store.layout import Layout
from aiocache_engine.system.descent import directory_of, remove_file
from aiocache_engine.system.disk import replace_bytes
from aiocache_engine.system.lock import Hold

_FIELDS = field_names(Referrer)


def fresh_stamp() -> str:
    """Give a value that no registration ever had."""
    return os.urandom(16).hex()


def register(hold: Hold, cache: CacheDir, referrer: Referrer, *, links: bool) -> None:
    """Register an environment, and mark its archives as linked if `links`.

    Needs the shared lock. The environment's directory exists already, and nothing of these archives is linked yet.
    """
    hold.require(LockMode.SHARED)
    cache.ensure_ours(hold)
    _write(cache, referrer)
    if links:
        for archive_id in referrer.archives:
            with suppress(FileNotFoundError):  # one that the environment used before, and that a clean took
                set_linked(cache.layout.archive(archive_id))


def note_renamed(hold: Hold, cache: CacheDir, referrers: Iterable[Referrer]) -> None:
    """Write down where environments were found again, so that they are found after the next renaming too.

    A record that was written anew since the scan is left alone; others get a fresh stamp, so that nobody forgets the
    environment who missed it at its old place. Needs the exclusive lock.
    """
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    for found in referrers:
        now = read_referrer(cache.layout.referrer(found.id))
        if now is not None and now.stamp == found.stamp:
            with suppress(OSError):  # the disk is full: the next prune finds it from its old place once more
                _write(cache, replace(found, stamp=fresh_stamp()))


def _write(cache: CacheDir, referrer: Referrer) -> None:
    content = encode({name: getattr(referrer, name) for name in _FIELDS})
    replace_bytes(cache.layout.referrer(referrer.id), content, by_way_of=cache.temporary())


def read_referrer(path: str) -> Referrer | None:
    """Read one record; None where it is absent, damaged or of another format."""
    try:
        return _parse(os.path.basename(path), read_document(path))
    except NewerFormatError:
        return None


def read_referrers(directory: str) -> tuple[list[Referrer], list[str], list[str]]:
    """Read every record. The other two lists keep everything: paths of newer records, and of damaged ones."""
    readable: list[Referrer] = []
    newer: list[str] = []
    damaged: list[str] = []
    for name in list_directory(directory):
        if not is_object_id(name):
            continue
        path = f"{directory}/{name}"
        content = read_document(path)
        if content is None:
            continue
        try:
            referrer = _parse(name, content)
        except NewerFormatError:
            newer.append(path)
            continue
        if referrer is None:
            damaged.append(path)
        else:
            readable.append(referrer)
    return readable, newer, damaged


def last_seen_at(layout: Layout, referrer_id: str) -> float:
    """Give when an environment was registered, or last seen by a prune; in seconds since the epoch."""
    try:
        return os.lstat(layout.referrer(referrer_id)).st_mtime
    except FileNotFoundError:  # it was forgotten meanwhile
        return 0.0


def note_seen(layout: Layout, referrer_ids: Iterable[str]) -> None:
    """Note that environments are there, for the day when they cannot be reached. Needs no hold."""
    for referrer_id in referrer_ids:
        with suppress(FileNotFoundError), directory_of(layout.referrer(referrer_id)) as fd:
            if fd is not None:
                os.utime(referrer_id, dir_fd=fd, follow_symlinks=False)


def forget(hold: Hold, cache: CacheDir, referrers: Iterable[Referrer]) -> list[Referrer]:
    """Remove records that still bear the stamp of the scan; gives what went. Needs the exclusive lock."""
    hold.require(LockMode.EXCLUSIVE)
    cache.ensure_ours(hold)
    forgotten: list[Referrer] = []
    for referrer in referrers:
        path = cache.layout.referrer(referrer.id)
        now = read_referrer(path)
        if now is not None and now.stamp == referrer.stamp and remove_file(path):
            forgotten.append(referrer)
    return forgotten


def _parse(referrer_id: str, content: bytes | None) -> Referrer | None:
    """Take a record apart; None where there is none or it is damaged, whole checksum or not.

    Raises:
        NewerFormatError: it was written by a newer release.
    """
    document: dict[str, Any] | None = decode(content)
    if document is None or document.get("id") != referrer_id:
        return None
    try:
        values = {name: document[name] for name in _FIELDS}
        paths = [values["path"], *values["site_directories"]]
        is_sound = (
            all(_is_path(path) for path in paths)
            and isinstance(values["site_directories"], list)
            and all(isinstance(values[name], int) for name in ("device", "inode"))
            and all(isinstance(values[name], str) for name in ("machine_id", "stamp"))
            and isinstance(values["mount_namespace"], int | None)
            and isinstance(values["registered_at"], int | float)
            and all(is_object_id(key) and isinstance(mode, str) for key, mode in values["archives"].items())
        )
    except (KeyError, TypeError, AttributeError):
        return None
    if not is_sound:
        return None
    values["site_directories"] = tuple(values["site_directories"])
    return Referrer(**values)


def _is_path(path: Any) -> bool:
    """Tell whether the operating system would take it for an absolute path."""
    try:
        return isinstance(path, str) and path.startswith("/") and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False
