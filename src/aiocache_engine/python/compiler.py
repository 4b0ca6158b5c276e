"""Compile modules in the interpreter that they are for: a few long-lived processes of it, fed by threads of ours.

No process is started per module. A module at which a process dies or hangs is given up, and a fresh process goes on
with the next one. Nothing here raises for what a module contains; it raises where compiling is impossible altogether.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.value import value

_MODULE_TIMEOUT_SECONDS = 60.0
_MOST_DEATHS = 3  #: in one job
_READ_BYTES = 1 << 16


def _processor_count() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


class _Turns:
    """However many calls compile at once in this process, no more modules are compiled than it has processors."""

    taken = threading.BoundedSemaphore(_processor_count())

    @classmethod
    def forget(cls) -> None:
        """Begin anew in a forked process: the threads that had a turn are not in it."""
        cls.taken = threading.BoundedSemaphore(_processor_count())


os.register_at_fork(after_in_child=_Turns.forget)


class CompilerError(RuntimeError):
    """Nothing can be compiled; the text says why."""


@value
class Module:
    """One module that was compiled."""

    size_bytes: int  #: of its .pyc
    changed_at: int  #: the modification time of its source, in whole seconds
    sha256: str  #: of its .pyc


@value
class CompileJob:
    """Some modules of one archive."""

    tree: str  #: absolute: where the sources are
    into: str  #: absolute: where the .pyc files go, each beside where its source is in the tree
    suffix: str  #: that takes the place of ".py"
    sources: Sequence[tuple[str, int]]  #: path in the tree, and bytes that it must have
    room_bytes: int  #: how much may come of all of them; what would go over it is left out


class Compiler:
    """Compiles for one interpreter. Close it; what is under way then is given up."""

    def __init__(self, interpreter: Interpreter, *, timeout_seconds: float = _MODULE_TIMEOUT_SECONDS) -> None:
        """Start nothing yet.

        Args:
            interpreter: whose bytecode is made.
            timeout_seconds: how long one module may take.
        """
        self._interpreter = interpreter
        self._timeout_seconds = timeout_seconds
        self._threads = ThreadPoolExecutor(_processor_count(), thread_name_prefix="aioc-compile")
        self._mutex = threading.Lock()
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._is_closed = False

    def submit(self, job: CompileJob) -> Future[list[Module | None]]:
        """Compile, in the background; gives a result for every source, None where it is no module of this Python.

        The result raises `CompilerError`, also after `close`, or is cancelled by it.
        """
        return self._threads.submit(self._compile, job)

    def close(self) -> None:
        """End every process and thread."""
        with self._mutex:
            self._is_closed = True
            processes = list(self._all)
        for process in processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in processes:
            process.bury()

    def _compile(self, job: CompileJob) -> list[Module | None]:
        results: list[Module | None] = []
        deaths = 0
        with _Turns.taken:
            while len(results) < len(job.sources):
                process = self._take()
                try:
                    process.compile(job, results, timeout_seconds=self._timeout_seconds)
                except _DeadError as error:
                    self._discard(process)
                    deaths += 1
                    path = job.sources[len(results)][0]
                    if self._is_closed or deaths > _MOST_DEATHS:
                        raise CompilerError(f"the compiler {error}, last at {path}") from error
                    with suppress(FileNotFoundError):  # what it had written of it
                        os.unlink(f"{job.into}/{path[: -len('.py')]}{job.suffix}")
                    results.append(None)
                except CompilerError:
                    self._put_back(process)
                    raise
                else:
                    self._put_back(process)
        return results

    def _put_back(self, process: _Process) -> None:
        with self._mutex:
            self._idle.append(process)

    def _take(self) -> _Process:
        with self._mutex:
            if self._is_closed:
                raise CompilerError("it was called off")
            if self._idle:
                return self._idle.pop()
            process = _Process(self._interpreter)
            self._all.add(process)
        try:
            process.wait_ready(self._interpreter, timeout_seconds=self._timeout_seconds)
        except BaseException:
            self._discard(process)
            raise
        return process

    def _discard(self, process: _Process) -> None:
        process.kill()
        process.bury()
        with self._mutex:
            self._all.discard(process)


class _DeadError(Exception):
    """The process ended, or gave no answer in time."""


class _Process:
    """One process that compiles; used by one thread at a time."""

    def __init__(self, interpreter: Interpreter) -> None:
        script = os.path.join(os.path.dirname(__file__), "compile_worker.py")
        # A new environment may not be there yet; the interpreter that it starts compiles alike.
        command = [interpreter.base_executable, "-I", "-S", "-B", "-W", "ignore", script]
        # __PYVENV_LAUNCHER__ would make a macOS framework build believe that it is another interpreter.
        environ = {name: text for name, text in os.environ.items() if name != "__PYVENV_LAUNCHER__"}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env=environ,
                start_new_session=True,  # an interrupt from the terminal is ours to pass on
            )
        except OSError as error:
            raise CompilerError(f"{interpreter.base_executable} cannot be started ({error.strerror})") from error
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: both are pipes
        assert self._process.stdin is not None  # noqa: S101 - as above
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._rest = b""

    def wait_ready(self, interpreter: Interpreter, *, timeout_seconds: float) -> None:
        """Wait until it says what it is.

        Raises:
            CompilerError: it is another interpreter than the one that was described, or none.
        """
        try:
            told = json.loads(self._line(timeout_seconds))
        except (_DeadError, ValueError) as error:
            raise CompilerError(f"{interpreter.base_executable} does not compile ({error})") from error
        if told != [interpreter.implementation, interpreter.cache_tag, interpreter.magic]:
            raise CompilerError(f"{interpreter.base_executable} is another interpreter than that of the environment")

    def compile(self, job: CompileJob, results: list[Module | None], *, timeout_seconds: float) -> None:
        """Compile the sources of a job for which there are no results yet, and add theirs.

        Raises:
            _DeadError: it died or hung at the first source without a result.
            CompilerError: the disk refused.
        """
        rest = job.sources[len(results) :]
        room = job.room_bytes - sum(module.size_bytes for module in results if module is not None)
        request = {"tree": job.tree, "into": job.into, "suffix": job.suffix, "sources": rest, "room_bytes": room}
        content = memoryview(json.dumps(request).encode() + b"\n")
        try:
            while content:
                content = content[self._requests.write(content) or 0 :]
        except OSError as error:
            raise _DeadError("has ended") from error
        for _ in rest:
            try:
                answer = json.loads(self._line(timeout_seconds))
            except ValueError as error:
                raise _DeadError("made no sense") from error
            if isinstance(answer, str):
                raise CompilerError(answer)
            results.append(None if answer is None else Module(*answer))

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def bury(self) -> None:
        """Wait for its end, which is near; close what led to it."""
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # what it did not read any more
                pipe.close()

    def _line(self, timeout_seconds: float) -> bytes:
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise _DeadError(f"gave no answer within {timeout_seconds:g} s")
            chunk = os.read(self._answers.fileno(), _READ_BYTES)
            if not chunk:
                raise _DeadError("has ended")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line
