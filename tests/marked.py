"""Find the processes that a test started, wherever they have gone: they inherit its mark."""

from __future__ import annotations

import contextlib
import time
import uuid

import psutil

NAME = "AIOC_TEST_MARK"


class Mark:
    """A variable of the environment that no other process has."""

    def __init__(self) -> None:
        self.environ = {NAME: uuid.uuid4().hex}

    def alive(self) -> list[psutil.Process]:
        """List the processes that bear it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(NAME) == self.environ[NAME] and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_dead(self, *, but: int | None = None) -> None:
        """Wait until none lives but that one."""
        deadline = time.monotonic() + 60
        while {process.pid for process in self.alive()} - {but}:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self) -> None:
        """Fail if one of them still lives, and kill it."""
        left = self.alive()
        for process in left:
            process.kill()
        assert not left
