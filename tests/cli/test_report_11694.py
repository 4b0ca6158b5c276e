"""A tool that runs for long and imports late survives every clean and prune (report 11694), whoever holds its lease.

First the survivors that have no lease any more, or never had one: only a look at the processes finds them. They talk
through named pipes, so that nothing here depends on how fast the machine is. Then the report itself, where the tool has
its lease.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.wheels import build_wheel
from reports import Stage, assert_within_a_percent, freed

from .conftest import Aioc

LIVE = r"""
import os

def live(place):
    with open(f"{place}/born", "w") as file:
        file.write(str(os.getpid()))
    open(f"{place}/go").read()
    import needed
    with open(f"{place}/said", "w") as file:
        file.write(needed.WORD)
    open(f"{place}/end").read()
"""
MAIN = r"""
import os, subprocess, sys
import survivor

SHELL = 'echo $$ > "$1/born"; read x < "$1/go"; . "$2/word.sh"; echo $word > "$1/said"; read x < "$1/end"'

def main():
    way, place = sys.argv[1:]
    globals()[way](place)

def direct(place):
    survivor.live(place)

def popen(place):
    subprocess.Popen([sys.executable, "-c", "import sys, survivor; survivor.live(sys.argv[1])", place])

def spawn(place):
    import multiprocessing
    multiprocessing.get_context("spawn").Process(target=survivor.live, args=(place,)).start()
    os._exit(0)

def daemon(place):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.closerange(0, 1024)
    survivor.live(place)
    os._exit(0)

def stranger(place):
    # a program from elsewhere: its variables alone say where it comes from
    subprocess.Popen(["/bin/sh", "-c", SHELL, "sh", place, "/proc/self/cwd"], cwd=place)
"""
ORPHANING = r"""
import os, subprocess, sys
from aiocache_engine import BlockingCacheEngine, Config

config = Config(index_url=os.environ["AIOC_INDEX_URL"])
with BlockingCacheEngine(os.environ["AIOC_CACHE_DIR"], config=config) as engine:
    with engine.environment("tool") as environment:
        words = [environment.command("tool"), "direct", sys.argv[1]]
        subprocess.Popen(words, env=environment.variables(os.environ)).wait()
"""
WAYS = ("direct", "popen", "spawn", "daemon", "stranger", "orphan")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    files = {"tool.py": MAIN, "survivor.py": LIVE}
    entry_points = {"console_scripts": {"tool": "tool:main"}}
    build_wheel(wheels, "tool", "1.0", files=files, entry_points=entry_points, requires=["needed"])
    build_wheel(wheels, "needed", "2.0", files={"needed.py": "WORD = 'late'\n"})
    with IndexServer(wheels) as server:
        yield server


class Survivor:
    """A process that a tool left, or that is the tool itself."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.place = place
        for name in ("born", "go", "said", "end"):
            os.mkfifo(place / name)
        (place / "word.sh").write_text("word=late\n")
        self.pid = 0

    def begin(self) -> None:
        """Wait until it lives."""
        self.pid = int((self.place / "born").read_text())

    def go_on(self) -> str:
        """Let it import what it has not imported yet; gives what that said."""
        (self.place / "go").write_text("\n")
        return (self.place / "said").read_text().strip()

    def end(self) -> None:
        (self.place / "end").write_text("\n")


@pytest.fixture
def survivor(tmp_path: Path) -> Iterator[Survivor]:
    survivor = Survivor(tmp_path / "pipes")
    yield survivor
    if survivor.pid and psutil.pid_exists(survivor.pid):
        os.kill(survivor.pid, signal.SIGKILL)


def begin(aioc: Aioc, way: str, survivor: Survivor, ended: Callable[..., Any]) -> None:
    place = str(survivor.place)
    match way:
        case "direct":
            assert aioc("run", "--from", "tool", "python", "-c", "pass").code == 0
            [script] = aioc.cache_dir.glob("environments-v1/*/env/bin/tool")
            ended(subprocess.Popen([script, way, place], env=aioc.environ, stdout=subprocess.PIPE))
            survivor.begin()
        case "orphan":
            words = [sys.executable, "-c", ORPHANING, place]
            launcher = ended(subprocess.Popen(words, env=aioc.environ, stdout=subprocess.PIPE))
            survivor.begin()
            launcher.kill()
            launcher.wait()
        case _:
            tool = subprocess.Popen(aioc.words("run", "tool", way, place), env=aioc.environ, stdout=subprocess.PIPE)
            survivor.begin()
            ended(tool).wait()


def objects(aioc: Aioc) -> set[str]:
    return {path.name for bucket in ("archives-v1", "environments-v1") for path in (aioc.cache_dir / bucket).iterdir()}


