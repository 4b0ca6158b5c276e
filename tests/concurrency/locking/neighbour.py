"""Another process that takes and drops locks when told to, by bare system calls or by our own locks.

Run as a program it obeys one command a line: `take PATH shared|exclusive` (lockf, no waiting), `drop PATH`,
`fasten PATH shared|exclusive` (fasteners as it comes, no waiting), `loosen PATH`, `hold PATH shared|exclusive`
(CacheLock), `key PATH` (KeyLock, until `end`), `progress PATH`, `unlink PATH`, `end PATH`.
It answers each with `yes`, `no`, or the name of an error.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

import fasteners

from aiocache_engine.errors import CacheEngineError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.keylock import KeyLock
from aiocache_engine.system.lock import CacheLock

FLAGS = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX}


class Neighbour:
    """The handle of such a process; ends it with the block."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, *words: object) -> str:
        print(*words, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def can_take(self, path: object) -> bool:
        """Whether nobody else has any lock on the file now."""
        if self.ask("take", path, "exclusive") != "yes":
            return False
        return self.ask("drop", path) == "yes"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Obedience:
    """What the other process does with each command."""

    def __init__(self) -> None:
        self.descriptors: dict[str, int] = {}
        self.fastened: dict[str, fasteners.InterProcessReaderWriterLock] = {}
        self.holds: dict[str, tuple[ExitStack, object]] = {}

    def take(self, path: str, mode: str) -> bool:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.lockf(descriptor, FLAGS[mode] | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self.descriptors[path] = descriptor
        return True

    def drop(self, path: str) -> None:
        os.close(self.descriptors.pop(path))

    def fasten(self, path: str, mode: str) -> bool:
        lock = self.fastened[path] = fasteners.InterProcessReaderWriterLock(path)
        is_shared = LockMode(mode) is LockMode.SHARED
        return (lock.acquire_read_lock if is_shared else lock.acquire_write_lock)(blocking=False)

    def loosen(self, path: str) -> None:
        self.fastened.pop(path).release_write_lock()

    def hold(self, path: str, mode: str) -> None:
        self._enter(path, CacheLock.at(path).hold_now(LockMode(mode), timeout_seconds=5))

    def key(self, path: str) -> None:
        self._enter(path, KeyLock(path).hold_now(what="the test", timeout_seconds=5))

    def progress(self, path: str) -> None:
        self.holds[path][1].progress()

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def end(self, path: str) -> None:
        self.holds.pop(path)[0].close()

    def _enter(self, path: str, context: AbstractContextManager[object]) -> None:
        stack = ExitStack()
        self.holds[path] = (stack, stack.enter_context(context))


def obey() -> None:
    obedience = Obedience()
    for line in sys.stdin:
        verb, *arguments = line.split()
        try:
            print("no" if getattr(obedience, verb)(*arguments) is False else "yes", flush=True)
        except (OSError, CacheEngineError) as error:
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    obey()
