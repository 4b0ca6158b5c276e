"""pyproject.toml is read in a time that grows with its length alone, whatever a stranger wrote in it, or refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aiocache_engine.pipeline.builds.project_metadata import project_metadata
from aiocache_engine.pipeline.builds.pyproject import PyprojectError, has_long_key, read_pyproject
from aiocache_engine.pipeline.builds.shop import project_in

LONG = ".".join(["a"] * 500)
MIB = 1024 * 1024


def write(root: Path, text: str) -> str:
    (root / "pyproject.toml").write_text(text, newline="")
    return str(root)


@pytest.mark.parametrize(
    "text",
    [
        f"{LONG} = 1\n",
        f"[{LONG}]\n",
        f"[[ {LONG} ]]\n",
        f"a = {{ {LONG} = 1 }}\n",
        f"a = [1, {{b = 2, {LONG} = 1}}]\n",
        " . ".join(["a"] * 500) + "\t= 1\n",
        ".".join(['"a"'] * 500) + " = 1\n",
        ".".join(["'a b'", r'"\" . "', "a-_9"] * 200) + " = 1\n",
        f'a = {{b = """\n""""", {LONG} = "1"}}\n',
        f"a = {{b = '''\n''''', {LONG} = '1'}}\n",
        f'a = {{b = """\n \\""" """, {LONG} = "1"}}\n',
        f"# don't\n{LONG} = 1 # '\n",
        f"a = '\"' # '\"\n{LONG} = '\"'\r\n",
    ],
)
def test_a_key_of_more_parts_than_anybody_writes_is_refused_wherever_it_stands(tmp_path: Path, text: str) -> None:
    with pytest.raises(PyprojectError, match="has a key of more than 32 parts"):
        read_pyproject(write(tmp_path, f"[project]\nname = 'a'\nversion = '1'\n{text}"))
    assert project_metadata(str(tmp_path)) is None
    assert project_in(str(tmp_path)) != "a"


@pytest.mark.parametrize(
    "text",
    [
        f"a = '{LONG}'",
        f'a = "{LONG}"',
        f'a = "\\"{LONG}"',
        f"a = '''\n{LONG}\n' '' {LONG}'''",
        f'a = """\n{LONG}\n" "" \\""" {LONG}"""',
        f"# {LONG}\na = 1 # don't \"{LONG}",
        f"a = [{'1.5, ' * 500}]",
        "a = [" + "\"b>=1.0; python_version > '3.8'\", " * 500 + "]",
        "[" + ".".join(["a"] * 32) + "]",
        "\n".join(f"a{number}.b.c = 1.5" for number in range(500)),
        "a = '" + "word " * 2000 + "...'",
    ],
)
def test_what_is_no_key_may_be_as_long_as_it_likes(tmp_path: Path, text: str) -> None:
    assert read_pyproject(write(tmp_path, text))


def test_a_pyproject_of_more_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    assert read_pyproject(write(tmp_path, "#" * MIB)) == {}
    with pytest.raises(PyprojectError, match="is too big to be true"):
        read_pyproject(write(tmp_path, "#" * (MIB + 1)))


@pytest.mark.parametrize("before", ["", "a = ", '"""', "'''"])
@pytest.mark.parametrize(
    "piece",
    [
        "a", '"', "'", ".", "a.", " .", '"""', "'''", '"""\\', '"\\', "\\", "#", "#\n", '"a', '"a"', '"a".', "'''a",
        "'a\n", '\\"""', "a" + " " * 99, "." * 999 + "a", "a" * 999 + ".", ".".join(["a" * 999] * 32) + " ",
    ],
)  # fmt: skip
def test_a_mebibyte_of_anything_is_looked_through_at_once(before: str, piece: str) -> None:
    text = (before + piece * (MIB // len(piece) + 1))[:MIB]
    started = time.process_time()
    has_long_key(text)
    assert time.process_time() - started < 5  # it takes 0.3 s at most; what reads all again at each place takes minutes
