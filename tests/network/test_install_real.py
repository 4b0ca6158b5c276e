"""Real requirements, installed as a new user would: what uv puts there, and again without the network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.network

REAL = ["hatch", "fastapi[standard]", "jupyter", "scikit-learn", "django"]


class Desk:
    """Runs both programs with caches of their own and pip's default index alone, which is uv's too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        foreign = ("PIP_", "UV_", "AIOC_", "VIRTUAL_ENV")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.environ |= {"PIP_CONFIG_FILE": os.devnull, "AIOC_CACHE_DIR": str(root / "cache")}
        self.environ |= {name: os.environ[name] for name in ("PIP_CERT",) if name in os.environ}

    def aioc(self, *words: str) -> Any:
        return json.loads(self.run(sys.executable, "-m", "aiocache_engine", *words, "--json"))

    def uv(self, *words: str) -> str:
        beside = Path(sys.executable).parent / "uv"
        program = str(beside) if beside.exists() else shutil.which("uv")
        assert program, "uv is in the test extra"
        return self.run(program, *words, "--no-config", "--cache-dir", str(self.root / "uv"))

    def run(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.root, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self, environment: str) -> list[str]:
        return self.uv("pip", "list", "--format", "freeze", "-p", f"{environment}/bin/python").splitlines()


@pytest.mark.parametrize("requirement", REAL)
def test_what_is_installed_is_what_uv_installs_and_comes_again_from_the_cache(requirement: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.aioc("install", requirement, "--venv", "ours")
    desk.uv("venv", "-q", "-p", sys.executable, "theirs")
    desk.uv("pip", "install", "-q", "--only-binary", ":all:", "-p", "theirs/bin/python", requirement)
    assert desk.listed("theirs") == desk.listed("ours")
    desk.uv("pip", "check", "-p", "ours/bin/python")
    again = desk.aioc("install", requirement, "--venv", "again", "--offline")
    assert {each["from"] for each in again["installed"]} == {"cache"}
    assert desk.listed("ours") == desk.listed("again")
    kept = desk.aioc("install", requirement, "--venv", "ours", "--index-url", "http://127.0.0.1:9/simple")
    assert (kept["installed"], len(kept["unchanged"])) == ([], len(again["installed"]))
