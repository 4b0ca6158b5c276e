"""The rules under which we talk to servers: redirects, logins, retries, and limits on what they may send.

Redirects: http and https only, never from https to http, at most ten; a login belongs to its origin, so it is looked
up anew for every hop and never carried along. Retries: only what may pass (broken or refused connections, 408, 425,
429, 5xx), with `Retry-After` up to a cap, else exponentially longer with jitter. Limits: bytes of a page once it is
unpacked, seconds in all, and a minimum rate below which a peer counts as gone.
"""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager

import anyio

from aiocache_engine.errors import IndexResponseError, NetworkError
from aiocache_engine.hints import TypeVar
from aiocache_engine.index.credentials import Credentials
from aiocache_engine.index.transport import Answer, Transport, UnreachableError
from aiocache_engine.index.urls import joined, origin_of, shown, without_credentials
from aiocache_engine.model.value import value
from aiocache_engine.system.clock import Clock

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
_HOPS = 10
_UNREACHABLE_RETRIES = 2  #: a machine without a network should say so soon

Result = TypeVar("Result")


@value(kw_only=True)
class Limits:
    """How much, how long, how slow."""

    page_bytes: int = 100_000_000  #: of one page or metadata file, unpacked
    page_seconds: float = 300.0  #: for one page, in all
    file_seconds: float = 6 * 3600.0  #: for one file, in all
    minimum_bytes_per_second: float = 1000.0
    rate_window_seconds: float = 60.0  #: over which the minimum must be reached
    first_pause_seconds: float = 0.25  #: before the first retry; doubled for every further one
    longest_pause_seconds: float = 30.0  #: also the most that a `Retry-After` is obeyed


class TemporaryError(NetworkError):
    """The server asks to come back later."""

    def __init__(self, url: str, reason: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(url, reason)
        self.retry_after_seconds = retry_after_seconds


class Exchange:
    """Asks servers, by the rules."""

    def __init__(
        self, transport: Transport, credentials: Credentials, *, clock: Clock, retries: int, limits: Limits
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._retries = retries
        self._limits = limits

    @asynccontextmanager
    async def open(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[str, Answer]]:
        """Give the answer after redirects and logins, with the URL it came from.

        Raises:
            TemporaryError: the status says that it may work later.
            NetworkError: the connection could not be made or broke.
            IndexResponseError: the redirects break the rules, or the login is wrong or missing.
        """
        target, hops, was_refused = url, 0, False
        while True:
            login = self._credentials.login_for(target)
            authorization = {"authorization": _basic(*login)} if login else {}
            async with self._transport.exchange(method, target, headers={**headers, **authorization}) as answer:
                if answer.status in _REDIRECTS and "location" in answer.headers:
                    hops += 1
                    target, was_refused = _redirected(url, target, answer.headers["location"], hops), False
                    continue
                if answer.status == 401 and not was_refused:  # noqa: PLR2004 - Unauthorized
                    was_refused = await self._credentials.login_after_refusal(target) is not None
                    if was_refused:
                        continue
                _check_status(url, answer, has_login=bool(login))
                yield target, answer
                return

    async def body(self, answer: Answer, url: str) -> bytes:
        """Read a whole page, unpacked, within the limits."""
        unpack = _unpacker(answer, url)
        body = bytearray()
        async with aclosing(self.paced(answer, url)) as chunks:
            async for chunk in chunks:
                body += unpack(chunk, self._limits.page_bytes + 1 - len(body))
                if len(body) <= self._limits.page_bytes:
                    continue
                raise IndexResponseError(shown(url), f"it is larger than {self._limits.page_bytes:,} bytes")
        return bytes(body)

    async def paced(self, answer: Answer, url: str) -> AsyncGenerator[bytes, None]:
        """Give the body as it comes, for as long as it comes fast enough."""
        window_began, received = self._clock.monotonic(), 0
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
                received += len(chunk)
                elapsed = self._clock.monotonic() - window_began
                if elapsed < self._limits.rate_window_seconds:
                    continue
                if received < elapsed * self._limits.minimum_bytes_per_second:
                    raise NetworkError(shown(url), f"only {received} bytes came in {elapsed:.0f} s")
                window_began, received = self._clock.monotonic(), 0

    async def retrying(self, url: str, seconds: float, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do the work again while its failures may pass.

        Raises:
            NetworkError: they did not.
        """
        failures = 0
        try:
            with anyio.fail_after(seconds):
                while True:
                    try:
                        return await work()
                    except NetworkError as error:
                        failures += 1
                        if failures > self.retries_after(error):
                            raise
                        await self.pause(failures, error)
        except TimeoutError as error:
            raise NetworkError(shown(url), f"not done after {seconds:g} s") from error

    def retries_after(self, error: NetworkError) -> int:
        """Tell how often this kind of failure is tried again."""
        return min(self._retries, _UNREACHABLE_RETRIES) if isinstance(error, UnreachableError) else self._retries

    async def pause(self, failures: int, error: NetworkError) -> None:
        """Wait before the next try: as long as the server asked for, or exponentially longer each time."""
        longest = self._limits.longest_pause_seconds
        asked = error.retry_after_seconds if isinstance(error, TemporaryError) else None
        if asked is None:
            asked = self._limits.first_pause_seconds * 2 ** (failures - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter is no secret
        await anyio.sleep(min(asked, longest))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _redirected(asked: str, source: str, location: str, hops: int) -> str:
    if hops > _HOPS:
        raise IndexResponseError(shown(asked), f"it redirects more than {_HOPS} times")
    try:
        target, _ = without_credentials(joined(source, location))
        scheme, host, _ = origin_of(target)
    except ValueError as error:
        raise IndexResponseError(shown(asked), "it redirects to a malformed URL") from error
    if scheme not in {"http", "https"} or not host:
        raise IndexResponseError(shown(asked), f"it redirects to {shown(target)}, which is neither http nor https")
    if scheme == "http" and origin_of(source)[0] == "https":
        raise IndexResponseError(shown(asked), f"it redirects from https to http ({shown(target)})")
    return target.partition("#")[0]


def _check_status(url: str, answer: Answer, *, has_login: bool) -> None:
    status = answer.status
    if status in _MAY_PASS:
        wait = answer.headers.get("retry-after")
        raise TemporaryError(shown(url), f"the server answers {status}", retry_after_seconds=_seconds(wait))
    if status in {401, 403, 407}:
        advice = "refuses the login" if has_login else "asks for a login (URL, netrc or keyring)"
        raise IndexResponseError(shown(url), f"the server answers {status}: it {advice}")


def _seconds(text: str | None) -> float | None:
    """Read `Retry-After`: seconds, or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if text.isdecimal():
        return float(text)
    import email.utils  # noqa: PLC0415 - rare
    import time  # noqa: PLC0415

    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _unpacker(answer: Answer, url: str) -> Callable[[bytes, int], bytes]:
    """Give what undoes the content encoding, never giving more than it is allowed to: a bomb stops early."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return lambda chunk, _most: chunk
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise IndexResponseError(shown(url), f"the content encoding {encoding!r} was not asked for")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)

    def unpack(chunk: bytes, most: int) -> bytes:
        try:
            return inflater.decompress(chunk, most)
        except zlib.error as error:
            raise IndexResponseError(shown(url), "its gzip stream is damaged") from error

    return unpack
