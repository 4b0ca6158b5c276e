"""Everything a command says: results on stdout, as text or as one JSON object; messages and progress on stderr.

Text that came from outside (names, paths, answers of servers) cannot steer the terminal: what is not printable is shown
by its code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from aiocache_engine.cli.exit_codes import ExitCode, exit_code_of, run_exit_code_of
from aiocache_engine.cli.streams import write_message, write_result
from aiocache_engine.errors import BuildError, CacheEngineError, DiskError, UnsatisfiableError, single_errors
from aiocache_engine.hints import TYPE_CHECKING, Any
from aiocache_engine.model.locking import Wait
from aiocache_engine.report import Reporter

if TYPE_CHECKING:
    from aiocache_engine.cli.progress import Bars

_LOCK_MODES = ("shared", "exclusive")


class Terminal(Reporter):
    """The two streams of this process, and what a command may say on them."""

    def __init__(self, *, is_json: bool = False, is_quiet: bool = False, verbosity: int = 0) -> None:
        self.is_json = is_json
        self.is_quiet = is_quiet
        self.verbosity = verbosity
        self._bars: Bars | None = None
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def show(self, document: Callable[[], Mapping[str, Any]], text: Callable[[], str]) -> None:
        """Show a result: its document with --json, else its text, which -q leaves out.

        Raises:
            DiskError: stdout cannot be written.
        """
        self.close()
        if self.is_json:
            self.show_document(document())
        elif not self.is_quiet and (shown := text()):
            write_result(shown + "\n")

    def show_document(self, document: Mapping[str, Any]) -> None:
        """Print a JSON object on stdout."""
        import json  # noqa: PLC0415 - a command that prints text needs none

        write_result(json.dumps(document) + "\n")

    def says(self, text: str, *, least_verbosity: int = 0) -> None:
        """Print a message on stderr, unless -q was given or it is for more curious people."""
        if not self.is_quiet and self.verbosity >= least_verbosity:
            self._line(text)

    def complains(self, lines: Iterable[str]) -> None:
        """Say on stderr what failed while the command goes on; -q does not silence it."""
        for line in lines:
            self._line(line)

    def fails(self, error: BaseException, *, runs_tool: bool = False) -> ExitCode:
        """Say why the command failed, one line per error; gives the exit code."""
        self.close()
        code = run_exit_code_of(error) if runs_tool else exit_code_of(error)
        parts = list(single_errors(error))
        for part in parts:
            for line in _lines_of(part):
                self._line(line)
            for note in getattr(part, "__notes__", ()):
                self._line(f"note: {note}")
        if self.is_json:
            alone = parts[0] if len(parts) == 1 else error
            document: dict[str, Any] = {
                "schema": "aioc.error/1",
                "error": type(alone).__name__,
                "message": "\n".join(message_of(part) for part in parts),
                "exit_code": int(code),
            }
            if len(parts) > 1:
                document["errors"] = [{"error": type(p).__name__, "message": message_of(p)} for p in parts]
            with suppress(DiskError):  # the exit code still tells
                self.show_document(document)
        return code

    def close(self) -> None:
        """Take progress bars from the screen."""
        if self._bars is not None:
            self._bars.close()
            self._bars = None

    def waits(self, wait: Wait) -> None:
        """Say what is waited for, and who holds it."""
        what = f"{wait.mode} use of the cache" if wait.mode in _LOCK_MODES else wait.mode
        by = f", held by {', '.join(wait.holders)}" if wait.holders else ""
        self.says(f"waiting for {what}{by}")

    def warns(self, text: str) -> None:
        """Say that something went on in spite of a difficulty."""
        self.says(f"warning: {text}")

    def uncompiled(self, distribution: str, reason: str) -> None:
        """Say it to those who asked for more: it runs all the same."""
        self.says(f"warning: {distribution} comes without bytecode: {reason}", least_verbosity=1)

    def resolved(self, count: int, elapsed_seconds: float) -> None:
        """Say it to those who asked for more."""
        from aiocache_engine.cli.units import count_of, duration_of  # noqa: PLC0415 - a quick command counts nothing

        what = count_of(count, "distribution")
        self.says(f"resolved {what} in {duration_of(elapsed_seconds)}", least_verbosity=1)

    def download_started(self, filename: str, size_bytes: int | None) -> None:
        """Begin a bar for it, where somebody looks at stderr."""
        if self.is_quiet or sys.stderr is None or not sys.stderr.isatty():
            return
        if self._bars is None:
            from aiocache_engine.cli.progress import Bars  # noqa: PLC0415 - rich takes 50 ms to import

            self._bars = Bars()
        self._bars.begin(filename, size_bytes)

    def download_advanced(self, filename: str, received_bytes: int) -> None:
        """Move its bar."""
        if self._bars is not None:
            self._bars.advance(filename, received_bytes)

    def download_finished(self, filename: str) -> None:
        """Take its bar away."""
        if self._bars is not None:
            self._bars.end(filename)

    def build_started(self, what: str) -> None:
        """Say it: a build may take long."""
        self.says(f"building {what}")

    def build_finished(self, what: str, elapsed_seconds: float) -> None:
        """Say it to those who asked for more."""
        from aiocache_engine.cli.units import duration_of  # noqa: PLC0415 - as above

        self.says(f"the build of {what} took {duration_of(elapsed_seconds)}", least_verbosity=1)

    def published(self, filename: str) -> None:
        """Say it to those who asked for more."""
        self.says(f"fetched {filename}", least_verbosity=1)

    def _line(self, text: str) -> None:
        line = f"aioc: {printable(text)}"
        if self._bars is not None:
            self._bars.print(line)
        else:
            write_message(line + "\n")


def _lines_of(error: BaseException) -> Iterator[str]:
    """Give what is printed of an error: one line, but for an explanation that needs more."""
    if isinstance(error, BuildError):
        yield f"error: {error.what} could not be built: {error.reason}"
        yield from (f"  {line}" for line in error.last_lines)
        if error.log is not None:
            yield f"note: all of its output: {error.log}"
        return
    if not isinstance(error, UnsatisfiableError):
        yield f"error: {message_of(error)}"
        return
    reason, *hints = error.lines
    yield from f"error: {reason}".split("\n")
    yield from (f"note: {hint}" for hint in hints)


def message_of(error: BaseException) -> str:
    """Give one line that says what went wrong."""
    if isinstance(error, BuildError):
        where = "" if error.log is None else f"; all of its output: {error.log}"
        return f"{error.what} could not be built: {error.reason}{where}"
    if isinstance(error, CacheEngineError):
        return " ".join(line.strip() for line in str(error).split("\n"))
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"unexpected {what}; set AIOC_DEBUG=1 for the traceback"


def printable(text: str) -> str:
    """Give the text with every character that could steer a terminal shown by its code."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
