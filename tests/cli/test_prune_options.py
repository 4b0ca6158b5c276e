"""`aioc prune` and its options, as people and scripts see them."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.cli.units import parse_size, size_of


@pytest.fixture
def filled(aioc):
    """Give a command whose cache holds `tiny`, used 31 days ago, and `other`, used now."""
    assert aioc("fetch", "--no-deps", "tiny==1.0", "other").code == 0
    then = time.time() - 31 * 24 * 3600
    os.utime(aioc.cache_dir / "archives-v1" / aioc.archive_of("tiny") / "used", (then, then))
    return aioc


def projects(aioc) -> set[str]:
    return {entry["project"] for entry in aioc("ls", "--json").document["entries"]}


def test_what_nobody_used_for_so_long_goes_and_is_told(filled) -> None:
    assert filled("prune", "--unused-for", "32d").out.endswith("Nothing to remove\n")
    ran = filled("prune", "--unused-for", "30d")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-3].startswith("tiny  1.0  ")
    assert ran.out.splitlines()[-3].endswith("  unused")
    assert projects(filled) == {"other"}


def test_a_variable_says_it_for_every_prune_and_an_option_wins_over_it(filled) -> None:
    assert filled("prune", "--unused-for", "5w", AIOC_UNUSED_FOR="30d").out.endswith("Nothing to remove\n")
    assert filled("prune", "-n", AIOC_UNUSED_FOR="").out.endswith("Nothing to remove\n")
    filled("prune", AIOC_UNUSED_FOR="4w")
    assert projects(filled) == {"other"}


def test_an_age_that_is_none_is_refused_with_what_to_write(aioc) -> None:
    expected = "is no age; use a whole number of hours, days or weeks, as 12h, 30d or 2w"
    by_option, by_variable = aioc("prune", "--unused-for", "a month"), aioc("prune", AIOC_UNUSED_FOR="30")
    assert (by_option.code, by_variable.code) == (2, 2)
    assert f"'a month' {expected}" in by_option.err
    assert by_variable.err == f"aioc: error: AIOC_UNUSED_FOR: '30' {expected}\n"


def test_before_a_ci_cache_is_saved_all_that_can_be_fetched_goes(filled) -> None:
    document = filled("prune", "--ci", "--json").document
    assert {(each["project"], each["reason"]) for each in document["removed"] if each["kind"] == "archive"} == {
        ("tiny", "ci"),
        ("other", "ci"),
    }
    assert projects(filled) == set()


def test_the_environments_of_tools_go_on_demand_and_are_made_again(aioc) -> None:
    assert aioc("run", "--from", "tiny", "python", "-c", "pass").code == 0
    removed = aioc("prune", "--keep-latest", "--json").document["removed"]
    assert [each for each in removed if each["kind"] != "leftover"] == []  # the lease of a run ends with its process
    ran = aioc("prune", "--tools")
    assert ran.out.splitlines()[1].startswith("(environments of tiny)  ")
    assert ran.out.splitlines()[1].endswith("  tools")
    assert aioc("run", "--from", "tiny", "python", "-c", "pass").code == 0


def test_a_cache_is_made_as_small_as_asked_for(filled) -> None:
    size = filled("size", "--json").document["bytes"]
    ran = filled("prune", "--max-size", f"{size - 1}B", "--json")
    assert (ran.code, ran.err, ran.document["summary"]["goal_met"]) == (0, "", True)
    assert {each["reason"] for each in ran.document["removed"] if each["kind"] == "archive"} == {"size"}
    assert projects(filled) == {"other"}


def test_who_is_in_the_way_of_a_size_is_said_and_the_exit_code_tells_it(filled) -> None:
    filled("install", "--no-deps", "other", "--venv", "env")
    with filled.using(filled.archive_of("tiny")):
        foreseen = filled("prune", "--max-size", "0MB", "--dry-run", "--json")
        ran = filled("prune", "--max-size", "0MB")
        done = filled("prune", "--max-size", "0MB", "--json")
    assert (foreseen.code, ran.code, done.code) == (4, 4, 4)
    assert foreseen.document["summary"]["goal_met"] is done.document["summary"]["goal_met"] is False
    assert ran.out.endswith("Nothing to remove\n")
    start, _, users = ran.err.partition("; in the way: ")
    assert start == "aioc: the goal was missed by SIZE"
    assert "environment HOME/env (SIZE)" in users
    assert "process PID (" in users
    assert foreseen.err.startswith("aioc: the goal was missed by")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("500MB", 500_000_000), ("20GiB", 20 * 1024**3), ("1.5 kB", 1500), ("7b", 7), ("1tb", 10**12)],
)
def test_sizes_are_read_as_people_write_them_and_as_aioc_prints_them(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@given(st.integers(0, 10**15))
def test_what_is_printed_can_be_typed_back(size_bytes: int) -> None:
    assert parse_size(size_of(size_bytes)) == pytest.approx(size_bytes, rel=0.05)
