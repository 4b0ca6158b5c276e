"""The reference page and the table of options name the same things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.grammar import COMMANDS, COMMON, Kind
from aiocache_engine.model.removal import KeepCode, RemovalReason

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "reference" / "cli.md").read_text("utf-8")
OPTIONS = [option for command in COMMANDS.values() for option in command.options] + list(COMMON)

IN_FILES = {"--hash", "--no-index", "--trusted-host", "--pre", "--only-binary"}  # of requirements alone


def test_every_option_of_the_table_is_in_the_reference() -> None:
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", PAGE))
    assert {flag for option in OPTIONS for flag in option.flags} - named == set()


def test_the_reference_names_no_option_that_is_not_in_the_table() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) - {"--version", "--help"} - IN_FILES
    assert named - {flag for option in OPTIONS for flag in option.flags} == set()
    assert Kind.REFUSED in {option.kind for option in OPTIONS if "--force" in option.flags}


def test_every_command_and_exit_code_is_in_the_reference() -> None:
    assert [name for name in COMMANDS if f"aioc {name}" not in PAGE] == []
    assert [int(code) for code in ExitCode] == [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("reason", {reason.value for reason in RemovalReason}),
        ("code", {code.value for code in KeepCode}),
        ("kind", {"archive", "environment", "bytecode", "pointer", "page", "sdist", "pin", "leftover", "format"}),
        ("from", {"cache", "index", "built", "overlay"}),
    ],
)
def test_the_values_that_a_key_can_have_are_in_the_reference(key: str, values: set[str]) -> None:
    told = re.findall(rf'"{key}": "([a-z|-]+)"', PAGE)
    assert values in [set(one.split("|")) for one in told]


def test_the_front_page_leads_to_every_page_but_the_other_decisions_and_names_every_room() -> None:
    front = (DOCS / "index.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(([^)]+\.md)\)", front))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert {page for page in pages if not page.startswith("decisions/")} - linked == {"index.md"}
    assert linked <= pages
    rooms = [path for path in (ROOT / "src" / "aiocache_engine").iterdir() if not path.name.startswith("_")]
    names = {f"{path.name}/" if path.is_dir() else path.name for path in rooms} - {"py.typed"}
    assert {name for name in names if name not in front} == set()
