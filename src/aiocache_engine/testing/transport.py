"""A transport in memory: the twin of `Httpx2Transport`, for what a loopback server cannot show (https, many hosts)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiocache_engine.errors import NetworkError
from aiocache_engine.index.transport import UnreachableError
from aiocache_engine.index.urls import shown


@dataclass(frozen=True, slots=True)
class MemoryAnswer:
    """What the twin answers."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  #: names in lower case
    body: bytes = b""
    breaks_after_bytes: int | None = None  #: of the body; then the connection is gone

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give the body in two pieces."""
        whole = self.body if self.breaks_after_bytes is None else self.body[: self.breaks_after_bytes]
        middle = len(whole) // 2
        for piece in (whole[:middle], whole[middle:]):
            if piece:
                yield piece
        if self.breaks_after_bytes is not None:
            raise NetworkError("memory", "the connection broke")


class MemoryTransport:
    """Answers by a function of method, URL and headers; None means that no such server can be reached."""

    def __init__(self, respond: Callable[[str, str, Mapping[str, str]], MemoryAnswer | None]) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []  #: method, URL, headers; in order
        self._respond = respond

    @asynccontextmanager
    async def exchange(self, method: str, url: str, *, headers: Mapping[str, str]) -> AsyncIterator[MemoryAnswer]:
        """Answer from memory."""
        self.requests.append((method, url, dict(headers)))
        answer = self._respond(method, url, headers)
        if answer is None:
            raise UnreachableError(shown(url), "no such server")
        yield answer

    async def aclose(self) -> None:
        """Close nothing."""
