"""One suite for the real transport, against a server on loopback, and for its twin in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiocache_engine.errors import NetworkError
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.index.transport import Httpx2Transport, Transport, UnreachableError
from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.transport import MemoryAnswer, MemoryTransport

ANSWERS = {
    "/files/plain.zip": Fault(body=b"hello " * 50_000, status=200),
    "/files/moved.zip": Fault(redirect="/files/plain.zip"),
    "/files/absent.zip": Fault(status=404, body=b"no"),
    "/files/packed.zip": Fault(status=200, body=b"\x1f\x8b raw", headers={"content-encoding": "gzip"}),
    "/files/broken.zip": Fault(status=200, body=b"x" * 1000, cut_after_bytes=600),
}


def remembered(_method: str, url: str, _headers: Mapping[str, str]) -> MemoryAnswer | None:
    host, _, path = url.removeprefix("http://").partition("/")
    if host == "127.0.0.1:1":
        return None
    fault = ANSWERS["/" + path]
    location = {"location": fault.redirect} if fault.redirect else {}
    return MemoryAnswer(
        fault.status or 302, {**fault.headers, **location}, fault.body or b"", breaks_after_bytes=fault.cut_after_bytes
    )


@pytest.fixture(params=["httpx2", "memory"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Transport, Callable[[str], str]]]:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with ExitStack() as stack:
        if request.param == "memory":
            yield MemoryTransport(remembered), lambda path: "http://memory.test" + path
            return
        server = stack.enter_context(IndexServer(tmp_path))
        for path, fault in ANSWERS.items():
            server.fault(path, fault)
        transport = Httpx2Transport(discover_settings(IndexOptions(index_url=server.index_url), {}))
        yield transport, lambda path: server.url + path
        await transport.aclose()


async def test_a_body_comes_whole(place: tuple[Transport, Callable[[str], str]]) -> None:
    transport, url = place
    async with transport.exchange("GET", url("/files/plain.zip"), headers={}) as answer:
        assert answer.status == 200
        assert b"".join([chunk async for chunk in answer.chunks()]) == b"hello " * 50_000


async def test_a_redirect_is_given_back_not_followed(place: tuple[Transport, Callable[[str], str]]) -> None:
    transport, url = place
    async with transport.exchange("GET", url("/files/moved.zip"), headers={}) as answer:
        assert (answer.status, answer.headers["location"]) == (302, "/files/plain.zip")


async def test_an_error_status_is_an_answer(place: tuple[Transport, Callable[[str], str]]) -> None:
    transport, url = place
    async with transport.exchange("GET", url("/files/absent.zip"), headers={}) as answer:
        assert answer.status == 404


async def test_a_body_is_not_decoded(place: tuple[Transport, Callable[[str], str]]) -> None:
    transport, url = place
    async with transport.exchange("GET", url("/files/packed.zip"), headers={}) as answer:
        assert b"".join([chunk async for chunk in answer.chunks()]) == b"\x1f\x8b raw"


async def test_a_broken_body_gives_what_came_and_then_an_error(
    place: tuple[Transport, Callable[[str], str]],
) -> None:
    transport, url = place
    received = []
    async with transport.exchange("GET", url("/files/broken.zip"), headers={}) as answer:
        with pytest.raises(NetworkError):
            received.extend([received.append(chunk) async for chunk in answer.chunks()])
    assert sum(map(len, received)) == 600


async def test_nobody_there_is_an_error_of_its_own(place: tuple[Transport, Callable[[str], str]]) -> None:
    transport, _ = place
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        async with transport.exchange("GET", "http://127.0.0.1:1/x", headers={}):
            pass
