"""What every call works with: the opened cache dir, its settings, and how to make the parts of a call from them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress

from aiocache_engine.config import Config, locate_cache_dir
from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.model.index import IndexSettings, overlay_index
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.records import Holder
from aiocache_engine.model.value import field, replace, value
from aiocache_engine.pipeline.builds.yard import BuildYard
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.python.interpreter import decode_interpreter, encode_interpreter, key_of, probe
from aiocache_engine.report import Reporter
from aiocache_engine.store.cache_dir import CacheDir, open_cache_dir
from aiocache_engine.store.documents import read_document
from aiocache_engine.store.layout import SETTINGS_MEMO
from aiocache_engine.store.leases import LEASE_VARIABLE
from aiocache_engine.store.work import Work
from aiocache_engine.system.disk import replace_bytes, translated
from aiocache_engine.system.process import me

if TYPE_CHECKING:
    from aiocache_engine.pipeline.inputs.requirements_file import FileOptions
    from aiocache_engine.pipeline.joining import Pipelines
    from aiocache_engine.store.shares import Share

_HOUSEKEEPING_SECONDS = 0.25  #: a call that is done waits no longer for the cache lock


@value
class Kit:
    """An opened cache dir with the settings of its calls."""

    cache: CacheDir
    config: Config
    environ: Mapping[str, str]
    reporter: Reporter = field(default_factory=Reporter)
    yard: BuildYard = field(default_factory=BuildYard)  #: what all its builds share
    pipelines: Pipelines | None = None  #: whose leases hold what the calls use, too; None: there can be none

    def conductor(self) -> Conductor:
        """Make what performs the steps of one call."""
        return self._conductor(self.config.lock_timeout_seconds)

    def housekeeper(self) -> Conductor:
        """Make what frees at the end of a call (rule 35): if the cache is busy, the next call does it."""
        return self._conductor(min(_HOUSEKEEPING_SECONDS, self.config.lock_timeout_seconds))

    def _conductor(self, timeout_seconds: float) -> Conductor:
        return Conductor(
            self.cache.lock, timeout_seconds=timeout_seconds, on_wait=self.reporter.waits, place=self.cache.root
        )

    def work(self) -> Work:
        """Begin a piece of work; its lease is taken in its first hold."""
        return Work(self.cache, self.holder(), self.shares(warns=True))

    def shares(self, *, warns: bool = False) -> tuple[Share, ...]:
        """Give this process's parts in the pipeline leases that a call made here and now belongs to."""
        if self.pipelines is None or self.cache.is_read_only:
            return ()
        for lost in self.pipelines.take_lost() if warns else ():
            self.reporter.warns(
                f"nobody holds the lease {lost} of {LEASE_VARIABLE}: its pipeline has ended, or uses another cache dir;"
                " what this command uses is kept for as long as it runs itself"
            )
        return self.pipelines.of_call()

    def holder(self, name: str = "") -> Holder:
        """Say who we are, for the record of a lease; the name is that of a pipeline."""
        with translated("/proc"):
            who = me()
        return Holder(
            pid=who.pid,
            started_at=who.started_at,
            host=who.host,
            machine_id=who.machine_id,
            boot_id=who.boot_id,
            pid_namespace=who.pid_namespace,
            command=who.command,
            since=time.time(),
            name=name,
        )

    def settings(self, files: FileOptions | None = None) -> IndexSettings:
        """Find out which indexes are meant, by requirements files too; overlays are the first of them.

        Raises:
            IndexSettingsError: an option, a variable or a configuration file says something that cannot be used.
        """
        options = IndexOptions(
            index_url=self.config.index_url,
            extra_index_urls=self.config.extra_index_urls,
            find_links=self.config.find_links,
            strategy=self.config.index_strategy,
        )
        if files is not None and files.names_indexes():
            options = replace(
                options,
                file_index_url=files.index_url,
                is_no_index=files.no_index,
                added_index_urls=files.extra_index_urls,
                added_find_links=files.find_links,
                added_trusted_hosts=files.trusted_hosts,
            )
        memo = None if self.cache.is_read_only else f"{self.cache.layout.interpreters}/{SETTINGS_MEMO}"
        settings = discover_settings(options, self.environ, memo_path=memo)
        if not self.config.overlays:
            return settings
        return replace(settings, indexes=(*map(overlay_index, self.config.overlays), *settings.indexes))

    def warn_of_empty_overlays(self) -> None:
        """Say which overlay of those that are named has nothing: a misspelt one looks just so."""
        if not self.config.overlays:
            return
        from aiocache_engine.store.overlays import overlays_in, projects_in  # noqa: PLC0415 - most calls name none

        layout = self.cache.layout
        for name in self.config.overlays:
            if projects_in(layout, name):
                continue
            from difflib import get_close_matches  # noqa: PLC0415 - only where something may be wrong

            near = get_close_matches(name, [each for each in overlays_in(layout) if each != name], n=1)
            meant = f"did you mean {near[0]}?" if near else "`aioc add` puts wheels there"
            self.reporter.warns(f"there is nothing in the overlay {name}; {meant}")

    def describe_interpreter(self, executable: str) -> Interpreter:
        """Tell what an interpreter is, asking it only if it or its place changed.

        The answer is kept without a lock: it is found by a key that changes with everything it depends on, and losing
        it costs one probe.

        Raises:
            InterpreterError: it cannot be used.
        """
        path = self.cache.layout.interpreter(key_of(executable))
        content = read_document(path)
        known = None if content is None else decode_interpreter(content)
        if known is not None:
            return known
        interpreter = probe(executable)
        if not self.cache.is_read_only:
            with suppress(OSError):  # a full disk, or a clean that took the bucket in this moment
                replace_bytes(path, encode_interpreter(interpreter), by_way_of=self.cache.temporary())
        return interpreter


def open_kit(
    cache_dir: str | os.PathLike[str] | None,
    *,
    config: Config,
    environ: Mapping[str, str],
    reporter: Reporter | None = None,
) -> Kit:
    """Open a cache dir: the one named, else AIOC_CACHE_DIR, else the user's.

    Raises:
        ForeignCacheDirError, ReadOnlyCacheError, DiskError: it cannot be used.
    """
    cache = open_cache_dir(locate_cache_dir(cache_dir, environ), trust=config.trusts_cache_dir)
    named, pipelines = environ.get(LEASE_VARIABLE, ""), None
    if named:
        from aiocache_engine.pipeline.joining import Pipelines  # noqa: PLC0415 - most processes are part of no pipeline

        pipelines = Pipelines(cache.layout.leases, named)
    kit = Kit(cache, config, environ, reporter or Reporter(), BuildYard(config.build_count), pipelines)
    if cache.is_read_only:
        kit.reporter.warns(
            f"{cache.root} is read-only: what it holds is used, and nothing keeps others from cleaning it"
        )
    return kit


def with_pipelines(kit: Kit) -> Kit:
    """Give a kit whose calls may be part of pipelines that begin later."""
    from aiocache_engine.pipeline.joining import Pipelines  # noqa: PLC0415 - a warm command begins none

    return kit if kit.pipelines is not None else replace(kit, pipelines=Pipelines(kit.cache.layout.leases))


def end_work(work: Work) -> None:
    """End a work's lease, and remove what it left in staging."""
    try:
        staging = work.staging_directory()
        if staging is not None:
            from aiocache_engine.store.trash import sweep  # noqa: PLC0415 - what is only looked up leaves nothing there

            with suppress(OSError):  # what cannot go now is left to the next prune
                sweep(staging)
    finally:
        work.end()
