"""What a command was told, as a value: the same one whichever parser read the arguments."""

from __future__ import annotations

from collections.abc import Mapping

from aiocache_engine.config import Config
from aiocache_engine.model.index import IndexStrategy
from aiocache_engine.model.value import replace, value


@value(kw_only=True)
class Options:
    """What every command may be told. None or empty: not said."""

    cache_dir: str | None = None
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ()
    index_strategy: IndexStrategy | None = None
    is_offline: bool = False
    lock_timeout_seconds: float | None = None
    trusts_cache_dir: bool = False
    is_json: bool = False
    is_quiet: bool = False
    verbosity: int = 0  #: how often -v was given

    def config(self, environ: Mapping[str, str]) -> Config:
        """Give the engine's settings: these over what the environment says.

        Raises:
            UsageError: a variable has no usable value.
        """
        config = Config.from_environ(environ)
        return replace(
            config,
            index_url=self.index_url,
            extra_index_urls=self.extra_index_urls,
            find_links=self.find_links,
            overlays=self.overlays or config.overlays,
            index_strategy=self.index_strategy,
            is_offline=self.is_offline or config.is_offline,
            lock_timeout_seconds=(
                config.lock_timeout_seconds if self.lock_timeout_seconds is None else self.lock_timeout_seconds
            ),
            trusts_cache_dir=self.trusts_cache_dir,
        )
