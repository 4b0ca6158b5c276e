"""Walking below a root never leaves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.errors import TargetError
from aiocache_engine.system.descent import Descent


@pytest.fixture
def descent(tmp_path: Path) -> Iterator[Descent]:
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_RDONLY)
    with Descent(fd, str(tmp_path / "root")) as walking:
        yield walking
    os.close(fd)


def where(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


def test_directories_are_entered_and_made_in_any_order(descent: Descent, tmp_path: Path) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("needs /proc to see where a descriptor leads")
    for path in ("a/b/c", "a/b", "a/bc", "", "d", "a/b/c/e"):
        assert os.path.join(tmp_path / "root", path).rstrip("/") == where(descent.enter(path, make=True))
    assert str(tmp_path / "root/a/b") == where(descent.enter("a/b"))


def test_a_missing_directory_is_not_made_unless_asked(descent: Descent, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        descent.enter("a/b")
    assert os.listdir(tmp_path / "root") == []


@pytest.mark.parametrize("path", ["way", "way/x", "file", "file/x"])
def test_links_and_files_are_no_directories(path: str, descent: Descent, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root/way").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/file").write_text("")
    with pytest.raises(TargetError, match=f"root/{path.partition('/')[0]}: it is a symbolic link or no directory"):
        descent.enter(path, make=True)
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("path", ["..", "a/../..", ".", "a//b", "/etc"])
def test_strange_paths_are_refused(path: str, descent: Descent, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no plain path"):
        descent.enter(path, make=True)


def test_every_descriptor_is_closed(tmp_path: Path) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("needs /proc to count descriptors")
    fd = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    with Descent(fd, str(tmp_path)) as descent:
        descent.enter("a/b/c/d", make=True)
        descent.enter("a/x", make=True)
    assert before == len(os.listdir("/proc/self/fd"))
    os.close(fd)
