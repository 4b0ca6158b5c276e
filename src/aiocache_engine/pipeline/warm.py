"""The whole of an installation or a fetch that needs nothing but the cache: no event loop, no network, no HTTP library.

A warm command goes this way first; the engine does the same steps from its event loop, and fills in what is missing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from aiocache_engine.errors import CacheEngineError, DamagedEntryError, TargetError
from aiocache_engine.model.outcome import FetchReport, InstallReport
from aiocache_engine.model.python import Interpreter
from aiocache_engine.pipeline.collect import Collector
from aiocache_engine.pipeline.deliver import Options, as_obtained, deliver, lock_path
from aiocache_engine.pipeline.find import Finder
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.requirements import parse_all
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.python.target import TargetChoice, choose_target, find_python, open_target
from aiocache_engine.store.trash import sweep
from aiocache_engine.store.work import Work
from aiocache_engine.system.keylock import KeyLock


@dataclass(frozen=True, slots=True)
class InstallRequest:
    """Everything that one installation is told."""

    requirements: tuple[str, ...]  #: requirement strings, and paths or URLs of wheels
    files: tuple[str, ...]  #: requirements files
    target: TargetChoice
    options: Options
    refreshes: bool  #: ask the indexes even where stored pages are fresh


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Everything that one fetch is told."""

    requirements: tuple[str, ...]
    files: tuple[str, ...]
    python: str | None  #: the interpreter that the wheels are for; None: the one that an installation would choose
    refreshes: bool


def install_warm(kit: Kit, request: InstallRequest) -> InstallReport | None:
    """Install from the cache alone; None, and nothing done, if it lacks something.

    Raises:
        CacheEngineError: as `CacheEngine.install`.
    """
    started = time.monotonic()
    place = choose_target(request.target, kit.environ, os.getcwd())
    target = open_target(place, kit.describe_interpreter)
    wanted = parse_all(request.requirements, request.files, target.interpreter.markers)
    conductor = kit.conductor()
    lock = KeyLock(lock_path(kit.cache, place))
    what = f"the installation into {target.root}"
    with _ending(kit), lock.hold_now(what=what, on_wait=kit.reporter.waits, stall_seconds=None):
        work = kit.work()
        try:
            finder = _finder(kit, work, target.interpreter, refreshes=request.refreshes)
            lookup = conductor.perform(finder.find_all(wanted))
            if lookup.missing():
                return None
            resolved = time.monotonic()
            report = conductor.perform(deliver(work, place, kit.describe_interpreter, lookup.ready(), request.options))
        except DamagedEntryError:  # the target is as before, and the engine fetches again what is damaged
            return None
        finally:
            end_work(work)
    return replace(report, resolve_seconds=resolved - started, total_seconds=time.monotonic() - started)


def fetch_warm(kit: Kit, request: FetchRequest) -> FetchReport | None:
    """Find in the cache all that is to be fetched; None if it lacks something.

    Raises:
        CacheEngineError: as `CacheEngine.fetch`.
    """
    started = time.monotonic()
    interpreter = fetch_interpreter(kit, request.python)
    wanted = parse_all(request.requirements, request.files, interpreter.markers)
    conductor = kit.conductor()
    work = kit.work()
    with _ending(kit):
        try:
            lookup = conductor.perform(_finder(kit, work, interpreter, refreshes=request.refreshes).find_all(wanted))
        finally:
            end_work(work)
    if lookup.missing():
        return None
    seconds = time.monotonic() - started
    return FetchReport(tuple(as_obtained(each) for each in lookup.ready()), seconds, 0.0, seconds)


def fetch_interpreter(kit: Kit, python: str | None) -> Interpreter:
    """Describe the interpreter that wheels are fetched for: the one named, else the one that `install` would use.

    Raises:
        InterpreterError: it cannot be used.
    """
    if python is not None:
        return kit.describe_interpreter(find_python(python, kit.environ, os.getcwd()))
    try:
        place = choose_target(TargetChoice(break_system_packages=True), kit.environ, os.getcwd())
        return open_target(place, kit.describe_interpreter).interpreter
    except TargetError:  # no place to install into is no reason not to fetch
        return kit.describe_interpreter(sys.executable)


def _finder(kit: Kit, work: Work, interpreter: Interpreter, *, refreshes: bool) -> Finder:
    chooser = WheelChooser(interpreter)
    return Finder(work, kit.settings(), chooser, is_offline=kit.config.is_offline, refreshes=refreshes)


@contextmanager
def _ending(kit: Kit) -> Iterator[None]:
    """Free at the end of a call, of a failed one too, what was condemned while its lease kept it (rule 35)."""
    try:
        yield
    except Exception:
        with suppress(CacheEngineError):  # the first error is the one to tell
            _free_condemned(kit)
        raise
    try:
        _free_condemned(kit)
    except CacheEngineError as error:  # the call itself is done
        kit.reporter.warns(f"{error}; what was cleaned while in use is freed by the next command")


def _free_condemned(kit: Kit) -> None:
    kit.conductor().perform(Collector(kit.cache).free_condemned())


def end_work(work: Work) -> None:
    """End a work's lease, and remove what it left in staging."""
    try:
        staging = work.staging_directory()
        if staging is not None:
            with suppress(OSError):  # what cannot go now is left to the next prune
                sweep(staging)
    finally:
        work.end()
