"""One exchange with a server: a request goes out, an answer comes back as it was sent.

`Transport` is the seam between our rules (redirects, credentials, retries, limits: `exchange`) and a library that
speaks HTTP. `Httpx2Transport` is the real one; `aiocache_engine.testing.transport` has the twin in memory.
A transport follows no redirect, retries nothing, decodes nothing and keeps no cookie.
"""

from __future__ import annotations

import http.cookiejar
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from aiocache_engine.errors import IndexResponseError, IndexSettingsError, NetworkError
from aiocache_engine.hints import TYPE_CHECKING, Protocol
from aiocache_engine.index.urls import origin_of, shown
from aiocache_engine.model.index import IndexSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

_CONNECTIONS = 64


class UnreachableError(NetworkError):
    """No connection could be made at all: no such host, nobody listening, no network."""


class Answer(Protocol):
    """What a server answered; its body is read once."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; several of one name are joined with commas."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give the body as it comes, content encoding and all.

        Raises:
            NetworkError: the connection broke, or nothing came for too long.
        """


class Transport(Protocol):
    """A way to ask servers."""

    def exchange(self, method: str, url: str, *, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Answer]:
        """Send a request without a body, and hold the answer open.

        Raises:
            UnreachableError: no connection could be made.
            NetworkError: it broke before the answer's head had come.
            IndexResponseError: the URL or the answer breaks the rules of HTTP.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class Httpx2Transport:
    """The real one: a pool of connections over httpx2, made at the first request.

    Proxies come from the settings, else from the environment (`HTTPS_PROXY`, `NO_PROXY` …). Certificates are checked
    against the CA bundle of the settings, else against `SSL_CERT_FILE` or `SSL_CERT_DIR`, else against the system's.
    """

    def __init__(self, settings: IndexSettings) -> None:
        self._settings = settings
        self._clients: dict[bool, httpx2.AsyncClient] = {}  #: by whether certificates are checked

    @asynccontextmanager
    async def exchange(self, method: str, url: str, *, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Send a request without a body, and hold the answer open."""
        import httpx2  # noqa: PLC0415 - costs 50 ms

        with _translated(url):
            try:
                client = self._client(url)
                response = await client.send(client.build_request(method, url, headers=dict(headers)), stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
                raise UnreachableError(shown(url), _reason(error)) from error
        try:
            yield _Httpx2Answer(response, url)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _client(self, url: str) -> httpx2.AsyncClient:
        _, host, port = origin_of(url)
        is_checked = not {host, f"{host}:{port}"} & set(self._settings.trusted_hosts)
        if is_checked not in self._clients:
            self._clients[is_checked] = self._new_client(is_checked=is_checked)
        return self._clients[is_checked]

    def _new_client(self, *, is_checked: bool) -> httpx2.AsyncClient:
        import httpx2  # noqa: PLC0415 - as above

        no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        return httpx2.AsyncClient(
            verify=self._tls(is_checked=is_checked),
            proxy=self._settings.proxy,
            timeout=httpx2.Timeout(self._settings.timeout_seconds or None, pool=None),
            limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            cookies=no_cookies,
            headers={"user-agent": "aiocache-engine"},
        )

    def _tls(self, *, is_checked: bool) -> ssl.SSLContext:
        import httpx2  # noqa: PLC0415 - as above

        bundle = self._settings.ca_bundle
        try:
            if not is_checked:
                context = httpx2.create_ssl_context(verify=False)
            elif bundle is None:
                context = httpx2.create_ssl_context()
            else:
                is_directory = os.path.isdir(bundle)
                context = ssl.create_default_context(
                    cafile=None if is_directory else bundle, capath=bundle if is_directory else None
                )
            if self._settings.client_cert:
                context.load_cert_chain(self._settings.client_cert)
        except OSError as error:
            path = self._settings.client_cert if bundle is None else bundle
            raise IndexSettingsError(f"certificates from {path}", error.strerror or str(error)) from error
        return context


class _Httpx2Answer:
    def __init__(self, response: httpx2.Response, url: str) -> None:
        self._response = response
        self._url = url
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give the body as it comes."""
        with _translated(self._url):
            async for chunk in self._response.aiter_raw():
                yield chunk


@contextmanager
def _translated(url: str) -> Iterator[None]:
    import httpx2  # noqa: PLC0415 - as above

    try:
        yield
    except httpx2.TimeoutException as error:
        raise NetworkError(shown(url), "nothing came for too long") from error
    except httpx2.TransportError as error:
        raise NetworkError(shown(url), _reason(error)) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise IndexResponseError(shown(url), _reason(error)) from error


def _reason(error: Exception) -> str:
    """Say what went wrong; httpx2 leaves the text of some errors empty."""
    text = str(error) or type(error).__name__
    return f"cannot be reached: {text}" if type(error).__name__.startswith("Connect") else text
