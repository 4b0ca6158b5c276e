"""A pipe, a socket or a device where a small file should be: nobody waits for it, and it counts as damaged."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.errors import DamagedEntryError, ForeignCacheDirError
from aiocache_engine.model.bytecode import BytecodeManifest, BytecodeTotals, dump_bytecode
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.python import LinkMode
from aiocache_engine.store import bytecode
from aiocache_engine.store.archives import (
    Archive,
    is_checked,
    mark_checked,
    mark_unchecked,
    open_manifest,
    read_stamp,
    read_totals,
    set_linked,
    write_stamps,
)
from aiocache_engine.store.bytecode import read_bytecode
from aiocache_engine.store.cache_dir import CacheDir, open_cache_dir
from aiocache_engine.store.documents import encode, read_document
from aiocache_engine.store.layout import MARKER
from aiocache_engine.store.leases import Lease, LeaseReader, is_dead
from aiocache_engine.store.shares import Share
from aiocache_engine.system.disk import NO_PLAIN_FILE, read_bytes
from aiocache_engine.system.lock import Hold
from caches import HOLDER, Place, begun, in_hold, prune_now
from targets import environment, install, ready

LEASE, OBJECT, INDEX = (digit * 32 for digit in "123")


@pytest.fixture(autouse=True)
def _impatient() -> Iterator[None]:
    """Fail instead of waiting for the other end of a pipe."""

    def give_up(*_: object) -> None:
        pytest.fail("somebody waits for a pipe")  # no error that anybody handles

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    try:  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def make_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_a_device, Path.mkdir])
def test_what_is_no_regular_file_is_an_error_at_once_and_no_document(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "thing")
    with pytest.raises(OSError, match="thing") as caught:
        read_bytes(str(tmp_path / "thing"))
    assert caught.value.errno in NO_PLAIN_FILE
    assert read_document(str(tmp_path / "thing")) is None


def test_a_device_is_not_read() -> None:
    with pytest.raises(OSError, match="no regular file"):
        read_bytes("/dev/zero")


def test_a_pipe_in_place_of_the_marker_is_a_damaged_marker(tmp_path: Path) -> None:
    open_cache_dir(str(tmp_path / "cache"))
    make_pipe(tmp_path / "cache" / MARKER)
    with pytest.raises(ForeignCacheDirError, match="damaged"):
        open_cache_dir(str(tmp_path / "cache"))


async def test_pipes_in_an_archive_make_it_damaged_and_stop_no_prune(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel()
    (archive_id,) = await place.fetch("tiny")
    path = place.cache / "archives-v1" / archive_id
    make_pipe(path / "used")
    make_pipe(path / "manifest")
    assert read_totals(str(path)) is None
    assert read_stamp(str(path)) is None
    with pytest.raises(DamagedEntryError):
        open_manifest(Archive(archive_id, str(path)), "boot")
    await place.prune()


async def test_pipes_in_place_of_pointers_are_misses_and_stop_no_prune(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel()
    (before,) = await place.fetch("tiny")
    for name in place.names():
        make_pipe(place.cache / "projects-v1" / name)
    (after,) = await place.fetch("tiny")
    assert before != after
    await place.prune()


async def test_a_pipe_in_place_of_the_id_of_an_environment_stops_no_prune_and_keeps_what_it_uses(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    place.wheel()
    root = await place.install("env", "tiny", mode=LinkMode.SYMLINK)
    (archive_id,) = place.archives()
    make_pipe(root / "aioc.json")
    await place.clean("tiny")
    await place.prune()
    assert archive_id in place.archives()


async def test_pipes_in_place_of_what_tells_the_archives_of_an_environment_keep_those_it_registered(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    place.wheel()
    root = await place.install("env", "tiny", mode=LinkMode.SYMLINK)
    (archive_id,) = place.archives()
    (marker,) = root.glob("lib/*/site-packages/*.dist-info/aioc.json")
    make_pipe(marker)
    await place.clean("tiny")
    await place.prune()
    assert archive_id in place.archives()
    await place.install("env", "tiny", mode=LinkMode.SYMLINK)


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_a_device, Path.mkdir])
def test_what_is_no_file_makes_way_for_the_note_that_an_archive_was_linked(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "linked")
    set_linked(str(tmp_path))
    assert (tmp_path / "linked").is_file()
    assert not (tmp_path / "linked").is_symlink()


@pytest.mark.parametrize("write", [mark_unchecked, lambda path: mark_checked(path, "boot")])
def test_a_pipe_in_place_of_a_stamp_is_not_waited_for(write: Callable[[str], None], tmp_path: Path) -> None:
    make_pipe(tmp_path / "used")
    write(str(tmp_path))
    assert (tmp_path / "used").is_fifo()


@pytest.mark.parametrize(
    "write", [mark_unchecked, lambda path: mark_checked(path, "boot"), lambda path: write_stamps([path])]
)
def test_a_file_that_is_known_elsewhere_is_no_stamp(write: Callable[[str], None], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"somebody else's, longer than a stamp")
    path = tmp_path / "archives" / OBJECT
    path.mkdir(parents=True)
    (path / "used").hardlink_to(outside)
    write(str(path))
    assert outside.read_bytes() == b"somebody else's, longer than a stamp"
    write_stamps([str(path)])
    mark_checked(str(path), "boot")
    assert is_checked(str(path), "boot")


def test_a_stamp_without_end_is_not_read_whole_and_is_cut_when_files_were_looked_at(tmp_path: Path) -> None:
    mark = tmp_path / "used"
    mark.write_bytes(b"a stamp of old..boot")
    assert is_checked(str(tmp_path), "boot")
    os.truncate(mark, 40_000_000_000)  # of which nothing is on the disk
    assert not is_checked(str(tmp_path), "boot")
    mark_checked(str(tmp_path), "boot")
    assert is_checked(str(tmp_path), "boot")
    assert mark.stat().st_size == 20


def test_a_pipe_that_somebody_reads_makes_way_for_a_stamp(tmp_path: Path) -> None:
    path = tmp_path / "archives" / OBJECT
    path.mkdir(parents=True)
    make_pipe(path / "used")
    reader = os.open(path / "used", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_stamps([str(path)])
    finally:
        os.close(reader)
    assert (path / "used").stat().st_size == 16


def test_a_pipe_that_takes_the_place_of_a_manifest_of_bytecode_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = BytecodeTotals(OBJECT, "cpython", "cpython-311", "", "", file_count=0, size_bytes=0, skipped_count=0)
    manifest = tmp_path / "manifest"
    manifest.write_bytes(dump_bytecode(BytecodeManifest(totals, (), "before")))

    def is_whole(*_: object) -> bool:
        make_pipe(manifest)
        return True

    monkeypatch.setattr(bytecode, "_is_whole", is_whole)
    assert read_bytecode(str(tmp_path), Archive(OBJECT, ""), "now") is not None
    assert manifest.is_fifo()


@pytest.mark.parametrize("make", [make_pipe, Path.mkdir])
def test_what_takes_the_place_of_a_large_page_in_the_hold_is_no_page(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Place(tmp_path).opened()
    work = begun(cache)
    page = Path(cache.layout.page("tiny", INDEX))
    page.parent.mkdir(parents=True)
    page.touch()
    os.truncate(page, 3_000_000)
    lstat = os.lstat

    def swapping(path: Any, **how: Any) -> os.stat_result:
        status = lstat(path, **how)
        if str(path) == str(page):
            page.unlink()
            make(page)
        return status

    monkeypatch.setattr(os, "lstat", swapping)
    found = in_hold(cache, LockMode.SHARED, lambda hold: work.read_page(hold, "tiny", INDEX))
    monkeypatch.undo()
    work.end()
    assert found is None


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_a_device, Path.mkdir])
def test_what_is_no_file_in_the_place_of_a_lease_stops_no_prune_and_its_staging_stays(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    cache = Place(tmp_path).opened()
    make(Path(cache.layout.lease(LEASE)))
    staging = Path(cache.layout.staging, LEASE)
    staging.mkdir()
    prune_now(cache)
    assert staging.is_dir()
    assert not is_dead(cache.layout.leases, LEASE)
    os.rename(cache.layout.lease(LEASE), tmp_path / "aside")
    prune_now(cache)
    assert not staging.exists()


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_a_device, Path.mkdir])
def test_a_lease_ends_whatever_took_the_place_of_its_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    cache = Place(tmp_path).opened()
    lease: Lease = in_hold(cache, LockMode.SHARED, lambda hold: Lease.birth(hold, cache.layout.leases, HOLDER))
    os.unlink(lease.path)
    make(Path(lease.path))
    lease.end()
    assert os.path.lexists(lease.path)


def test_a_pipe_that_takes_the_place_of_a_lease_in_a_hold_protects_nothing(tmp_path: Path) -> None:
    cache = Place(tmp_path).opened()
    record = encode({name: getattr(HOLDER, name) for name in HOLDER.__slots__ if name != "name"})
    path = Path(cache.layout.lease(LEASE))
    path.write_bytes(record + f'\n{{"add":["{OBJECT}"]}}\n'.encode())
    reader = LeaseReader(cache.layout.leases)

    def ask(hold: Hold) -> bool:
        is_leased = reader.held(hold)
        assert is_leased is not None
        make_pipe(path)
        return is_leased(OBJECT)

    assert in_hold(cache, LockMode.EXCLUSIVE, ask) is False


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_a_device, Path.mkdir])
def test_what_is_no_file_in_the_place_of_the_lease_of_a_pipeline_is_joined_by_nobody(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    cache: CacheDir = Place(tmp_path).opened()
    path = Path(cache.layout.lease(LEASE))
    make(path)
    held = -1
    with suppress(OSError):  # a socket and a link cannot be opened so
        held = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    share = Share(str(path))
    assert not share.is_alive()
    in_hold(cache, LockMode.SHARED, lambda hold: share.add(hold, [OBJECT]))
    share.drop([OBJECT])
    assert share.objects() == frozenset()
    if held >= 0:
        os.close(held)


def test_an_empty_file_takes_the_place_of_a_pipe(tmp_path: Path) -> None:
    target = environment(tmp_path / "env")
    make_pipe(Path(target.purelib, "empty.py"))
    install(target, ready(tmp_path / "cache", "one", files={"empty.py": ""}))
    assert Path(target.purelib, "empty.py").is_file()
