"""Runs beside each other, and beside those who clean: one environment for all, and none is taken away from a tool."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.wheels import build_wheel

from .conftest import Aioc

MAIN = """
import os, sys
def late():
    print(os.environ["AIOC_ENVIRONMENT"], flush=True)
    for line in sys.stdin:
        if line == "import\\n":
            import later
            print(later.__file__, flush=True)
"""
Started = Callable[["subprocess.Popen[str]"], "subprocess.Popen[str]"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    files = {"tool.py": MAIN, "later.py": "", **{f"tool_data/{number}.bin": os.urandom(1000) for number in range(50)}}
    entry_points = {"console_scripts": {"late": "tool:late"}}
    build_wheel(wheels, "tool", "1.0", files=files, entry_points=entry_points, requires=["needed"])
    build_wheel(wheels, "needed", "1.0")
    with IndexServer(wheels) as server:
        yield server


def start(aioc: Aioc, ended: Started, *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        aioc.words("run", *options, "--from", "tool", "late"),
        cwd=aioc.home,
        env=aioc.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return ended(process)


def environment_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> str:
    """Have it import a module only now, and give where that lies."""
    out, _ = process.communicate("import\n", timeout=60)
    assert process.returncode == 0
    return out.strip()


def environments(aioc: Aioc) -> set[str]:
    return set(os.listdir(aioc.cache_dir / "environments-v1"))


def test_eight_at_once_resolve_once_and_share_one_environment(aioc: Aioc, server: IndexServer, ended: Started) -> None:
    processes = [start(aioc, ended) for _ in range(8)]
    ids = {environment_of(process) for process in processes}
    assert environments(aioc) == ids
    assert len(ids) == 1
    assert {end(process) for process in processes} != {""}
    files = {path: count for path, count in server.counts.items() if path.endswith(".whl")}
    assert set(files.values()) == {1}
    assert {server.counts["/simple/tool/"], server.counts["/simple/needed/"]} == {1}
    assert os.listdir(aioc.cache_dir / "staging") == []


def test_a_running_tool_keeps_its_files_whatever_is_cleaned(aioc: Aioc, ended: Started) -> None:
    process = start(aioc, ended)
    environment = environment_of(process)
    for words in (["prune"], ["clean", "tool"], ["clean", "needed"], ["clean"]):
        assert aioc(*words).code == 0
        assert environments(aioc) == {environment}
    assert environment in end(process)
    assert aioc("size").code == 0  # any command frees what lost its last user
    assert environments(aioc) == set()
    assert os.listdir(aioc.cache_dir / "archives-v1") == []


def test_a_run_beside_a_tool_that_was_cleaned_gets_a_fresh_environment(aioc: Aioc, ended: Started) -> None:
    process = start(aioc, ended)
    old = environment_of(process)
    assert aioc("clean", "tool").code == 0
    beside = start(aioc, ended)
    fresh = environment_of(beside)
    assert environments(aioc) == {old, fresh}
    assert old in end(process)
    assert fresh in end(beside)


def test_a_child_that_outlives_its_tool_keeps_the_environment(aioc: Aioc, ended: Started, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys\n"
        "child = [sys.executable, '-c', 'import sys; print(1, flush=True); sys.stdin.read(); import later']\n"
        "subprocess.Popen(child, close_fds=False)\n"
    )
    process = subprocess.Popen(
        aioc.words("run", "--from", "tool", "python", str(script)),
        cwd=aioc.home,
        env=aioc.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ended(process)
    assert process.wait(timeout=60) == 0
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    (environment,) = environments(aioc)
    assert aioc("clean").code == 0
    assert environments(aioc) == {environment}
    out, _ = process.communicate(timeout=60)
    assert out == ""


def test_refreshing_leaves_the_old_environment_to_those_who_use_it(
    aioc: Aioc, server: IndexServer, ended: Started
) -> None:
    process = start(aioc, ended)
    old = environment_of(process)
    build_wheel(
        server.directory,
        "tool",
        "2.0",
        files={"tool.py": MAIN, "later.py": ""},
        entry_points={"console_scripts": {"late": "tool:late"}},
    )
    refreshed = start(aioc, ended, "--refresh")
    fresh = environment_of(refreshed)
    assert environments(aioc) == {old, fresh}
    assert aioc("prune").code == 0
    assert environments(aioc) == {old, fresh}
    assert old in end(process)
    assert aioc("prune").code == 0
    assert environments(aioc) == {fresh}
    assert fresh in end(refreshed)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_before_its_tool_leaves_nothing_behind(
    aioc: Aioc, server: IndexServer, ended: Started, wait_until: Callable[[Callable[[], object]], None], how: int
) -> None:
    path = "/files/tool-1.0-py3-none-any.whl"
    server.fault(path, Fault(bytes_per_second=1000))
    process = start(aioc, ended)
    wait_until(lambda: server.counts[path])
    process.send_signal(how)
    assert process.wait(timeout=60) == 130
    assert environments(aioc) == set()
    assert os.listdir(aioc.cache_dir / "leases") == []
    server.heal()
    assert end(start(aioc, ended))


@pytest.mark.parametrize(
    "moment", ["aiocache_engine.engine.CacheEngine.hold_environment", "os.execve"], ids=["made", "about to start"]
)
def test_an_interrupt_between_making_and_starting_leaves_no_lease(aioc: Aioc, moment: str) -> None:
    module, _, name = moment.rpartition(".")
    code = f"""
import os, pkgutil, signal, sys
if "run" in sys.orig_argv:
    place = pkgutil.resolve_name({module!r})
    before = getattr(place, {name!r})
    if {name!r} == "execve":
        def interrupted(*arguments):
            os.kill(os.getpid(), signal.SIGINT)
            return before(*arguments)
    else:
        async def interrupted(*arguments):
            held = await before(*arguments)
            os.kill(os.getpid(), signal.SIGINT)
            return held
    setattr(place, {name!r}, interrupted)
"""
    ran = aioc("run", "--from", "tool", "late", **aioc.startup(code))
    assert (ran.code, ran.out) == (130, "")
    assert len(environments(aioc)) == 1
    assert os.listdir(aioc.cache_dir / "leases") == []
