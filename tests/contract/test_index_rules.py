"""Redirects, logins and limits, over the transport in memory: https and many hosts at once."""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from aiocache_engine.errors import IndexResponseError, NetworkError
from aiocache_engine.index.client import IndexClient
from aiocache_engine.index.credentials import Credentials
from aiocache_engine.index.exchange import Limits
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.model.index import IndexSettings
from aiocache_engine.model.value import replace
from aiocache_engine.testing.transport import MemoryAnswer, MemoryTransport

JSON = {"content-type": "application/vnd.pypi.simple.v1+json"}
PAGE = json.dumps({"files": [{"filename": "tiny-1.0-py3-none-any.whl", "url": "t.whl"}]}).encode()
QUICK = Limits(first_pause_seconds=0.001, longest_pause_seconds=0.001, page_bytes=100_000)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> IndexSettings:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return discover_settings(IndexOptions(index_url="https://me:hunter2@one.test/simple"), {})


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def ask(
    transport: MemoryTransport, settings: IndexSettings, *, environ: Mapping[str, str] | None = None
) -> list[str] | None:
    credentials = Credentials(settings, environ=environ or {})
    async with IndexClient(settings, transport=transport, credentials=credentials, limits=QUICK) as client:
        page = await client.page("tiny", settings.indexes[0])
        return page and [file.url for _, file in page.all_files()]


def moving(*locations: str) -> MemoryTransport:
    """Answer with a redirect to each location in turn, then with the page."""
    waiting = list(locations)
    return MemoryTransport(
        lambda *_: MemoryAnswer(302, {"location": waiting.pop(0)}) if waiting else MemoryAnswer(200, JSON, PAGE)
    )


async def test_a_redirect_is_followed_and_links_belong_to_its_end(settings: IndexSettings) -> None:
    assert await ask(moving("/other/tiny/"), settings) == ["https://one.test/other/tiny/t.whl"]


async def test_credentials_go_to_their_own_origin_and_nowhere_else(settings: IndexSettings) -> None:
    transport = moving("https://two.test/x/", "https://one.test:444/x/", "https://one.test/back/")

    await ask(transport, settings)

    assert [headers.get("authorization") for _, _, headers in transport.requests] == [
        basic("me", "hunter2"),
        None,
        None,
        basic("me", "hunter2"),
    ]
    assert not any("hunter2" in url for _, url, _ in transport.requests)


@pytest.mark.parametrize(
    "location", ["http://one.test/simple/tiny/", "file:///etc/passwd", "ftp://one.test/", "https://[bad/"]
)
async def test_a_redirect_off_https_or_to_no_server_is_refused(settings: IndexSettings, location: str) -> None:
    transport = moving(location)

    with pytest.raises(IndexResponseError, match="redirects"):
        await ask(transport, settings)

    assert len(transport.requests) == 1


async def test_a_circle_of_redirects_ends_after_ten(settings: IndexSettings) -> None:
    transport = MemoryTransport(lambda *_: MemoryAnswer(302, {"location": "/simple/tiny/"}))

    with pytest.raises(IndexResponseError, match="more than 10 times"):
        await ask(transport, settings)

    assert len(transport.requests) == 11


def guarded(user: str, password: str) -> MemoryTransport:
    return MemoryTransport(
        lambda _method, _url, headers: (
            MemoryAnswer(200, JSON, PAGE)
            if headers.get("authorization") == basic(user, password)
            else MemoryAnswer(401)
        )
    )


async def test_a_refused_login_names_neither_user_nor_password(settings: IndexSettings) -> None:
    with pytest.raises(IndexResponseError, match="refuses the login") as caught:
        await ask(guarded("me", "other"), settings)

    assert "hunter2" not in str(caught.value)


async def test_netrc_is_asked_for_the_host_and_its_default_entry_is_not_used(
    settings: IndexSettings, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    settings = replace(settings, credentials=())
    netrc.write_text("default login any password thing\n")
    with pytest.raises(IndexResponseError, match="asks for a login"):
        await ask(guarded("any", "thing"), settings, environ={"NETRC": str(netrc)})

    netrc.write_text("machine one.test login she password s3\n")
    assert await ask(guarded("she", "s3"), settings, environ={"NETRC": str(netrc)})


async def test_the_keyring_program_is_asked_once_after_a_refusal(
    settings: IndexSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, log = tmp_path / "keyring", tmp_path / "log"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(log)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        'print(\'{"username": "kay", "password": "k3y"}\')\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = replace(settings, credentials=(), keyring_provider="subprocess")
    transport = guarded("kay", "k3y")
    async with IndexClient(settings, transport=transport, credentials=Credentials(settings, environ={})) as client:
        assert await client.page("tiny", settings.indexes[0])
        assert await client.page("tiny", settings.indexes[0])

    assert log.read_text() == "--mode=creds --output=json get https://one.test/simple/\n"
    assert len(transport.requests) == 3


async def test_a_keyring_that_knows_nothing_is_not_asked_again(
    settings: IndexSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, log = tmp_path / "keyring", tmp_path / "log"
    program.write_text(f"#!/bin/sh\necho asked >> {log}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    settings = replace(settings, credentials=(), keyring_provider="subprocess")
    transport = MemoryTransport(lambda *_: MemoryAnswer(401))
    async with IndexClient(settings, transport=transport, credentials=Credentials(settings, environ={})) as client:
        for _ in range(2):
            with pytest.raises(IndexResponseError, match="asks for a login"):
                await client.page("tiny", settings.indexes[0])

    assert len(log.read_text().splitlines()) == 3  # the index, its host with the port, its host


async def test_a_page_that_unpacks_to_too_much_is_refused(settings: IndexSettings) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    transport = MemoryTransport(lambda *_: MemoryAnswer(200, {**JSON, "content-encoding": "gzip"}, bomb))

    with pytest.raises(IndexResponseError, match="larger than 100,000 bytes"):
        await ask(transport, settings)


async def test_a_packed_page_is_read(settings: IndexSettings) -> None:
    transport = MemoryTransport(lambda *_: MemoryAnswer(200, {**JSON, "content-encoding": "gzip"}, gzip.compress(PAGE)))

    assert await ask(transport, settings)


async def test_an_encoding_that_was_not_asked_for_is_refused(settings: IndexSettings) -> None:
    transport = MemoryTransport(lambda *_: MemoryAnswer(200, {**JSON, "content-encoding": "br"}, b"x"))

    with pytest.raises(IndexResponseError, match="br"):
        await ask(transport, settings)


async def test_what_may_pass_is_tried_again_and_nothing_else(settings: IndexSettings) -> None:
    statuses = [503, 429, 500]
    transport = MemoryTransport(
        lambda *_: MemoryAnswer(statuses.pop(0), {"retry-after": "3600"}) if statuses else MemoryAnswer(200, JSON, PAGE)
    )
    with anyio.fail_after(2):  # an hour was asked for; our cap is a millisecond here
        assert await ask(transport, settings)
    assert len(transport.requests) == 4

    transport = MemoryTransport(lambda *_: MemoryAnswer(400))
    with pytest.raises(IndexResponseError, match="400"):
        await ask(transport, settings)
    assert len(transport.requests) == 1


async def test_a_dead_network_is_told_after_few_tries(settings: IndexSettings) -> None:
    transport = MemoryTransport(lambda *_: None)

    with pytest.raises(NetworkError, match=r"one\.test"):
        await ask(transport, settings)

    assert len(transport.requests) == 3
