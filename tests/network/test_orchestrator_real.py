"""The orchestrator of examples/ builds some thirty real projects from source, is killed on the way, and goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiocache_engine.testing.invariants import assert_sound

pytestmark = pytest.mark.network

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "orchestrator" / "build_wheels.py"
REQUIREMENTS = ["flask", "requests", "pytest", "rich"]  # by flit, hatchling, poetry-core and setuptools; two compile C
BEFORE_THE_KILL = 8


def test_real_projects_are_built_from_source_in_spite_of_a_kill(tmp_path: Path) -> None:
    foreign = ("PIP_", "UV_", "AIOC_", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environ |= {"PIP_CONFIG_FILE": os.devnull, "AIOC_CACHE_DIR": str(tmp_path / "cache")}
    environ |= {name: os.environ[name] for name in ("PIP_CERT",) if name in os.environ}
    command = [sys.executable, str(PROGRAM), *REQUIREMENTS, "--directory", str(tmp_path)]
    wheels = tmp_path / "wheels"
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process:
        while len(list(wheels.glob("*.whl"))) < BEFORE_THE_KILL and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    there = {path.name: path.stat().st_mtime_ns for path in wheels.glob("*.whl")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "log").read_text()
    assert there.items() <= {path.name: path.stat().st_mtime_ns for path in wheels.glob("*.whl")}.items()
    assert len(list(wheels.glob("*.whl"))) >= 20
    figures = dict(re.findall(r"^([a-z ]+): (\d+)$", done.stdout, re.MULTILINE))
    assert int(figures["cache hits"]) >= 1
    assert int(figures["builds"]) + len(there) >= 20
    assert int(figures["of them beside installs and builds"]) >= 1
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([python, "-c", "import flask, requests, pytest, rich, markupsafe._speedups"], check=True)
    assert_sound(tmp_path / "cache")
