"""Both parsers read the same arguments alike: the quick one, and typer, which also explains what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocache_engine.cli import app, quick
from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.grammar import COMMANDS, Kind, Option
from aiocache_engine.errors import UsageError

PLAIN = [
    ["run", "cowsay"],
    ["run", "-q", "--from", "httpie", "--with=rich", "--with", "x<2", "http", "--from", "-v", "--", "--json", "-"],
    ["run", "--python", "3.12", "--isolated", "--refresh", "ruff@latest", ""],
    ["install", "rich"],
    ["install", "rich==13.9.4", "pygments", "-r", "a.txt", "--requirement", "b.txt", "--no-deps", "--venv", "e"],
    ["install", "--link-mode=copy", "--link-mode", "hardlink", "x", "-n", "--ephemeral", "--reinstall", "--refresh"],
    ["install", "--target", "lib", "x", "--break-system-packages", "--no-compile", "--python=3.12"],
    ["fetch", "x", "--no-deps", "--python", "3.12", "--extra-index-url", "http://a/", "--extra-index-url=http://b/"],
    ["fetch", "x", "--index-strategy", "best-match", "--find-links", "d", "--index-url", "http://c/?a=b", "--offline"],
    ["clean"],
    ["clean", "torch<2.5", "rich", "--dry-run", "--json", "-q"],
    ["prune", "-n", "--lock-timeout", "1.5", "--trust-cache"],
    ["prune", "--tools", "--keep-latest", "--unused-for=2w", "--unused-for", "12h", "--ci"],
    ["prune", "--max-size", "20GB", "--min-free=1.5 GiB"],
    ["ls"],
    ["ls", "rich", "-v", "-v"],
    ["why", "./env", "--json"],
    ["ps", "-vv", "-v"],
    ["size", "--cache-dir", "c"],
    ["dir", "--verbose", "--quiet"],
]

UNUSUAL = [
    ["install", "-rfile", "x"],
    ["clean", "-nq"],
    ["clean", "--", "rich"],
    ["run", "--", "ruff", "--", "x"],
    ["ls", "-vvv"],
]

WRONG = [
    ["clean", "--force"],
    ["run", "--json", "ruff"],
    ["run", "--frm", "x", "ruff"],
    ["run", "--from"],
    ["prune", "rich"],
    *(["prune", "--unused-for", age] for age in ("30", "30m", "d", "-1d", "1.5d", "30 d", "")),
    *(["prune", "--max-size", size] for size in ("20", "GB", "-1GB", "1.2.3GB", "1XB", "1e3GB", "20 G", "")),
    ["ls", "a", "b"],
    ["why", "a", "b"],
    ["install", "--venv"],
    ["install", "x", "--link-mode", "auto"],
    ["size", "--lock-timeout", "nan"],
    ["size", "--lock-timeout", "inf"],
    ["ps", "--json=yes"],
    ["ps", "--jso"],
    ["upgrade"],
    ["--offline", "ls"],
    ["size", "--cache-dir="],
    ["size", "--cache-dir", ""],
    ["install", "x", "--venv", ""],
    ["install", "x", "--venv="],
    ["install", "x", "--target", ""],
    ["fetch", "x", "--python", ""],
    ["fetch", "-r", ""],
    ["fetch", "-r", "a.txt", "--requirement="],
    ["fetch", "x", "--find-links", ""],
]


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_plain_arguments_are_read_alike_and_without_typer(arguments: list[str]) -> None:
    parsed = quick.parse(arguments)
    assert parsed is not None
    assert parsed == app.parse(arguments)


@pytest.mark.parametrize("arguments", UNUSUAL, ids=" ".join)
def test_unusual_forms_are_left_to_typer(arguments: list[str]) -> None:
    assert quick.parse(arguments) is None
    assert isinstance(app.parse(arguments), tuple)


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_mistakes_are_left_to_typer_which_explains_them(arguments: list[str]) -> None:
    assert quick.parse(arguments) is None
    with pytest.raises(UsageError):
        app.parse(arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"], ["--version"], ["ls", "--version"]], ids=" ".join)
def test_help_and_version_are_printed_by_typer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert quick.parse(arguments) is None
    assert app.parse(arguments) == ExitCode.DONE
    assert "aioc" in capsys.readouterr().out


VALUES = {
    "--link-mode": "copy",
    "--index-strategy": "first-index",
    "--lock-timeout": "7",
    "--unused-for": "30d",
    "--max-size": "20GB",
    "--min-free": "1GiB",
    "--overlay": "mine",
}


def words_of(option: Option) -> st.SearchStrategy[list[str]]:
    """Give the ways to write one option."""
    flags = st.sampled_from(option.flags)
    if option.kind in (Kind.TEXT, Kind.TEXTS):
        value = VALUES.get(option.flags[0])
        values = st.sampled_from([value] if value else ["a", "b=c", "http://x/?y=z", "torch<2.5"])
        pairs = st.tuples(flags, values)
        return pairs.flatmap(
            lambda pair: st.sampled_from([[*pair], [f"{pair[0]}={pair[1]}"]] if pair[0].startswith("--") else [[*pair]])
        )
    return flags.map(lambda flag: [flag])


@st.composite
def argument_lists(draw: st.DrawFn) -> list[str]:
    name = draw(st.sampled_from(sorted(COMMANDS)))
    command = COMMANDS[name]
    options = [option for option in command.all_options() if option.kind is not Kind.REFUSED]
    words = draw(st.lists(st.sampled_from(options).flatmap(words_of), max_size=6))
    most = 0 if command.operands is None else 3 if command.takes_many else 1
    words += [[operand] for operand in draw(st.lists(st.sampled_from(["rich", "x==1", "./w.whl"]), max_size=most))]
    return [name, *(word for group in draw(st.permutations(words)) for word in group)]


@given(argument_lists())
@settings(max_examples=60, deadline=None)
def test_whatever_the_table_allows_is_read_alike(arguments: Sequence[str]) -> None:
    parsed = quick.parse(arguments)
    assert parsed is not None
    assert parsed == app.parse(arguments)
