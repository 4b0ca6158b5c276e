"""What a scan says became of an environment, told from what is left of its path."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiocache_engine.model.records import Referrer
from aiocache_engine.model.snapshot import ReferrerState
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector import search
from aiocache_engine.pipeline.collector.whereabouts import Whereabouts
from aiocache_engine.python.environment import write_environment_id
from aiocache_engine.store.layout import MARKER
from aiocache_engine.system.process import me

MISSING, UNREACHABLE = ReferrerState.MISSING, ReferrerState.UNREACHABLE
NOBODY = 65534


def registered(path: Path) -> Referrer:
    """Make an environment's directory, and give the record that its registration would leave."""
    path.mkdir(parents=True)
    status, here = path.stat(), me()
    return Referrer(
        id="2" * 32,
        path=str(path),
        site_directories=(f"{path}/site",),
        device=status.st_dev,
        inode=status.st_ino,
        machine_id=here.machine_id,
        mount_namespace=here.mount_namespace,
        archives={"a" * 32: "symlink"},
        registered_at=0.0,
        stamp="stamp",
    )


def state(referrer: Referrer) -> ReferrerState:
    return Whereabouts().look_at(referrer).state


@pytest.mark.parametrize("removed", ["a/b/.venv", "a/b", "a"])
def test_an_environment_is_missing_however_many_directories_went_with_it(tmp_path: Path, removed: str) -> None:
    referrer = registered(tmp_path / "a" / "b" / ".venv")
    shutil.rmtree(tmp_path / removed)
    assert state(referrer) is MISSING


@pytest.mark.parametrize("changes", [{"machine_id": "another"}, {"mount_namespace": 1}, {"device": 1}])
def test_a_removed_project_on_another_machine_namespace_or_device_is_unreachable(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    referrer = registered(tmp_path / "a" / ".venv")
    shutil.rmtree(tmp_path / "a")
    assert state(replace(referrer, **changes)) is UNREACHABLE  # type: ignore[arg-type]


@pytest.mark.parametrize("removed", ["real/a", "real"])
@pytest.mark.parametrize("link", ["link", "to/.venv"])
def test_an_environment_behind_a_link_is_judged_where_the_link_leads(tmp_path: Path, removed: str, link: str) -> None:
    referrer = registered(tmp_path / "real" / "a" / ".venv")
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "real" / ("a/.venv" if link.endswith(".venv") else "a"))
    path = tmp_path / link if link.endswith(".venv") else tmp_path / link / ".venv"
    shutil.rmtree(tmp_path / removed)
    assert state(replace(referrer, path=str(path))) is MISSING
    (tmp_path / link).unlink()
    (tmp_path / link).symlink_to("/proc/none")
    assert state(replace(referrer, path=str(path))) is UNREACHABLE


@pytest.mark.parametrize("file", ["a/b", "a"])
def test_an_environment_below_what_is_a_file_now_is_unreachable(tmp_path: Path, file: str) -> None:
    referrer = registered(tmp_path / "a" / "b" / ".venv")
    shutil.rmtree(tmp_path / file)
    (tmp_path / file).write_text("")
    assert state(referrer) is UNREACHABLE


