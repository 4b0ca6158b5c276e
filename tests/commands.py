"""The real command in a process of its own, with its own cache dir, for tests that act out what people do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiocache_engine.config import Config
from aiocache_engine.pipeline.kit import Kit, end_work, open_kit
from aiocache_engine.pipeline.steps import in_shared_hold
from aiocache_engine.system.lock import Hold

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
        assert self.out, self.err
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
