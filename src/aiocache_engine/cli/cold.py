"""The long road of `install`, `fetch`, `build` and `run`: through the engine, on an event loop.

Nothing of it is imported before a function here is called, which happens only where the cache lacks something.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiocache_engine.cli.interrupts import INTERRUPTS
from aiocache_engine.hints import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

    from aiocache_engine.engine import CacheEngine
    from aiocache_engine.model.outcome import BuildReport, FetchReport, InstallReport
    from aiocache_engine.pipeline.kit import Kit
    from aiocache_engine.pipeline.tools.environment import HeldEnvironment
    from aiocache_engine.pipeline.tools.request import Tool
    from aiocache_engine.pipeline.undertake import Fetching, Installation

Result = TypeVar("Result")


def install_cold(kit: Kit, installation: Installation) -> InstallReport:
    """Install, fetching what the cache lacks."""
    return _run(kit, lambda engine: engine.run_install(installation))


def fetch_cold(kit: Kit, fetching: Fetching) -> FetchReport:
    """Fetch what the cache lacks."""
    return _run(kit, lambda engine: engine.run_fetch(fetching))


def build_cold(kit: Kit, **request: Any) -> BuildReport:
    """Build wheels; takes what `BuildRequest` takes."""
    from aiocache_engine.pipeline.build import BuildRequest  # noqa: PLC0415 - the promise above

    return _run(kit, lambda engine: engine.run_build(BuildRequest(**request)))


def hold_cold(kit: Kit, tool: Tool) -> HeldEnvironment:
    """Make the cached environment of a tool, fetching what the cache lacks. The lease outlives the loop."""
    held: list[HeldEnvironment] = []

    async def hold(engine: CacheEngine) -> HeldEnvironment:
        held.append(await engine.hold_environment(tool))
        return held[0]

    try:
        return _run(kit, hold)
    except BaseException:
        for each in held:  # an interrupt came when it was there already
            each.release()
        raise


def _run(kit: Kit, call: Callable[[CacheEngine], Awaitable[Result]]) -> Result:
    """Run one call on a loop of its own. An interrupt cancels it; the loop never sees KeyboardInterrupt."""
    results: list[Result] = []
    with INTERRUPTS.held_back():
        import asyncio  # noqa: PLC0415 - the promise above

        import anyio  # noqa: PLC0415 - the promise above

        from aiocache_engine.engine import engine_over  # noqa: PLC0415 - the promise above

        async def run() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(_tell)
            async with engine_over(kit) as engine:
                with anyio.CancelScope() as scope:
                    # The scope is cancelled by the loop, whose waiting this ends, and not in the middle of a step.
                    with INTERRUPTS.cancelling(lambda: loop.call_soon_threadsafe(scope.cancel)):
                        results.append(await call(engine))

        anyio.run(run)
    return results[0]  # without one, the call was cancelled, and its interrupt raised where it was no more held back


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Show what no task is there to raise, but not what comes of being interrupted."""
    if not INTERRUPTS.has_come:
        loop.default_exception_handler(context)
