"""The reference page and the table of options name the same things."""

from __future__ import annotations

import re
from pathlib import Path

from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.grammar import COMMANDS, COMMON, Kind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text("utf-8")
OPTIONS = [option for command in COMMANDS.values() for option in command.options] + list(COMMON)


def test_every_option_of_the_table_is_in_the_reference() -> None:
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", PAGE))
    assert {flag for option in OPTIONS for flag in option.flags} - named == set()


def test_the_reference_names_no_option_that_is_not_in_the_table() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) - {"--version", "--help", "--hash"}
    assert named - {flag for option in OPTIONS for flag in option.flags} == set()
    assert Kind.REFUSED in {option.kind for option in OPTIONS if "--force" in option.flags}


def test_every_command_and_exit_code_is_in_the_reference() -> None:
    assert [name for name in COMMANDS if f"aioc {name}" not in PAGE] == []
    assert [int(code) for code in ExitCode] == [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
