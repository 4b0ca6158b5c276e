"""The real command in a process of its own, with its own cache dir, against an index on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.config import Config
from aiocache_engine.pipeline.kit import Kit, end_work, open_kit
from aiocache_engine.pipeline.steps import in_shared_hold
from aiocache_engine.system.lock import Hold
from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.wheels import build_wheel

FOREIGN = re.compile(r"(AIOC|PIP|UV)_|VIRTUAL_ENV|CONDA_PREFIX|PYTHON(WARNINGS|DONTWRITEBYTECODE)", re.IGNORECASE)


@dataclass(frozen=True)
class Ran:
    """What a command did, as its caller sees it."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)


class Aioc:
    """Runs the command; what varies from run to run is taken out of its texts."""

    def __init__(self, home: Path, index_url: str) -> None:
        self.home = home
        self.cache_dir = home / "cache"
        self.index_url = index_url
        self.environ = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
        self.environ |= {
            "AIOC_CACHE_DIR": str(self.cache_dir),
            "AIOC_INDEX_URL": index_url,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_RETRIES": "0",
            "TZ": "UTC",
            "COLUMNS": "100",
        }

    def __call__(self, *arguments: str, **environ: str) -> Ran:
        """Run to the end."""
        ran = subprocess.run(
            self.words(*arguments),
            cwd=self.home,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ran(ran.returncode, self.steady(ran.stdout), self.steady(ran.stderr))

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start, and leave it running."""
        return subprocess.Popen(
            self.words(*arguments),
            cwd=self.home,
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def startup(self, code: str) -> dict[str, str]:
        """Give the variables with which the command runs this code first."""
        folder = self.home.parent / "startup"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code)
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), self.environ.get("PYTHONPATH")]))}

    def words(self, *arguments: str) -> list[str]:
        """Give the whole command line."""
        return [sys.executable, "-m", "aiocache_engine", *arguments]

    def steady(self, text: str) -> str:
        """Take out of a text what differs between two runs."""
        text = text.replace(self.index_url.removesuffix("/simple"), "INDEX").replace(str(self.home), "HOME")
        if text.startswith("{"):
            return text
        text = re.sub(r"\b\d+(\.\d)? (B|kB|MB)\b", "SIZE", text)
        text = re.sub(r"\b\d+(\.\d)? (ms|s)\b", "TIME", text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "WHEN", text)
        text = re.sub(r"\b(pid|process) \d+", r"\1 PID", text)
        return re.sub(r" {2,}", "  ", text)

    def archive_of(self, project: str) -> str:
        """Give the id of the one archive of a project."""
        (entry,) = self("ls", project, "--json").document["entries"]
        return entry["id"]

    @contextmanager
    def using(self, *archive_ids: str) -> Iterator[None]:
        """Use archives in this process for as long as the block lasts."""
        kit = self.kit()
        work = kit.work()

        def take(hold: Hold) -> None:
            work.begin(hold, [])
            work.keep(hold, archive_ids)

        kit.conductor().perform(in_shared_hold(take))
        try:
            yield
        finally:
            end_work(work)

    def kit(self) -> Kit:
        """Open the same cache dir in this process."""
        return open_kit(self.cache_dir, config=Config(), environ=self.environ)


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
