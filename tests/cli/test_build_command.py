"""`aioc build`, whole outputs compared."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.sdists import Backend, Behaviour, make_project, make_sdist
from commands import Aioc


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    directory = tmp_path / "wheels"
    directory.mkdir()
    make_sdist(directory, "demo", "1.0")
    return directory


def test_wheels_are_built_into_dist_and_found_the_next_time(aioc: Aioc, server: IndexServer) -> None:
    ran = aioc("build", "demo", "--python", sys.executable)
    assert (ran.code, ran.err) == (0, "aioc: building demo-1.0.tar.gz\n")
    assert ran.out == "Built 1 wheel in TIME\n + HOME/dist/demo-1.0-py3-none-any.whl\n"
    assert (aioc.home / "dist/demo-1.0-py3-none-any.whl").is_file()
    again = aioc("build", "demo", "--wheel-dir", "other", "--python", sys.executable)
    assert (again.code, again.err) == (0, "")
    assert again.out == "1 wheel already built\n + HOME/other/demo-1.0-py3-none-any.whl\n"


def test_what_fails_is_told_and_the_others_are_built(aioc: Aioc) -> None:
    make_project(aioc.home / "mine", "mine", "0.1")
    make_project(aioc.home / "bad", "bad", "0.1", behaviour=Behaviour.CRASH)
    make_project(aioc.home / "none", "none", "0.1", backend=Backend.NONE)
    ran = aioc("build", "./mine/", "./bad/", "./none/", "-j", "2", "-q", "--python", sys.executable)
    assert (ran.code, ran.out) == (1, "")
    first, *lines, log, last = ran.err.splitlines()
    reason = "build_wheel of its build backend 'tiny_backend' failed with exit code 1"
    assert first == f"aioc: error: HOME/bad could not be built: {reason}"
    assert lines[-1] == "aioc:  RuntimeError: the backend crashed on purpose"
    assert log.startswith("aioc: note: all of its output: HOME/")
    assert last == "aioc: error: HOME/none could not be built: it has neither pyproject.toml nor setup.py"
    assert (aioc.home / "dist/mine-0.1-py3-none-any.whl").is_file()


def test_the_json_of_builds_has_the_promised_keys(aioc: Aioc) -> None:
    make_project(aioc.home / "bad", "bad", "0.1", behaviour=Behaviour.CRASH)
    ran = aioc("build", "demo", "./bad/", "--config-setting=a=b", "--json", "--python", sys.executable)
    assert ran.code == 1
    document = ran.document
    assert document["schema"] == "aioc.build/1"
    (built,), (failed,) = document["built"], document["failed"]
    assert (built["name"], built["version"], built["from"], built["source"]) == ("demo", "1.0", "built", "demo")
    assert built["file"] == "HOME/dist/demo-1.0-py3-none-any.whl"
    assert set(built) == {"source", "name", "version", "file", "from", "log", "seconds"}
    assert set(failed) == {"source", "message", "log", "last_lines"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "nothing to build: name a project directory, an sdist or a requirement"),
        (["./nowhere"], "./nowhere: there is no such directory or file"),
        (["tiny-1.0-py3-none-any.whl"], "is a wheel already"),
        (["demo", "-j", "0"], "'0' is no number from 1 on"),
        (["demo", "--config-setting", "novalue"], "--config-setting 'novalue' is no NAME=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_built(aioc: Aioc, arguments: list[str], line: str) -> None:
    ran = aioc("build", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert line in ran.err
    assert len(ran.err.splitlines()) == 1
