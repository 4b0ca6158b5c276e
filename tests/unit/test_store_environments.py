"""Cached environments in the store: published and found again, leased with all that is in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from aiocache_engine.store.archives import is_linked, read_stamp
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import decode, encode
from aiocache_engine.store.environments import (
    decode_environment_pointer,
    encode_environment_pointer,
    read_environment_manifest,
)
from aiocache_engine.store.generations import Cleaned, bump
from caches import Place
from toolsheds import begin, describe, fetched, make_tool, publish, run_tool


@dataclass(frozen=True)
class Shed:
    """A cache with one archive of `tiny`."""

    cache: CacheDir
    archive_id: str

    @property
    def archive(self) -> str:
        return self.cache.layout.archive(self.archive_id)


@pytest.fixture
def shed(tmp_path: Path) -> Shed:
    place = Place(tmp_path)
    place.wheel("tiny", files={"tiny/__init__.py": "x = 1\n"})
    (archive_id,) = fetched(place, "tiny")
    return Shed(place.opened(), archive_id)


def test_what_was_published_is_found_and_leased_with_its_archives(shed: Shed) -> None:
    pointer = make_tool(shed.cache, [shed.archive_id])
    path = shed.cache.layout.environment(pointer.environment_id)
    before = {read_stamp(path), read_stamp(shed.archive)}
    runner, found = run_tool(shed.cache, pointer)
    assert found is not None
    assert found.pointer == pointer
    assert os.path.isfile(f"{found.environment.root}/pyvenv.cfg")
    assert runner.lease is not None
    assert runner.lease.objects == {shed.archive_id, pointer.environment_id}
    assert not before & {read_stamp(path), read_stamp(shed.archive)}
    runner.end()


def test_the_manifest_counts_apart_what_no_archive_shares(shed: Shed) -> None:
    pointer = make_tool(shed.cache, [shed.archive_id])
    environment = shed.cache.layout.environment(pointer.environment_id)
    manifest = read_environment_manifest(environment)
    assert manifest is not None
    sizes = [path.stat().st_size for path in Path(environment, "env").rglob("*") if path.is_file()]
    assert (manifest.file_count, manifest.size_bytes) == (len(sizes), sum(sizes))
    assert manifest.own_bytes == os.path.getsize(f"{environment}/env/pyvenv.cfg")
    assert manifest.members == pointer.members


def test_a_named_environment_marks_its_archives_as_linked_and_a_private_one_does_not(shed: Shed) -> None:
    work = begin(shed.cache, "tiny")
    private = publish(work, describe(shed.cache, [shed.archive_id]), is_named=False)
    assert not private.is_named
    assert not is_linked(shed.archive)
    assert os.listdir(shed.cache.layout.tools) == []
    assert [name.partition("-")[0] for name in os.listdir(shed.cache.layout.condemned)] == [private.environment.id]
    assert publish(work, describe(shed.cache, [shed.archive_id])).is_named
    assert is_linked(shed.archive)
    work.end()


def test_an_environment_with_something_cleaned_meanwhile_gets_no_name(shed: Shed) -> None:
    work = begin(shed.cache, "tiny")
    bump(shed.cache.layout.generation("tiny"), Cleaned("<2"), by_way_of=shed.cache.temporary())
    pointer = describe(shed.cache, [shed.archive_id])
    published = publish(work, pointer)
    assert not published.is_named
    assert os.path.isdir(published.environment.root)
    runner, found = run_tool(shed.cache, pointer)
    assert found is None
    runner.end()
    work.end()


def test_a_clean_of_another_version_does_not_matter(shed: Shed) -> None:
    work = begin(shed.cache, "tiny")
    bump(shed.cache.layout.generation("tiny"), Cleaned(">=2"), by_way_of=shed.cache.temporary())
    assert publish(work, describe(shed.cache, [shed.archive_id])).is_named
    work.end()


@pytest.mark.parametrize("lost", ["environment", "archive"])
def test_a_name_that_leads_to_something_absent_is_a_miss(shed: Shed, tmp_path: Path, lost: str) -> None:
    pointer = make_tool(shed.cache, [shed.archive_id])
    path = shed.cache.layout.environment(pointer.environment_id) if lost == "environment" else shed.archive
    os.rename(path, tmp_path / "gone")
    runner, found = run_tool(shed.cache, pointer)
    assert found is None
    assert runner.lease is not None
    assert not runner.lease.objects
    runner.end()


@pytest.mark.parametrize(
    "wrong",
    [
        {"environment_id": "../.."},
        {"environment_id": 7},
        {"members": [["tiny", "1.0"]]},
        {"members": [["tiny", "1.0", "../archive"]]},
        {"members": 3},
        {"commands": [["tiny", 3, "tiny"]]},
        {"tool": None},
        {"created_at": "today"},
    ],
    ids=str,
)
def test_a_name_that_says_nonsense_with_a_right_checksum_reads_as_absent(shed: Shed, wrong: dict[str, object]) -> None:
    pointer = describe(shed.cache, [shed.archive_id])
    content = encode_environment_pointer(pointer)
    assert decode_environment_pointer(content) == pointer
    said = decode(content)
    assert said is not None
    assert decode_environment_pointer(encode(said | wrong)) is None
