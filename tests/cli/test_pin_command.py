"""`aioc pin` and `unpin`: what is pinned survives a clean, can be had from the cache alone, and tells why it stays."""

from __future__ import annotations

import pytest


@pytest.fixture
def pinned(aioc):
    """Give a command whose cache holds two versions of `tiny`, one of them pinned, and `other`."""
    assert aioc("fetch", "--no-deps", "tiny==1.0", "other").code == 0
    assert aioc("fetch", "--no-deps", "tiny==2.0").code == 0
    ran = aioc("pin", "tiny<2")
    assert (ran.code, ran.out, ran.err) == (0, "tiny<2: tiny 1.0\n", "")
    return aioc


def test_a_clean_of_everything_leaves_it_says_so_and_it_can_be_installed_offline(pinned, server) -> None:
    ran = pinned("clean")
    assert (ran.code, ran.err) == (0, "")
    assert "kept: tiny 1.0 (SIZE) by pin tiny<2, until aioc unpin 'tiny<2'\n" in ran.out
    assert [each["version"] for each in pinned("ls", "--json").document["entries"]] == ["1.0"]
    installed = pinned("install", "--offline", "--no-deps", "tiny==1.0", "--venv", "env", "--json").document
    assert [each["from"] for each in installed["installed"]] == ["cache"]
    assert "by pin tiny<2, until aioc unpin 'tiny<2'" in pinned("why", "tiny").out


def test_taken_off_it_goes_like_anything_else(pinned) -> None:
    ran = pinned("unpin", "tiny<2")
    assert (ran.code, ran.out, ran.err) == (0, "no longer pinned: tiny<2: tiny 1.0\n", "")
    assert pinned("clean", "tiny").code == 0
    assert [each["project"] for each in pinned("ls", "--json").document["entries"]] == ["other"]
    assert (pinned("pin").out, pinned("pin").err) == ("", "aioc: nothing is pinned\n")


def test_pins_are_listed_and_one_name_may_hold_several(pinned) -> None:
    assert pinned("pin", "--name", "release", "tiny", "other").code == 0
    assert pinned("pin").out == "release: other 1.0, tiny 1.0, tiny 2.0\ntiny<2: tiny 1.0\n"
    document = pinned("pin", "--json").document
    assert (document["schema"], document["command"]) == ("aioc.done/1", "pin")
    assert {(each["name"], each["project"], each["version"]) for each in document["entries"]} == {
        ("release", "other", "1.0"),
        ("release", "tiny", "1.0"),
        ("release", "tiny", "2.0"),
        ("tiny<2", "tiny", "1.0"),
    }
    assert all(len(each["id"]) == 32 for each in document["entries"])


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("pin", "tiny>2"), 1, "the cache knows no archive 'tiny>2'; bring it there with `aioc fetch` first"),
        (("pin", "tiny<"), 2, "'tiny<' cannot be used as a requirement"),
        (("pin", "--name", "n"), 2, "say what the pin shall keep"),
        (("unpin", "tiny"), 1, "the cache knows no pin 'tiny'; there are tiny<2"),
        (("unpin",), 2, "say which pin"),
        (("unpin", "q\udcffz"), 2, "a pin's name is to be text in UTF-8"),
        (("pin", "tiny", "--name", "q\udcffz"), 2, "a pin's name is to be text in UTF-8"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_the_next_step(pinned, words, code: int, line: str) -> None:
    ran = pinned(*words)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith(f"aioc: error: {line}")
    assert len(ran.err.splitlines()) == 1
