"""The log of a build: all that its backend prints, without the secrets of URLs, up to a limit, and its last lines."""

from __future__ import annotations

import os
from collections import deque
from types import TracebackType

from aiocache_engine.hints import Final, Self
from aiocache_engine.redaction import redacted

MOST_BYTES: Final = 50_000_000
_LAST_COUNT: Final = 20  #: lines that an error shows
_LAST_LENGTH: Final = 400  #: characters of each of them
_LONGEST_LINE_BYTES: Final = 1 << 16  #: a longer one is looked at in pieces


class BuildLog:
    """A log file, open for appending. Used by one thread."""

    def __init__(self, path: str, *, most_bytes: int = MOST_BYTES) -> None:
        """Open the file, which is made if it is missing.

        Raises:
            OSError: it cannot be written, or is no file of its own.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._file = os.open(path, flags, 0o600)
        self._left_bytes = most_bytes - os.fstat(self._file).st_size
        self._line = b""  #: that has not ended
        self._last: deque[str] = deque(maxlen=_LAST_COUNT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)

    def write(self, piece: bytes) -> None:
        """Add what was printed, whole lines at a time."""
        lines, end, rest = (self._line + piece).rpartition(b"\n")
        if len(rest) > _LONGEST_LINE_BYTES:
            before, blank, after = rest.rpartition(b" ")
            lines, end, rest = (lines + end + before, blank, after) if blank else (lines + end, rest, b"")
        self._line = rest
        if lines or end:
            self._add(lines + end)

    def finish(self) -> None:
        """Add the last line, if it has no end, and end it."""
        if self._line:
            self._add(self._line + b"\n")
            self._line = b""

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of what was printed: without blank lines and without what a terminal would obey."""
        return tuple(self._last)

    def _add(self, content: bytes) -> None:
        if self._left_bytes <= 0:
            content = b"\n".join([line for line in content.splitlines() if line.strip()][-_LAST_COUNT:])
        text = redacted(content.decode("utf-8", "surrogateescape"))
        self._last.extend(map(_plain, [line for line in text.splitlines() if line.strip()][-_LAST_COUNT:]))
        if self._left_bytes <= 0:
            return
        left = memoryview(text.encode("utf-8", "surrogateescape"))[: self._left_bytes]
        self._left_bytes -= len(left)
        while left:
            left = left[os.write(self._file, left) :]
        if self._left_bytes <= 0:
            os.write(self._file, b"\n[the rest is left out: the log has reached its limit]\n")


def _plain(line: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line[:_LAST_LENGTH])
    return shown.rstrip()
