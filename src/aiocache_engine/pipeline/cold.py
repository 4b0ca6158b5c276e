"""An installation, a fetch or a resolution that may need the network: the steps of `warm`, from the event loop.

The engine's calls are these, with the engine's own connections to the indexes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from aiocache_engine.errors import CacheEngineError, DamagedEntryError, LockTimeoutError
from aiocache_engine.index.client import IndexClient
from aiocache_engine.model.outcome import FetchReport, InstallReport, Named, ResolveReport
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.call import Call
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.deliver import as_obtained, deliver, is_missing
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.standing import Standing
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.pipeline.undertake import Fetching, Installation, Sought
from aiocache_engine.pipeline.warm import standing_of
from aiocache_engine.system.disk import translated
from aiocache_engine.system.keylock import KeyLock

Client = Callable[[], Awaitable[IndexClient]]  #: gives the engine's client, opened once it is needed


async def install_cold(kit: Kit, installation: Installation, client: Client) -> InstallReport:
    """Install, fetching what the cache lacks; errors as for `CacheEngine.install`."""
    sought, options = installation.sought, installation.options
    conductor = kit.conductor()
    lock = KeyLock(installation.lock_path)
    call = _call(kit, conductor, sought, client)
    async with (
        ending(kit),
        lock.hold(what=installation.what, on_wait=kit.reporter.waits, stall_seconds=None),
        call,
        call.compiling(compiles=options.compiles and not options.is_dry_run) as bytecoder,
    ):
        with translated(kit.cache.root):
            is_new = await in_thread(partial(is_missing, installation.place))
            standing = await in_thread(partial(standing_of, installation))
        supply = await call.supply(sought, standing)
        bring = partial(
            deliver,
            call.work,
            installation.place,
            kit.describe_interpreter,
            options=options,
            is_target_new=is_new,
            bytecoder=bytecoder,
        )
        try:
            report = await conductor.conduct(bring(supply=supply))
        except DamagedEntryError:
            if bytecoder is not None:
                bytecoder.distrust()
            report = await conductor.conduct(bring(supply=await call.obtain_again(supply)))
    kit.reporter.installed(report.target, len(report.installed))
    return replace(
        report,
        resolve_seconds=call.resolved_at - installation.started_at,
        fetch_seconds=call.obtained_at - call.resolved_at,
        total_seconds=time.monotonic() - installation.started_at,
    )


async def fetch_cold(kit: Kit, fetching: Fetching, client: Client) -> FetchReport:
    """Fetch what the cache lacks; errors as for `CacheEngine.fetch`."""
    async with ending(kit), _call(kit, kit.conductor(), fetching.sought, client) as call:
        supply = await call.supply(fetching.sought, Standing())
    return FetchReport(
        fetched=tuple(as_obtained(each) for each in supply.ready),
        resolve_seconds=call.resolved_at - fetching.started_at,
        fetch_seconds=call.obtained_at - call.resolved_at,
        total_seconds=time.monotonic() - fetching.started_at,
        warnings=supply.warnings,
    )


async def resolve_cold(kit: Kit, fetching: Fetching, client: Client) -> ResolveReport:
    """Resolve and fetch no more than that takes; errors as for `CacheEngine.resolve`."""
    async with ending(kit), _call(kit, kit.conductor(), fetching.sought, client) as call:
        resolved = await call.resolve(fetching.sought.problem)
    return ResolveReport(
        pins=tuple(Named(pin.project, str(pin.version)) for pin in resolved.pins),
        asked=tuple(sorted(resolved.asked)),
        warnings=resolved.warnings,
        total_seconds=time.monotonic() - fetching.started_at,
    )


def _call(kit: Kit, conductor: Conductor, sought: Sought, client: Client) -> Call:
    files = sought.requested.options
    return Call(kit, conductor, sought.interpreter, client, refreshes=sought.refreshes, files=files)


@asynccontextmanager
async def ending(kit: Kit) -> AsyncIterator[None]:
    """Free at the end of a call, of a failed one too, what was condemned while its lease kept it (rule 35).

    A call that is cancelled leaves that to the next one.
    """
    try:
        with translated(kit.cache.root):
            yield
    except Exception:
        with suppress(CacheEngineError):  # the first error is the one to tell
            await _free_condemned(kit)
        raise
    try:
        await _free_condemned(kit)
    except CacheEngineError as error:  # the call itself is done
        kit.reporter.warns(f"{error}; what was cleaned while in use is freed by the next command")


async def _free_condemned(kit: Kit) -> None:
    with suppress(LockTimeoutError):  # the cache is busy: the next call does it
        await kit.housekeeper().conduct(Collector(kit.cache).free_condemned())
