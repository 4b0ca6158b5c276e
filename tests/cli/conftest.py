"""The real command in a process of its own, with its own cache dir, against an index on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.wheels import build_wheel
from commands import Aioc


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheels")
    build_wheel(directory, "tiny", "1.0")
    build_wheel(directory, "tiny", "2.0")
    build_wheel(directory, "other", "1.0", entry_points={"console_scripts": {"other": "other:main"}})
    build_wheel(directory, "alien", "1.0", tag="cp27-cp27m-win32")
    build_wheel(directory, "gone", "1.0")
    build_wheel(directory, "wrong", "1.0")
    build_wheel(directory, "short", "1.0", files={"short.bin": os.urandom(200_000)})
    build_wheel(directory, "login", "1.0")
    build_wheel(directory, "slow", "1.0", files={"slow.bin": os.urandom(200_000)})
    return directory


@pytest.fixture
def server(wheels: Path) -> Iterator[IndexServer]:
    with IndexServer(wheels) as server:
        server.cache_control = "max-age=600"
        server.yanked["gone-1.0-py3-none-any.whl"] = "broken"
        server.wrong_hashes.add("wrong-1.0-py3-none-any.whl")
        yield server


@pytest.fixture
def aioc(tmp_path: Path, server: IndexServer) -> Aioc:
    home = tmp_path / "home"
    home.mkdir()
    return Aioc(home, server.index_url)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    def wait(is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait


@pytest.fixture
def ended() -> Iterator[Callable[[subprocess.Popen[str]], subprocess.Popen[str]]]:
    """Promise that a process that was started does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def end_later(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        started.append(process)
        return process

    yield end_later
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
