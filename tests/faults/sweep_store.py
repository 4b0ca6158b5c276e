"""Run commands of the engine, each in a forked process, and strike at the N-th step that touches the disk.

Reads lines `[PLACE, COMMAND, N, HOW]` (JSON), HOW being "count", "kill" or the name of an errno, and answers each with
`[STEPS, OUTCOME, MESSAGE]`: "done", "killed", the class of the engine's error, or "traceback". Steps are counted by the
audit hook, in the order in which the process takes them. Forking from a process that has imported everything makes a
strike cost some tens of milliseconds.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path

from aiocache_engine.errors import CacheEngineError
from aiocache_engine.model.python import LinkMode
from caches import Place

EVENTS = frozenset({
    "open", "os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir",
    "os.utime", "os.chmod", "os.truncate", "fcntl.flock", "fcntl.lockf",
})  # fmt: skip


class Striker:
    def __init__(self) -> None:
        self.place = self.how = ""
        self.number = self.count = 0
        self.is_armed = False
        self.mutex = threading.Lock()

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.is_armed or event not in EVENTS or not self.is_ours(event, arguments):
            return
        with self.mutex:
            self.count += 1
            is_now = self.count == self.number
        if is_now and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if is_now and self.how != "count":
            code = getattr(errno, self.how)
            raise OSError(code, os.strerror(code), next((a for a in arguments if isinstance(a, str)), None))

    def lets_go(self, arguments: tuple[object, ...]) -> bool:
        """Tell whether this unlocks, which no system refuses."""
        return any(isinstance(operation, int) and operation & fcntl.LOCK_UN for operation in arguments[1:2])

    def is_ours(self, event: str, arguments: tuple[object, ...]) -> bool:
        if event.startswith("fcntl."):
            return self.how in {"count", "kill"} or not self.lets_go(arguments)
        if event in {"os.scandir", "os.listdir"}:  # how many processes there are is the machine's affair
            return not str(arguments[0]).startswith("/proc")
        # A name relative to a descriptor is of a tree that is being linked or swept.
        # The second word of an open is its mode, and no name: with it every file of the system would be ours.
        names = arguments[:1] if event == "open" else arguments
        paths = [os.fsdecode(a) for a in names if isinstance(a, str | bytes)]
        return any(path.startswith(self.place) or (path and not path.startswith("/")) for path in paths)


async def run(place: Place, command: str) -> None:
    match command:
        case "fetch":
            await place.fetch("tiny", "other")
        case "install":
            await place.install("env", "tiny", "other", mode=LinkMode.SYMLINK, compile=False)
        case "compile":
            await place.install("env", "tiny", "other", mode=LinkMode.SYMLINK)
        case "fetch-odd":
            place.wheel("odd")
            await place.fetch("odd")
        case "clean":
            await place.clean("tiny", "odd")
        case "clean-version":
            await place.clean("tiny<2", "other<2")
        case "clean-all":
            await place.clean()
        case "prune":
            await place.prune()


def main() -> None:
    striker = Striker()
    sys.addaudithook(striker)
    asyncio.run(warm_up())
    for line in sys.stdin:
        place, command, number, how = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            answer = strike(striker, place, command, number, how)
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        answer = os.read(reader, 1 << 20)
        os.close(reader)
        print(answer.decode() if not status else json.dumps([number, "killed", f"status {status}"]), flush=True)


def strike(striker: Striker, root: str, command: str, number: int, how: str) -> list[object]:
    striker.place, striker.number, striker.how = root, number, how
    striker.is_armed = True
    try:
        asyncio.run(run(Place(Path(root)), command))
        outcome = ["done", ""]
    except BaseException as error:  # noqa: BLE001 - every outcome is an answer
        errors = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
        striker.is_armed = False
        if all(isinstance(each, CacheEngineError) for each in errors):
            outcome = [type(errors[0]).__name__, str(errors[0])]
        else:
            outcome = ["traceback", "".join(traceback.format_exception(error))]
    striker.is_armed = False
    return [striker.count, *outcome]


async def warm_up() -> None:
    """Import what is imported lazily: a failing import is the interpreter's affair, not the engine's."""
    with tempfile.TemporaryDirectory() as directory:
        other = Place(Path(directory))
        other.wheel("warm")
        await other.install("env", "warm")
        await other.clean("warm<2")
        await other.prune()


main()
