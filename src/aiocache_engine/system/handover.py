"""Become another program: it finds everything as if whoever started this process had started it instead.

Standard streams, terminal, working directory, process id and process group are the same because the process is. What
Python changed at its own start is changed back: it ignores SIGPIPE and SIGXFSZ, which a program inherits. Signals that
are handled here are the program's own to handle by themselves, since the kernel forgets handlers.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

from aiocache_engine.hints import NoReturn

_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")


def become(path: str, arguments: Sequence[str], environ: Mapping[str, str], *, inherited: int | None) -> NoReturn:
    """Replace this process by a program, which never comes back.

    Args:
        path: of the program; also what it is told that it is called.
        arguments: without that name.
        environ: its variables.
        inherited: a descriptor that it keeps open, and its children with it; None: no other than those it would have.

    Raises:
        OSError: it cannot be started. This process is as it was before.
    """
    numbers = [getattr(signal, name) for name in _IGNORED_BY_PYTHON if hasattr(signal, name)]
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    if inherited is not None:
        os.set_inheritable(inherited, True)
    try:
        os.execve(path, [path, *arguments], environ)  # noqa: S606 - a shell would be one program more
    finally:
        if inherited is not None:
            os.set_inheritable(inherited, False)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
