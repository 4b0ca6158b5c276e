"""Report 6909, acted out: one command frees the bytes, says truthfully how many, and a prune right after finds nothing.

There, `clean PKG` removed three files of some kilobytes, and only a prune after it the gigabyte that was meant.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from reports import Stage, allocated, assert_within_a_percent, freed, objects


@pytest.mark.parametrize("name", ["the project", "everything"])
def test_one_clean_frees_the_bytes_and_a_prune_right_after_finds_nothing(stage: Stage, name: str) -> None:
    plain = stage.cast.plain
    shutil.rmtree(stage.install("environment", plain))
    before = stage.allocated()
    removal = stage("clean", *([plain] if name == "the project" else []))
    assert_within_a_percent(freed(removal), before - stage.allocated())
    assert freed(removal) > 5_000_000
    assert objects(removal) == [plain]
    assert (stage("prune")["removed"], stage.entries()) == ([], [])


def test_with_an_environment_that_has_links_both_figures_are_right_and_it_keeps_its_files(stage: Stage) -> None:
    plain = stage.cast.plain
    environment = stage.install("environment", plain, "--link-mode", "hardlink")
    [entry] = stage.entries(plain)
    before, in_environment = stage.allocated(), allocated(environment)
    foreseen = stage("clean", plain, "--dry-run")
    removal = stage("clean", plain)
    assert freed(foreseen) == freed(removal)
    assert_within_a_percent(before - freed(removal), stage.allocated())
    assert freed(removal) < in_environment / 10
    [archive] = [each for each in removal["removed"] if each["kind"] == "archive"]
    assert archive["bytes_logical"] >= entry["bytes"]
    assert archive["bytes_logical"] - entry["bytes"] < entry["bytes"] / 10  # manifest and marks are not the project's
    assert stage("prune")["removed"] == []
    imports = subprocess.run([environment / "bin" / "python", "-c", f"import {plain}"], check=False)
    assert imports.returncode == 0
    before = stage.allocated()
    shutil.rmtree(environment)
    assert_within_a_percent(in_environment, before - stage.allocated())


def test_a_clean_of_a_tool_takes_its_environment_too_and_one_of_everything_all_it_needed(stage: Stage) -> None:
    tool = stage.cast.tool
    assert stage.run_tool()[0] == 0
    before = stage.allocated()
    removal = stage("clean", tool)
    assert_within_a_percent(freed(removal), before - stage.allocated())
    assert objects(removal) == sorted([tool, f"environment of {tool}"])
    stays = sorted(each["project"] for each in stage.entries())
    before = stage.allocated()
    removal = stage("clean")
    assert_within_a_percent(freed(removal), before - stage.allocated())
    assert objects(removal) == stays
    assert (stage("prune")["removed"], stage.entries()) == ([], [])


def test_with_deps_goes_what_nothing_else_uses_and_what_an_environment_uses_stays(stage: Stage) -> None:
    tool, part = stage.cast.tool, stage.cast.part
    assert stage.run_tool()[0] == 0
    stage.install("environment", part)
    before = stage.allocated()
    removal = stage("clean", tool, "--deps")
    assert_within_a_percent(freed(removal), before - stage.allocated())
    assert {tool, f"environment of {tool}"} <= set(objects(removal))
    assert [each["project"] for each in stage.entries()] == [part]
    assert stage("prune")["removed"] == []
