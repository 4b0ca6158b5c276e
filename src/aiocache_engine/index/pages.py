"""Fetches pages over HTTP, with conditions where a stored one can be confirmed, and turns them into what is kept.

A find-links page lists files of many projects: it is fetched once per client and divided.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from aiocache_engine.errors import IndexResponseError
from aiocache_engine.index.exchange import Exchange, Limits
from aiocache_engine.index.freshness import Confirmed, PageRequest, Replaced, fresh_until
from aiocache_engine.index.page_parser import ACCEPT, by_version, parse_page
from aiocache_engine.index.urls import page_url, shown
from aiocache_engine.model.index import Index, IndexFile, IndexKind
from aiocache_engine.model.page import StoredPage, encode_lines
from aiocache_engine.model.value import value
from aiocache_engine.system.clock import Clock

_OK, _NOT_MODIFIED = 200, 304
_UNKNOWN = frozenset({404, 410})
_HEADERS = {"accept": ACCEPT, "accept-encoding": "gzip"}


@value
class _Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str  #: after redirects


@value
class _Listing:
    """The files of a page, not yet divided by project."""

    files: list[IndexFile]
    meaning: Replaced


class PageFetcher:
    """Pages and metadata over HTTP."""

    def __init__(self, exchange: Exchange, *, clock: Clock, limits: Limits) -> None:
        self._exchange = exchange
        self._clock = clock
        self._limits = limits
        self._listings: dict[str, _Listing] = {}  #: find-links pages by index digest
        self._locks: dict[str, anyio.Lock] = {}
        # A page of megabytes takes many times its size while it is read, and two at once gain nothing.
        self._parsing = anyio.CapacityLimiter(1)

    async def fetch(self, project: str, index: Index, stored: StoredPage | None, *, refresh: bool) -> StoredPage | None:
        """Give the page of a project; None if the index does not know it."""
        if index.kind is not IndexKind.FIND_LINKS:
            return await self._fetch(project, index, stored, refresh=refresh)
        async with self._locks.setdefault(index.digest, anyio.Lock()):
            if listing := self._listings.get(index.digest):
                return await self._page_of(project, index, listing)
            return await self._fetch(project, index, stored, refresh=refresh)

    async def fetch_metadata(self, url: str) -> bytes | None:
        """Give a metadata file; None if there is none after all."""
        answered = await self._ask(url, {"accept-encoding": "gzip"})
        if answered is None:
            return None
        if answered.status == _OK:
            return answered.body
        raise IndexResponseError(shown(url), f"the server answers {answered.status}")

    async def _fetch(
        self, project: str, index: Index, stored: StoredPage | None, *, refresh: bool
    ) -> StoredPage | None:
        url = page_url(index, project)
        request = PageRequest(url, _HEADERS, stored.headers if stored else None)
        through = {"cache-control": "no-cache"} if refresh else {}
        answered = await self._ask(url, {**request.headers(), **through})
        if answered is None:
            return None
        if answered.status != _OK and not (answered.status == _NOT_MODIFIED and stored):
            raise IndexResponseError(shown(url), f"the server answers {answered.status}")
        meaning = request.judge(answered.status, answered.headers)
        if meaning is None:
            return await self._fetch(project, index, None, refresh=refresh)
        if isinstance(meaning, Confirmed):
            return stored and self._confirmed(stored, meaning)
        if index.kind is IndexKind.FIND_LINKS:
            files = await anyio.to_thread.run_sync(_parse, answered, limiter=self._parsing)
            self._listings[index.digest] = _Listing(files, meaning)
            page = await self._page_of(project, index, self._listings[index.digest])
        else:
            lines = await anyio.to_thread.run_sync(_parse_lines, answered, project, limiter=self._parsing)
            page = self._page(project, index, meaning, lines)
        return stored if stored and page and _says_the_same(page, stored) else page

    async def _ask(self, url: str, headers: Mapping[str, str]) -> _Answered | None:
        async def once() -> _Answered | None:
            async with self._exchange.open(url, headers=headers) as (final_url, answer):
                if answer.status in _UNKNOWN:
                    return None
                body = await self._exchange.body(answer, url) if answer.status == _OK else b""
                return _Answered(answer.status, dict(answer.headers), body, final_url)

        return await self._exchange.retrying(url, self._limits.page_seconds, once)

    def _confirmed(self, stored: StoredPage, meaning: Confirmed) -> StoredPage:
        now = self._clock.now()
        until = fresh_until(stored.url, meaning.headers, now=now)
        if until == stored.fresh_until == 0.0:
            return stored
        return stored.confirmed(validated_at=now, fresh_until=until, headers=meaning.headers)

    async def _page_of(self, project: str, index: Index, listing: _Listing) -> StoredPage | None:
        lines = await anyio.to_thread.run_sync(lambda: encode_lines(by_version(listing.files, project)))
        return self._page(project, index, listing.meaning, lines) if lines else None

    def _page(self, project: str, index: Index, meaning: Replaced, lines: bytes) -> StoredPage:
        now = self._clock.now()
        url = page_url(index, project)
        return StoredPage(
            project=project,
            index_digest=index.digest,
            url=shown(url),
            validated_at=now,
            fresh_until=fresh_until(url, meaning.headers, now=now),
            headers=meaning.headers,
            is_storable=meaning.is_storable,
            lines=lines,
        )


def _says_the_same(page: StoredPage, stored: StoredPage) -> bool:
    """Tell whether a page that came anew is not worth writing: an index without validators sends it every time."""
    one, other = (
        (said.lines, said.fresh_until, said.headers.get("etag"), said.headers.get("last-modified"))
        for said in (page, stored)
    )
    return one == other


def _parse(answered: _Answered) -> list[IndexFile]:
    return parse_page(answered.body, content_type=answered.headers.get("content-type", ""), url=answered.url)


def _parse_lines(answered: _Answered, project: str) -> bytes:
    return encode_lines(by_version(_parse(answered), project))
