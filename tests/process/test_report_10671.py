"""Report 10671, acted out: `clean PKG` of a tool, or of anything in it, and the next run has a fresh environment.

There, the cached environment stayed, broken as it was, and every run after the clean got it again.
"""

from __future__ import annotations

from typing import Any

import pytest

from reports import Stage, assert_within_a_percent, freed, objects


def named(stage: Stage, what: str) -> str:
    return stage.cast.tool if what == "tool" else stage.cast.part


@pytest.mark.parametrize("what", ["tool", "part"])
def test_one_clean_of_a_tool_or_of_anything_in_it_and_the_next_run_is_whole_again(stage: Stage, what: str) -> None:
    project = named(stage, what)
    code, said = stage.run_tool()
    assert code == 0, said
    stage.corrupt(project)
    assert stage.run_tool() == (1, f"the old {project} is corrupt\n")
    before = stage.allocated()

    removal = stage("clean", project)

    assert_within_a_percent(freed(removal), before - stage.allocated())
    assert objects(removal) == sorted([project, f"environment of {stage.cast.tool}"])
    assert not (stage.cache_dir / "projects-v1" / project).exists()  # pages, metadata and every name
    assert stage.entries(project) == []
    assert list(stage.cache_dir.glob("tools-v1/*/*")) == list(stage.cache_dir.glob("environments-v1/*")) == []
    assert stage.run_tool() == (0, said)


def test_with_deps_all_goes_that_only_the_environment_used(stage: Stage) -> None:
    assert stage.run_tool()[0] == 0
    stage("fetch", stage.cast.plain)
    inside = sorted(each["project"] for each in stage.entries() if each["project"] not in (None, stage.cast.plain))
    before = stage.allocated()
    removal = stage("clean", stage.cast.part, "--deps")
    assert_within_a_percent(freed(removal), before - stage.allocated())
    assert objects(removal) == sorted([*inside, f"environment of {stage.cast.tool}"])
    assert [each["project"] for each in stage.entries()] == [stage.cast.plain]
    assert stage("prune")["removed"] == []


LATE = "print('at work', flush=True); input(); import {late}; print('unharmed')"


@pytest.mark.parametrize("what", ["tool", "part"])
def test_a_run_beside_the_running_tool_is_whole_and_the_old_files_stay_until_that_ends(stage: Stage, what: str) -> None:
    project = named(stage, what)
    running = stage.start_tool(LATE.format(late=project))
    try:
        [old] = stage.cache_dir.glob("environments-v1/*")
        files = sorted(old.rglob("*"))
        removal = stage("clean", project)
        assert_kept_by(running.pid, removal)
        assert not (stage.cache_dir / "projects-v1" / project).exists()
        assert sorted(old.rglob("*")) == files
        stage.corrupt(project)

        assert stage.run_tool()[0] == 0
        _, said = running.communicate("\n")
        assert (running.returncode, said) == (1, f"the old {project} is corrupt\n")  # it had its own to the end
    finally:
        running.kill()
        running.communicate()
    kept = {each["id"] for each in removal["kept"] if each["project"] in (project, None)}
    before = stage.allocated()
    assert stage("prune")["warnings"] == []
    assert kept.isdisjoint(each["id"] for each in stage.entries())
    assert before - stage.allocated() >= sum(e["bytes_logical"] for e in removal["kept"] if e["project"] == project)
    assert stage.run_tool()[0] == 0


def assert_kept_by(pid: int, removal: Any) -> None:
    reasons = [reason for kept in removal["kept"] for reason in kept["reasons"] if reason["code"] == "lease"]
    assert reasons
    assert {reason["pid"] for reason in reasons} == {pid}
    assert [each for each in removal["removed"] if each["kind"] in ("archive", "environment")] == []
