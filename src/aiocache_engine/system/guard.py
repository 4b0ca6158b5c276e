"""Run one command and end with it all that came of it. A program of its own, that `aiocache_engine.system.child` runs.

It stands between us and a command that may do anything. When the command has ended, when standard input ends (whoever
asked has ended, or calls it off) or when a signal to end comes, no process that the command left behind lives on. Where
the kernel lets it (Linux), it becomes the parent of orphans; so it also finds those that left the process group and the
session. Elsewhere it reaches the process group of the command only. Out of reach are processes that change the user,
and those of a command that first kills this one.

It tells on standard output that the command ``began PID`` and ``ended CODE`` (negative: by that signal). The command
gets nothing on standard input, and our standard error as its output and error output.

Any Python from 3.8 on runs it, with nothing but the standard library.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>
_LOOK_MILLISECONDS = 1000  # how often the parent is looked after: forks of it may hold our standard input open
_PATIENCE_SECONDS = 5.0  # for the killed to be gone: one that waits for a broken disk never goes
_PAUSE_SECONDS = 0.002
_CANNOT_BE_STARTED = 127


def main(command: list[str]) -> None:
    """Run the command, and end everything."""
    _adopt_orphans()
    wakes, wake = os.pipe()
    os.set_blocking(wakes, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _noted)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    parent = os.getppid()
    pid = _start(command)
    _tell("began", pid)
    code = _wait(pid, wakes, parent)
    _end_all(pid)
    _tell("ended", -signal.SIGKILL if code is None else code)


def _adopt_orphans() -> None:
    """Become the parent of descendants whose parents end (Linux)."""
    try:
        from ctypes import CDLL  # noqa: PLC0415 - an interpreter may lack it

        CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError, TypeError):
        pass


def _noted(_number: int, _frame: object) -> None:
    """Leave it to the descriptor that is written to when a signal comes."""


def _start(command: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, which a program inherits
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        os.execv(command[0], command)  # noqa: S606 - a shell would be one program more
    except OSError as error:
        os.write(2, f"{command[0]} cannot be started ({error.strerror})\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(_CANNOT_BE_STARTED)


def _wait(pid: int, wakes: int, parent: int) -> int | None:
    """Wait for the end of the command; None if it is to be ended."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wakes, select.POLLIN)
    while True:
        code, _ = _reap(pid)
        if code is not None:
            return code
        ready = {descriptor for descriptor, _ in poll.poll(_LOOK_MILLISECONDS)}
        if 0 in ready or os.getppid() != parent:
            return None
        if wakes in ready and set(os.read(wakes, 512)) - {signal.SIGCHLD}:
            return None


def _reap(pid: int) -> tuple[int | None, bool]:
    """Take note of all who ended: the code of the command if it was among them, and whether there are others left."""
    code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code, False
        if not ended:
            return code, True
        if ended == pid:
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _end_all(pid: int) -> None:
    """Kill until nobody is left: whoever loses the parent by it becomes our child, and is next.

    Only our own children are killed, and the groups they lead: their ids are nobody else's until we have reaped them.
    """
    _kill(-pid)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for child in _children():
            _kill(-child)
            _kill(child)
        _, is_anybody_left = _reap(pid)
        if not is_anybody_left:
            return
        time.sleep(_PAUSE_SECONDS)


def _kill(pid: int) -> None:
    try:  # noqa: SIM105 - contextlib would take longer to import than all else here
        os.kill(pid, signal.SIGKILL)
    except OSError:  # gone, or another user's
        pass


def _children() -> list[int]:
    """List our children; none where the system has no /proc."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in _all_pids() if _parent_of(pid) == me]


def _all_pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None


def _tell(word: str, number: int) -> None:
    try:  # noqa: SIM105 - as above
        os.write(1, b"%s %d\n" % (word.encode(), number))
    except OSError:  # nobody listens any more
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
