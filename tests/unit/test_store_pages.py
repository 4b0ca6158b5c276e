"""Stored pages: whatever their size, a hold lasts no longer for them, and no clean or replacement mixes them up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.errors import CacheReplacedError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.page import StoredPage
from aiocache_engine.pipeline.pages import read_pages, store_page
from aiocache_engine.pipeline.steps import Conductor, InHold, Outside, Steps
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.system.lock import Hold
from caches import Place, begun, clean_now, in_hold

INDEX = "a" * 32


@pytest.fixture
def cache(tmp_path: Path) -> CacheDir:
    return Place(tmp_path).opened()


def page(letter: bytes, size_bytes: int = 3_000_000) -> StoredPage:
    return StoredPage(
        project="tiny",
        index_digest=INDEX,
        url="http://127.0.0.1/simple/tiny/",
        validated_at=0.0,
        fresh_until=0.0,
        headers={},
        is_storable=True,
        lines=letter * size_bytes,
    )


def perform(cache: CacheDir, steps: Steps[Any]) -> Any:
    return Conductor(cache.lock, timeout_seconds=5).perform(steps)


def in_step(cache: CacheDir, step: object) -> Any:
    assert isinstance(step, InHold)
    work: Callable[[Hold], Any] = step.work
    return in_hold(cache, LockMode.SHARED, work)


def staged_files(cache: CacheDir) -> list[str]:
    return [name for _, _, names in os.walk(cache.layout.staging) for name in names]


def test_a_page_is_written_before_the_hold_that_makes_it_the_stored_one(cache: CacheDir) -> None:
    work = begun(cache)
    steps = store_page(work, page(b"x"))
    step = next(steps)
    assert isinstance(step, Outside)
    staged = step.work()
    assert os.path.getsize(staged) > 3_000_000
    assert in_step(cache, steps.send(staged))
    assert os.path.getsize(cache.layout.page("tiny", INDEX)) > 3_000_000
    assert staged_files(cache) == []
    work.end()


def test_of_a_page_that_a_clean_forbids_nothing_is_left(cache: CacheDir) -> None:
    work = begun(cache)
    steps = store_page(work, page(b"x"))
    step = next(steps)
    assert isinstance(step, Outside)
    staged = step.work()
    clean_now(cache, "tiny")
    step = steps.send(staged)
    assert in_step(cache, step) is False
    step = steps.send(False)
    assert isinstance(step, Outside)
    step.work()
    assert staged_files(cache) == []
    assert not os.path.exists(cache.layout.page("tiny", INDEX))
    work.end()


def test_a_large_page_is_read_after_the_hold_as_it_was_in_it(cache: CacheDir) -> None:
    work = begun(cache)
    perform(cache, store_page(work, page(b"x")))
    steps = read_pages(work, {"tiny": [INDEX]})
    step = next(steps)
    in_step(cache, step)
    perform(cache, store_page(work, page(b"y")))
    clean_now(cache, "tiny")
    step = steps.send(None)
    assert isinstance(step, Outside)
    step.work()
    with pytest.raises(StopIteration) as stop:
        steps.send(None)
    content = stop.value.value["tiny", INDEX]
    assert content.endswith(b"x" * 3_000_000)
    assert b"y" * 100 not in content
    work.end()


def test_a_large_page_that_is_not_read_after_all_is_closed(cache: CacheDir) -> None:
    work = begun(cache)
    perform(cache, store_page(work, page(b"x")))
    before = len(os.listdir("/proc/self/fd"))
    steps = read_pages(work, {"tiny": [INDEX]})
    in_step(cache, next(steps))
    assert len(os.listdir("/proc/self/fd")) == before + 1
    steps.close()
    assert len(os.listdir("/proc/self/fd")) == before
    work.end()


@pytest.mark.parametrize("size_bytes", [0, 10, 999_000, 1_000_001])
def test_what_is_stored_is_read_whatever_its_size(cache: CacheDir, size_bytes: int) -> None:
    work = begun(cache)
    stored = page(b"x", size_bytes)
    assert perform(cache, store_page(work, stored))
    contents = perform(cache, read_pages(work, {"tiny": [INDEX, "b" * 32], "other": []}))
    assert contents == {("tiny", INDEX): stored.dump(), ("tiny", "b" * 32): None}
    work.end()


@pytest.mark.parametrize("stage", ["page", "archive"])
def test_a_cache_dir_that_was_removed_while_in_use_is_told_as_such(cache: CacheDir, stage: str) -> None:
    work = begun(cache)
    shutil.rmtree(cache.root)
    with pytest.raises(CacheReplacedError, match="removed or replaced while in use; run the command again"):
        work.stage_page(b"page") if stage == "page" else work.new_staging()


def test_a_hold_of_a_removed_cache_dir_says_that_it_was_removed(cache: CacheDir) -> None:
    shutil.rmtree(cache.root)
    with pytest.raises(Exception, match="removed or replaced while in use; run the command again"):
        in_hold(cache, LockMode.SHARED, lambda hold: hold)
