"""Many processes at one lock, some of them killed; who they were and what they left."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from concurrency.locking import worker
from concurrency.locking.journal import Journalled, read_journal

TESTS = str(Path(__file__).parents[2])
PROCESS_COUNT = 3


@dataclass
class Fray:
    """The processes of one run, and what is known of their ends."""

    directory: Path
    kind: str
    until: float
    chance: random.Random
    killed_at: dict[int, float] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def lock_path(self) -> Path:
        return self.directory / "cache.lock"

    @property
    def journal_path(self) -> Path:
        return self.directory / "journal"

    def start_one(self) -> None:
        words = [self.lock_path, self.journal_path, self.kind, self.until, self.chance.randrange(1 << 30)]
        command = [sys.executable, worker.__file__, *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")])}
        self.processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))

    def kill_one(self) -> None:
        victim = self.processes.pop(self.chance.randrange(len(self.processes)))
        self.killed_at[victim.pid] = time.monotonic()
        victim.kill()
        victim.communicate()

    def rage(self, *, kill_every_seconds: float | None) -> None:
        for _ in range(PROCESS_COUNT):
            self.start_one()
        while kill_every_seconds is not None and time.monotonic() + 2 * kill_every_seconds < self.until:
            time.sleep(kill_every_seconds * self.chance.uniform(0.5, 1.5))
            self.kill_one()
            self.start_one()

    def end(self) -> list[dict[str, int]]:
        """Wait for those alive; return what each says it still holds."""
        left_over = [json.loads(process.communicate(timeout=60)[0]) for process in self.processes]
        assert [0] * len(left_over) == [process.returncode for process in self.processes]
        return left_over

    def holds(self) -> list[Journalled]:
        return read_journal(self.journal_path, self.killed_at)
