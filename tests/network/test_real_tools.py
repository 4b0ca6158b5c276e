"""Real tools through `aioc run`, cold and warm, beside the same through uvx where that is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.network

TOOLS = [
    ["cowsay", "-t", "it works"],
    ["hatch", "--version"],
    ["mlflow", "--version"],
    ["--from", "httpie", "http", "--version"],
    ["black", "--version"],
    ["ruff", "--version"],
    ["--from", "jupyterlab", "jupyter-lab", "--version"],
    ["ansible", "--version"],
    ["--from", "rich", "python", "-c", "import rich; print(rich.get_console().width)"],
]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIOC_", "VIRTUAL_ENV"))}
    return {**kept, "AIOC_CACHE_DIR": str(tmp_path / "cache"), "UV_CACHE_DIR": str(tmp_path / "uv"), "COLUMNS": "80"}


def run(words: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, env=environ, cwd=environ["HOME"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def steady(text: str) -> str:
    """Take out of what a tool says where it stands, which no two installers agree on."""
    return re.sub(r"\S*/(environments-v1|archive-v0|environments-v2)/\S*?(?=/(bin|lib)/)", "PLACE", text)


@pytest.mark.parametrize("words", TOOLS, ids=" ".join)
def test_a_real_tool_runs_cold_and_warm(words: list[str], environ: dict[str, str]) -> None:
    aioc = [sys.executable, "-m", "aiocache_engine", "run"]
    cold = run([*aioc, *words], environ)
    warm = run([*aioc, "--offline", *words], environ)
    assert (cold.returncode, cold.stderr) == (0, "")
    assert cold.stdout
    assert (warm.returncode, warm.stdout) == (0, cold.stdout)
    uvx = shutil.which("uvx", path=f"{os.path.dirname(sys.executable)}{os.pathsep}{os.defpath}")
    if uvx is None:
        pytest.skip("uvx is not here to compare with")
    base = getattr(sys, "_base_executable", sys.executable)
    theirs = run([uvx, "--python", base, *words], environ)
    assert theirs.returncode == 0, theirs.stderr
    assert steady(cold.stdout) == steady(theirs.stdout)
