"""Sdists that were opened are closed, wherever a cancellation comes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from pathlib import Path

import pytest

from aiocache_engine.config import Config
from aiocache_engine.index.client import IndexClient
from aiocache_engine.model.index import Index, IndexFile, IndexKind
from aiocache_engine.pipeline.builds.source import Sources
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.kit import end_work, open_kit
from aiocache_engine.store.file_work import FileWork
from caches import Place
from catalogs import wanted

INDEX = Index(IndexKind.SIMPLE, "http://127.0.0.1/simple", "a" * 32)


async def nobody() -> IndexClient:
    raise AssertionError("it is in the cache")


def stored(place: Place, content: bytes) -> Choice:
    """Put an sdist into the cache; gives the choice that it answers."""
    choice = Choice(
        wanted("tiny"),
        INDEX,
        IndexFile("tiny-1.0.tar.gz", "http://127.0.0.1/t", hashlib.sha256(content).hexdigest(), None, None, None, None),
    )
    path = Path(place.opened().layout.source("tiny", INDEX.digest, choice.file.filename))
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return choice


async def test_a_file_that_was_opened_while_its_user_was_cancelled_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, opened, find_source = Place(tmp_path), [], FileWork.find_source
    choice = stored(place, b"a source")
    kit = open_kit(place.cache, config=Config(), environ={})
    work, is_open = kit.work(), []

    async def use() -> None:
        async with Sources(kit, work, kit.conductor(), nobody).open(choice) as source:
            is_open.append(os.fstat(source.fd))

    def cancelled_meanwhile(*arguments: object) -> int | None:
        fd = find_source(*arguments)  # type: ignore[arg-type]
        opened.append(fd)
        loop.call_soon_threadsafe(task.cancel)
        return fd

    loop = asyncio.get_running_loop()
    try:
        await use()
        assert len(is_open) == 1
        monkeypatch.setattr(FileWork, "find_source", cancelled_meanwhile)
        task = asyncio.create_task(use())
        await asyncio.wait([task])
        assert task.cancelled()
    finally:
        end_work(work)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(*opened)
