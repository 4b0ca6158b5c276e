"""`aioc why`: what keeps something is told with what would release it, and never contradicts what prune then does."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


@pytest.fixture
def filled(aioc):
    """Give a command whose cache holds `tiny`, installed into `env`, and `other`, fetched."""
    assert aioc("fetch", "--no-deps", "other").code == 0
    assert aioc("install", "--no-deps", "tiny==1.0", "--venv", "env", "--link-mode", "hardlink").code == 0
    return aioc


def why(aioc, what: str, **environ: str) -> list[dict]:
    document = aioc("why", what, "--json", **environ).document
    assert document["schema"] == "aioc.why/1"
    return document["entries"]


def test_an_environment_that_uses_an_archive_is_named_with_what_would_release_it(filled) -> None:
    ran = filled("why", "tiny")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "tiny 1.0 (SIZE): kept\n  by environment HOME/env (hardlink), until the environment goes: rm -r HOME/env\n"
    )


def test_the_same_is_answered_by_id_by_path_and_by_version(filled) -> None:
    archive_id = filled.archive_of("tiny")
    file = next((filled.cache_dir / "archives-v1" / archive_id / "tree").rglob("*.py"))
    asked = ["tiny==1.0", archive_id, "./env", str(filled.home / "env" / "lib"), str(file)]
    asked += [str(filled.cache_dir / "projects-v1" / "tiny"), str(filled.cache_dir / "archives-v1" / archive_id)]
    assert [[each["id"] for each in why(filled, what)] for what in asked] == [[archive_id]] * len(asked)


def test_a_file_of_an_environment_made_of_symlinks_leads_to_its_archive(aioc) -> None:
    assert aioc("install", "--no-deps", "tiny==1.0", "--venv", "env", "--link-mode", "symlink").code == 0
    link = next(path for path in (aioc.home / "env" / "lib").rglob("tiny/*.py") if path.is_symlink())
    assert [each["id"] for each in why(aioc, str(link))] == [aioc.archive_of("tiny")]


def test_where_nothing_keeps_it_the_next_prune_is_foretold_and_then_does_it(filled) -> None:
    shutil.rmtree(filled.home / "env")
    assert filled("why", "tiny").out == (
        "tiny 1.0 (SIZE): the next prune removes it\n  it was linked into environments, and all of them are gone\n"
    )
    (entry,) = why(filled, "tiny")
    assert set(entry) == {"kind", "project", "version", "id", "tool", "bytes", "reasons", "next_prune"}
    assert (entry["reasons"], entry["next_prune"]) == ([], {"removes": True, "reason": "environments-gone"})
    removed = {each["id"]: each["reason"] for each in filled("prune", "--json").document["removed"]}
    assert removed[entry["id"]] == "environments-gone"
    assert why(filled, "tiny") == []


def test_a_variable_that_makes_prune_take_more_or_less_is_heeded(filled) -> None:
    shutil.rmtree(filled.home / "env")
    assert why(filled, "tiny")[0]["next_prune"]["removes"] is True
    assert why(filled, "tiny", AIOC_UNUSED_FOR="30d")[0]["next_prune"] == {"removes": False, "reason": None}


def test_running_work_is_named(filled) -> None:
    with filled.using(filled.archive_of("other")):
        (entry,) = why(filled, "other")
    lease = entry["reasons"][0]
    assert (lease["code"], lease["pid"]) == ("lease", os.getpid())


def test_what_keeps_the_environment_of_a_tool_and_what_is_in_it_is_told(aioc) -> None:
    assert aioc("run", "--from", "tiny", "python", "-c", "pass").code == 0
    archive, environment = why(aioc, "tiny")
    assert (archive["kind"], environment["kind"], environment["tool"]) == ("archive", "environment", "tiny")
    (reason,) = archive["reasons"]
    assert reason["code"] == "environment"
    assert reason["via"][0] == f"environment {environment['id']}"
    assert reason["release"] == "aioc clean tiny"
    lines = aioc("why", "tiny").out.splitlines()
    assert lines[1].startswith(f"  by environment {environment['id']} (pointer HOME/cache/tools-v1/tiny/")
    assert [each["id"] for each in why(aioc, str(aioc.cache_dir / "tools-v1" / "tiny"))] == [environment["id"]]


def test_a_process_in_the_environment_of_a_tool_is_named_beside_its_name(aioc) -> None:
    assert aioc("run", "--from", "tiny", "python", "-c", "pass").code == 0
    [environment] = (aioc.cache_dir / "environments-v1").iterdir()
    # Started by its path, as no lease tells of it.
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [environment / "env/bin/python", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tool:
        assert tool.stdout.readline()
        _, entry = why(aioc, "tiny")
        tool.stdin.close()
    assert [(each["code"], each["pid"]) for each in entry["reasons"]] == [("running", tool.pid), ("pointer", None)]


def test_a_project_of_which_only_pages_are_stored_is_foretold_to_go_with_them(filled) -> None:
    alone = filled.cache_dir / "projects-v1" / "alone" / ("0" * 32) / "page"
    alone.parent.mkdir(parents=True)
    alone.write_bytes(b"x" * 10)
    (entry,) = why(filled, "alone")
    assert (entry["kind"], entry["project"], entry["id"], entry["bytes"]) == ("page", "alone", None, 10)
    assert entry["next_prune"] == {"removes": True, "reason": "unreachable"}
    assert filled("why", "alone").out.startswith("pages of alone (SIZE): the next prune removes it\n")
    (entry,) = why(filled, "alone", AIOC_UNUSED_FOR="30d")
    assert entry["next_prune"] == {"removes": False, "reason": None}
    assert [each["code"] for each in entry["reasons"]] == ["recently-used"]
    assert filled("prune").code == 0
    assert not alone.exists()
    assert why(filled, "alone") == []


def test_what_matches_nothing_is_said_and_is_no_failure(filled) -> None:
    for what in ("lost", "0" * 32, "./nowhere"):
        ran = filled("why", what)
        assert (ran.code, ran.out, ran.err) == (0, "", f"aioc: nothing in the cache matches {what}\n")
    assert why(filled, "lost") == []


def test_it_has_to_be_said_what_is_meant(filled) -> None:
    nothing, nonsense = filled("why"), filled("why", "tiny==")
    assert (nothing.code, nonsense.code) == (2, 2)
    assert nothing.err.startswith("aioc: error: say what is meant")
