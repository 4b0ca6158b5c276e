"""The whole of an installation or a fetch that needs nothing but the cache: no event loop, no network, no HTTP library.

A warm command goes this way first; the engine does the same steps from its event loop, and fills in what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from aiocache_engine.errors import CacheEngineError, DamagedEntryError
from aiocache_engine.model.index import IndexKind, IndexSettings
from aiocache_engine.model.outcome import FetchReport, InstallReport, Named
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.bytecode import Bytecoder
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.deliver import Supply, as_obtained, deliver, is_missing
from aiocache_engine.pipeline.find import Finder
from aiocache_engine.pipeline.inputs.requirements_file import FileOptions
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.pipeline.standing import Standing, read_standing, without
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.pipeline.undertake import Fetching, Installation, Sought
from aiocache_engine.policy.choose import WheelChooser
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
            place, sought, options = installation.place, installation.sought, installation.options
            is_new = is_missing(place)
            supply = _supply(kit, work, conductor, sought, standing_of(installation))
            if supply is None:
                return None
            resolved = time.monotonic()
            with bytecoder_of(kit, work, installation) as bytecoder:
                steps = deliver(
                    work,
                    place,
                    kit.describe_interpreter,
                    supply,
                    options,
                    is_target_new=is_new,
                    bytecoder=bytecoder,
                )
                report = conductor.perform(steps)
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
            supply = _supply(kit, work, conductor, fetching.sought, Standing())
        finally:
            end_work(work)
    if supply is None:
        return None
    seconds = time.monotonic() - fetching.started_at
    return FetchReport(tuple(as_obtained(each) for each in supply.ready), seconds, 0.0, seconds, supply.warnings)


@contextmanager
def bytecoder_of(kit: Kit, work: Work, installation: Installation) -> Iterator[Bytecoder | None]:
    """Make what gives bytecode for an installation, if it wants any; at the end of the block it stops."""
    if not installation.options.compiles or installation.options.is_dry_run:
        yield None
        return
    with Bytecoder(work, installation.sought.interpreter, kit.reporter) as bytecoder:
        yield bytecoder


def standing_of(installation: Installation) -> Standing:
    """Look at what the target has, as far as it counts. The caller holds the environment lock."""
    options = installation.options
    return read_standing(installation.target, counts=not options.reinstalls and not options.upgrades)


def satisfied_by(standing: Standing, sought: Sought) -> Supply | None:
    """Give a supply of nothing, if the target has all that is asked for; else None."""
    satisfied: tuple[Named, ...] | None
    if sought.is_complete:
        satisfied = standing.named(sought.wanted)
        if len(satisfied) < len(sought.wanted):
            return None
    elif (satisfied := standing.closure(sought.problem, sought.interpreter.markers)) is None:
        return None
    return Supply((), satisfied, frozenset())


def _supply(kit: Kit, work: Work, conductor: Conductor, sought: Sought, standing: Standing) -> Supply | None:
    """Find in the cache all that is asked for and not in the target; None: something lacks."""
    if (nothing := satisfied_by(standing, sought)) is not None:
        return nothing
    files = sought.requested.options
    settings = kit.settings(files)
    chooser = chooser_of(sought.interpreter, files, settings)
    finder = Finder(work, settings, chooser, is_offline=kit.config.is_offline, refreshes=sought.refreshes)
    if sought.is_complete:
        wanted = sought.wanted
        satisfied = standing.named(wanted)
        lookup = conductor.perform(finder.find_all(without(satisfied, wanted)))
        supply = partial(Supply, satisfied=satisfied, asked=frozenset(each.project for each in wanted))
    else:
        from aiocache_engine.pipeline.resolution.resolve import resolve_stored  # noqa: PLC0415 - a list needs none
        from aiocache_engine.pipeline.resolution.shelf import Shelf  # noqa: PLC0415 - as above

        shelf = Shelf(work, settings, is_offline=kit.config.is_offline, refreshes=sought.refreshes)
        resolved = resolve_stored(
            sought.problem, sought.interpreter, shelf, conductor, chooser=chooser, standing=standing
        )
        if resolved is None:
            return None
        supply = partial(Supply, satisfied=resolved.kept, asked=resolved.asked, warnings=resolved.warnings)
        lookup = conductor.perform(finder.find(resolved.choices))
    return None if lookup.missing() else supply(tuple(lookup.ready()))


def chooser_of(
    interpreter: Interpreter,
    files: FileOptions,
    settings: IndexSettings,
    *,
    told: tuple[str, ...] = (),
    takes_wheels: bool = True,
) -> WheelChooser:
    """Make what chooses among the files of a project, as requirements files want it; build backends are `told` this.

    What is built of an sdist depends on the indexes, which have what it is built with; that of an overlay may be
    replaced at any time.
    """
    has_overlay = any(index.kind is IndexKind.OVERLAY for index in settings.indexes)
    return WheelChooser(
        interpreter,
        takes_pre_releases=files.pre,
        builds=files.builds,
        takes_wheels=takes_wheels,
        is_to_be_built=files.is_to_be_built,
        is_taken_built=files.is_taken_built,
        build_settings=None
        if has_overlay
        else (settings.strategy.value, *(each.digest for each in settings.indexes), *told),
    )


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
