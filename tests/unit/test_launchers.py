"""First lines of scripts, and the scripts made of entry points."""

from __future__ import annotations

import pytest

from aiocache_engine.model.entry_points import EntryPoint
from aiocache_engine.python.launchers import LauncherError, launcher, shebang, with_interpreter


def test_a_plain_path_stands_in_a_plain_first_line() -> None:
    assert shebang("/env/bin/python") == b"#!/env/bin/python\n"


@pytest.mark.parametrize("path", ["/with blank/python", "/" + "l" * 125])
def test_other_paths_go_through_a_shell_that_python_reads_as_a_string(path: str) -> None:
    lines = shebang(path)
    assert lines.startswith(b"#!/bin/sh\n")
    assert f'"{path}"'.encode() in lines
    compile(lines, "script", "exec")


@pytest.mark.parametrize("character", ['"', "$", "`", "\\", "'", "\n"])
def test_a_path_that_would_need_a_shells_escapes_is_refused(character: str) -> None:
    with pytest.raises(LauncherError):
        shebang(f"/with blank{character}/python")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (b"#!python\nx\n", b"#!/p\nx\n"),
        (b"#!pythonw\r\nx\n", b"#!/p\nx\n"),
        (b"#!python -E\nx\n", b"#!/p -E\nx\n"),
        (b"#!python", b"#!/p\n"),
        (b"#!python3\nx\n", None),
        (b"#!/usr/bin/python\nx\n", None),
        (b"#!pythonic\n", None),
        (b"\x7fELF", None),
        (b"", None),
    ],
)
def test_only_the_line_that_the_specification_names_is_rewritten(script: bytes, expected: bytes | None) -> None:
    assert expected == with_interpreter(script, executable="/p")


def test_a_launcher_imports_the_first_name_and_calls_the_whole() -> None:
    text = launcher(EntryPoint("console_scripts", "x", "pkg.mod", "Group.run"), executable="/p").decode()
    assert "from pkg.mod import Group\n" in text
    assert "sys.exit(Group.run())" in text
    compile(text, "script", "exec")
