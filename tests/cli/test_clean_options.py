"""What `aioc clean` may be told besides projects and versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiocache_engine.testing.wheels import build_wheel

from .conftest import Aioc


def kinds(aioc: Aioc) -> list[str]:
    return [f"{each['kind']} {each['project'] or each['tool']}" for each in aioc("ls", "--json").document["entries"]]


@pytest.fixture
def stocked(aioc: Aioc) -> Aioc:
    assert aioc("fetch", "--no-deps", "tiny==1.0", "other").code == 0
    assert aioc("run", "--from", "tiny==1.0", "python", "-c", "pass").code == 0
    assert kinds(aioc) == ["archive other", "archive tiny", "environment tiny"]
    return aioc


def test_a_pattern(stocked: Aioc) -> None:
    assert stocked("clean", "ti*").code == 0
    assert kinds(stocked) == ["archive other"]


def test_an_id_of_an_archive(stocked: Aioc) -> None:
    assert stocked("clean", stocked.archive_of("other")).code == 0
    assert kinds(stocked) == ["archive tiny", "environment tiny"]


@pytest.fixture
def overlaid(stocked: Aioc, tmp_path: Path) -> Aioc:
    for version in ("3.0", "4.0"):
        wheel = build_wheel(tmp_path, "tiny", version)
        assert stocked("add", "--overlay", "mine", str(wheel)).code == 0
    return stocked


def added(aioc: Aioc) -> list[str]:
    return [each["version"] for each in aioc("ls", "--json").document["entries"] if "mine" in each["overlays"]]


def test_an_overlay_and_a_version_in_it(overlaid: Aioc) -> None:
    assert added(overlaid) == ["3.0", "4.0"]
    assert overlaid("clean", "tiny==3.0", "--overlay", "mine").code == 0
    assert added(overlaid) == ["4.0"]
    told = overlaid("clean", "--overlay", "mine", "-n", "--json").document
    done = overlaid("clean", "--overlay", "mine", "--json").document
    assert told["summary"] == done["summary"]
    assert kinds(overlaid) == ["archive other", "archive tiny", "environment tiny"]


def test_what_is_not_in_an_overlay_is_told(overlaid: Aioc) -> None:
    strange = overlaid("clean", "--overlay", "mane")
    assert strange.code == 0
    assert "nothing in the cache matches the overlay mane; near names: mine" in strange.err
    assert (
        "nothing in the cache matches other in the overlay mine" in overlaid("clean", "other", "--overlay", "mine").err
    )
    for words in (("--tool", "tiny"), (overlaid.archive_of("other"),)):
        assert overlaid("clean", "--overlay", "mine", *words).code == 2
    assert added(overlaid) == ["3.0", "4.0"]


def test_a_tool_beside_a_project(stocked: Aioc) -> None:
    assert stocked("clean", "other", "--tool", "tiny").code == 0
    assert kinds(stocked) == ["archive tiny"]


def test_a_tool_alone_and_only_to_tell_of_it(stocked: Aioc) -> None:
    told = stocked("clean", "--tool", "tiny", "-n", "--json").document
    done = stocked("clean", "--tool=tiny", "--json").document
    assert (told["summary"], told["dry_run"]) == (done["summary"], True)
    assert {each["kind"] for each in done["removed"]} - {"leftover"} == {"environment", "pointer"}
    assert kinds(stocked) == ["archive other", "archive tiny"]


def test_dependencies_go_too_and_are_told_as_such(stocked: Aioc) -> None:
    told = stocked("clean", "--tool", "tiny", "--deps", "-n", "--json").document
    done = stocked("clean", "--tool", "tiny", "--deps", "--json").document
    assert told["summary"] == done["summary"]
    assert [each["reason"] for each in done["removed"] if each["kind"] == "archive"] == ["deps"]
    assert kinds(stocked) == ["archive other"]


def test_what_is_in_use_and_pinned_goes_if_that_is_said_and_the_user_is_named(stocked: Aioc) -> None:
    assert stocked("pin", "tiny").code == 0
    entries = stocked("ls", "--json").document["entries"]
    with stocked.using(*(each["id"] for each in entries if each["kind"] == "archive")):
        told = stocked("clean", "--even-in-use", "-n", "--json").document
        ran = stocked("clean", "--even-in-use", "--json")
    assert (ran.code, kinds(stocked), stocked("pin").out) == (0, [], "")
    pin, warning = sorted(ran.document["warnings"])
    assert pin.startswith("pin tiny keeps no longer what is removed: ")
    assert warning.startswith(f"process {os.getpid()} (")
    assert warning.endswith(" uses what is removed: other 1.0, tiny 1.0")
    assert f"aioc: warning: {stocked.steady(warning)}\n" in ran.err
    assert (told["summary"], told["warnings"]) == (ran.document["summary"], ran.document["warnings"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("zz*",), "nothing in the cache matches zz*"),
        (("--tool", "tinny"), "nothing in the cache matches --tool tinny; near names: tiny"),
        (("0" * 32,), f"nothing in the cache matches {'0' * 32}"),
    ],
)
def test_what_matches_nothing_is_said_and_no_failure(stocked: Aioc, words: tuple[str, ...], line: str) -> None:
    ran = stocked("clean", *words)
    assert (ran.code, ran.out) == (0, "Nothing to remove\n")
    assert line in ran.err
    assert len(kinds(stocked)) == 3


@pytest.mark.parametrize("words", [("--tool", "tiny<2"), ("ti*<2",), ("--tool", "ti*")])
def test_what_cannot_be_meant_is_refused(stocked: Aioc, words: tuple[str, ...]) -> None:
    ran = stocked("clean", *words)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert len(kinds(stocked)) == 3