@contextmanager
def somebody_else() -> Iterator[None]:
    """Do without root's right to look everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_an_environment_below_what_may_not_be_read_is_unreachable(mode: int) -> None:
    # Not below pytest's own temporary directory, which nobody else may enter.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        referrer = registered(Path(directory, "top", "a", ".venv"))
        top = Path(directory, "top")
        shutil.rmtree(top / "a")
        with somebody_else():
            assert state(referrer) is MISSING
        top.chmod(mode)
        with somebody_else():
            assert state(referrer) is UNREACHABLE
        top.chmod(0o755)


@contextmanager
def mounted(where: Path) -> Iterator[None]:
    where.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", where], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("it needs to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", where], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="it needs to mount a file system")
@pytest.mark.parametrize("path", [".", ".venv", "a/.venv"])
def test_an_environment_on_a_file_system_that_is_not_mounted_is_unreachable(tmp_path: Path, path: str) -> None:
    disk = tmp_path / "disk"
    with mounted(disk):
        if path == ".":
            (disk / "kept").touch()
            referrer = replace(registered(disk / "x"), path=str(disk))
        else:
            referrer = registered(disk / path)
    assert state(referrer) is UNREACHABLE
    with mounted(disk):  # another one, which may well have got the same device number
        assert state(referrer) is UNREACHABLE
        assert state(replace(referrer, device=disk.stat().st_dev)) is UNREACHABLE
    disk.rmdir()  # as desktops do with the places where they mount
    assert state(referrer) is UNREACHABLE


@pytest.mark.skipif(shutil.which("mount") is None, reason="it needs to mount a file system")
def test_a_project_removed_from_a_mounted_file_system_that_holds_more_is_missing(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk"):
        referrer = registered(tmp_path / "disk" / "a" / ".venv")
        (tmp_path / "disk" / "another").mkdir()
        shutil.rmtree(tmp_path / "disk" / "a")
        assert state(referrer) is MISSING


def renamed(tmp_path: Path, old: str, new: str) -> Referrer:
    """Register an environment that bears its id, and rename something."""
    referrer = registered(tmp_path / "a" / ".venv")
    referrer = replace(referrer, id=write_environment_id(referrer.path))
    (tmp_path / new).parent.mkdir(exist_ok=True)
    (tmp_path / old).rename(tmp_path / new)
    return referrer


@pytest.mark.parametrize(("old", "new", "now"), [("a/.venv", "a/env", "a/env"), ("a", "b", "b/.venv")])
def test_an_environment_that_was_renamed_itself_or_with_its_project_is_found_again(
    tmp_path: Path, old: str, new: str, now: str
) -> None:
    seen = Whereabouts().look_at(renamed(tmp_path, old, new))
    assert (seen.state, seen.referrer.path) == (ReferrerState.ALIVE, str(tmp_path / now))
    assert seen.is_renamed
    assert seen.referrer.site_directories == (f"{tmp_path / now}/site",)


@pytest.mark.parametrize(
    ("old", "new", "now"),
    [
        ("a/.venv", "a/b/.venv", "a/b/.venv"),
        ("a/.venv", "x/y/z", "x/y/z"),
        ("a", "c/a", "c/a/.venv"),
        ("a", "c/b", "c/b/.venv"),
    ],
)
def test_one_of_symbolic_links_that_was_moved_to_another_directory_is_found_and_any_other_is_missing(
    tmp_path: Path, old: str, new: str, now: str
) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    referrer = renamed(tmp_path, old, new)
    seen = Whereabouts().look_at(referrer)
    assert (seen.state, seen.referrer.path, seen.is_renamed) == (ReferrerState.ALIVE, str(tmp_path / now), True)
    assert state(replace(referrer, archives={"a" * 32: "hardlink"})) is MISSING


def test_a_copy_is_found_in_place_of_one_that_was_removed_but_what_was_moved_goes_before_it(tmp_path: Path) -> None:
    referrer = registered(tmp_path / "a" / ".venv")
    referrer = replace(referrer, id=write_environment_id(referrer.path))
    shutil.copytree(referrer.path, tmp_path / "b" / "copy")
    (tmp_path / "a").rename(tmp_path / "b" / "moved")
    moved, copy = tmp_path / "b" / "moved" / ".venv", tmp_path / "b" / "copy"
    assert Whereabouts().look_at(referrer).referrer.path == str(moved)
    shutil.rmtree(moved)
    seen = Whereabouts().look_at(referrer).referrer
    assert (seen.path, seen.inode) == (str(copy), copy.stat().st_ino)
    write_environment_id(str(copy))
    assert state(replace(referrer, inode=copy.stat().st_ino)) is MISSING


def test_one_that_lies_beyond_the_bounds_of_the_search_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").mkdir()
    referrer = renamed(tmp_path, "a/.venv", "x/.venv")
    assert state(referrer) is ReferrerState.ALIVE
    (tmp_path / "link").symlink_to(tmp_path / "x")
    (tmp_path / "x" / MARKER).touch()  # another cache dir
    assert state(referrer) is MISSING
    (tmp_path / "x" / MARKER).unlink()
    monkeypatch.setattr(search, "ENTRIES", 1)
    assert state(referrer) is MISSING


def test_one_that_was_renamed_is_found_though_another_stands_in_its_place(tmp_path: Path) -> None:
    referrer = renamed(tmp_path, "a/.venv", "a/old")
    (tmp_path / "a/.venv").mkdir()
    write_environment_id(str(tmp_path / "a/.venv"))
    assert Whereabouts().look_at(referrer).referrer.path == str(tmp_path / "a/old")
