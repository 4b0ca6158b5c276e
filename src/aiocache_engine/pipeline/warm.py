"""The whole of an installation or a fetch that needs nothing but the cache: no event loop, no network, no HTTP library.

A warm command goes this way first; the engine does the same steps from its event loop, and fills in what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiocache_engine.errors import CacheEngineError, DamagedEntryError
from aiocache_engine.model.outcome import FetchReport, InstallReport
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.deliver import already_there, as_obtained, deliver, without
from aiocache_engine.pipeline.find import Finder
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.remove import free_condemned_now
from aiocache_engine.pipeline.undertake import Fetching, Installation
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.store.trash import sweep
from aiocache_engine.store.work import Work
from aiocache_engine.system.keylock import KeyLock


def install_warm(kit: Kit, installation: Installation) -> InstallReport | None:
    """Install from the cache alone; None, and nothing done, if it lacks something.

    Raises:
        CacheEngineError: as `CacheEngine.install`.
    """
    conductor = kit.conductor()
    lock = KeyLock(installation.lock_path)
    with _ending(kit), lock.hold_now(what=installation.what, on_wait=kit.reporter.waits, stall_seconds=None):
        work = kit.work()
        try:
            satisfied = already_there(installation.target, installation.wanted, installation.options)
            finder = _finder(kit, work, installation.target.interpreter, refreshes=installation.refreshes)
            lookup = conductor.perform(finder.find_all(without(satisfied, installation.wanted)))
            if lookup.missing():
                return None
            resolved = time.monotonic()
            place, options = installation.place, installation.options
            report = conductor.perform(
                deliver(work, place, kit.describe_interpreter, lookup.ready(), options, satisfied=satisfied)
            )
        except DamagedEntryError:  # the target is as before, and the engine fetches again what is damaged
            return None
        finally:
            end_work(work)
    started = installation.started_at
    return replace(report, resolve_seconds=resolved - started, total_seconds=time.monotonic() - started)


def fetch_warm(kit: Kit, fetching: Fetching) -> FetchReport | None:
    """Find in the cache all that is to be fetched; None if it lacks something.

    Raises:
        CacheEngineError: as `CacheEngine.fetch`.
    """
    conductor = kit.conductor()
    work = kit.work()
    with _ending(kit):
        try:
            finder = _finder(kit, work, fetching.interpreter, refreshes=fetching.refreshes)
            lookup = conductor.perform(finder.find_all(fetching.wanted))
        finally:
            end_work(work)
    if lookup.missing():
        return None
    seconds = time.monotonic() - fetching.started_at
    return FetchReport(tuple(as_obtained(each) for each in lookup.ready()), seconds, 0.0, seconds)


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
            free_condemned_now(kit)
        raise
    try:
        free_condemned_now(kit)
    except CacheEngineError as error:  # the call itself is done
        kit.reporter.warns(f"{error}; what was cleaned while in use is freed by the next command")


def end_work(work: Work) -> None:
    """End a work's lease, and remove what it left in staging."""
    try:
        staging = work.staging_directory()
        if staging is not None:
            with suppress(OSError):  # what cannot go now is left to the next prune
                sweep(staging)
    finally:
        work.end()
