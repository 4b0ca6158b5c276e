"""The whole of an installation that needs nothing but the cache: no event loop, no network, no HTTP library.

A warm command goes this way first; the engine does the same steps from its event loop, and fills in what is missing.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

from aiocache_engine.model.outcome import InstallReport
from aiocache_engine.pipeline.collect import Collector
from aiocache_engine.pipeline.deliver import Options, deliver, lock_path
from aiocache_engine.pipeline.find import Finder
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.requirements import parse_all
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.python.target import TargetChoice, choose_target, open_target
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
    with lock.hold_now(what=f"the installation into {target.root}", on_wait=kit.reporter.waits, stall_seconds=None):
        work = kit.work()
        try:
            finder = Finder(
                work,
                kit.settings(),
                WheelChooser(target.interpreter),
                is_offline=kit.config.is_offline,
                refreshes=request.refreshes,
            )
            lookup = conductor.perform(finder.find_all(wanted))
            if lookup.missing():
                return None
            resolved = time.monotonic()
            report = conductor.perform(deliver(work, place, kit.describe_interpreter, lookup.ready(), request.options))
        finally:
            end_work(work)
    conductor.perform(Collector(kit.cache).free_condemned())
    return replace(report, resolve_seconds=resolved - started, total_seconds=time.monotonic() - started)


def end_work(work: Work) -> None:
    """End a work's lease, and remove what it left in staging."""
    staging = work.staging_directory()
    if staging is not None:
        sweep(staging)
    work.end()
