"""How much memory could be used now, by this process and those that it starts."""

from __future__ import annotations

_MACHINE = "/proc/meminfo"
_GROUP = "/sys/fs/cgroup"


def available_memory_bytes() -> int | None:
    """Give what the machine has left, or the container if that is less; None where neither tells."""
    known = [each for each in (_of_machine(), _of_container()) if each is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    for line in _read(_MACHINE).splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    return None


def _of_container() -> int | None:
    """Read the limit of a control group of version 2, as a container sees its own at the top."""
    limit, used = _read(f"{_GROUP}/memory.max").strip(), _read(f"{_GROUP}/memory.current").strip()
    return max(0, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
