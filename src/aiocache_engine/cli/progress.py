"""Bars of downloads on a terminal. The one place that imports rich, and only when something is downloaded."""

from __future__ import annotations

import threading

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn


class Bars:
    """One bar per file that is being downloaded; gone when they are done. Callable from any thread."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._progress.start()

    def begin(self, filename: str, size_bytes: int | None) -> None:
        """Show a bar; without a size it only counts."""
        with self._lock:
            self._tasks[filename] = self._progress.add_task(filename, total=size_bytes)

    def advance(self, filename: str, received_bytes: int) -> None:
        """Say how much has come, in all."""
        with self._lock:
            if (task := self._tasks.get(filename)) is not None:
                self._progress.update(task, completed=received_bytes)

    def end(self, filename: str) -> None:
        """Take the bar away."""
        with self._lock:
            if (task := self._tasks.pop(filename, None)) is not None:
                self._progress.remove_task(task)

    def print(self, line: str) -> None:
        """Print a line above the bars."""
        self._console.print(line, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Take all bars away."""
        self._progress.stop()
