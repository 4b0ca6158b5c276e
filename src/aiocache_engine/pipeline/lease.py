"""The lease of a pipeline: what the calls inside it use stays, from the first that used it to the end of the block.

Which calls are inside is told in `joining`; how others put objects on it, in `aiocache_engine.store.shares`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from aiocache_engine.errors import UsageError
from aiocache_engine.model.removal import CleanTarget, TargetKind
from aiocache_engine.pipeline.cold import ending
from aiocache_engine.pipeline.inputs.arguments import text, texts
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.steps import in_shared_hold
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.store.archives import read_totals
from aiocache_engine.store.environments import read_environment_manifest
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.leases import LEASE_VARIABLE, Lease
from aiocache_engine.store.shares import Share
from aiocache_engine.system.lock import Hold


class PipelineLease:
    """What a pipeline holds on to. It lasts as long as the block that gave it."""

    __slots__ = ("_kit", "_share", "name")

    def __init__(self, kit: Kit, share: Share | None, name: str) -> None:
        self.name = name  #: as `aioc ps` shows it
        self._kit = kit
        self._share = share

    @property
    def id(self) -> str | None:
        """As `leases()` gives it; None in a read-only cache dir, where nothing can be held."""
        return None if self._share is None else self._share.id

    @property
    def share(self) -> Share | None:
        """What calls put their objects on it by."""
        return self._share

    def variables(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the variables for child processes whose calls shall be held as well; None: those of this process."""
        kit = self._kit
        around = dict(kit.environ if environ is None else environ)
        named = "" if kit.pipelines is None else kit.pipelines.named(self._share)
        return {**around, LEASE_VARIABLE: named, "AIOC_CACHE_DIR": kit.cache.root}

    async def drop(self, *names: str) -> None:
        """Give up what the pipeline holds of these, whichever of its processes used it.

        Whoever uses it now goes on doing so: every call has a lease of its own. A later look-up is held again.

        Args:
            names: as for `CacheEngine.clean`: projects, versions of them, patterns and ids. With what is named go the
                cached environments that contain it.

        Raises:
            UsageError: nothing is named, or a name means nothing.
        """
        targets = clean_targets(texts("names", names), ())
        if not targets:
            raise UsageError("say what the lease shall give up: a project, say")
        async with ending(self._kit):
            if self._share is not None:
                await in_thread(partial(_drop, self._kit.cache.layout, self._share, targets))


async def begin_pipeline(kit: Kit, name: str) -> PipelineLease:
    """Take the lease of a pipeline, and have the calls of this engine use it. Whoever calls this ends it.

    Raises:
        UsageError: the name is no text.
        LockTimeoutError, DiskError: the machine refused.
    """
    named = text("the name of a lease", name)
    if kit.cache.is_read_only or kit.pipelines is None:
        return PipelineLease(kit, None, named)
    holder = kit.holder(named)
    born: list[Lease] = []

    def birth(hold: Hold) -> None:
        kit.cache.ensure_ours(hold)
        born.append(Lease.birth(hold, kit.cache.layout.leases, holder))

    try:
        await kit.conductor().conduct(in_shared_hold(birth))
    except BaseException:
        for lease in born:  # a cancellation came when it was there already
            lease.end()
        raise
    share = Share(born[0].path, born[0])
    kit.pipelines.open(share)
    return PipelineLease(kit, share, named)


def end_pipeline(kit: Kit, lease: PipelineLease) -> None:
    """End it; processes that joined it keep what they use by their own leases."""
    if lease.share is not None and kit.pipelines is not None:
        kit.pipelines.close(lease.share)
        lease.share.end()


def _drop(layout: Layout, share: Share, targets: Iterable[CleanTarget]) -> None:
    share.drop([each for each in share.objects() if any(_is_meant(layout, each, target) for target in targets)])


def _is_meant(layout: Layout, object_id: str, target: CleanTarget) -> bool:
    """Tell whether something is what is named, or an environment that contains it."""
    if target.kind is TargetKind.ID:
        return target.project == object_id
    totals = read_totals(layout.archive(object_id))
    if totals is not None:
        return _takes(target, totals.project, totals.version)
    environment = read_environment_manifest(layout.environment(object_id))
    return environment is not None and any(_takes(target, each.project, each.version) for each in environment.members)


def _takes(target: CleanTarget, project: str, version: str) -> bool:
    return target.takes(project) and (target.specifier is None or version_matches(target.specifier, version))
