"""Pins: roots made by hand. What one names stays, with its names, whatever is cleaned or pruned, until it is taken off.

A pin is a record of its own, found by its name. One that cannot be read keeps every archive.
"""

from __future__ import annotations

from aiocache_engine.hints import Any
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import digest, is_object_id
from aiocache_engine.model.records import Member, Pin
from aiocache_engine.model.snapshot import FileIdentity
from aiocache_engine.model.value import value
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import NewerFormatError, decode, encode, list_directory, read_document
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.name_choice import identity
from aiocache_engine.system.descent import remove_file
from aiocache_engine.system.disk import replace_bytes
from aiocache_engine.system.lock import Hold


@value
class Pins:
    """All pins of a cache dir."""

    readable: tuple[Pin, ...]
    unreadable: tuple[
        str, ...
    ]  #: paths of records that a newer release wrote, or that are damaged: they keep everything

    def without(self, archive_ids: frozenset[str]) -> Pins:
        """Give what is left when these archives are pinned no more."""
        return Pins(tuple(each.without(archive_ids) for each in self.readable), self.unreadable)

    def keeps(self, archive_id: str) -> bool:
        """Tell whether an archive is pinned, or may be."""
        return bool(self.unreadable) or any(pin.covers(archive_id) for pin in self.readable)


class PinReader:
    """Reads all pins, and opens only those that it has not read before."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[FileIdentity, Pin | None]] = {}

    def read(self) -> Pins:
        """Read every pin as it is now."""
        readable: list[Pin] = []
        unreadable: list[str] = []
        known, self._known = self._known, {}
        for name in list_directory(self._layout.pins):
            path = f"{self._layout.pins}/{name}"
            now = identity(path) if is_object_id(name) else None
            if now is None:
                continue
            then, pin = known.get(path, (None, None))
            if then != now:
                content = read_document(path)
                if content is None:
                    continue
                pin = _parse(content)
            self._known[path] = now, pin
            if pin is None or self._layout.pin(digest(pin.name)) != path:
                unreadable.append(path)
            else:
                readable.append(pin)
        return Pins(tuple(sorted(readable, key=lambda pin: pin.name)), tuple(unreadable))


def read_pins(layout: Layout) -> Pins:
    """Read every pin."""
    return PinReader(layout).read()


def write_pin(hold: Hold, cache: CacheDir, pin: Pin) -> None:
    """Make a pin, in the place of one of the same name.

    Needs a hold: that in which what it names was looked up, leased and stamped (rule 1), unless it is there already.
    """
    hold.require(LockMode.SHARED)
    cache.ensure_ours(hold)
    content = encode(
        {
            "name": pin.name,
            "archives": [(each.project, each.version, each.archive_id) for each in pin.archives],
            "pinned_at": pin.pinned_at,
        }
    )
    replace_bytes(cache.layout.pin(digest(pin.name)), content, by_way_of=cache.temporary())


def take_pin_off(hold: Hold, cache: CacheDir, name: str) -> bool:
    """Remove the pin of a name; False: there is none. Needs a hold."""
    cache.ensure_ours(hold)
    return remove_file(cache.layout.pin(digest(name)))


def _parse(content: bytes) -> Pin | None:
    """Take a record apart; None where it is damaged or of a newer release."""
    try:
        document: dict[str, Any] | None = decode(content)
        if document is None:
            return None
        name, pinned_at = document["name"], document["pinned_at"]
        archives = tuple(Member(*each) for each in document["archives"])
        texts: list[Any] = [name, *(text for each in archives for text in (each.project, each.version))]
        is_sound = all(isinstance(text, str) for text in texts) and isinstance(pinned_at, int | float)
    except (NewerFormatError, KeyError, TypeError):
        return None
    return Pin(name, archives, pinned_at) if is_sound and all(is_object_id(a.archive_id) for a in archives) else None
