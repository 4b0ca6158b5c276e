"""What Ctrl-C, SIGTERM and SIGHUP do: the first of them ends the command, once; the others change nothing.

A command is interrupted by KeyboardInterrupt only where it does its work in the main thread. While modules are
imported, while an event loop runs and while errors are told, the signal is held back: an exception out of nowhere would
be swallowed there, or shown as a traceback. The loop's work is cancelled instead.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from aiocache_engine.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_SECONDS = 0.01  #: until an interrupt that was swallowed comes again


class Interrupts:
    """The interrupts of this process. Everything but `has_come` is for its main thread."""

    def __init__(self) -> None:
        self.has_come = False  #: since `catch`; never taken back
        self._is_admitted = False  #: whether it may be raised wherever the main thread is
        self._cancel: Callable[[], object] | None = None
        self._caught: list[int] = []

    def catch(self) -> None:
        """Take the three signals, but none that whoever started this process wants ignored. Holds them back."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows knows no SIGHUP
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._take)
                self._caught.append(number)
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._take_again)
        sys.unraisablehook = self._note_swallowed

    def ignore(self) -> None:
        """Let none of them matter any more: the command is over, and its exit code fixed."""
        self._is_admitted = False
        for number in self._caught:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Let KeyboardInterrupt be raised anywhere in the block; one that was held back is raised at once."""
        try:
            self._is_admitted = True
            self.raise_held_back()
            yield
        finally:
            self._is_admitted = False

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Raise nothing inside a part of an admitted block, but at its end, instead of any error it ended with."""
        self._is_admitted = False
        try:
            yield
        finally:
            self._is_admitted = True
            self.raise_held_back()

    @contextmanager
    def cancelling(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Have the block's work cancelled by this function, which must be safe to call from a signal handler."""
        self._cancel = cancel
        try:
            if self.has_come:
                cancel()
            yield
        finally:
            self._cancel = None

    def _take(self, _signal: int, _frame: FrameType | None) -> None:
        if self.has_come:
            return
        self.has_come = True
        if self._cancel is not None:
            self._cancel()
        if self._is_admitted:
            raise KeyboardInterrupt

    def _take_again(self, _signal: int, _frame: FrameType | None) -> None:
        if self._is_admitted:
            raise KeyboardInterrupt

    def raise_held_back(self) -> None:
        """Raise KeyboardInterrupt if a signal has come: nothing new is to be begun."""
        if self.has_come:
            raise KeyboardInterrupt

    def _note_swallowed(self, unraisable: UnraisableHookArgs) -> None:
        """Send an interrupt again that was raised inside a destructor or callback, where nothing can pass it on."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt) and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        elif not self.has_come:
            sys.__unraisablehook__(unraisable)


INTERRUPTS = Interrupts()
