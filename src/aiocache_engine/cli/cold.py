"""The long road of `install` and `fetch`: through the engine, on an event loop.

Nothing of it is imported before a function here is called, which happens only where the cache lacks something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocache_engine.model.outcome import FetchReport, InstallReport
    from aiocache_engine.pipeline.kit import Kit
    from aiocache_engine.pipeline.undertake import Fetching, Installation


def install_cold(kit: Kit, installation: Installation) -> InstallReport:
    """Install, fetching what the cache lacks."""
    import anyio  # noqa: PLC0415 - the promise above

    from aiocache_engine.engine import CacheEngine  # noqa: PLC0415 - the promise above

    async def install() -> InstallReport:
        async with CacheEngine.over(kit) as engine:
            return await engine.run_install(installation)

    return anyio.run(install)


def fetch_cold(kit: Kit, fetching: Fetching) -> FetchReport:
    """Fetch what the cache lacks."""
    import anyio  # noqa: PLC0415 - the promise above

    from aiocache_engine.engine import CacheEngine  # noqa: PLC0415 - the promise above

    async def fetch() -> FetchReport:
        async with CacheEngine.over(kit) as engine:
            return await engine.run_fetch(fetching)

    return anyio.run(fetch)
