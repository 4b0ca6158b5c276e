"""Bring wheels that are ready into a target: register it, link, and say what was done (rules 23-26).

Written as steps. The caller holds the environment lock; every archive, new and old, is leased by the work.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from aiocache_engine.errors import LockError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import digest
from aiocache_engine.model.outcome import InstallReport, Named, Obtained
from aiocache_engine.model.plain_json import dump
from aiocache_engine.model.python import InstalledDistribution, LinkMode, Target, TargetKind
from aiocache_engine.model.records import Referrer
from aiocache_engine.model.value import replace, value
from aiocache_engine.pipeline.bytecode import Bytecoder
from aiocache_engine.pipeline.find import Ready
from aiocache_engine.pipeline.linking.install import PreparedInstall, ReadyWheel, apply_install, prepare_install
from aiocache_engine.pipeline.linking.transaction import recover
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.pipeline.unmet import unmet
from aiocache_engine.python.environment import CONFIG, environment_id, write_environment_id
from aiocache_engine.python.installed import read_installed
from aiocache_engine.python.target import Place, Prober, make_target, open_target
from aiocache_engine.store.bytecode import Bytecode
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.referrers import fresh_stamp, read_referrer, register
from aiocache_engine.store.work import Work
from aiocache_engine.system.disk import translated
from aiocache_engine.system.lock import Hold
from aiocache_engine.system.process import me


@value
class Options:
    """How wheels get into a target."""

    link_mode: LinkMode
    reinstalls: bool  #: also what is there already in the same version
    is_ephemeral: bool  #: the archives do not count as linked
    is_dry_run: bool
    compiles: bool = True  #: modules come with their bytecode
    upgrades: bool = False  #: what is there is not kept because it will do: the newest is wanted


@value
class Supply:
    """All that a target is to have."""

    ready: tuple[Ready, ...]  #: unpacked and leased
    satisfied: tuple[Named, ...]  #: the target has it, and keeps it
    asked: frozenset[str]  #: projects that were named; the others came as dependencies
    warnings: tuple[str, ...] = ()


def deliver(
    work: Work,
    place: Place,
    prober: Prober,
    supply: Supply,
    options: Options,
    *,
    is_target_new: bool,
    bytecoder: Bytecoder | None = None,
) -> Steps[InstallReport]:
    """Install what is ready into the place, creating it if it is missing; gives the report, its times still zero.

    Args:
        work: leases everything that is ready.
        place: where to.
        prober: describes interpreters.
        supply: what is to be there afterwards.
        options: how.
        is_target_new: what `is_missing` told when the environment lock was obtained.
        bytecoder: gives the bytecode of what is ready; None: it is installed without.

    Raises:
        TargetError, FileConflictError: the target cannot be written so; it is as before.
        DamagedEntryError: an archive lacks a file; the target is as before.
        DiskError: the disk refused; the target is as before.
    """
    started = time.monotonic()
    target: Target = yield Outside(partial(_open, place, prober, options))
    if options.is_dry_run and not os.path.isdir(target.root):
        return _foreseen(target, supply, seconds=time.monotonic() - started)
    bytecode: dict[str, Bytecode] = {}
    if bytecoder is not None:
        bytecode = yield from bytecoder.bring(supply.ready)
    prepared: PreparedInstall = yield Outside(partial(prepare, target, supply, options, bytecode))
    if not options.is_dry_run and not prepared.is_empty:
        environment = yield Outside(partial(_identify, work.cache, target))
        if not work.cache.is_read_only:
            registration = partial(_register, work=work, target=target, environment=environment, prepared=prepared)
            is_short_lived = options.is_ephemeral or work.is_in_pipeline
            yield InHold(LockMode.SHARED, partial(registration, links=not is_short_lived))
        yield Outside(partial(apply_install, prepared))
    seconds = time.monotonic() - started
    return _report(prepared, supply, is_target_new=is_target_new, is_dry_run=options.is_dry_run, seconds=seconds)


def is_missing(place: Place) -> bool:
    """Tell whether a place is to be made; of several who want it, the holder of the environment lock alone knows."""
    if place.root is None or place.kind is TargetKind.PREFIX:
        return False
    if place.kind is TargetKind.DIRECTORY:
        return not os.path.isdir(place.root)
    return not os.path.isfile(os.path.join(place.root, CONFIG))


def lock_path(cache: CacheDir, target: Target) -> str:
    """Give the lock file of a target: in the cache dir, or in the machine's temporary one where that is read-only.

    Raises:
        LockError: in the temporary directory somebody else's stands in its place.
    """
    key = digest("environment", os.path.realpath(target.root))
    if not cache.is_read_only:
        return cache.layout.key_lock(key)
    import tempfile  # noqa: PLC0415 - only with a read-only cache

    directory = os.path.join(tempfile.gettempdir(), f"aioc-{os.geteuid()}")
    with translated(directory):
        with suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise LockError(directory, "locks of environments belong here, and it is somebody else's; set TMPDIR")
    return os.path.join(directory, key)


def _open(place: Place, prober: Prober, options: Options) -> Target:
    if options.is_dry_run:
        return open_target(place, prober)
    target = make_target(place, prober)
    recover(target)
    return target


def prepare(
    target: Target, supply: Supply, options: Options, bytecode: Mapping[str, Bytecode] | None = None
) -> PreparedInstall:
    """Decide how what is ready gets into a target, with its bytecode by archive id; nothing in it is changed.

    Raises:
        As `prepare_install`.
    """
    compiled = bytecode or {}
    wheels = [
        ReadyWheel(
            archive_id=each.archive.id,
            tree=each.archive.tree,
            manifest=each.manifest,
            requested=each.wanted.project in supply.asked,
            direct_url=_direct_url(each),
            origin=each.origin,
            bytecode=compiled.get(each.archive.id),
        )
        for each in sorted(supply.ready, key=lambda one: one.wanted.project)
    ]
    installed = read_installed(target.site_directories())
    prepared = prepare_install(target, wheels, installed, reinstall=options.reinstalls, link_mode=options.link_mode)
    return replace(prepared, warnings=(*prepared.warnings, *_unmet(prepared, installed)))


def _unmet(prepared: PreparedInstall, installed: Sequence[InstalledDistribution]) -> Iterator[str]:
    leaving = {each.dist_info for each in prepared.removed}
    versions = {(each.project, each.version) for each in prepared.removed}
    totals = [wheel.manifest.totals for wheel in prepared.installed]
    replaced = {project for project, _ in versions}
    brought = {
        each.project: each.version
        for each in totals
        if each.project in replaced and (each.project, each.version) not in versions
    }
    staying = (each for each in installed if each.dist_info not in leaving)
    return unmet(staying, brought, prepared.target.interpreter.markers)


def _direct_url(ready: Ready) -> str | None:
    """Give the content of direct_url.json (PEP 610) for what is named by path or URL, by other than a lock file.

    The hash is that of the file which was named, so of an sdist only if it was told. Neither a user name nor a query
    goes into it: the environment is for more eyes than a signature is.
    """
    if ready.wanted.url is None or ready.wanted.is_locked:
        return None
    sha256 = ready.choice.sha256 if ready.choice.is_sdist else ready.pointer.sha256
    archive_info = {"hash": f"sha256={sha256}", "hashes": {"sha256": sha256}} if sha256 else {}
    url = ready.choice.file.url.partition("?")[0]
    within = {"subdirectory": ready.choice.subdirectory} if ready.choice.subdirectory else {}
    return dump({"url": url, "archive_info": archive_info, **within}).decode()


def _identify(cache: CacheDir, target: Target) -> str:
    """Give the id under which the environment is registered, writing a fresh one if it has none of its own.

    The copy of an environment bears the id of the original, whose record it must not take.
    """
    known = environment_id(target.root)
    if known is not None:
        before = read_referrer(cache.layout.referrer(known))
        if before is None or before.path == target.root or environment_id(before.path) != known:
            return known
    return write_environment_id(target.root)


def _register(
    hold: Hold, *, work: Work, target: Target, environment: str, prepared: PreparedInstall, links: bool
) -> None:
    """Lease what the environment uses now, then say that it uses both that and the new."""
    work.keep(hold, sorted(prepared.archives_before))
    status = os.stat(target.root)
    here = me()
    referrer = Referrer(
        id=environment,
        path=target.root,
        site_directories=target.site_directories(),
        device=status.st_dev,
        inode=status.st_ino,
        machine_id=here.machine_id,
        mount_namespace=here.mount_namespace,
        archives=prepared.change.archives,
        registered_at=time.time(),
        stamp=fresh_stamp(),
    )
    register(hold, work.cache, referrer, links=links)


def _report(
    prepared: PreparedInstall, supply: Supply, *, is_target_new: bool, is_dry_run: bool, seconds: float
) -> InstallReport:
    origins = {each.wanted.project: each for each in supply.ready}
    installed = {wheel.manifest.totals.project for wheel in prepared.installed}
    return InstallReport(
        target=prepared.target.root,
        is_target_new=is_target_new,
        is_dry_run=is_dry_run,
        installed=tuple(as_obtained(origins[project]) for project in sorted(installed)),
        removed=tuple(Named(each.project, each.version) for each in prepared.removed),
        unchanged=(
            *supply.satisfied,
            *(Named(wheel.manifest.totals.project, wheel.manifest.totals.version) for wheel in prepared.unchanged),
        ),
        link_mode=prepared.link_mode.value if prepared.installed else None,
        warnings=(*supply.warnings, *prepared.warnings),
        resolve_seconds=0.0,
        fetch_seconds=0.0,
        link_seconds=seconds,
        total_seconds=0.0,
    )


def _foreseen(target: Target, supply: Supply, *, seconds: float) -> InstallReport:
    """Say what would be installed into a place that is not there yet: everything."""
    return InstallReport(
        target=target.root,
        is_target_new=True,
        is_dry_run=True,
        installed=tuple(as_obtained(each) for each in sorted(supply.ready, key=lambda one: one.wanted.project)),
        removed=(),
        unchanged=(),
        link_mode=None,
        warnings=supply.warnings,
        resolve_seconds=0.0,
        fetch_seconds=0.0,
        link_seconds=seconds,
        total_seconds=0.0,
    )


def as_obtained(ready: Ready) -> Obtained:
    """Say what was obtained, for a report."""
    totals = ready.manifest.totals
    return Obtained(totals.project, totals.version, ready.archive.id, ready.origin)
