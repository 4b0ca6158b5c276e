"""The programs under examples/ are run as a reader would run them, against an index on loopback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.wheels import build_wheel

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run_example(name: str, *words: str | Path, environ: dict[str, str]) -> str:
    command = [sys.executable, EXAMPLES / name, *words]
    ran = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"AIOC_CACHE_DIR": str(tmp_path / "cache"), "PYTHONWARNINGS": "error"}


def test_parallel_environments_fetches_each_wheel_once(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "wheels").mkdir()
    wheel = build_wheel(tmp_path / "wheels", "tiny", "1.0")
    with IndexServer(tmp_path / "wheels") as server:
        output = run_example(
            "parallel_environments.py", tmp_path, "tiny==1.0", environ=environ | {"AIOC_INDEX_URL": server.index_url}
        )
        assert server.counts[f"/files/{wheel.name}"] == 1
    assert output.count("tiny 1.0") == 4
    assert "the cache holds 1 wheels" in output


def test_janitor_frees_what_an_environment_that_is_gone_used(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "wheels").mkdir()
    build_wheel(tmp_path / "wheels", "tiny", "1.0", file_count=300)
    found = environ | {"AIOC_FIND_LINKS": str(tmp_path / "wheels")}
    run_example("parallel_environments.py", tmp_path, "tiny==1.0", environ=found)
    assert "not worth it yet" in run_example("janitor.py", "1", environ=environ)
    for number in range(4):
        shutil.rmtree(tmp_path / f"environment-{number}")
    assert re.search(r"^freed [1-9]\.\d MB", run_example("janitor.py", "1", environ=environ), re.MULTILINE)
    assert "would free 0.0 MB" in run_example("janitor.py", environ=environ)


#: What Fromager looks for in the output of uv.
MISSING = re.compile(
    r"Because (?:there is no version of (\w+)|you require (\w+)|(\w+) was not found in the package reg)"
)


@pytest.fixture
def stand_in(tmp_path: Path, environ: dict[str, str]) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    (tmp_path / "wheels").mkdir()
    build_wheel(tmp_path / "wheels", "tiny", "1.0")
    build_wheel(tmp_path / "wheels", "needy", "1.0", requires=["tiny>=2"])
    with IndexServer(tmp_path / "wheels") as server:
        words_of_server = ("--index-url", server.index_url, "--trusted-host", "127.0.0.1")

        def uv(*words: str | Path) -> subprocess.CompletedProcess[str]:
            is_install = words[0] == "pip"
            command = [sys.executable, EXAMPLES / "fromager" / "stand_in.py", *words]
            variables = os.environ | environ | {"VIRTUAL_ENV": str(tmp_path / "environment")}
            return subprocess.run(
                [*command, *(words_of_server if is_install else ())],
                env=variables,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )

        yield uv


def test_the_stand_in_for_uv_makes_an_environment_installs_into_it_and_cleans(
    tmp_path: Path, stand_in: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    root = tmp_path / "environment"
    assert stand_in("venv", "--verbose", "--python", sys.executable, "--no-project", root).returncode == 0
    install = ("pip", "install", "--verbose", "--upgrade", "--only-binary", ":all:", "tiny")
    done = stand_in(*install)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([root / "bin" / "python", "-c", "import tiny"], check=False).returncode == 0
    assert stand_in("clean", "cache", "tiny").returncode == 0
    listed = subprocess.run(
        [sys.executable, "-m", "aiocache_engine", "ls", "--cache-dir", tmp_path / "cache"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tiny" not in listed.stdout


@pytest.mark.parametrize(("asked", "missing"), [("nowhere", "nowhere"), ("tiny>=2", "tiny"), ("needy", "tiny")])
def test_the_stand_in_for_uv_names_what_is_missing_as_fromager_reads_it(
    tmp_path: Path, stand_in: Callable[..., subprocess.CompletedProcess[str]], asked: str, missing: str
) -> None:
    assert stand_in("venv", "--python", sys.executable, tmp_path / "environment").returncode == 0
    done = stand_in("pip", "install", "--upgrade", "--only-binary", ":all:", asked)
    assert done.returncode != 0
    found = MISSING.search(done.stdout + done.stderr)
    assert found is not None, done.stderr
    assert missing in found.groups()


def test_the_stand_in_for_uv_refuses_what_it_was_never_asked(
    stand_in: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = stand_in("tool", "install", "tiny")
    assert done.returncode != 0
    assert "does not know: tool install tiny" in done.stderr
