"""Reads a few bytes of a remote file, where its server gives parts of files (RFC 9110, 14)."""

from __future__ import annotations

import re
from contextlib import aclosing

from aiocache_engine.errors import IndexResponseError
from aiocache_engine.index.exchange import Exchange, Limits
from aiocache_engine.index.urls import shown

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)  # no file is larger
_PARTIAL = 206


class PartReader:
    """Asks for parts by the rules of an `Exchange`."""

    def __init__(self, exchange: Exchange, limits: Limits) -> None:
        self._exchange = exchange
        self._limits = limits

    async def read(self, url: str, start: int | None, length: int) -> tuple[int, bytes, int] | None:
        """Give where the part begins, its bytes, and the size of the whole file; None: the server gives no parts.

        Args:
            url: of the file.
            start: of the part; None: it is the end of the file that is wanted.
            length: bytes.

        Raises:
            NetworkError: the server could not be reached.
            IndexResponseError: it sends something else than it was asked for.
        """
        wanted = f"bytes=-{length}" if start is None else f"bytes={start}-{start + length - 1}"

        async def ask() -> tuple[int, bytes, int] | None:
            headers = {"accept-encoding": "identity", "range": wanted}
            async with self._exchange.open(url, headers=headers) as (_, answer):
                found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
                if answer.status != _PARTIAL or found is None:
                    return None
                first, last, total = (int(number) for number in found.groups())
                promised = last - first + 1
                if promised > length or (start is not None and first != start) or last >= total:
                    raise IndexResponseError(shown(url), "another part came than was asked for")
                content = bytearray()
                async with aclosing(self._exchange.paced(answer, url)) as chunks:
                    async for chunk in chunks:
                        content += chunk
                        if len(content) > promised:
                            break
                if len(content) != promised:
                    raise IndexResponseError(shown(url), f"{len(content)} bytes came instead of {promised}")
                return first, bytes(content), total

        return await self._exchange.retrying(url, self._limits.page_seconds, ask)
