"""Report 15704, acted out: installers, fetchers, runners, cleaners and a pruner at work on the same projects at once.

Every operation is a process of its own, and some are killed, or in the long form stopped for a while, at any moment.
Whatever is not killed must succeed and be right; cleaners must get their turn; and after a last prune nothing of all
that died may be left over.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound
from aiocache_engine.testing.wheels import build_wheel
from reports import BUILT, Stage

Versions = dict[str, tuple[str, str]]  #: of each project, old and new; of all but the last, environments are made
BUILT_VERSIONS: Versions = {"setuptools-scm": ("7.1.0", "8.2.0"), "steady": ("1.0", "2.0"), "other": ("1.0", "2.0")}
REAL_VERSIONS: Versions = {"setuptools-scm": ("7.1.0", "8.2.0"), "six": ("1.16.0", "1.17.0"), "idna": ("3.7", "3.10")}


@dataclass
class Arena:
    """One cache dir, one index, and what happened on them."""

    root: Path
    index_url: str | None  #: None: that which pip asks by default
    versions: Versions
    deadline: float
    kill_share: float
    stop_share: float
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=dict)

    def command(self, verb: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "aiocache_engine", verb, "--cache-dir", str(self.root / "cache"), *words]

    def operate(self, chance: random.Random, kind: str, *words: str) -> bool:
        """Run one operation; with some probability stop it for a while or kill it. True: it ran to its end."""
        environ = os.environ | ({} if self.index_url is None else {"AIOC_INDEX_URL": self.index_url})
        started = time.monotonic()
        process = subprocess.Popen(
            self.command(*words), env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if chance.random() < self.stop_share:
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=chance.uniform(0.05, 0.4))
            process.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.1, 2.0))
            process.send_signal(signal.SIGCONT)
            self.counts["stopped"] += 1
        if chance.random() < self.kill_share:
            try:
                output, _ = process.communicate(timeout=chance.uniform(0.05, 0.6))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                self.counts[f"{kind} killed"] += 1
                return False
        else:
            output, _ = process.communicate(timeout=120)
        self.counts[kind] += 1
        self.longest[kind] = max(self.longest.get(kind, 0.0), time.monotonic() - started)
        if process.returncode != 0:
            self.failures.append(f"{kind} {words}: exit {process.returncode}\n{output}")
        return True

    def until_the_end(self, step: Callable[[random.Random], None], seed: int) -> threading.Thread:
        def loop() -> None:
            chance = random.Random(seed)
            while time.monotonic() < self.deadline and not self.failures:
                step(chance)

        thread = threading.Thread(target=loop)
        thread.start()
        return thread


def install(arena: Arena, number: int) -> Callable[[random.Random], None]:
    environment = arena.root / f"environment-{number}"

    def step(chance: random.Random) -> None:
        pins = [f"{project}=={chance.choice(versions)}" for project, versions in [*arena.versions.items()][:-1]]
        mode = chance.choice(["hardlink", "copy", "symlink"])
        words = ("install", "--no-deps", "--venv", str(environment), "--link-mode", mode, *pins)
        if not arena.operate(chance, "install", *words):
            calm = random.Random(chance.random())
            calm.random = lambda: 1.0  # type: ignore[method-assign]  # the same command again, and nobody kills it
            arena.operate(calm, "install again", *words)
        try:
            assert_environment_sound(environment)
        except AssertionError as error:
            arena.failures.append(f"after {words}: {error}")

    return step


def run(arena: Arena) -> Callable[[random.Random], None]:
    def step(chance: random.Random) -> None:
        project = chance.choice(list(arena.versions))
        requirement = f"{project}=={chance.choice(arena.versions[project])}"
        code = f"import {project.replace('-', '_')}"
        arena.operate(chance, "run", "run", "--from", requirement, "python", "-c", code)

    return step


def fetch(arena: Arena) -> Callable[[random.Random], None]:
    def step(chance: random.Random) -> None:
        requirements = [f"{project}=={chance.choice(versions)}" for project, versions in arena.versions.items()]
        arena.operate(chance, "fetch", "fetch", *chance.sample(requirements, k=2))

    return step


def clean(arena: Arena, project: str) -> Callable[[random.Random], None]:
    def step(chance: random.Random) -> None:
        name = chance.choice([project, f"{project}<{arena.versions[project][1]}"])
        arena.operate(chance, f"clean {project}", "clean", name)

    return step


LONG_SECONDS = float(os.environ.get("AIOC_TORTURE_SECONDS", "60"))


@pytest.mark.parametrize(
    ("seconds", "stop_share"), [(12.0, 0.0), pytest.param(LONG_SECONDS, 0.1, marks=pytest.mark.torture)]
)
def test_installers_runners_cleaners_and_a_pruner_never_disturb_each_other(
    seconds: float, stop_share: float, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for project, versions in BUILT_VERSIONS.items():
        for version in versions:
            build_wheel(wheels, project, version, file_count=120, entry_points={"console_scripts": {project: "m:main"}})
    with IndexServer(wheels) as server:
        act(tmp_path, server.index_url, BUILT_VERSIONS, seconds=seconds, stop_share=stop_share)


@pytest.mark.network
def test_nor_do_they_with_real_packages(tmp_path: Path) -> None:
    act(tmp_path, None, REAL_VERSIONS, seconds=30.0, stop_share=0.1)


def act(root: Path, index_url: str | None, versions: Versions, *, seconds: float, stop_share: float) -> None:
    """Let all of them work for so long, and look at what is left."""
    arena = Arena(root, index_url, versions, time.monotonic() + seconds, kill_share=0.2, stop_share=stop_share)
    threads = [arena.until_the_end(install(arena, number), seed=number) for number in range(3)]
    threads += [arena.until_the_end(clean(arena, project), seed=10 + n) for n, project in enumerate(versions)]
    threads += [arena.until_the_end(work(arena), seed=20 + n) for n, work in enumerate((run, fetch))]
    threads.append(arena.until_the_end(lambda c: void(arena.operate(c, "prune", "prune")), seed=30))
    for thread in threads:
        thread.join()

    assert arena.failures == []
    assert all(arena.counts[f"clean {project}"] > 0 for project in versions)
    final = subprocess.run(arena.command("prune", "--json"), capture_output=True, text=True, check=True)
    again = subprocess.run(arena.command("prune", "--json"), capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["removed"] == []
    assert_sound(root / "cache", is_pruned=True)
    print(dict(arena.counts), {kind: round(longest, 2) for kind, longest in arena.longest.items()}, len(final.stdout))


def void(_: object) -> None:
    """Drop a value."""


def test_eight_processes_that_want_the_same_new_set_fetch_every_file_once(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    names = [build_wheel(wheels, f"project-{n}", "1.0", file_count=60).name for n in range(12)]
    with IndexServer(wheels) as server:
        environ = os.environ | {"AIOC_INDEX_URL": server.index_url, "AIOC_CACHE_DIR": str(tmp_path / "cache")}
        pins = [f"project-{n}==1.0" for n in range(12)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "aiocache_engine", "install", "--no-deps", "--venv", tmp_path / f"e{n}", *pins],
                env=environ,
                stderr=subprocess.PIPE,
                text=True,
            )
            for n in range(8)
        ]
        outcomes = [(process.communicate()[1], process.returncode) for process in processes]
        counts = {name: server.counts[f"/files/{name}"] for name in names}

    assert [code for _, code in outcomes] == [0] * 8, outcomes
    assert counts == dict.fromkeys(names, 1)
    for number in range(8):
        assert_environment_sound(tmp_path / f"e{number}")


def test_a_clean_during_a_fetch_waits_for_nobody_lets_its_user_succeed_and_is_not_undone(tmp_path: Path) -> None:
    wheels, home = tmp_path / "wheels", tmp_path / "home"
    wheels.mkdir()
    home.mkdir()
    wheel = build_wheel(wheels, "big", "1.0", files={"big/__init__.py": "", "big/body.bin": os.urandom(160_000)})
    build_wheel(wheels, "small", "1.0")
    with IndexServer(wheels) as server:
        stage = Stage(home, BUILT, server.index_url)
        stage("fetch", "small")
        server.fault(f"/files/{wheel.name}", Fault(bytes_per_second=10_000))
        installing = stage.aioc.start("install", "--no-deps", "big", "--venv", "environment")
        try:
            while not server.counts[f"/files/{wheel.name}"]:
                assert installing.poll() is None
                time.sleep(0.01)
            for project in ("big", "small"):
                stage("clean", project, "--lock-timeout", "0")
            assert installing.poll() is None  # none of them waited for it
            server.heal()
            _, said = installing.communicate(timeout=60)
        finally:
            installing.kill()
            installing.communicate()
        assert installing.returncode == 0, said
        assert_environment_sound(home / "environment")
        assert stage.entries() == []
        assert stage.aioc("fetch", "--offline", "big").code == 1
        assert stage("prune")["removed"] == []
        assert_sound(stage.cache_dir, is_pruned=True)
        stage("fetch", "big")
        assert server.counts[f"/files/{wheel.name}"] == 2
