"""Compiles modules for the interpreter that runs it: started as a script, isolated, by `python.compiler`.

It runs under any Python from 3.9 on, so it uses nothing newer, and nothing of this package. Its first line says what
it is. Then it reads jobs, one line of JSON each, and answers with one line per module, so that whoever asked knows at
which module it died: [bytes of the .pyc, time of the source, SHA-256 of the .pyc], or null where the module cannot be
compiled. A text instead says why the disk refused, and breaks the job off. It ends when nobody asks any more.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import marshal
import os
import sys
from contextlib import suppress
from typing import Any

_MIB = 1024 * 1024
_MOST_SOURCE_BYTES = 32 * _MIB
_MOST_MEMORY_BYTES = 2048 * _MIB
_MOST_GROWTH = 20  #: bytes of a .pyc for one of its source; real modules have two at the most
_MOST_NAME_BYTES = 255
#: One that died may have written the file before; nobody has seen it.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def main() -> None:
    """Serve until the other side is gone."""
    gc.disable()  # code objects make no cycles, and collecting looks at all of them
    _limit_memory()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer

    def answer(value: Any) -> None:
        answers.write(json.dumps(value).encode() + b"\n")
        answers.flush()

    answer([sys.implementation.name, sys.implementation.cache_tag, importlib.util.MAGIC_NUMBER.hex()])
    for request in iter(requests.readline, b""):
        job = json.loads(request)
        try:
            room = job["room_bytes"]
            for path, size_bytes in job["sources"]:
                module = compile_module(job["tree"], job["into"], job["suffix"], path, size_bytes, room_bytes=room)
                room -= module[0] if module else 0
                answer(module)
        except OSError as error:
            answer(str(error))


def compile_module(
    tree: str, into: str, suffix: str, path: str, size_bytes: int, *, room_bytes: int
) -> list[Any] | None:
    """Compile one module of an archive to a timestamp-based .pyc (PEP 552); None if it is no module of this Python.

    One that becomes enormous (constants are computed here) is left out as well: a small wheel would fill the disk.
    What goes into it does not depend on where the archive lies: importing puts the real path into the code anyway.
    """
    with open(f"{tree}/{path}", "rb") as file:
        status = os.fstat(file.fileno())
        source = file.read(_MOST_SOURCE_BYTES + 1)
    directory, _, name = path.rpartition("/")
    name = name[: -len(".py")] + suffix
    is_usual = len(source) == status.st_size == size_bytes and len(os.fsencode(name)) <= _MOST_NAME_BYTES
    if not is_usual:
        return None
    try:
        code = marshal.dumps(compile(source, path, "exec", dont_inherit=True, optimize=0))
    # Templates, modules of Python 2, nests too deep.
    except (SyntaxError, ValueError, LookupError, RecursionError, MemoryError, OverflowError, SystemError):
        return None
    if len(code) > min(_MOST_GROWTH * size_bytes + _MIB, room_bytes):
        return None
    changed_at = int(status.st_mtime)
    numbers = (0, changed_at & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    content = importlib.util.MAGIC_NUMBER + b"".join(number.to_bytes(4, "little") for number in numbers) + code
    _write(f"{into}/{directory}" if directory else into, name, content)
    return [len(content), changed_at, hashlib.sha256(content).hexdigest()]


def _write(directory: str, name: str, content: bytes) -> None:
    path = f"{directory}/{name}"
    try:
        fd = os.open(path, _NEW, 0o644)
    except FileNotFoundError:
        os.makedirs(directory, 0o755, exist_ok=True)
        fd = os.open(path, _NEW, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not every system has it

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MOST_MEMORY_BYTES if most == resource.RLIM_INFINITY else min(most, _MOST_MEMORY_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


if __name__ == "__main__":
    main()
