"""The client against the real index that pip is set up for on this machine, and whatever else its settings name."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from aiocache_engine.errors import NetworkError
from aiocache_engine.index.client import IndexClient
from aiocache_engine.index.local import usable_page
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.model.index import IndexSettings
from aiocache_engine.model.page import load_page

pytestmark = pytest.mark.network

REAL_HOME = os.environ.get("HOME")  #: before the tests point it elsewhere: pip's own settings lead to the index


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> IndexSettings:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if REAL_HOME:
        monkeypatch.setenv("HOME", REAL_HOME)
    return discover_settings(IndexOptions(), os.environ)


async def test_page_metadata_and_wheel_come_from_the_real_index(settings: IndexSettings, tmp_path: Path) -> None:
    async with IndexClient(settings) as client:
        page = await client.page("packaging", settings.indexes[-1])
        assert page is not None
        file = next(file for file in page.files_of("24.2") if file.filename.endswith(".whl"))

        metadata = await client.metadata(file)
        got = await client.download(file, str(tmp_path / file.filename))

    # A mirror may leave out the metadata files that the index proper announces.
    assert (metadata is None) == (file.metadata_sha256 is None)
    assert metadata is None or b"Name: packaging" in metadata
    assert got.sha256 == file.sha256 == hashlib.sha256((tmp_path / file.filename).read_bytes()).hexdigest()


async def test_a_stored_page_is_fresh_for_a_while_and_then_confirmed_with_a_304(
    settings: IndexSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = settings.indexes[-1]
    statuses: list[int] = []
    async with IndexClient(settings) as client:
        page = await client.page("packaging", index)
        assert page is not None
        stored = load_page(page.dump())
        if not {"etag", "last-modified"} & set(stored.headers):
            pytest.skip("the index gives no validators")
        assert usable_page(stored, now=time.time(), offline=False, refresh=False)
        ask = client._pages._ask

        async def noting(url: str, headers: Mapping[str, str]) -> object:
            answered = await ask(url, headers)
            statuses.append(answered.status if answered else 404)
            return answered

        monkeypatch.setattr(client._pages, "_ask", noting)
        confirmed = await client.page("packaging", index, stored=stored, refresh=True)

    assert statuses == [304]
    assert confirmed is not None
    assert confirmed.lines == stored.lines


async def test_a_page_without_validators_comes_again_and_is_not_worth_writing(settings: IndexSettings) -> None:
    async with IndexClient(settings) as client:
        page = await client.page("packaging", settings.indexes[-1])
        assert page is not None
        stored = load_page(page.dump())
        again = await client.page("packaging", settings.indexes[-1], stored=stored)

    assert again is stored


async def test_every_index_that_pip_is_set_up_for_answers(settings: IndexSettings) -> None:
    warnings: list[str] = []
    async with IndexClient(settings, warn=warnings.append) as client:
        pages = [await client.page("packaging", index) for index in settings.indexes]

    assert any(pages)
    assert all("does not exist" in warning for warning in warnings)


async def test_an_unknown_project_is_unknown_in_every_index(settings: IndexSettings) -> None:
    async with IndexClient(settings) as client:
        pages = [await client.page("aiocache-engine-no-such-project", index) for index in settings.indexes]

    assert pages == [None] * len(settings.indexes)


async def test_a_host_that_does_not_exist_is_named() -> None:
    settings = discover_settings(IndexOptions(index_url="https://no-such-host.invalid/simple"), {})
    async with IndexClient(settings) as client:
        with pytest.raises(NetworkError, match=r"no-such-host\.invalid"):
            await client.page("packaging", settings.indexes[-1])
