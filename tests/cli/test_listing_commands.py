"""`aioc ls`, `ps`, `size` and `dir`, whole outputs compared."""

from __future__ import annotations

import errno
import os
import re
from typing import Any

import pytest

from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.main import run


@pytest.fixture
def filled(aioc):
    assert aioc("fetch", "--no-deps", "tiny==1.0", "other").code == 0
    return aioc


def test_ls_is_a_table_by_project(filled) -> None:
    ran = filled("ls")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "PROJECT  VERSION  FILES  SIZE  LAST USED\nother  1.0  4  SIZE  WHEN\ntiny  1.0  3  SIZE  WHEN\n"
    )


def test_ls_of_one_project_or_version_leaves_out_the_others(filled) -> None:
    assert [line.split()[0] for line in filled("ls", "tiny").out.splitlines()] == ["PROJECT", "tiny"]
    none = filled("ls", "tiny>1")
    assert (none.code, none.out, none.err) == (0, "", "aioc: nothing in the cache matches tiny>1\n")


def test_the_json_of_ls_has_the_promised_keys(filled) -> None:
    document = filled("ls", "tiny", "--json").document
    assert document["schema"] == "aioc.ls/1"
    (entry,) = document["entries"]
    assert set(entry) == {
        "kind",
        "project",
        "version",
        "file",
        "id",
        "files",
        "bytes",
        "last_used",
        "overlays",
        "condemned",
    }
    assert (entry["kind"], entry["file"], entry["files"]) == ("archive", "tiny-1.0-py3-none-any.whl", 3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["last_used"])


def test_what_was_cleaned_in_use_is_marked_and_not_counted_once_it_is_free(filled) -> None:
    with filled.using(filled.archive_of("tiny")):
        assert filled("clean", "tiny").code == 0
        assert "tiny (cleaned, in use)  1.0" in filled("ls").out
    assert filled("size", "--json").document["entries"] == 1
    assert [each["project"] for each in filled("ls", "--json").document["entries"]] == ["other"]


def test_ls_of_an_empty_cache_says_so(aioc) -> None:
    assert aioc("ls").err == "aioc: the cache is empty\n"
    assert aioc("ls", "--json").document == {"schema": "aioc.ls/1", "entries": []}


def test_size_adds_up_what_ls_lists(filled) -> None:
    entries = filled("ls", "--json").document["entries"]
    document = filled("size", "--json").document
    total = sum(entry["bytes"] for entry in entries)
    assert document == {
        "schema": "aioc.size/1",
        "bytes": total,
        "files": sum(entry["files"] for entry in entries),
        "entries": 2,
        "buckets": {"archives": total, "environments": 0, "bytecode": 0, "sdists": 0},
    }
    assert filled("size").out == "SIZE in 7 files of 2 entries\n"


def test_ps_names_who_uses_what(filled) -> None:
    assert filled("ps").out == "Nobody uses the cache\n"
    archive_id = filled.archive_of("tiny")
    with filled.using(archive_id):
        lines = filled("ps").out.splitlines()
        document = filled("ps", "--json").document
    assert lines[0].split() == ["PID", "SINCE", "OBJECTS", "SIZE", "COMMAND"]
    assert lines[1].split()[0] == str(os.getpid())
    assert document["schema"] == "aioc.ps/1"
    (lease,) = document["leases"]
    assert (lease["pid"], lease["objects"]) == (os.getpid(), [archive_id])
    assert (lease["objects_known"], lease["newer_release"]) == (True, False)
    assert set(lease) == {"id", "pid", "command", "name", "since", "objects", "objects_known", "newer_release", "bytes"}


def test_dir_prints_a_path_and_makes_nothing(aioc) -> None:
    assert aioc("dir").out == "HOME/cache\n"
    assert aioc("dir", "--json").document == {
        "schema": "aioc.done/1",
        "command": "dir",
        "entries": [
            {"kind": "cache-dir", "project": None, "version": None, "id": None, "name": None, "path": "HOME/cache"}
        ],
    }
    assert not aioc.cache_dir.exists()
    del aioc.environ["AIOC_CACHE_DIR"]
    assert aioc("dir", XDG_CACHE_HOME="/cachehome").out == "/cachehome/aioc\n"


@pytest.mark.parametrize(("command", "bucket"), [("ps", "leases"), ("ls", "archives-v1"), ("size", "archives-v1")])
def test_a_directory_that_may_not_be_read_is_named(
    filled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, bucket: str
) -> None:
    place, opened = f"{filled.cache_dir}/{bucket}", os.open

    def refusing(path: Any, *arguments: Any, **how: Any) -> int:
        if path == place:  # root may read everything
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, *arguments, **how)

    monkeypatch.setattr(os, "open", refusing)
    assert run([command, "--cache-dir", str(filled.cache_dir)]) == ExitCode.FAILED
    assert capsys.readouterr().err == f"aioc: error: {place}: Permission denied\n"
