"""Which directories may be a cache dir, and how one is made (trust: refuse what it would be a mistake to clean)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiocache_engine.errors import CacheEngineError, ForeignCacheDirError, ReadOnlyCacheError
from aiocache_engine.store.cache_dir import open_cache_dir
from aiocache_engine.store.documents import _checksum, _dump
from aiocache_engine.store.layout import MARKER, Layout
from aiocache_engine.testing.invariants import assert_sound, untouched
from caches import begun, clean_now, prune_now


def test_an_absent_and_an_empty_directory_are_made_ours(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(0o700)
    for name in ("absent", "deep/absent", "empty"):
        cache = open_cache_dir(str(tmp_path / name))
        assert (tmp_path / name / MARKER).exists()
        assert (
            (tmp_path / name / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
        )
        assert os.stat(tmp_path / name).st_mode & 0o777 == 0o700
        assert_sound(cache.root, is_pruned=True)


def test_the_root_and_the_home_are_refused_even_when_trusted(tmp_path: Path) -> None:
    for path in ("/", os.path.expanduser("~"), f"{os.path.expanduser('~')}/."):
        with pytest.raises(ForeignCacheDirError, match="must not be a cache dir"):
            open_cache_dir(path, trust=True)


def test_a_directory_with_something_in_it_and_no_marker_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "wheels-v5").mkdir(parents=True)
    (theirs / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    with untouched(theirs):
        for trust in (False, True):
            with pytest.raises(ForeignCacheDirError, match="not empty"):
                open_cache_dir(str(theirs), trust=trust)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ForeignCacheDirError, match="no directory"):
        open_cache_dir(str(tmp_path / "file"))


def test_a_link_is_refused_until_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(ForeignCacheDirError, match="symbolic link"):
        open_cache_dir(str(tmp_path / "link"))
    assert open_cache_dir(str(tmp_path / "link"), trust=True).root == str(tmp_path / "real")


def test_a_directory_that_everybody_may_write_to_is_refused_until_it_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(ForeignCacheDirError, match="everybody may write"):
        open_cache_dir(str(path))
    open_cache_dir(str(path), trust=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_else_s_directory_is_refused_until_it_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.mkdir(0o700)
    os.chown(path, 12345, 12345)
    with pytest.raises(ForeignCacheDirError, match="somebody else"):
        open_cache_dir(str(path))
    open_cache_dir(str(path), trust=True)


def test_a_newer_and_a_damaged_marker_are_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    open_cache_dir(str(cache))
    (cache / MARKER).write_bytes(b"{")
    with untouched(cache), pytest.raises(ForeignCacheDirError, match="damaged"):
        open_cache_dir(str(cache))
    newer = {"format": 2, "created": 0}
    (cache / MARKER).write_bytes(_dump({**newer, "checksum": _checksum(newer)}))
    with untouched(cache), pytest.raises(ForeignCacheDirError, match="newer aioc"):
        open_cache_dir(str(cache))


def test_many_processes_that_make_it_at_once_make_one(tmp_path: Path) -> None:
    script = """
import sys
from caches import *
sys.stdin.readline()
cache = open_cache_dir(sys.argv[1])
work = begun(cache)
work.end()
"""
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for number in range(3):
        path = tmp_path / f"cache{number}"
        programs = [
            subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, env=environ)
            for _ in range(6)
        ]
        for program in programs:
            assert program.stdin is not None
            program.stdin.write(b"\n")
            program.stdin.flush()
        for program in programs:
            program.communicate()
            assert program.returncode == 0
        assert_sound(path, is_pruned=True)


def test_a_making_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.mkdir(0o700)
    (path / ".birth-0011").write_text("half")
    open_cache_dir(str(path))
    for name in ("projects-v1", "interpreters-v1", "trash"):
        (path / name).rmdir()
    (path / "generations" / "projects").rmdir()
    cache = open_cache_dir(str(path))
    begun(cache).end()
    prune_now(cache)
    assert_sound(path, is_pruned=True)


@pytest.mark.parametrize("missing", ["projects-v1", "archives-v1", "interpreters-v1", "trash", "staging", "condemned"])
def test_a_bucket_that_somebody_removed_meanwhile_stops_nobody(missing: str, tmp_path: Path) -> None:
    cache = open_cache_dir(str(tmp_path / "cache"))
    (tmp_path / "cache" / missing).rmdir()
    for call in (lambda: prune_now(cache), lambda: clean_now(cache, "tiny"), lambda: clean_now(cache)):
        try:
            call()
        except CacheEngineError as error:
            assert missing in str(error)  # noqa: PT017 - one clear line is as good as going on
    prune_now(open_cache_dir(str(tmp_path / "cache")))


def test_a_read_only_directory_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.mkdir(0o500)
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    with pytest.raises(ReadOnlyCacheError):
        open_cache_dir(str(path))


BUCKETS = [os.path.relpath(path, "/") for path in Layout("").directories()]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_link_in_place_of_a_bucket_is_refused_and_nothing_behind_it_is_touched(bucket: str, tmp_path: Path) -> None:
    root, decoy = tmp_path / "cache", tmp_path / "decoy"
    open_cache_dir(str(root))
    (root / bucket).rename(decoy)
    (decoy / "precious").write_text("mine")
    (root / bucket).symlink_to(decoy)
    for trust in (False, True):
        with untouched(decoy), pytest.raises(ForeignCacheDirError, match=rf"{bucket}.*symbolic link"):
            open_cache_dir(str(root), trust=trust)


def test_a_file_and_a_dangling_link_in_place_of_a_bucket_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    open_cache_dir(str(root))
    (root / "trash").rmdir()
    (root / "trash").write_text("mine")
    with pytest.raises(ForeignCacheDirError, match="trash"):
        open_cache_dir(str(root))
    (root / "trash").unlink()
    (root / "trash").symlink_to("gone")
    with pytest.raises(ForeignCacheDirError, match="trash"):
        open_cache_dir(str(root))
    assert not (root / "gone").exists()
