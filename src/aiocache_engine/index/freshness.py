"""How long a page may be believed, and how it is asked for again: HTTP caching (RFC 9111), decided by hishel.

hishel's core is a state machine without I/O; this module walks it with one stored page instead of a storage. Two
rules are stricter than the RFC: without explicit freshness a page is asked for on every use (no heuristics), and so
are pages from loopback, where a test or a developer changes them by the second.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import hishel
from hishel._core._spec import get_freshness_lifetime

from aiocache_engine.index.urls import is_loopback
from aiocache_engine.model.value import value

_OPTIONS: hishel.CacheOptions = {"shared": False, "supported_methods": ["GET"], "allow_stale": False}
_KEPT = frozenset({"age", "cache-control", "date", "etag", "expires", "last-modified", "vary"})
_LONGEST_SECONDS = 86_400.0  #: a mistaken `max-age` must not hide new releases for longer


@value
class Confirmed:
    """The index says that the stored page still holds."""

    headers: Mapping[str, str]  #: to keep with the page


@value
class Replaced:
    """The index sent a page."""

    headers: Mapping[str, str]  #: to keep with the page
    is_storable: bool


class PageRequest:
    """One conditional or plain request for a page, and the meaning of its answer."""

    def __init__(self, url: str, headers: Mapping[str, str], stored: Mapping[str, str] | None) -> None:
        """Decide what to ask.

        Args:
            url: of the page.
            headers: that are sent anyway.
            stored: headers kept with the stored page; None without one.
        """
        self._plain = hishel.Request("GET", url, hishel.Headers(headers))
        # We only come here when the page must be checked, so hishel's own idea of freshness is overruled.
        forced = hishel.Request("GET", url, hishel.Headers({**headers, "cache-control": "no-cache"}))
        entries = []
        if stored is not None:
            response = hishel.Response(200, hishel.Headers(stored))
            entries.append(hishel.Entry(uuid.UUID(int=0), self._plain, response))
        self._state: hishel.AnyState = hishel.IdleClient(options=_OPTIONS).next(forced, entries)

    def headers(self) -> dict[str, str]:
        """Give the headers to send."""
        if not isinstance(self._state, hishel.NeedRevalidation):
            return dict(self._plain.headers)
        headers = dict(self._state.request.headers)
        headers.pop("cache-control", None)
        return headers

    def judge(self, status: int, headers: Mapping[str, str]) -> Confirmed | Replaced | None:
        """Tell what the answer (200 or 304) means; None: it confirms something else, ask again without conditions."""
        response = hishel.Response(status, hishel.Headers(headers))
        state = self._state
        if not isinstance(state, hishel.CacheMiss | hishel.NeedRevalidation):
            raise TypeError(f"hishel came to {type(state).__name__} before the answer")
        outcome: hishel.AnyState = state.next(response)
        while isinstance(outcome, hishel.InvalidateEntries):
            outcome = outcome.next()
        if isinstance(outcome, hishel.NeedToBeUpdated):
            return Confirmed(_kept(outcome.updating_entries[-1].response.headers))
        if isinstance(outcome, hishel.CacheMiss):
            return None
        return Replaced(_kept(headers), is_storable=isinstance(outcome, hishel.StoreAndUse))


def fresh_until(url: str, headers: Mapping[str, str], *, now: float) -> float:
    """Give until when (seconds since the epoch) the page may be used unasked; 0: not at all."""
    if "no-cache" in headers.get("cache-control", "").lower() or is_loopback(url):
        return 0.0
    # hishel would guess from Last-Modified where nothing explicit can be read.
    explicit = {name: value for name, value in headers.items() if name != "last-modified"}
    lifetime = get_freshness_lifetime(hishel.Response(200, hishel.Headers(explicit)), is_cache_shared=False) or 0
    age = headers.get("age", "0")
    remaining = min(lifetime - (int(age) if age.isdecimal() else 0), _LONGEST_SECONDS)
    return now + remaining if remaining > 0 else 0.0


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() in _KEPT}
