"""The programs under examples/ are run as a reader would run them, against an index on loopback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
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
