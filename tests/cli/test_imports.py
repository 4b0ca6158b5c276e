"""What a command may load: a warm one no event loop, no argument parser of others, no HTTP stack and no socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import aiocache_engine
from aiocache_engine.testing.index_server import IndexServer
from commands import Aioc

pytestmark = pytest.mark.each_python  # what the standard library imports of itself differs
ROOT = Path(__file__).resolve().parents[2]
#: modules of the standard library that would take a warm `run` longer to import than all its own work
SLOW = {
    "dataclasses", "typing", "inspect", "logging", "pathlib", "subprocess", "socket", "hashlib", "_hashlib", "secrets",
    "random", "json", "re", "threading", "tempfile", "shutil", "urllib", "platformdirs", "fasteners", "packaging",
    "msgspec", "importlib.metadata", "traceback",
}  # fmt: skip
HEAVY = ("asyncio", "anyio", "typer", "rich", "httpx2", "httpcore2", "hishel", "socket", "ssl", "pip", "email", "http")


def loaded(aioc, *arguments: str) -> set[str]:
    """Run a command; give the modules it imported, without those that its interpreter begins with."""
    ran = aioc(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert ran.code == 0, ran.err
    names = [line.rpartition("|")[2].strip() for line in ran.err.splitlines() if line.startswith("import time:")]
    return set(names[names.index("site") + 1 :])


def heavy(modules: set[str]) -> set[str]:
    return {module for module in modules if module.partition(".")[0] in HEAVY}


@pytest.fixture
def filled(aioc):
    assert aioc("install", "--no-deps", "tiny==1.0", "other", "--venv", "env").code == 0
    return aioc


@pytest.fixture(scope="module")
def lasting(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aioc]:
    """The same for all commands that take nothing out of the cache."""
    home = tmp_path_factory.mktemp("lasting")
    with IndexServer(wheels) as server:
        server.cache_control = "max-age=600"
        aioc = Aioc(home, server.index_url)
        aioc.environ |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "c"), "XDG_CONFIG_HOME": str(home / "d")}
        assert aioc("install", "--no-deps", "tiny==1.0", "other", "--venv", "env").code == 0
        yield aioc


@pytest.mark.parametrize(
    "arguments",
    [
        ("install", "--no-deps", "tiny==1.0", "other", "--venv", "pinned", "--offline"),
        ("install", "tiny==1.0", "other", "--venv", "resolved", "--offline"),
        ("install", "tiny>=1", "--venv", "env"),
        ("fetch", "other", "--offline"),
        ("fetch", "--no-deps", "tiny==1.0", "--offline"),
        ("ls",),
        ("ls", "tiny"),
        ("why", "tiny"),
        ("why", "./env"),
        ("ps",),
        ("size",),
        ("dir",),
        ("clean", "tiny", "-n"),
        ("prune",),
        ("prune", "--json"),
        ("prune", "--unused-for", "30d", "--max-size", "1TB"),
    ],
    ids=" ".join,
)
def test_a_warm_command_loads_nothing_heavy(lasting: Aioc, arguments: tuple[str, ...]) -> None:
    assert heavy(loaded(lasting, *arguments)) == set()


def test_a_clean_loads_nothing_heavy(filled) -> None:
    assert heavy(loaded(filled, "clean", "tiny")) == set()


@pytest.mark.parametrize("arguments", [("dir",), ("run", "--from", "tiny", "python", "-c", "pass")], ids=" ".join)
def test_the_quickest_commands_load_nothing_slow_either(aioc, arguments: tuple[str, ...]) -> None:
    aioc(*arguments)
    modules = loaded(aioc, *arguments)
    assert "aiocache_engine.cli.main" in modules
    assert SLOW & modules == set()


def test_a_warm_run_knows_nothing_of_making_environments(aioc) -> None:
    aioc("run", "--from", "tiny", "python", "-c", "pass")
    ours = {name for name in loaded(aioc, "run", "--from", "tiny", "python", "-c", "pass") if "aiocache_engine" in name}
    rooms = {name.split(".")[1] for name in ours if name.count(".")}
    assert "aiocache_engine.pipeline.tools.environment" in ours
    assert not {"engine", "blocking", "policy"} & rooms
    assert not {name for name in ours if ".linking" in name or ".wheels" in name or ".resolution" in name}
    assert len(ours) <= 64


@pytest.mark.parametrize("arguments", [("clean", "tiny"), ("clean",), ("prune",), ("size",)], ids=" ".join)
def test_nobody_looks_at_processes_where_there_is_no_cached_environment(filled, arguments: tuple[str, ...]) -> None:
    modules = loaded(filled, *arguments)
    assert {name for name in modules if name.startswith(("psutil", "aiocache_engine.system.process_look"))} == set()


def test_a_look_at_processes_would_be_noticed(aioc) -> None:
    assert aioc("run", "--from", "tiny", "python", "-c", "pass").code == 0
    assert "aiocache_engine.system.process_look" in loaded(aioc, "clean")


def test_a_cold_command_would_be_noticed(aioc) -> None:
    assert {"anyio", "asyncio", "httpx2", "socket"} <= loaded(aioc, "fetch", "--no-deps", "tiny==1.0")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here")
def test_a_second_installation_offline_opens_no_socket(filled, tmp_path) -> None:
    journal = tmp_path / "calls"
    words = filled.words("install", "--no-deps", "tiny==1.0", "other", "--venv", "again", "--offline")
    traced = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=%network", "-o", journal, *words],
        cwd=filled.home,
        env=filled.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if not journal.exists():
        pytest.skip(f"strace may not trace here: {traced.stderr}")
    assert traced.returncode == 0, traced.stderr
    assert [line for line in journal.read_text().splitlines() if "+++" not in line and "---" not in line] == []


def test_the_version_is_told_before_anything_but_the_door_to_stdout_is_imported(aioc) -> None:
    modules = loaded(aioc, "--version")
    assert {module for module in modules if module.startswith("aiocache_engine.")} == {
        "aiocache_engine.cli",
        "aiocache_engine.cli.streams",
    }
    assert "typing" not in modules
    assert aioc("--version").out == f"aioc {aiocache_engine.__version__}\n"


def test_the_version_is_the_one_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == aiocache_engine.__version__


def test_importing_the_package_loads_nothing_else() -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import aiocache_engine"],
        env={**os.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    ours = [line for line in ran.stderr.splitlines() if "aiocache_engine" in line.rpartition("|")[2]]
    assert [line.rpartition("|")[2].strip() for line in ours] == ["aiocache_engine"]


def test_every_public_name_is_there_and_nothing_else_is() -> None:
    names = [name for name in dir(aiocache_engine) if not name.startswith("_")]
    assert {"CacheEngine", "Config", "Reporter", "TargetChoice", "LinkMode", "CacheEngineError"} <= set(names)
    for name in names:
        assert getattr(aiocache_engine, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = aiocache_engine.Nonsense
