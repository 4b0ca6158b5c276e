"""`aioc add`, and `--overlay` of the commands that look for wheels."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocache_engine.testing.wheels import build_wheel
from commands import Aioc


@pytest.fixture
def built(aioc: Aioc) -> Path:
    """A wheel that no index has, beside where commands are started."""
    directory = aioc.home / "dist"
    directory.mkdir()
    commands = {"console_scripts": {"mine": "mine:main"}}
    files = {"mine/__init__.py": "def main():\n    print('mine, built here')\n"}
    return build_wheel(directory, "mine", "1.0", files=files, entry_points=commands, requires=["other"])


def test_what_was_added_is_installed_run_and_fetched_by_its_overlay(aioc: Aioc, built: Path) -> None:
    added = aioc("add", f"dist/{built.name}", "--overlay", "nightly")
    assert (added.code, added.err) == (0, "")
    assert added.out == "Added 1 wheel to the overlay nightly in TIME\n + mine 1.0\n"
    assert aioc("install", "mine", "--venv", "env").code == 1
    installed = aioc("install", "mine", "--venv", "env", "--overlay", "nightly", "--json")
    assert {each["name"]: each["from"] for each in installed.document["installed"]} == {
        "mine": "overlay",
        "other": "index",
    }
    ran = aioc("run", "--overlay", "nightly", "mine")
    assert (ran.code, ran.out) == (0, "mine, built here\n")
    fetched = aioc("fetch", "mine", AIOC_OVERLAY="empty, nightly")
    assert (fetched.code, fetched.out) == (0, "2 wheels already in the cache\n")
    assert fetched.err == "aioc: warning: there is nothing in the overlay empty; `aioc add` puts wheels there\n"


def test_the_json_of_add_names_overlay_and_wheel(aioc: Aioc, built: Path) -> None:
    document = aioc("add", str(built), "--json").document
    (entry,) = document["entries"]
    assert (document["schema"], document["command"]) == ("aioc.done/1", "add")
    assert entry == {
        "kind": "archive",
        "project": "mine",
        "version": "1.0",
        "id": aioc.archive_of("mine"),
        "name": "default",
        "path": f"HOME/dist/{built.name}",
    }


def test_a_misspelt_overlay_is_told_with_the_one_that_may_be_meant(aioc: Aioc, built: Path) -> None:
    aioc("add", str(built), "--overlay", "nightly")
    ran = aioc("fetch", "mine", "--overlay", "nigthly")
    assert ran.code == 1
    warning, error = ran.err.splitlines()
    assert warning == "aioc: warning: there is nothing in the overlay nigthly; did you mean nightly?"
    assert error.startswith("aioc: error: mine was not found in overlay nigthly, INDEX/simple; ")


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        (("add",), {}, "nothing to add: name the wheels"),
        (("add", "dist"), {}, "dist is a directory; name the wheels in it: dist/*.whl"),
        (("add", "dist/none-1.0-py3-none-any.whl"), {}, "dist/none-1.0-py3-none-any.whl: there is no such file"),
        (("add", "--overlay", "../x", "w.whl"), {}, "invalid value for '--overlay': "),
        (("fetch", "tiny", "--overlay", "a b"), {}, "invalid value for '--overlay': "),
        (("fetch", "tiny"), {"AIOC_OVERLAY": "fine,../x"}, "AIOC_OVERLAY is 'fine,../x'; "),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    aioc: Aioc, built: Path, arguments: tuple[str, ...], variables: dict[str, str], line: str
) -> None:
    assert built.exists()
    ran = aioc(*arguments, **variables)
    (told,) = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, "")
    assert told.startswith(f"aioc: error: {line}")
