"""Ways of getting a file of the cache into an environment, on real file systems."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.errors import DamagedEntryError, TargetError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.system import transfer as transfer_module
from aiocache_engine.system.transfer import Source, decide, transfer

LAST_LINK = 65000  # of one inode on ext4


@pytest.fixture(autouse=True)
def _forget_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "_decisions", {})


@pytest.fixture
def source(tmp_path: Path) -> Source:
    tree = tmp_path / "archive/tree"
    tree.mkdir(parents=True)
    for name, content in {"plain": b"plain", "empty": b"", "big": os.urandom(3 << 20), "run": b"#!/bin/sh\n"}.items():
        (tree / name).write_bytes(content)
        os.utime(tree / name, ns=(10**18, 10**18 + 7))
    (tree / "run").chmod(0o755)
    return Source(str(tree), str(tmp_path / "archive"), {"run"})


NAMES = ("plain", "empty", "big", "run")
SIZES = (5, 0, 3 << 20, 10)


def bring(mode: LinkMode, source: Source, target: Path, names: tuple[str, ...] = NAMES) -> None:
    target.mkdir(exist_ok=True)
    fd = os.open(target, os.O_PATH | os.O_DIRECTORY)
    try:
        transfer(mode, names, [SIZES[NAMES.index(name)] for name in names], source, fd)
    finally:
        os.close(fd)


def file_system(tmp_path: Path, kind: str, *options: str) -> Path:
    """Mount a small file system of a kind, or skip the test."""
    if os.geteuid() != 0 or shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"making a {kind} file system needs root and mkfs.{kind}")
    image, mount = tmp_path / f"{kind}.img", tmp_path / kind
    mount.mkdir()
    image.touch()
    os.truncate(image, 320 << 20)
    subprocess.run([f"mkfs.{kind}", "-q", *options, image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, mount], check=False, capture_output=True).returncode != 0:
        pytest.skip("no loop mounts here")
    return mount


@pytest.fixture
def cloning(tmp_path: Path) -> Iterator[Path]:
    for kind in ("xfs", "btrfs"):
        if shutil.which(f"mkfs.{kind}") is not None:
            mount = file_system(tmp_path, kind)
            yield mount
            subprocess.run(["umount", mount], check=True)
            return
    pytest.skip("no mkfs.xfs or mkfs.btrfs here")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a second file system needs root")
    mount = tmp_path / "elsewhere"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mount], check=False, capture_output=True).returncode != 0:
        pytest.skip("a second file system cannot be mounted here")
    yield mount
    subprocess.run(["umount", mount], check=True)


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK])
def test_every_way_brings_bytes_executable_bit_and_time(mode: LinkMode, source: Source, tmp_path: Path) -> None:
    bring(mode, source, tmp_path / "target")
    for name in NAMES:
        here, there = tmp_path / "target" / name, Path(source.path, name)
        assert there.read_bytes() == here.read_bytes()
        assert here.stat().st_mtime_ns == 10**18 + 7
        assert os.access(here, os.X_OK) == (name == "run")
        assert here.samefile(there) == (mode is not LinkMode.COPY)


def test_clones_share_nothing_that_a_writer_could_change(cloning: Path, source: Source) -> None:
    shutil.copytree(source.path, cloning / "tree")
    cloned = Source(str(cloning / "tree"), str(cloning), source.executables)
    mode = decide(LinkMode.AUTO, sample=f"{cloned.path}/plain", by_way_of=str(cloning / "probe"))
    assert mode is LinkMode.CLONE
    bring(mode, cloned, cloning / "target")
    (cloning / "target/plain").write_text("changed")
    assert (cloning / "tree/plain").read_text() == "plain"
    assert (cloning / "target/big").read_bytes() == (cloning / "tree/big").read_bytes()
    assert os.access(cloning / "target/run", os.X_OK)
    assert not (cloning / "probe").exists()


def test_what_the_file_systems_allow_is_found_once_per_pair(source: Source, tmp_path: Path, elsewhere: Path) -> None:
    def found(wanted: LinkMode, place: Path) -> LinkMode:
        return decide(wanted, sample=f"{source.path}/plain", by_way_of=str(place / "probe"))

    assert found(LinkMode.AUTO, elsewhere) is LinkMode.COPY
    near = found(LinkMode.AUTO, tmp_path)
    assert near in (LinkMode.HARDLINK, LinkMode.CLONE)
    assert found(LinkMode.SYMLINK, elsewhere) is LinkMode.SYMLINK
    for place in (tmp_path, elsewhere):
        assert not (place / "probe").exists()
    # The answers are remembered: nothing is tried again, so what stands in the way of trying does not matter.
    (tmp_path / "probe").write_text("")
    assert found(LinkMode.AUTO, tmp_path) is near


def test_another_mount_of_the_same_device_says_nothing_of_the_rest_of_it(source: Source, tmp_path: Path) -> None:
    bound = tmp_path / "bound"
    bound.mkdir()
    mounted = subprocess.run(["mount", "--bind", source.path, bound], check=False, capture_output=True)
    if os.geteuid() != 0 or mounted.returncode != 0:
        pytest.skip("a bind mount needs root")
    try:
        far = decide(LinkMode.AUTO, sample=f"{bound}/plain", by_way_of=str(tmp_path / "probe"))
    finally:
        subprocess.run(["umount", bound], check=True)
    near = decide(LinkMode.AUTO, sample=f"{source.path}/plain", by_way_of=str(tmp_path / "probe"))
    assert far is LinkMode.COPY
    assert near is not LinkMode.COPY


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.CLONE])
def test_a_way_that_was_asked_for_and_does_not_exist_is_refused(
    mode: LinkMode, source: Source, elsewhere: Path
) -> None:
    with pytest.raises(TargetError, match="use --link-mode copy"):
        decide(mode, sample=f"{source.path}/plain", by_way_of=str(elsewhere / "probe"))
    assert os.listdir(elsewhere) == []


def test_a_mount_inside_the_target_is_filled_by_copies(source: Source, elsewhere: Path) -> None:
    bring(LinkMode.HARDLINK, source, elsewhere / "target")
    assert (elsewhere / "target/big").read_bytes() == Path(source.path, "big").read_bytes()
    assert os.access(elsewhere / "target/run", os.X_OK)


def test_a_file_that_bears_no_further_link_gets_a_fresh_inode_in_the_cache(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path(source.path, "plain").stat().st_ino
    real = os.link

    def link(name: str, *arguments: object, src_dir_fd: int, **options: object) -> None:
        if os.stat(name, dir_fd=src_dir_fd).st_ino == full:
            raise OSError(errno.EMLINK, "Too many links", name)
        real(name, *arguments, src_dir_fd=src_dir_fd, **options)  # type: ignore[arg-type]

    before = Path(source.path, "plain").stat()
    monkeypatch.setattr(os, "link", link)
    bring(LinkMode.HARDLINK, source, tmp_path / "target")
    after = Path(source.path, "plain").stat()
    assert after.st_ino != full
    assert after.st_ino == (tmp_path / "target/plain").stat().st_ino
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)
    assert Path(source.path, "plain").read_text() == "plain"
    assert os.listdir(source.spare) == ["tree"]


@pytest.mark.torture
def test_the_limit_of_ext4_is_no_limit(tmp_path: Path) -> None:
    mount = file_system(tmp_path, "ext4", "-O", "dir_nlink")
    try:
        tree, links = mount / "archive/tree", mount / "links"
        tree.mkdir(parents=True)
        links.mkdir()
        (tree / "plain").write_text("plain")
        for number in range(LAST_LINK - 1):
            os.link(tree / "plain", links / str(number))
        bring(LinkMode.HARDLINK, Source(str(tree), str(mount / "archive"), ()), mount / "target", ("plain",))
        assert (mount / "target/plain").stat().st_nlink == 2
    finally:
        subprocess.run(["umount", mount], check=True)


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY])
def test_a_missing_file_of_the_cache_is_named(mode: LinkMode, source: Source, tmp_path: Path) -> None:
    Path(source.path, "plain").unlink()
    with pytest.raises(DamagedEntryError, match=r"tree/plain: the file is missing"):
        bring(mode, source, tmp_path / "target")
    shutil.rmtree(source.path)
    with pytest.raises(DamagedEntryError, match=r"archive/tree: the file is missing"):
        bring(mode, source, tmp_path / "target")


def test_a_file_of_another_size_is_met_where_it_is_read(source: Source, tmp_path: Path) -> None:
    os.truncate(Path(source.path, "plain"), 2)
    with pytest.raises(DamagedEntryError, match="has 2 bytes, not 5"):
        bring(LinkMode.COPY, source, tmp_path / "target")


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK])
def test_nothing_that_is_there_already_is_touched(mode: LinkMode, source: Source, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target/empty").write_text("mine")
    with pytest.raises(FileExistsError) as raised:
        bring(mode, source, tmp_path / "target")
    assert "empty" in (raised.value.filename2 or raised.value.filename)
    assert (tmp_path / "target/empty").read_text() == "mine"


def test_no_link_in_the_cache_is_followed(source: Source, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("12345")
    Path(source.path, "plain").unlink()
    Path(source.path, "plain").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        bring(LinkMode.COPY, source, tmp_path / "target", ("plain",))
    assert os.listdir(tmp_path / "target") == []
