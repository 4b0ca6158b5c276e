"""Run a command that may do anything, from a thread, so that nothing of it outlives the call: no process, no wait.

Between us and it stands a small program (`aiocache_engine.system.guard`) that ends all its processes when it has ended,
when its time is over, when it is called off, and when we are killed. If the command kills that program too, we end its
process group; what had left the group by then lives on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.model.value import value

if TYPE_CHECKING:
    from typing import IO

_GUARD = os.path.join(os.path.dirname(__file__), "guard.py")
_LONGEST_POLL_SECONDS = 3600.0  #: the system counts milliseconds in 32 bits
_GRACE_SECONDS = 10.0  #: for the guard to end everything; longer than it tries
_ORPHANS_SECONDS = 1.0  #: for the system to reap who was killed: in a container, there may be nobody who does
_PAUSE_SECONDS = 0.005
_READ_BYTES = 1 << 16
_MOST_LEFT_BYTES = 1 << 20  #: that are read of what is still in the pipe when all have ended


class ChildNotStartedError(Exception):
    """The operating system does not start it; the text says why."""


class ChildStoppedError(Exception):
    """The command was called off."""


class ChildTimeoutError(Exception):
    """The command did not end in its time, and was ended."""


class ChildLostError(Exception):
    """It is not known how the command ended: its guard was killed."""


@value
class Command:
    """What is to be run."""

    arguments: Sequence[str]  #: the first is the path of the program
    directory: str
    environ: Mapping[str, str]
    python: str  #: path of the interpreter that runs the guard: any from 3.8 on
    pass_fds: Sequence[int]  #: descriptors that it gets under the same numbers
    time_limit_seconds: float


class Child:
    """One run of a command, which `stop` calls off from any thread, also before it has begun."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._is_stopped = False
        self._wake: int | None = None

    def stop(self) -> None:
        """End it, if it has not ended. Does not wait."""
        with self._mutex:
            self._is_stopped = True
            if self._wake is not None:
                os.write(self._wake, b"x")

    def run(self, command: Command, *, on_output: Callable[[bytes], object]) -> int:
        """Run it to its end; give its exit code, or minus the number of the signal that ended it.

        Args:
            command: to be run.
            on_output: gets all that it prints, in pieces. An error of it ends the command.

        Raises:
            ChildNotStartedError, ChildStoppedError, ChildTimeoutError, ChildLostError: as they say.
        """
        wakes, wake = os.pipe()
        try:
            with self._mutex:
                if self._is_stopped:
                    raise ChildStoppedError
                self._wake = wake
            try:
                run = _Run(command, wakes)
            except OSError as error:
                place = error.filename or command.python
                raise ChildNotStartedError(f"{place} cannot be started ({error.strerror})") from error
            try:
                return run.watch(on_output)
            finally:
                run.end()
        finally:
            with self._mutex:
                self._wake = None
                os.close(wake)
            os.close(wakes)


class _Run:
    """A guard and its command, in the thread that watches them."""

    def __init__(self, command: Command, wakes: int) -> None:
        self._time_limit_seconds = command.time_limit_seconds
        self._wakes = wakes
        self._guard = subprocess.Popen(
            [command.python, "-I", "-S", "-B", "-W", "ignore", _GUARD, *command.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=command.directory,
            env=command.environ,
            pass_fds=command.pass_fds,
            start_new_session=True,  # an interrupt from the terminal is ours to pass on
        )
        assert self._guard.stdout is not None  # noqa: S101 - for the type checker: all are pipes
        assert self._guard.stderr is not None  # noqa: S101 - as above
        self._status, self._output = self._guard.stdout.fileno(), self._guard.stderr.fileno()
        self._told = b""

    def watch(self, on_output: Callable[[bytes], object]) -> int:
        """Wait for the end of the guard, which comes after that of the command."""
        deadline = time.monotonic() + self._time_limit_seconds
        poll = select.poll()
        for descriptor in (self._wakes, self._status, self._output):
            poll.register(descriptor, select.POLLIN)
        while True:
            left_seconds = deadline - time.monotonic()
            if left_seconds <= 0:
                raise ChildTimeoutError
            ready = {descriptor for descriptor, _ in poll.poll(min(left_seconds, _LONGEST_POLL_SECONDS) * 1000)}
            if self._wakes in ready:
                raise ChildStoppedError
            if self._output in ready:
                piece = os.read(self._output, _READ_BYTES)
                if piece:
                    on_output(piece)
                else:
                    poll.unregister(self._output)
            if self._status in ready and not self._hear():
                self._read_what_is_left(on_output)
                return self._code()

    def end(self) -> None:
        """End whatever still runs, and wait until it has ended."""
        self._close(self._guard.stdin)  # upon which the guard ends all
        self._close(self._guard.stderr)
        deadline = time.monotonic() + _GRACE_SECONDS
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        while (left_seconds := deadline - time.monotonic()) > 0 and poll.poll(left_seconds * 1000) and self._hear():
            pass
        self._guard.kill()
        self._guard.wait()
        if self._number("ended") is None and (pid := self._number("began")) is not None:
            _end_group(pid)
        self._close(self._guard.stdout)

    def _hear(self) -> bool:
        """Read what the guard tells; False when it has ended."""
        piece = os.read(self._status, _READ_BYTES)
        self._told = (self._told + piece)[:_READ_BYTES]
        return bool(piece)

    def _number(self, word: str) -> int | None:
        for line in self._told.decode("ascii", "replace").splitlines():
            name, _, number = line.partition(" ")
            if name == word:
                return int(number)
        return None

    def _code(self) -> int:
        code = self._number("ended")
        if code is None:
            raise ChildLostError
        return code

    @staticmethod
    def _close(pipe: IO[bytes] | None) -> None:
        if pipe is not None:
            pipe.close()

    def _read_what_is_left(self, on_output: Callable[[bytes], object]) -> None:
        os.set_blocking(self._output, False)
        left_bytes = _MOST_LEFT_BYTES
        with suppress(BlockingIOError):  # somebody holds it open who cannot be reached
            while left_bytes > 0 and (piece := os.read(self._output, _READ_BYTES)):
                on_output(piece)
                left_bytes -= len(piece)


def _end_group(pid: int) -> None:
    """Kill a process group that is not our own to reap, and wait until it is gone, or at least nearly."""
    deadline = time.monotonic() + _ORPHANS_SECONDS
    with suppress(OSError):  # none of them is left
        while time.monotonic() < deadline:
            os.killpg(pid, signal.SIGKILL)
            time.sleep(_PAUSE_SECONDS)
