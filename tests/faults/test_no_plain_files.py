"""A pipe, a socket or a device where a small file should be: nobody waits for it, and it counts as damaged."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocache_engine.errors import DamagedEntryError, ForeignCacheDirError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.store.archives import Archive, open_manifest, read_stamp, read_totals
from aiocache_engine.store.cache_dir import open_cache_dir
from aiocache_engine.store.documents import read_document
from aiocache_engine.store.layout import MARKER
from aiocache_engine.system.disk import NO_PLAIN_FILE, read_bytes
from caches import Place
from targets import environment, install, ready


@pytest.fixture(autouse=True)
def _impatient() -> Iterator[None]:
    """Fail instead of waiting for the other end of a pipe."""

    def give_up(*_: object) -> None:
        raise TimeoutError("somebody waits for a pipe")

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


def test_an_empty_file_takes_the_place_of_a_pipe(tmp_path: Path) -> None:
    target = environment(tmp_path / "env")
    make_pipe(Path(target.purelib, "empty.py"))
    install(target, ready(tmp_path / "cache", "one", files={"empty.py": ""}))
    assert Path(target.purelib, "empty.py").is_file()
