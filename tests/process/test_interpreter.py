"""Probing: a real process tells what a real interpreter is, and every other answer is refused in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from packaging.tags import sys_tags

from aiocache_engine.errors import InterpreterError
from aiocache_engine.model.value import replace
from aiocache_engine.python.environment import write_environment
from aiocache_engine.python.interpreter import (
    decode_interpreter,
    encode_interpreter,
    key_of,
    probe,
    resolve_executable,
)
from targets import other_python, running

pytestmark = pytest.mark.each_python  # interpreters tell of themselves what their version tells


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_tags_are_those_of_packaging_best_first() -> None:
    assert tuple(map(str, sys_tags())) == probe(sys.executable).tags


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_another_interpreter_tells_its_own_version_and_paths(version: str) -> None:
    found = probe(other_python(version))
    short = version.replace(".", "")
    assert found.version.startswith(version + ".")
    assert found.cache_tag == f"cpython-{short}"
    assert found.tags[0].startswith(f"cp{short}-cp{short}")
    assert found.markers["python_version"] == version
    assert found.venv_scheme["purelib"] == f"lib/python{version}/site-packages"
    assert found.venv_scheme["headers"] == f"include/site/python{version}"


def test_an_environment_tells_its_own_prefix_and_its_base_interpreter(tmp_path: Path) -> None:
    base = running()
    write_environment(str(tmp_path / "env"), base)
    found = probe(str(tmp_path / "env/bin/python"))
    assert found.prefix == str(tmp_path / "env")
    assert os.path.realpath(found.base_executable) == os.path.realpath(base.base_executable)
    assert found.scheme["purelib"].startswith(str(tmp_path / "env"))


def test_what_was_told_survives_the_cache() -> None:
    found = running()
    assert decode_interpreter(encode_interpreter(found)) == found


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"format": 2}', b"\xff", b'{"format": 1}'])
def test_a_damaged_answer_is_a_miss(content: bytes) -> None:
    assert decode_interpreter(content) is None


def test_a_missing_interpreter_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InterpreterError, match="there is no such interpreter"):
        probe(str(tmp_path / "python"))


def test_a_program_that_is_no_python_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InterpreterError, match="not a Python"):
        probe(script(tmp_path / "python", "#!/bin/sh\necho hello\n"))
    with pytest.raises(InterpreterError, match="no such option"):
        probe(script(tmp_path / "other", "#!/bin/sh\necho no such option >&2\nexit 3\n"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InterpreterError, match="cannot be started"):
        probe(str(tmp_path / "text"))


def test_an_old_python_is_told_its_version(tmp_path: Path) -> None:
    old = script(
        tmp_path / "python", '#!/bin/sh\nif [ "$1" = -I ]; then echo SyntaxError >&2; exit 1; fi\nprintf 3.6.9'
    )
    with pytest.raises(InterpreterError, match=r"it is Python 3\.6\.9; 3\.9 or newer is needed"):
        probe(old)


def test_an_interpreter_that_hangs_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(InterpreterError, match=r"no answer within 0\.2 s"):
        probe(script(tmp_path / "python", "#!/bin/sh\nexec sleep 60\n"), timeout_seconds=0.2)


def test_a_wrapper_script_leads_to_its_interpreter(tmp_path: Path) -> None:
    wrapper = script(tmp_path / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert sys.executable == resolve_executable(wrapper)
    assert sys.executable == resolve_executable(sys.executable)
    with pytest.raises(InterpreterError, match=r"version .9\.9. is not installed"):
        resolve_executable(
            script(tmp_path / "shim", "#!/bin/sh\necho \"version '9.9' is not installed\" >&2; exit 1\n")
        )


PYENV = """pyenv: python3.9: command not found

The `python3.9' command exists in these Python versions:
  3.9.18

Note: See 'pyenv help global' for tips on allowing both
      Python versions to be found at the same time.
"""
TRACEBACK = """Traceback (most recent call last):
  File "sitecustomize.py", line 1, in <module>
ModuleNotFoundError: No module named 'gone'
"""
SYNTAX_ERROR = """  File "describe.py", line 3
    from __future__ import annotations
SyntaxError: future feature annotations is not defined
"""
FATAL = """Could not find platform independent libraries <prefix>
Python path configuration:
  PYTHONHOME = '/gone'
Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding
Python runtime state: core initialized
ModuleNotFoundError: No module named 'encodings'
"""


@pytest.mark.parametrize(
    ("complaint", "telling"),
    [
        (PYENV, "pyenv: python3.9: command not found"),
        (TRACEBACK, "ModuleNotFoundError: No module named 'gone'"),
        (SYNTAX_ERROR, "SyntaxError: future feature annotations is not defined"),
        (FATAL, "Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding"),
        ("", "no Python"),
    ],
)
def test_of_a_long_complaint_the_line_that_tells_is_shown(tmp_path: Path, complaint: str, telling: str) -> None:
    (tmp_path / "complaint").write_text(complaint)
    shim = script(tmp_path / "python", f'#!/bin/sh\ncat "{tmp_path}/complaint" >&2\nexit 127\n')
    with pytest.raises(InterpreterError) as refused:
        resolve_executable(shim)
    assert telling in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(InterpreterError) as refused:
        probe(shim)
    assert (telling if complaint else "no answer") in str(refused.value)


def test_the_key_changes_with_the_environment_and_with_the_file(tmp_path: Path) -> None:
    interpreter = running()
    write_environment(str(tmp_path / "one"), interpreter)
    write_environment(str(tmp_path / "two"), interpreter)
    one, two = str(tmp_path / "one/bin/python"), str(tmp_path / "two/bin/python")
    before = key_of(one)
    assert before == key_of(one)
    assert before != key_of(two)
    config = tmp_path / "one/pyvenv.cfg"
    config.write_text(config.read_text() + "prompt = x\n")
    assert before != key_of(one)
    with pytest.raises(InterpreterError, match="no such interpreter"):
        key_of(str(tmp_path / "python"))


def test_an_answer_of_other_fields_is_a_miss() -> None:
    found = replace(running(), externally_managed="")
    assert decode_interpreter(encode_interpreter(found).replace(b'"magic"', b'"tragic"')) is None
