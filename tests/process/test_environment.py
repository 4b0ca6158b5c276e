"""Environments of our own writer behave as those of `python -m venv` where anybody can tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from aiocache_engine.errors import TargetError
from aiocache_engine.python.environment import environment_id, write_environment, write_environment_id
from aiocache_engine.python.interpreter import probe
from targets import other_python, run, running

pytestmark = pytest.mark.each_python  # held against what this version's venv makes

FACTS = (
    "import json, sys, sysconfig, site; print(json.dumps([sys.prefix, sys.base_prefix, sys.executable, sys.path[1:],"
    " sysconfig.get_paths(), site.getsitepackages(), site.ENABLE_USER_SITE]))"
)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_an_environment_looks_from_inside_as_venv_makes_it(version: str, tmp_path: Path) -> None:
    python = other_python(version)
    root = tmp_path / "env"
    run(python, "-m", "venv", "--without-pip", root)
    expected = json.loads(run(root / "bin/python", "-c", FACTS))
    names = {str(path.relative_to(root)) for path in root.rglob("*") if "ctivate" not in path.name}
    shutil.rmtree(root)
    write_environment(str(root), probe(python))
    for name in ("python", "python3", f"python{version}"):
        facts = json.loads(run(root / "bin" / name, "-c", FACTS))
        assert [*expected[:2], str(root / "bin" / name), *expected[3:]] == facts
    ours = {str(path.relative_to(root)) for path in root.rglob("*") if "ctivate" not in path.name}
    assert names - {".gitignore"} - {f"include/python{version}"} == ours - {".gitignore"}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_pip_can_be_installed_into_it_and_works(version: str, tmp_path: Path) -> None:
    write_environment(str(tmp_path / "env"), probe(other_python(version)))
    run(tmp_path / "env/bin/python", "-m", "ensurepip")
    assert f"{tmp_path}/env/lib/" in run(tmp_path / "env/bin/pip3", "--version")


@pytest.mark.parametrize("shell", ["bash", "sh", "zsh"])
def test_activation_puts_the_environment_first_and_leaving_restores_everything(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    root = tmp_path / "it's an $env"
    write_environment(str(root), running(), prompt="my 'env'")
    text = f"""
        set -eu
        PS1='$ '; PYTHONHOME=/nowhere; export PYTHONHOME
        before="$PATH"
        . "$1/bin/activate"
        printf '%s\\n' "$VIRTUAL_ENV" "$(command -v python)" "${{PYTHONHOME:-none}}" "$PS1"
        . "$1/bin/activate"
        deactivate
        [ "$PATH" = "$before" ]; [ "$PYTHONHOME" = /nowhere ]; [ "$PS1" = '$ ' ]; [ -z "${{VIRTUAL_ENV:-}}" ]
        case "$(type deactivate 2>&1)" in *"{shell} function"*|*"is a function"*) exit 1;; esac
    """
    lines = run(shell, "-c", text, "activate-test", root).splitlines()
    assert [str(root), str(root / "bin/python"), "none", "(my 'env') $ "] == lines


@pytest.mark.parametrize(
    ("shell", "text"),
    [
        ("fish", "source '{root}/bin/activate.fish'; command -v python; deactivate; set -q VIRTUAL_ENV; or echo left"),
        ("tcsh", "source '{root}/bin/activate.csh'\nwhich python\ndeactivate\nif (! $?VIRTUAL_ENV) echo left"),
        ("pwsh", ". '{root}/bin/Activate.ps1'; (gcm python).Source; deactivate; if (!$env:VIRTUAL_ENV) {{'left'}}"),
    ],
)
def test_activation_works_in_other_shells(shell: str, text: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    write_environment(str(tmp_path / "env"), running())
    (tmp_path / "script").write_text(text.format(root=tmp_path / "env"))
    output = run(shell, tmp_path / "script")
    assert [str(tmp_path / "env/bin/python"), "left"] == output.split()


def test_the_prompt_is_where_venv_keeps_it(tmp_path: Path) -> None:
    write_environment(str(tmp_path / "env"), running(), prompt="mine")
    assert "prompt = 'mine'\n" in (tmp_path / "env/pyvenv.cfg").read_text()


def test_writing_refuses_a_place_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("")
    with pytest.raises(TargetError, match="neither empty nor an environment"):
        write_environment(str(tmp_path / "full"), running())
    assert os.listdir(tmp_path / "full") == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError):
        write_environment(str(tmp_path / "file"), running())


def test_a_writing_that_was_killed_at_any_step_can_be_done_again(tmp_path: Path) -> None:
    root = tmp_path / "env"
    write_environment(str(root), running())
    steps = 0
    for number in range(1, 200):
        place = tmp_path / f"env-{number}"
        # The audit hook cannot be taken away again, so each step has its own process.
        code = f"""if 1:
            import os, sys
            sys.path[:0] = {os.path.dirname(__file__)!r}, {os.path.dirname(os.path.dirname(__file__))!r}
            from targets import running
            from aiocache_engine.python.environment import write_environment
            interpreter, count = running(), 0
            def hook(event, arguments):
                global count
                changes = event in ("os.mkdir", "os.symlink", "os.rename", "os.remove")
                if changes or event == "open" and arguments[2] & 3:
                    count += 1
                    if count == {number}:
                        os.kill(os.getpid(), 9)
            sys.addaudithook(hook)
            write_environment({str(place)!r}, interpreter)
        """
        done = subprocess.run([running().executable, "-c", code], check=False, timeout=60)
        steps = number
        if not (place / "pyvenv.cfg").exists():
            write_environment(str(place), running())
        expected = {str(path.relative_to(root)) for path in root.rglob("*")}
        assert expected == {str(path.relative_to(place)) for path in place.rglob("*")}
        if done.returncode == 0:
            break
    assert steps > 10


def test_an_environment_bears_one_id_until_it_is_given_another(tmp_path: Path) -> None:
    write_environment(str(tmp_path / "env"), running())
    assert environment_id(str(tmp_path / "env")) is None
    first = write_environment_id(str(tmp_path / "env"))
    assert first == environment_id(str(tmp_path / "env"))
    assert write_environment_id(str(tmp_path / "env")) == environment_id(str(tmp_path / "env")) != first
    (tmp_path / "env/aioc.json").write_text("[]")
    assert environment_id(str(tmp_path / "env")) is None
