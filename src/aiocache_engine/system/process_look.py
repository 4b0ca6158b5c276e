"""Which processes name something, live in it or have it open: one pass over all of them for any number of things.

Read: arguments, variables, executable, working directory, open files and mapped files; and where the links lead in the
path that it was started by and in that of its virtual environment. What may not be read (another user's process, one
that made itself undumpable, one of another pid namespace) is not seen, nor is a process that holds a path in its memory
alone. The variables of this very process are left out: a command that a tool started inherited them, and is elsewhere.
So are its arguments: they say what it is asked about.
"""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from aiocache_engine.hints import Final
from aiocache_engine.model.snapshot import SeenProcess
from aiocache_engine.system.process import command_of

_ROUNDS: Final = 5  #: how often it looks for processes that began meanwhile
_LINKS: Final = 8  #: how many links, one leading to the other, are followed from a program's path
_VIRTUAL_ENVIRONMENT: Final = b"VIRTUAL_ENV="
_IS_LINUX: Final[bool] = sys.platform.startswith("linux")
ProcessReader = Callable[[int], Iterator[bytes]]  #: gives all texts of a process that may name something


def find_users(object_ids: Collection[str], *, after: Collection[str]) -> dict[str, tuple[SeenProcess, ...]]:
    """Give the processes that use objects, by the id of each; one that nobody is seen to use is left out.

    Args:
        object_ids: 32 hexadecimal digits each.
        after: what stands right before an id where it counts, such as the name of its bucket.
    """
    if _IS_LINUX:
        return look_with(read_proc, _numbers_in_proc, object_ids, after=after)
    from psutil import pids  # noqa: PLC0415  (Linux never needs it)

    return look_with(read_portably, pids, object_ids, after=after)


def look_with(
    read: ProcessReader, list_pids: Callable[[], list[int]], object_ids: Collection[str], *, after: Collection[str]
) -> dict[str, tuple[SeenProcess, ...]]:
    """Look with one of the two readers. What a process started before it could be looked at is looked at, too."""
    mark = re.compile(b"(?:" + b"|".join(re.escape(os.fsencode(each)) for each in after) + b")([0-9a-f]{32})")
    wanted = {each.encode(): each for each in object_ids}
    users: dict[str, list[SeenProcess]] = defaultdict(list)
    looked_at: set[int] = set()
    for _ in range(_ROUNDS):
        fresh = [pid for pid in list_pids() if pid not in looked_at]
        for pid in fresh:
            named = {found for text in read(pid) for found in mark.findall(text) if found in wanted}
            for found in sorted(named):
                users[wanted[found]].append(SeenProcess(pid, command_of(pid)))
        if not fresh:
            break
        looked_at.update(fresh)
    return {object_id: tuple(seen) for object_id, seen in users.items()}


def read_proc(pid: int) -> Iterator[bytes]:
    """Read a process as Linux shows it."""
    base = f"/proc/{pid}".encode()
    if pid == os.getpid():
        yield from _own()
    for name in (b"maps",) if pid == os.getpid() else (b"cmdline", b"environ", b"maps"):
        with suppress(OSError), open(base + b"/" + name, "rb") as file:
            content = file.read()
            yield content
            if name != b"maps":
                yield from _resolved(content.split(b"\0"), is_started_by=name == b"cmdline")
    links = [base + b"/exe", base + b"/cwd"]
    with suppress(OSError):
        links += [base + b"/fd/" + number for number in os.listdir(base + b"/fd")]
    for link in links:
        with suppress(OSError):
            yield os.readlink(link)


def _numbers_in_proc() -> list[int]:
    with suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return []


def read_portably(pid: int) -> Iterator[bytes]:
    """Read a process as psutil shows it; which of these there are depends on the system."""
    from psutil import Error, Process  # noqa: PLC0415  (Linux never needs it)

    def ask(question: str) -> list[str]:
        with suppress(Error, OSError, AttributeError):
            answer = getattr(Process(pid), question)()
            match answer:
                case str():
                    return [answer]
                case dict():
                    return [f"{name}={text}" for name, text in answer.items()]
                case _:
                    return [each if isinstance(each, str) else each.path for each in answer]
        return []

    if pid == os.getpid():
        yield from _own()
    questions = ["exe", "cwd", "open_files", "memory_maps"]
    for question in questions if pid == os.getpid() else ["cmdline", *questions, "environ"]:
        texts = [os.fsencode(text) for text in ask(question)]
        yield from texts
        if question in ("cmdline", "environ"):
            yield from _resolved(texts, is_started_by=question == "cmdline")


def _own() -> Iterator[bytes]:
    """Give what this very process was started by, and where it lives."""
    words = [os.fsencode(word) for word in (*sys.orig_argv[:1], *sys.argv[:1], sys.prefix)]
    yield from words
    yield from _resolved(words, is_started_by=True)


def _resolved(texts: list[bytes], *, is_started_by: bool) -> Iterator[bytes]:
    """Give where the links lead in what is an absolute path: in the first argument, or in the variable that counts."""
    if not is_started_by:
        variables = (text.removeprefix(_VIRTUAL_ENVIRONMENT) for text in texts if text.startswith(_VIRTUAL_ENVIRONMENT))
        yield from (os.path.realpath(path) for path in variables if path.startswith(b"/"))
        return
    path = texts[0] if texts else b""
    # Link by link, since the program of an environment is itself a link that leads out of it.
    for _ in range(_LINKS):
        if not path.startswith(b"/"):
            return
        directory = os.path.realpath(os.path.dirname(path))
        path = os.path.join(directory, os.path.basename(path))
        yield path
        try:
            path = os.path.join(directory, os.readlink(path))
        except OSError:
            return
