"""The long road of `install` and `fetch`: through the engine, on an event loop.

Nothing of it is imported before a function here is called, which happens only where the cache lacks something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocache_engine.config import Config
    from aiocache_engine.model.outcome import FetchReport, InstallReport
    from aiocache_engine.pipeline.warm import FetchRequest, InstallRequest
    from aiocache_engine.report import Reporter


def install_cold(cache_dir: str | None, config: Config, reporter: Reporter, request: InstallRequest) -> InstallReport:
    """Install, fetching what the cache lacks."""
    import anyio  # noqa: PLC0415 - the promise above

    from aiocache_engine.engine import CacheEngine  # noqa: PLC0415 - the promise above

    async def install() -> InstallReport:
        async with CacheEngine(cache_dir, config=config, reporter=reporter) as engine:
            return await engine.run_install(request)

    return anyio.run(install)


def fetch_cold(cache_dir: str | None, config: Config, reporter: Reporter, request: FetchRequest) -> FetchReport:
    """Fetch what the cache lacks."""
    import anyio  # noqa: PLC0415 - the promise above

    from aiocache_engine.engine import CacheEngine  # noqa: PLC0415 - the promise above

    async def fetch() -> FetchReport:
        async with CacheEngine(cache_dir, config=config, reporter=reporter) as engine:
            return await engine.run_fetch(request)

    return anyio.run(fetch)
