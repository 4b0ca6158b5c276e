"""What is installed, read from the names of dist-infos and from what we leave in them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aiocache_engine.pipeline.linking.uninstall import recorded_paths
from aiocache_engine.python.installed import (
    JOURNAL,
    JOURNAL_BEGUN,
    JOURNAL_DONE,
    archives_in_use,
    marker,
    read_installed,
)

ONE, TWO = "1" * 32, "2" * 32


def dist_info(site: Path, name: str, metadata: str = "", **files: str | bytes) -> Path:
    path = site / name
    path.mkdir(parents=True)
    (path / "METADATA").write_text(metadata)
    for file, content in files.items():
        place = path / file.replace("_json", ".json")
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_every_form_of_installation_is_seen(tmp_path: Path) -> None:
    dist_info(tmp_path, "Some_Name-1.2.dist-info")
    dist_info(tmp_path, "linked-1.dist-info", aioc_json=marker(ONE, "clone"))
    dist_info(tmp_path, "un-escaped-3.dist-info", "Metadata-Version: 2.1\nName: un-escaped\nVersion: 3\n\nName: no\n")
    (tmp_path / "old-4-py3.11.egg-info").write_text("Name: old\nVersion: 4\n")
    (tmp_path / "folder.egg-info").mkdir()
    (tmp_path / "folder.egg-info/PKG-INFO").write_text("Name: Folder\nVersion: 5\n")
    (tmp_path / "Dev.Mode.egg-link").write_text("/somewhere\n")
    (tmp_path / "module.py").write_text("")
    (tmp_path / "empty-1.dist-info").mkdir()
    assert [(one.project, one.version, one.archive_id) for one in read_installed([str(tmp_path)])] == [
        ("dev-mode", "", None),
        ("folder", "5", None),
        ("linked", "1", ONE),
        ("old", "4", None),
        ("some-name", "1.2", None),
        ("un-escaped", "3", None),
    ]


def test_a_damaged_marker_makes_a_distribution_somebody_elses_and_its_archives_unknown(tmp_path: Path) -> None:
    dist_info(tmp_path, "a-1.dist-info", aioc_json="{")
    assert [one.archive_id for one in read_installed([str(tmp_path)])] == [None]
    assert archives_in_use([str(tmp_path)], str(tmp_path)) is None


def test_a_site_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert read_installed([str(tmp_path / "gone")]) == []
    assert archives_in_use([str(tmp_path / "gone")], str(tmp_path)) == {}


@pytest.mark.parametrize("name", [JOURNAL_BEGUN, JOURNAL_DONE])
def test_archives_are_those_of_the_journal_and_of_the_dist_infos(name: str, tmp_path: Path) -> None:
    dist_info(tmp_path, "a-1.dist-info", aioc_json=marker(ONE, "hardlink"))
    (tmp_path / JOURNAL).mkdir()
    document = {"format": 1, "archives": {TWO: "copy", ONE: "symlink"}}
    (tmp_path / JOURNAL / name).write_text(json.dumps(document))
    assert archives_in_use([str(tmp_path)], str(tmp_path)) == {ONE: "symlink", TWO: "copy"}


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2, "archives": {}}', '{"format": 1}'])
def test_a_journal_that_cannot_be_read_makes_the_archives_unknown(content: str, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).mkdir()
    (tmp_path / JOURNAL / JOURNAL_BEGUN).write_text(content)
    assert archives_in_use([str(tmp_path)], str(tmp_path)) is None


def test_a_site_that_cannot_be_listed_makes_the_archives_unknown(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("")
    assert archives_in_use([str(tmp_path / "site")], str(tmp_path)) is None


def test_paths_of_a_record_are_told_apart_by_where_they_lead() -> None:
    text = 'a.py,,\n../../bin/x,,\n"b, c.txt",,\n../../../out,,\n/etc/passwd,,\na/../../../../up,,\n'
    text += "./d.py,,\ne..py,,\n..,,\n"
    inside, outside = recorded_paths(text, site="lib/site")
    assert inside == ["lib/site/a.py", "bin/x", "lib/site/b, c.txt", "lib/site/d.py", "lib/site/e..py", "lib"]
    assert outside == ["../../../out", "/etc/passwd", "a/../../../../up"]
    inside, outside = recorded_paths("a.py,,\n../x,,\n", site="")
    assert (inside, outside) == (["a.py"], ["../x"])


def test_reading_does_not_depend_on_the_order_of_a_directory(tmp_path: Path) -> None:
    for name in ("b-1.dist-info", "a-1.dist-info", "c-1.dist-info"):
        dist_info(tmp_path, name)
    assert [one.project for one in read_installed([str(tmp_path)])] == ["a", "b", "c"]
    assert sorted(os.listdir(tmp_path)) == ["a-1.dist-info", "b-1.dist-info", "c-1.dist-info"]
