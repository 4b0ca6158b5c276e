"""Who we are and who others are: the one door to psutil and to /proc.

What cannot be told is None or empty, never guessed: a process of another pid namespace, a lock holder where the system
has no /proc/locks, a command line that may not be read. The secrets of URLs are taken out of every command line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from aiocache_engine.hints import Final
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.value import value
from aiocache_engine.redaction import redacted

THIS_PROCESS: Final = "this process"
_COMMAND_LENGTH: Final = 120
_IS_LINUX: Final[bool] = sys.platform.startswith("linux")


@value
class ProcessIdentity:
    """All that is needed to tell later, perhaps from elsewhere, whether this process is the one that was meant."""

    pid: int
    started_at: float  #: as `start_time` gives it: seconds since boot on Linux, since the epoch elsewhere
    host: str
    machine_id: str
    boot_id: str  #: another one after each boot
    pid_namespace: int | None  #: None where there are no namespaces
    mount_namespace: int | None  #: None where there are no namespaces
    command: str


def me() -> ProcessIdentity:
    """Return who this process is. Read once per process; a forked child reads anew."""
    pid = os.getpid()
    identity = _identities.get(pid)
    if identity is None:
        _identities.clear()
        identity = _identities[pid] = _read_identity(pid)
    return identity


def start_time(pid: int) -> float | None:
    """Return when a process began, to be compared for equality only; None if there is none.

    Seconds since boot on Linux, since the epoch elsewhere. With pid, boot and pid namespace it names one process.
    """
    if _IS_LINUX:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                after_name = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    from psutil import NoSuchProcess, Process  # noqa: PLC0415  (Linux never needs it)

    try:
        return float(Process(pid).create_time())
    except NoSuchProcess:
        return None


def command_of(pid: int) -> str | None:
    """Return the command line of a process as a person would type it, shortened; None if it cannot be read."""
    arguments = _arguments_of(pid)
    return _shown(arguments) if arguments else None


def describe(pid: int) -> str | None:
    """Return `pid 17 (aioc prune)` for messages; None if there is no such process."""
    if start_time(pid) is None:
        return None
    command = command_of(pid)
    return f"pid {pid}" if command is None else f"pid {pid} ({command})"


def locks_on(path: str) -> tuple[tuple[int, LockMode], ...]:
    """Return pid and mode of every process known to hold a POSIX or flock lock on a file, without opening it.

    Empty where the file is absent or the system does not tell. Processes that only wait are left out, and so are those
    of another pid namespace.
    """
    try:
        there = os.stat(path)
        with open("/proc/locks", encoding="utf-8") as file:
            lines = file.readlines()
    except OSError:
        return ()
    wanted = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
    held: dict[tuple[int, LockMode], None] = {}
    for line in lines:
        fields = line.split()
        if len(fields) < 6 or fields[1] == "->" or fields[5] != wanted or int(fields[4]) <= 0:  # noqa: PLR2004  (columns)
            continue
        held[int(fields[4]), LockMode.EXCLUSIVE if fields[3] == "WRITE" else LockMode.SHARED] = None
    return tuple(held)


def holders_of(path: str) -> tuple[str, ...]:
    """Return who is known to hold a lock on a file, as messages name them; our own process is `THIS_PROCESS`."""
    pids = dict.fromkeys(pid for pid, _ in locks_on(path))
    names = (THIS_PROCESS if pid == os.getpid() else describe(pid) for pid in pids)
    return tuple(name for name in names if name is not None)


_identities: dict[int, ProcessIdentity] = {}


def _read_identity(pid: int) -> ProcessIdentity:
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return ProcessIdentity(
        pid=pid,
        started_at=start_time(pid) or 0.0,
        host=host,
        machine_id=_first_line("/etc/machine-id") or _first_line("/var/lib/dbus/machine-id") or f"host {host}",
        boot_id=_first_line("/proc/sys/kernel/random/boot_id") or _boot_time(),
        pid_namespace=_namespace("pid"),
        mount_namespace=_namespace("mnt"),
        command=_shown(sys.orig_argv),
    )


def _boot_time() -> str:
    from psutil import boot_time  # noqa: PLC0415  (Linux never needs it)

    return f"booted {boot_time():.0f}"


def _namespace(kind: str) -> int | None:
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return None


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip() or None
    except OSError:
        return None


def _arguments_of(pid: int) -> Sequence[str]:
    if _IS_LINUX:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                text = os.fsdecode(file.read()).rstrip("\0")
        except OSError:
            return ()
        # Empty for a kernel thread, a zombie, and for a moment while a program is being started.
        return text.split("\0") if text else ()
    from psutil import Error, Process  # noqa: PLC0415  (Linux never needs it)

    try:
        return list(Process(pid).cmdline())
    except Error:
        return ()


def _shown(arguments: Sequence[str]) -> str:
    """Leave out the interpreter before a script, directories of programs, passwords, and what is too long to read."""
    rest = list(arguments)
    if len(rest) > 1 and os.path.basename(rest[0]).startswith("python") and not rest[1].startswith("-"):
        del rest[0]
    rest[:1] = [os.path.basename(program) for program in rest[:1]]
    text = " ".join(redacted(argument) for argument in rest).replace("\n", " ")
    return text if len(text) <= _COMMAND_LENGTH else f"{text[: _COMMAND_LENGTH - 1]}…"
