"""A cache in a known state, struck at one step of a command after the other, and put back each time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from caches import Place
from toolsheds import fetched, make_tool

TESTS = Path(__file__).resolve().parents[1]
REMOVING = ("clean", "clean-version", "clean-all", "prune")
COMMANDS = ("fetch", "install", "compile", *REMOVING)


class Strikes:
    """The program that strikes; one process for many strikes."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-W", "error", str(TESTS / "faults" / "sweep_store.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )

    def at(self, place: Place, command: str, number: int, how: str) -> tuple[int, str, str]:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps([str(place.root), command, number, how]) + "\n")
        self._program.stdin.flush()
        count, outcome, message = json.loads(self._program.stdout.readline())
        return count, outcome, message

    def done(self, place: Place, command: str) -> int:
        """Run a command undisturbed; gives the number of its steps."""
        count, outcome, message = self.at(place, command, 0, "count")
        assert outcome == "done", message
        return count

    def close(self) -> None:
        self._program.kill()
        self._program.communicate()


class State:
    """A place as it stands now, to come back to."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._kept = place.root.parent / f"{place.root.name}-kept"
        subprocess.run(["cp", "-a", place.root, self._kept], check=True)

    def restore(self) -> None:
        # What is in the cache stays hard-linked to its environments, and links stay right: the path is the same.
        shutil.rmtree(self._place.root)
        subprocess.run(["cp", "-a", self._kept, self._place.root], check=True)


def prepare(place: Place, command: str, strikes: Strikes) -> State:
    """Make the state in which a command has something to do, leftovers of a dead work included."""
    place.wheel("tiny", "1.0", files={"tiny/__init__.py": "", "tiny/deep/a.py": "x = 1\n"})
    place.wheel("other", "1.0")
    if command != "fetch":
        strikes.done(place, "install" if command in {"install", "compile"} else "compile")
        strikes.at(place, "fetch-odd", 100, "kill")
        place.wheel("tiny", "1.5")
    if command == "prune":
        strikes.done(place, "clean")
        shutil.rmtree(place.root / "env")
    if command in REMOVING:
        make_environments(place)
    return State(place)


def make_environments(place: Place) -> None:
    """Make a cached environment that a tool has, one that was made anew for the same request, and one of no name."""
    other, odd = fetched(place, "other", "odd")
    cache = place.opened()
    make_tool(cache, [odd, other])
    make_tool(cache, [odd])
    make_tool(cache, [other], "another")
    shutil.rmtree(place.cache / "tools-v1" / "another")
