"""`aioc clean` and `aioc prune`, whole outputs compared."""

from __future__ import annotations

import shutil

import pytest

HEAD = "PROJECT  VERSION  ENTRIES  FILES  SIZE  FREED  WHY\n"


@pytest.fixture
def filled(aioc):
    assert aioc("fetch", "--no-deps", "tiny==1.0", "other").code == 0
    return aioc


def test_cleaning_a_project_lists_what_went_and_what_was_freed(filled) -> None:
    ran = filled("clean", "tiny")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{HEAD}tiny  1.0  2  8  SIZE  SIZE  named\nFreed SIZE (8 files)\n"
    assert [entry["project"] for entry in filled("ls", "--json").document["entries"]] == ["other"]


def test_a_dry_run_says_would_and_removes_nothing(filled) -> None:
    ran = filled("clean", "tiny", "-n")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(HEAD)
    assert ran.out.splitlines()[-1].startswith("Would free SIZE (")
    assert len(filled("ls", "--json").document["entries"]) == 2


def test_a_dry_run_foresees_what_the_clean_then_does(filled) -> None:
    foreseen = filled("clean", "tiny", "-n", "--json").document
    done = filled("clean", "tiny", "--json").document
    assert (foreseen["dry_run"], done["dry_run"]) == (True, False)
    assert foreseen["summary"] == done["summary"]
    assert set(foreseen) == set(done)


def test_cleaning_versions_leaves_the_others(aioc) -> None:
    aioc("fetch", "--no-deps", "tiny==1.0")
    aioc("fetch", "--no-deps", "tiny==2.0")
    assert aioc("clean", "tiny<2").out.startswith(f"{HEAD}tiny  1.0  2  ")
    assert [entry["version"] for entry in aioc("ls", "--json").document["entries"]] == ["2.0"]


def test_cleaning_without_names_takes_everything_and_asks_nothing(filled) -> None:
    ran = filled("clean")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["PROJECT", "(names", "other", "tiny", "Freed"]
    assert filled("ls").out == ""
    again = filled("clean")
    assert (again.code, again.out.splitlines()[-1]) == (0, "Nothing to remove")


def test_a_name_that_matches_nothing_is_said_with_near_names_and_is_no_failure(filled) -> None:
    ran = filled("clean", "tinny", "oter==7")
    assert (ran.code, ran.out) == (0, "Nothing to remove\n")
    assert ran.err == "aioc: nothing in the cache matches tinny, oter==7; near names: tiny, other\n"
    assert filled("clean", "other==7").err == "aioc: nothing in the cache matches other==7\n"
    document = filled("clean", "tinny", "--json").document
    assert (document["unmatched"], document["near_names"]) == (["tinny"], ["tiny"])


def test_the_json_of_a_removal_has_the_promised_keys(filled) -> None:
    ran = filled("clean", "tiny", "--json")
    document = ran.document
    assert (document["schema"], document["command"], document["dry_run"]) == ("aioc.removal/1", "clean", False)
    assert set(document["summary"]) == {
        "entries",
        "files",
        "bytes_logical",
        "bytes_freed",
        "bytes_freed_exact",
        "kept",
        "goal_met",
    }
    archive = next(one for one in document["removed"] if one["kind"] == "archive")
    keys = {"kind", "project", "version", "id", "files", "bytes_logical", "bytes_freed", "reason", "tool"}
    assert set(archive) == keys
    assert (archive["project"], archive["version"], archive["reason"]) == ("tiny", "1.0", "named")
    assert document["summary"]["bytes_freed"] == sum(one["bytes_freed"] for one in document["removed"])
    assert {"kept", "waited_seconds", "longest_hold_seconds", "warnings"} <= set(document)
    assert ran.out.count("\n") == 1


def test_what_is_in_use_is_kept_and_its_user_named_until_the_next_command(filled) -> None:
    archive_id = filled.archive_of("tiny")
    with filled.using(archive_id):
        ran = filled("clean", "tiny")
        assert "\nkept: tiny 1.0 (SIZE) by process PID (" in ran.out
        assert ran.out.splitlines()[1].startswith("kept: ") or ran.out.splitlines()[2].startswith("kept: ")
        assert (filled.cache_dir / "archives-v1" / archive_id).exists()
        (kept,) = filled("prune", "--json").document["kept"][:1]
        assert {reason["code"] for reason in kept["reasons"]} <= {"lease", "pointer"}
    filled("size")
    assert not (filled.cache_dir / "archives-v1" / archive_id).exists()


def test_the_json_of_what_is_kept_names_process_and_release(filled) -> None:
    with filled.using(filled.archive_of("tiny")):
        (kept,) = filled("clean", "tiny", "--json").document["kept"]
    assert (kept["kind"], kept["project"], kept["version"]) == ("archive", "tiny", "1.0")
    (reason,) = kept["reasons"]
    assert set(reason) == {"code", "pid", "command", "path", "via", "release"}
    assert reason["code"] == "lease"
    assert reason["release"].endswith(" ends")


def test_prune_takes_what_only_a_deleted_environment_used(filled) -> None:
    filled("install", "--no-deps", "tiny==1.0", "--venv", "env")
    before = filled("prune")
    assert before.out == (
        "kept: 1 entry used by 1 environment (SIZE)\nkept: 1 entry to be used again (SIZE)\nNothing to remove\n"
    )
    shutil.rmtree(filled.home / "env")
    after = filled("prune")
    assert after.out.startswith(f"{HEAD}(leftovers)  1  1  SIZE  SIZE  environments-gone\ntiny  1.0  3  ")
    assert after.out.splitlines()[2].endswith("  environments-gone, unreachable")
    assert after.out.splitlines()[-1].startswith("Freed SIZE (")
    assert filled("prune").out == "kept: 1 entry to be used again (SIZE)\nNothing to remove\n"


def test_verbose_names_every_reason(filled) -> None:
    filled("install", "--no-deps", "tiny==1.0", "--venv", "env")
    lines = filled("prune", "-v").out.splitlines()
    assert lines[0].startswith("kept: other 1.0 (SIZE) by its name HOME/cache/projects-v1/other/")
    assert lines[1] == ("kept: tiny 1.0 (SIZE) by environment HOME/env, until the environment goes: rm -r HOME/env")
    assert lines[2] == "waited TIME, longest hold TIME"


def test_a_symlinked_environment_keeps_what_was_cleaned(filled) -> None:
    filled("install", "--no-deps", "tiny==1.0", "--venv", "env", "--link-mode", "symlink")
    ran = filled("clean", "tiny")
    assert "kept: tiny 1.0 (SIZE) by environment HOME/env, until the environment goes: rm -r HOME/env\n" in ran.out
    assert (filled.home / "env").exists()


def test_quiet_removals_say_nothing(filled) -> None:
    ran = filled("clean", "tiny", "nobody", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert filled("prune", "-q").out == ""