def users(environment_id: str) -> list[int]:
    """Give every process that has to do with an environment, helpers of the survivor included."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(environment_id in text for text in texts):
            found.append(process.pid)
    return found


def assert_kept_for(pid: int, document: dict[str, Any]) -> None:
    [kept] = [each for each in document["kept"] if each["kind"] == "environment"]
    reasons = [each for each in kept["reasons"] if each["code"] == "running"]
    assert pid in {each["pid"] for each in reasons}
    assert {each["release"] for each in reasons} == {f"process {each['pid']} ends" for each in reasons}
    assert all(each["command"] for each in reasons)
    assert [each["kind"] for each in document["removed"] if each["kind"] in ("archive", "environment")] == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what the look sees elsewhere differs by system")
@pytest.mark.parametrize("way", WAYS)
def test_a_process_without_a_lease_survives_and_when_it_ends_the_next_command_frees_the_bytes(
    aioc: Aioc,
    survivor: Survivor,
    way: str,
    ended: Callable[..., Any],
    wait_until: Callable[[Callable[[], object]], None],
) -> None:
    begin(aioc, way, survivor, ended)
    before = objects(aioc)
    [environment] = (aioc.cache_dir / "environments-v1").iterdir()
    [name] = (aioc.cache_dir / "tools-v1" / "tool").iterdir()
    assert aioc("prune").code == 0
    name.unlink()  # as where a newer environment of the tool superseded it
    assert_kept_for(survivor.pid, aioc("prune", "-n", "--json").document)
    assert_kept_for(survivor.pid, aioc("prune", "--json").document)
    assert_kept_for(survivor.pid, aioc("clean", "needed", "tool", "--json").document)
    assert_kept_for(survivor.pid, aioc("clean", "--json").document)
    notes = os.listdir(aioc.cache_dir / "condemned")
    assert aioc("size").code == 0  # which looks again, and frees nothing
    assert os.listdir(aioc.cache_dir / "condemned") == notes
    assert objects(aioc) == before
    assert survivor.go_on() == "late"
    survivor.end()
    wait_until(lambda: not users(environment.name))
    assert aioc("size").code == 0
    assert objects(aioc) == set()
    assert os.listdir(aioc.cache_dir / "condemned") == []


def test_who_lives_in_a_cleaned_environment_is_named(aioc: Aioc, survivor: Survivor, ended: Callable[..., Any]) -> None:
    begin(aioc, "direct", survivor, ended)
    out = aioc("clean").out
    line = next(line for line in out.splitlines() if line.startswith("kept: environment of tool"))
    assert line.endswith("), which lives in it, until process PID ends")
    assert "by process PID (tool direct " in line or "by process PID (HOME" in line


def test_an_environment_that_is_made_while_an_old_one_is_lived_in_is_another_one(
    aioc: Aioc, survivor: Survivor, ended: Callable[..., Any]
) -> None:
    begin(aioc, "direct", survivor, ended)
    assert aioc("clean", "tool").code == 0
    [old] = (aioc.cache_dir / "environments-v1").iterdir()
    assert aioc("run", "--from", "tool", "python", "-c", "pass").code == 0
    assert len(list((aioc.cache_dir / "environments-v1").iterdir())) == 2
    assert old.exists()


LATE = "print('at work', flush=True); input(); import {late}; print('unharmed')"
COMMANDS = [("prune",), ("prune", "--tools"), ("prune", "--ci"), ("clean", "TOOL"), ("clean",)]


def ids(entries: list[dict[str, Any]], kind: str = "environment") -> set[str]:
    return {each["id"] for each in entries if each["kind"] == kind}


def assert_it_ends_unharmed(running: subprocess.Popen[str]) -> None:
    out, err = running.communicate("\n", timeout=60)
    assert (running.returncode, out) == (0, "unharmed\n"), err


def test_a_running_tool_that_imports_late_survives_everything_and_nothing_waits_for_it(
    stage: Stage, ended: Callable[..., Any]
) -> None:
    running = ended(stage.start_tool(LATE.format(late=stage.cast.tool)))
    before = ids(stage.entries()), ids(stage.entries(), "archive")
    for command in COMMANDS:
        words = [stage.cast.tool if word == "TOOL" else word for word in command]
        removal = stage(*words, "--lock-timeout", "0")
        assert [each for each in removal["removed"] if each["kind"] in ("archive", "environment")] == []
        [kept] = [each for each in removal["kept"] if each["kind"] == "environment"]
        [lease] = [reason for reason in kept["reasons"] if reason["code"] == "lease"]
        assert lease["pid"] == running.pid
        assert f" run --from {stage.cast.tool} python -c " in lease["command"]
        assert lease["release"].startswith(f"process {running.pid} ")
    assert (ids(stage.entries()), ids(stage.entries(), "archive")) == before
    assert_it_ends_unharmed(running)
    stage("size")  # frees at its end, as every command does that opens the cache
    assert stage.entries() == []
    assert list((stage.cache_dir / "condemned").iterdir()) == []


def test_only_old_environments_of_a_tool_can_be_pruned_as_the_report_asks(
    stage: Stage, ended: Callable[..., Any]
) -> None:
    plain, versions = stage.cast.plain, stage.cast.versions
    requests = [("run", "--from", f"{plain}=={version}", "python", "-c", "pass") for version in versions]
    code = LATE.format(late=plain)
    running = ended(stage.start_tool(code, f"{plain}=={versions[0]}"))
    assert stage.aioc(*requests[1]).code == 0
    old, new = [
        next(each["id"] for each in stage.entries(f"{plain}=={version}") if each["kind"] == "environment")
        for version in versions
    ]
    assert {kind for each in stage("prune")["removed"] if (kind := each["kind"]) != "leftover"} == set()
    stage("prune", "--keep-latest")
    assert ids(stage.entries()) == {old, new}
    assert_it_ends_unharmed(running)
    before = stage.allocated()
    removal = stage("prune", "--keep-latest")
    assert_within_a_percent(freed(removal), before - stage.allocated())
    assert ids(stage.entries()) == {new}
    assert {each["version"] for each in stage.entries() if each["kind"] == "archive"} == {versions[1]}
    assert stage.aioc(*requests[1], "--offline").code == 0
