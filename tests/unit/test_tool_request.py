"""Which requests for a cached environment are the same, and what is said where a command is missing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from aiocache_engine.config import Config
from aiocache_engine.errors import InterpreterError
from aiocache_engine.model.records import EnvironmentPointer, Member, ToolCommand
from aiocache_engine.pipeline.kit import Kit, open_kit
from aiocache_engine.pipeline.tools.commands import missing_command
from aiocache_engine.pipeline.tools.request import EnvironmentRequest, look_into_environment


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return open_kit(tmp_path / "cache", config=Config(index_url="http://127.0.0.1:1/simple"), environ={})


def digest(kit: Kit, requirement: str | None, *additions: str, python: str | None = None) -> str:
    return look_into_environment(kit, EnvironmentRequest(requirement, additions, python)).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ruff", " Ruff "),
        ("a.b_c", "A-B-C"),
        ("ruff==1.0", "ruff == 1.0"),
        ("ruff>=1,<2", "ruff <2, >= 1"),
        ("black[Jupyter,d]", "black[ d , jupyter ]"),
        ("black[d] ==1", "black [d]==1"),
        ("x; python_version > '3'", " x;  python_version  > '3'"),
        ("x; python_version > '3'", 'X;python_version>"3"'),
        ("al (>=1,<2)", "al>=1,<2"),
        ("al[d](<2, >=1)", "al [D] >=1,<2"),
        ("x @ http://127.0.0.1:1/x-1-py3-none-any.whl", "X@http://127.0.0.1:1/x-1-py3-none-any.whl"),
    ],
)
def test_the_same_requirement_in_other_words_is_the_same_request(kit: Kit, one: str, other: str) -> None:
    assert digest(kit, one) == digest(kit, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ruff", "ruff==1"),
        ("foobar", "foo bar"),
        ("ruff==1", "ruff=1"),
        ("ruff==1", "ruff==1 0"),
        ("ruff==10", "ruff==1 0"),
        ("black", "black[d]"),
        ("ruff<2", "ruff<=2"),
        ("x @ http://127.0.0.1:1/x-1-py3-none-any.whl", "x"),
        ("x @ http://127.0.0.1:1/x-1-py3-none-any.whl", "x @ http://127.0.0.1:2/x-1-py3-none-any.whl"),
        ("al (>=1,<2)", "al (>=1,<3)"),
        ("al==1 ; python_version > '3'", "al==1"),
        (f"al==1 --hash=sha256:{'0' * 64}", f"al==1 --hash=sha256:{'1' * 64}"),
    ],
)
def test_another_requirement_is_another_request(kit: Kit, one: str, other: str) -> None:
    assert digest(kit, None, one) != digest(kit, None, other)


def test_what_else_shall_be_there_counts_without_its_order(kit: Kit) -> None:
    assert digest(kit, "a", "b", "c") == digest(kit, "a", "C", "b", "b")
    assert digest(kit, "a", "b") != digest(kit, "b", "a")
    assert digest(kit, "a", "b") != digest(kit, "a")
    assert digest(kit, None, "a") != digest(kit, "a")


def test_another_index_is_another_request(kit: Kit, tmp_path: Path) -> None:
    other = open_kit(tmp_path / "cache", config=Config(index_url="http://127.0.0.1:2/simple"), environ={})
    assert digest(kit, "a") != digest(other, "a")


def test_an_interpreter_that_was_replaced_is_another_one(kit: Kit, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_bytes(b"\x7fELF")
    before = digest(kit, "a", python=str(python))
    assert digest(kit, "a", python=str(python)) == before
    os.utime(python, ns=(1, 1))
    assert digest(kit, "a", python=str(python)) != before
    python.unlink()
    with pytest.raises(InterpreterError):
        digest(kit, "a", python=str(python))


def test_environments_of_one_interpreter_are_one_interpreter(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(os.path.realpath(sys.executable))
    assert digest(kit, "a", python=str(tmp_path / "python")) == digest(kit, "a")


@pytest.mark.parametrize(
    "form",
    [
        "{path}",
        "{path}[d]",
        "{path} ; python_version > '3'",
        "{url}",
        "{url}[d]",
        "{url} --hash=sha256:" + "0" * 64,
        "x @ {url}",
        "x[d] @ {url} ; python_version > '3'",
        "x@{url}#sha256=" + "0" * 64,
        "x @ {hosted}",
    ],
)
def test_the_wheel_at_a_path_counts_with_its_size_and_time(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    wheel = tmp_path / "a [b] c" / "x-1-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"1")
    asked = form.format(path=wheel, url=wheel.as_uri(), hosted=wheel.as_uri().replace("//", "//localhost", 1))
    before = digest(kit, None, asked)
    monkeypatch.chdir(tmp_path)
    assert digest(kit, None, asked) == before
    wheel.write_bytes(b"12")
    after = digest(kit, None, asked)
    os.utime(wheel, ns=(1, 1))
    assert len({before, after, digest(kit, None, asked)}) == 3


def test_the_same_relative_path_elsewhere_is_another_request(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        digests.add(digest(kit, None, "./x-1-py3-none-any.whl"))
    assert len(digests) == 2


def pointer(*commands: tuple[str, str]) -> EnvironmentPointer:
    return EnvironmentPointer(
        environment_id="0" * 32,
        tool="tool",
        digest="0" * 32,
        executable="/python",
        members=(Member("tool", "1.0", "1" * 32),),
        commands=tuple(ToolCommand(name, f"bin/{name}", project) for name, project in commands),
        created_at=0.0,
    )


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ([("tools", "tool")], "tool has no command 'tool', but tools; say `aioc run --from tool tools`"),
        (
            [("x", "tool"), ("y", "other"), ("tol", "tool")],
            "tool has no command 'tool', but x, tol; say `aioc run --from tool tol`",
        ),
        (
            [("y", "other")],
            "tool has no commands of its own, and what it needs has y (of other); say `aioc run --from tool y`",
        ),
        (
            [],
            "tool has no commands: it is a library; `aioc run --from tool python` starts an interpreter with it",
        ),
    ],
)
def test_a_missing_command_is_told_with_those_that_are_there(commands: list[tuple[str, str]], said: str) -> None:
    assert missing_command("tool", pointer(*commands)) == said


def test_a_long_list_of_commands_is_cut() -> None:
    many = [(f"c{number}", "tool") for number in range(40)]
    assert "c11 and 28 more" in missing_command("tool", pointer(*many))
