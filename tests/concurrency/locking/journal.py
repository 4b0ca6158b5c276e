"""A journal of holds that many processes write, and the proof that nobody was excluded in vain.

Each line is one appending write: `PID TOKEN enter|leave shared|exclusive NANOSECONDS`. Entering is written after the
lock was obtained and leaving before it is given back, so journalled holds are never longer than the true ones. All
processes of a machine read one monotonic clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

_tokens = count()


@dataclass(frozen=True, slots=True)
class Journalled:
    pid: int
    is_exclusive: bool
    entered_at: float  #: monotonic seconds
    left_at: float

    @property
    def seconds(self) -> float:
        return self.left_at - self.entered_at


class Journal:
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)

    @contextmanager
    def inside(self, mode: str) -> Iterator[None]:
        token = next(_tokens)
        self._write(token, "enter", mode)
        try:
            yield
        finally:
            self._write(token, "leave", mode)

    def _write(self, token: int, what: str, mode: str) -> None:
        os.write(self._descriptor, f"{os.getpid()} {token} {what} {mode} {time.monotonic_ns()}\n".encode())

    def close(self) -> None:
        os.close(self._descriptor)


def read_journal(path: Path, killed_at: Mapping[int, float]) -> list[Journalled]:
    """Pair the lines. What a killed process never left ended, at the latest, when it was killed.

    `killed_at` is read before the signal is sent: an interval may come out too short, never too long.
    """
    entered: dict[tuple[str, str], tuple[bool, float]] = {}
    holds = []
    for line in path.read_text().splitlines():
        pid, token, what, mode, nanoseconds = line.split()
        moment = int(nanoseconds) / 1e9
        if what == "enter":
            entered[pid, token] = (mode == "exclusive", moment)
        else:
            is_exclusive, entered_at = entered.pop((pid, token))
            holds.append(Journalled(int(pid), is_exclusive, entered_at, moment))
    for (pid, token), (is_exclusive, entered_at) in entered.items():
        assert int(pid) in killed_at, f"process {pid} ended without leaving hold {token}"
        if (ended_at := killed_at[int(pid)]) > entered_at:
            holds.append(Journalled(int(pid), is_exclusive, entered_at, ended_at))
    return holds


def count_violations(holds: list[Journalled]) -> int:
    """How many holds began while another was under way that one of the two excludes."""
    moments = sorted(
        moment
        for hold in holds
        # Leaving sorts before entering at the same instant.
        for moment in ((hold.entered_at, 1, hold.is_exclusive), (hold.left_at, 0, hold.is_exclusive))
    )
    inside = {True: 0, False: 0}
    violation_count = 0
    for _, is_entering, is_exclusive in moments:
        if not is_entering:
            inside[is_exclusive] -= 1
            continue
        violation_count += bool(inside[True] or (is_exclusive and inside[False]))
        inside[is_exclusive] += 1
    return violation_count
