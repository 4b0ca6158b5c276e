"""The cache lock: shared for everything that adds, exclusive for everything that takes away, always for a short time.

Every look-up, lease and publication runs inside a shared hold, every detach inside an exclusive one. Nothing waits,
downloads, unpacks, links, scans or deletes inside a hold.

What is promised: exclusion between the tasks and threads of this process and all processes on this machine; a waiting
writer is passed by no reader that came later, in whatever process; waiting is polling and can be cancelled at any
moment; what dies lets go; exclusive holds that follow on each other leave a gap after 10 ms, so that a collector with
many of them shuts nobody out for much longer than one. What is not: order among processes, and anything on a file
system whose locks lie.

The order is turn, gate, main. The turn is a queue in this process: a reader goes when no writer is before it, a writer
when nobody is. The gate file is passed by readers (shared, for an instant) and kept by a writer from before its wait
for the main file until its end, so that new readers everywhere queue behind it. Readers of one process share one lock
on the main file: the first takes it, the last releases it. There is no upgrade: release, take exclusive, look again.
"""

from __future__ import annotations

import os
import time
from _thread import LockType, allocate_lock, get_ident
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from contextvars import ContextVar

from aiocache_engine.errors import (
    CacheDirError,
    CacheReplacedError,
    LockError,
    LockTimeoutError,
    NestedHoldError,
    ReadOnlyCacheError,
)
from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.model.locking import LockMode, Wait
from aiocache_engine.system.lockfile import (
    NOT_WRITABLE,
    LockFile,
    Patience,
    disk_errors,
    named_in_real_directory,
    refuse_in_event_loop,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

OnWait = Callable[[Wait], None]

_LONGEST_PAUSE_SECONDS = 0.005  #: between two tries of a waiter
_RUN_SECONDS = 0.010  #: exclusive holds that follow on each other may last so long together
_GAP_SECONDS = 0.006  #: then everything is left free for longer than a waiter pauses, so that each gets in


class Hold:
    """Proof that the cache lock is held; every store function that needs it asks for one."""

    __slots__ = ("_file", "_has_ended", "_path", "acquired_at", "mode", "waited_seconds")

    def __init__(self, path: str, mode: LockMode, file: LockFile, *, waited_seconds: float) -> None:
        self.mode = mode
        self.acquired_at = time.monotonic()  #: monotonic seconds
        self.waited_seconds = waited_seconds
        self._path = path
        self._file = file
        self._has_ended = False

    @property
    def locked(self) -> bool:
        """Whether a kernel lock is behind it; not so in a read-only cache that has no lock files."""
        return self._file.is_locked

    @property
    def has_ended(self) -> bool:
        """Whether it proves nothing any more: its block was left, or this is a forked child."""
        return self._has_ended

    def ensure_current(self) -> None:
        """Raise unless the lock file at the path is still the one held. One stat.

        Raises:
            CacheReplacedError: the cache dir was deleted or replaced; whoever opens it now excludes us no more.
        """
        with disk_errors(self._path):
            is_current = self._file.is_current()
        if not is_current:
            raise CacheReplacedError(self._path, "the lock file was deleted or replaced while it was held")

    def require(self, mode: LockMode) -> None:
        """Raise unless this hold is alive and at least as strong as `mode`.

        Raises:
            LockError: it has ended, or it is shared and exclusive is needed.
        """
        if self._has_ended:
            raise LockError(self._path, "the hold has ended; take a new one and look again")
        if mode is LockMode.EXCLUSIVE and self.mode is not LockMode.EXCLUSIVE:
            raise LockError(self._path, "an exclusive hold is needed, and this one is shared")


class CacheLock:
    """The one owner of a cache's lock files in this process; made by `CacheLock.at`."""

    _mutex: LockType  #: guards all below; held for a few system calls, never while waiting
    _era: int = 0  #: tickets of another era are those of the process this one was forked from
    _queue: list[_Ticket]  #: who waits, in order of arrival, and the writer that holds
    _granted_tickets: set[_Ticket]  #: any number of readers, or one writer
    _main: LockFile | None  #: taken exactly while `_granted_tickets` is not empty
    _loop: AbstractEventLoop | None  #: the one whose tasks wait or hold
    _loop_user_count: int
    _run_seconds: float  #: that exclusive holds have lasted since the last gap
    _run_ended_at: float  #: monotonic seconds, when the last of them ended

    def __init__(self, path: str) -> None:
        """Make an owner. Only `at` calls this: two owners of one path would not exclude each other."""
        self._path = path
        self._gate_path = f"{path}.gate"
        self._forget()

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> CacheLock:
        """Return the owner of the lock file at `path`, always the same one for one place.

        Creates nothing: the lock files are made by the first hold, their directory by the store.
        """
        real_path = named_in_real_directory(path)
        return _owners.get(real_path) or _owners.setdefault(real_path, cls(real_path))

    @asynccontextmanager
    async def hold(
        self, mode: LockMode, *, timeout_seconds: float = 60.0, on_wait: OnWait | None = None
    ) -> AsyncIterator[Hold]:
        """Hold the cache lock for the length of the block.

        Cancellation while waiting leaves nothing held. `on_wait` is called once, when the wait passes a second.

        Raises:
            LockTimeoutError: not obtained in time.
            NestedHoldError: asked for inside a hold, or while another event loop uses this lock.
            ReadOnlyCacheError: exclusive, and the cache cannot be written.
            LocksUnsupportedError: the file system has no locks.
            CacheDirError: the lock files cannot be opened.
        """
        refuse_inside_hold(self._path)
        ticket = _Ticket(mode, timeout_seconds)
        with self.for_one_loop():
            try:
                with closing(self._waits(ticket, on_wait)) as pauses:
                    for pause in pauses:
                        from anyio import sleep  # noqa: PLC0415  (only a wait needs it)

                        await sleep(pause)
                _hold_of_context.set(ticket.hold)
                yield self._granted(ticket)
            finally:
                self._release(ticket)

    @contextmanager
    def for_one_loop(self) -> Iterator[None]:
        """Let no other event loop use this lock while the running one does something with it, in its threads too.

        Raises:
            NestedHoldError: another one does.
        """
        self._enter_loop()
        try:
            yield
        finally:
            self._leave_loop()

    @contextmanager
    def hold_now(
        self, mode: LockMode, *, timeout_seconds: float = 60.0, on_wait: OnWait | None = None
    ) -> Iterator[Hold]:
        """Hold the cache lock in a thread that runs no event loop; else as `hold`, whose errors it shares."""
        ticket = _Ticket(mode, timeout_seconds)
        with self._asked_in_thread(ticket), closing(self._waits(ticket, on_wait)) as pauses:
            for pause in pauses:
                time.sleep(pause)
            yield self._granted_in_thread(ticket)

    @contextmanager
    def hold_if_free(self, mode: LockMode) -> Iterator[Hold | None]:
        """Hold the cache lock, as `hold_now`, if that takes no wait; else None, and nothing is held or queued."""
        ticket = _Ticket(mode, timeout_seconds=1.0)
        with self._asked_in_thread(ticket):
            with closing(self._waits(ticket, None)) as pauses:
                next(pauses, None)
            yield None if ticket.hold is None else self._granted_in_thread(ticket)

    @contextmanager
    def _asked_in_thread(self, ticket: _Ticket) -> Iterator[None]:
        refuse_inside_hold(self._path)
        refuse_in_event_loop(self._path)
        try:
            yield
        finally:
            _hold_of_thread.pop(get_ident(), None)
            self._release(ticket)

    def _granted_in_thread(self, ticket: _Ticket) -> Hold:
        hold = self._granted(ticket)
        _hold_of_context.set(hold)
        _hold_of_thread[get_ident()] = hold
        return hold

    def _waits(self, ticket: _Ticket, on_wait: OnWait | None) -> Generator[float]:
        """Try until the ticket is granted; yields the seconds to sleep before the next try.

        Whoever stops early closes this generator, and nothing stays held or queued.
        """
        with self._mutex:
            ticket.era = self._era
            self._queue.append(ticket)
        try:
            while not self._try(ticket):
                pause = self._own_pause_seconds(ticket) or ticket.patience.next_pause()
                if pause is None:
                    raise LockTimeoutError(
                        self._path,
                        ticket.mode.value,
                        waited_seconds=round(ticket.patience.waited_seconds, 3),
                        holders=self._holders(),
                    )
                if on_wait is not None and ticket.patience.is_time_to_tell():
                    waited = ticket.patience.waited_seconds
                    on_wait(Wait(self._path, ticket.mode.value, waited, self._holders()))
                yield pause
        finally:
            if ticket.hold is None:
                self._withdraw(ticket)

    def _try(self, ticket: _Ticket) -> bool:
        """Take every step that can be taken now. Never waits, so no other task or thread sees a step half done."""
        with self._mutex, disk_errors(self._path):
            if ticket.era != self._era:
                raise LockError(self._path, "this process was forked during a wait; the child must ask anew")
            try:
                file = self._try_shared(ticket) if ticket.mode is LockMode.SHARED else self._try_exclusive(ticket)
            except (FileNotFoundError, NotADirectoryError) as error:
                reason = "it is missing: the cache dir was removed or replaced while in use; run the command again"
                raise CacheDirError(os.path.dirname(self._path), reason) from error
            except OSError as error:
                if error.errno not in NOT_WRITABLE:
                    raise
                raise _not_permitted(self._path, ticket.mode, error) from error
            if file is None:
                return False
            self._main = file
            ticket.hold = Hold(self._path, ticket.mode, file, waited_seconds=ticket.patience.waited_seconds)
            self._granted_tickets.add(ticket)
            if ticket.mode is LockMode.SHARED:
                self._queue.remove(ticket)
            return True

    def _try_shared(self, ticket: _Ticket) -> LockFile | None:
        # Turn. A writer stays in the queue during its hold.
        for before in self._queue:
            if before is ticket:
                break
            if before.mode is LockMode.EXCLUSIVE:
                return None
        # Readers of a replaced file must end before this process can lock its successor.
        if self._main is not None and not self._main.is_current():
            return None
        gate = LockFile.take(self._gate_path, LockMode.SHARED)
        if gate is None:
            return None
        try:
            return LockFile.take(self._path, LockMode.SHARED) if self._main is None else self._main
        finally:
            # A reader never waits with the gate in hand: a writer that has main keeps the gate anyway.
            gate.release()

    def _try_exclusive(self, ticket: _Ticket) -> LockFile | None:
        if self._queue[0] is not ticket:
            return None
        if not ticket.has_turn:
            ticket.has_turn = True
            ticket.patience.restart()
        if ticket.gate is None:
            if self._gap_left_seconds():
                return None
            ticket.gate = LockFile.take(self._gate_path, LockMode.EXCLUSIVE)
            if ticket.gate is None:
                return None
            ticket.patience.restart()
        # Opening main beside our own readers and closing it again would drop their lock.
        if self._granted_tickets:
            return None
        return LockFile.take(self._path, LockMode.EXCLUSIVE)

    def _own_pause_seconds(self, ticket: _Ticket) -> float:
        """How long the ticket waits for nobody else, but lets others in: that is no matter of its deadline."""
        with self._mutex:
            return self._gap_left_seconds() if ticket.has_turn and ticket.gate is None else 0.0

    def _gap_left_seconds(self) -> float:
        """How long a collector's next hold must still let others in first: they poll, and would miss a shorter gap."""
        left_seconds = self._run_ended_at + _GAP_SECONDS - time.monotonic()
        if left_seconds > 0:
            return left_seconds if self._run_seconds >= _RUN_SECONDS else 0.0
        self._run_seconds = 0.0
        return 0.0

    def _granted(self, ticket: _Ticket) -> Hold:
        if ticket.hold is None:
            raise LockError(self._path, "the hold was lost")
        return ticket.hold

    def _release(self, ticket: _Ticket) -> None:
        with self._mutex:
            hold = ticket.hold
            if hold is None or hold.has_ended:  # never granted, or the parent's to release
                return
            hold._has_ended = True  # noqa: SLF001  (a hold is ended by its owner and by nobody else)
            self._granted_tickets.remove(ticket)
            if ticket.mode is LockMode.EXCLUSIVE:
                self._run_ended_at = time.monotonic()
                self._run_seconds += self._run_ended_at - hold.acquired_at
            if self._granted_tickets or self._main is None:
                return
            main, self._main = self._main, None
            # Main before gate: while main is held exclusively, no reader anywhere gets past the gate.
            main.release()
            if ticket.mode is LockMode.EXCLUSIVE:
                self._leave_queue(ticket)

    def _withdraw(self, ticket: _Ticket) -> None:
        with self._mutex:
            if ticket.era == self._era:
                self._leave_queue(ticket)

    def _leave_queue(self, ticket: _Ticket) -> None:
        self._queue.remove(ticket)
        if ticket.gate is not None:
            ticket.gate.release()

    def _holders(self) -> tuple[str, ...]:
        from aiocache_engine.system.process import THIS_PROCESS, holders_of  # noqa: PLC0415  (long waits only)

        at_main = holders_of(self._path)
        at_gate = (holder for holder in holders_of(self._gate_path) if holder not in {*at_main, THIS_PROCESS})
        return (*at_main, *at_gate)

    def _enter_loop(self) -> None:
        from asyncio import get_running_loop  # noqa: PLC0415  (imported by whoever runs a loop)

        loop = get_running_loop()
        with self._mutex:
            if self._loop_user_count and self._loop is not loop:
                raise NestedHoldError(
                    self._path, "another event loop is using this cache; one event loop at a time per path"
                )
            self._loop = loop
            self._loop_user_count += 1

    def _leave_loop(self) -> None:
        with self._mutex:
            self._loop_user_count -= 1
            if self._loop_user_count <= 0:
                self._loop = None
                self._loop_user_count = 0

    def _forget(self) -> None:
        """Start from nothing, as a new owner and as the copy of one in a forked child."""
        self._mutex = allocate_lock()
        self._era += 1
        self._queue = []
        self._granted_tickets = set()
        self._main = None
        self._loop = None
        self._loop_user_count = 0
        self._run_seconds = 0.0
        self._run_ended_at = 0.0

    def _forget_in_child(self) -> None:
        files = [self._main, *(ticket.gate for ticket in self._queue)]
        for ticket in self._granted_tickets:
            if ticket.hold is not None:
                ticket.hold._has_ended = True  # noqa: SLF001  (as in `_release`)
        self._forget()
        for file in files:
            if file is not None:
                file.forget()


class _Ticket:
    """One wish for a hold, from its arrival to its end."""

    __slots__ = ("era", "gate", "has_turn", "hold", "mode", "patience")

    def __init__(self, mode: LockMode, timeout_seconds: float) -> None:
        self.mode = mode
        self.patience = Patience(timeout_seconds, longest_pause_seconds=_LONGEST_PAUSE_SECONDS)
        self.era = 0
        self.has_turn = False
        self.gate: LockFile | None = None  #: a writer's, from before its wait for main until its end
        self.hold: Hold | None = None


_owners: dict[str, CacheLock] = {}
#: The hold this task or its parent took last. It stays after the end, since an ended one forbids nothing.
_hold_of_context: ContextVar[Hold | None] = ContextVar("aiocache_engine_hold", default=None)
_hold_of_thread: dict[int, Hold] = {}


def refuse_inside_hold(path: str) -> None:
    """Raise where this task or thread holds a cache lock: who holds it waits for nothing.

    Raises:
        NestedHoldError: the lock at `path` was asked for inside a hold.
    """
    for hold in (_hold_of_context.get(), _hold_of_thread.get(get_ident())):
        if hold is not None and not hold.has_ended:
            raise NestedHoldError(path, f"asked for inside a {hold.mode.value} hold of the cache; end that one first")


def _not_permitted(path: str, mode: LockMode, error: OSError) -> CacheDirError:
    if mode is LockMode.EXCLUSIVE:
        return ReadOnlyCacheError(path, f"the cache cannot be written ({error.strerror}); removing needs that")
    return CacheDirError(path, f"the lock file cannot be opened ({error.strerror}); check who owns the cache dir")


def _forget_all_in_child() -> None:
    for owner in _owners.values():
        owner._forget_in_child()  # noqa: SLF001  (same module)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_in_child)
