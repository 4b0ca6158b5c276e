"""Report 10153, acted out: a prune knows which environments use what, however they were linked.

There, a prune after the removal of an environment freed nothing, because nobody had written down who uses what.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reports import Stage, allocated, assert_within_a_percent, freed, objects, uv
from targets import run

MODES = ["clone", "hardlink", "copy", "symlink"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each link mode; cloning only where the file system can."""
    if request.param == "clone":
        (tmp_path / "file").touch()
        cloned = subprocess.run(
            ["cp", "--reflink=always", tmp_path / "file", tmp_path / "clone"], capture_output=True, check=False
        )
        if cloned.returncode != 0:
            pytest.skip("the file system of the temporary directory cannot clone files")
    return str(request.param)


def test_the_cache_is_as_large_as_if_the_removed_environment_had_never_been(stage: Stage, mode: str) -> None:
    plain, (old, new) = stage.cast.plain, stage.cast.versions
    goes = stage.install("goes", f"{plain}=={old}", "--link-mode", mode)
    stays = stage.install("stays", f"{plain}=={new}", "--link-mode", mode)
    shutil.rmtree(goes)
    before = stage.allocated()
    removal = stage("prune")
    assert_within_a_percent(freed(removal), before - stage.allocated())
    assert [(e["project"], e["version"], e["reason"]) for e in removal["removed"] if e["kind"] == "archive"] == [
        (plain, old, "environments-gone")
    ]

    other = stage.command("other")
    assert other("install", f"{plain}=={new}", "--link-mode", mode, "--venv", "third").code == 0
    assert other("size", "--json").document == stage("size")
    assert_within_a_percent(allocated(other.cache_dir), allocated(stage.cache_dir))
    assert version_in(stays, plain) == new


def test_what_was_fetched_and_never_installed_is_kept(stage: Stage) -> None:
    stage("fetch", stage.cast.plain)
    removal = stage("prune")
    assert removal["removed"] == []
    assert objects(removal, "kept") == [stage.cast.plain]


def version_in(environment: Path, project: str) -> str:
    code = f"import {project}; print({project}.__version__)"
    return run(environment / "bin" / "python", "-c", code).strip()


def why_kept(removal: Any) -> list[tuple[str, str]]:
    return [(reason["code"], reason["path"]) for kept in removal["kept"] for reason in kept["reasons"]]


@pytest.mark.parametrize("what", ["environment", "project"])
def test_an_environment_of_symlinks_that_was_renamed_is_kept_with_the_reason(stage: Stage, what: str) -> None:
    old, new, place = {
        "environment": ("work/.venv", "work/moved", "work/moved"),
        "project": ("work", "moved", "moved/.venv"),
    }[what]
    stage.install("work/.venv", stage.cast.plain, "--link-mode", "symlink")
    (stage.home / old).rename(stage.home / new)
    moved = stage.home / place
    removal = stage("prune")
    assert removal["removed"] == []
    assert why_kept(removal) == [("referrer", stage.shown(moved))]
    assert stage.shown(moved) in stage.aioc("why", stage.cast.plain).out
    assert version_in(moved, stage.cast.plain)


@contextmanager
def mounted(where: Path) -> Iterator[None]:
    where.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", where], capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", where], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="file systems cannot be mounted here")
def test_an_environment_on_a_disk_that_is_not_mounted_is_kept_with_the_reason(stage: Stage) -> None:
    with mounted(stage.home / "disk"):
        environment = stage.install("disk/environment", stage.cast.plain, "--link-mode", "symlink")
    assert_kept_as_unreachable(stage, environment)


def test_an_environment_that_cannot_be_read_is_kept_with_the_reason(stage: Stage) -> None:
    environment = stage.install("environment", stage.cast.plain, "--link-mode", "hardlink")
    [description] = environment.glob(f"lib/*/site-packages/{stage.cast.plain}-*.dist-info/aioc.json")
    description.write_text("{}")
    assert_kept_as_unreachable(stage, environment)


def assert_kept_as_unreachable(stage: Stage, environment: Path) -> None:
    removal = stage("prune")
    assert removal["removed"] == []
    where = stage.shown(environment)
    assert why_kept(removal) == [("referrer", where)]
    [warning] = removal["warnings"]
    assert warning.startswith(f"environment {where} cannot be reached; what it was linked from is kept")


@pytest.mark.parametrize("what", ["uninstalled", "upgraded"])
@pytest.mark.parametrize("program", ["pip", "uv"])
def test_what_pip_or_uv_uninstalled_or_upgraded_is_not_used_any_more(stage: Stage, program: str, what: str) -> None:
    plain, (old, new) = stage.cast.plain, stage.cast.versions
    environment = stage.install("environment", f"{plain}=={old}")
    python = str(environment / "bin" / "python")
    index = [] if stage.index_url is None else ["--index-url", stage.index_url]
    begin = {"pip": [sys.executable, "-m", "pip", "--python", python], "uv": [uv() if program == "uv" else "", "pip"]}
    words = {
        ("pip", "uninstalled"): ["uninstall", "--yes", plain],
        ("pip", "upgraded"): ["install", "--no-cache-dir", *index, f"{plain}=={new}"],
        ("uv", "uninstalled"): ["uninstall", "--python", python, plain],
        ("uv", "upgraded"): ["install", "--python", python, "--no-cache", *index, f"{plain}=={new}"],
    }
    assert stage("prune")["removed"] == []
    environ = {**stage.aioc.environ, "HOME": os.environ["HOME"]}
    run(*begin[program], *words[program, what], environ=environ)
    removal = stage("prune")
    assert [(e["project"], e["version"]) for e in removal["removed"] if e["kind"] == "archive"] == [(plain, old)]
    assert stage.entries() == []
    if what == "upgraded":
        assert version_in(environment, plain) == new
