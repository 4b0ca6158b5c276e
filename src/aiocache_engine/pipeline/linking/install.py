"""Install unpacked wheels into a target: everything is decided and computed first, then the target is changed.

Synchronous, for one thread job or a warm command. The caller holds the environment lock, and leases on the archives
that the target uses now and will use; it calls `recover`, then `prepare_install`, registers the referrer, then calls
`apply_install` (rules 23-25 of the protocol).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from aiocache_engine.errors import TargetError
from aiocache_engine.model.manifest import Manifest
from aiocache_engine.model.python import InstalledDistribution, LinkMode, Target
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.linking.conflicts import Ground, settle_between, survey
from aiocache_engine.pipeline.linking.link import LinkWork, link_dist_infos, link_files, write_files
from aiocache_engine.pipeline.linking.placement import Layout, Placement, find_layout, place_wheel
from aiocache_engine.pipeline.linking.transaction import PROBE, Change, Journal, NewDistribution, begin, recover, settle
from aiocache_engine.pipeline.linking.uninstall import find_removal
from aiocache_engine.policy.install_plan import InstallPlan, Wanted, plan_install
from aiocache_engine.python.installed import names_itself
from aiocache_engine.store.bytecode import Bytecode
from aiocache_engine.system.descent import Descent
from aiocache_engine.system.disk import translated
from aiocache_engine.system.transfer import decide

__all__ = ["InstallOutcome", "PreparedInstall", "ReadyWheel", "apply_install", "prepare_install", "recover"]

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@value
class ReadyWheel:
    """An unpacked wheel that the caller has leased."""

    archive_id: str
    tree: str  #: absolute path of the archive's tree
    manifest: Manifest
    requested: bool  #: asked for by name, not as a dependency
    direct_url: str | None  #: JSON text of direct_url.json (PEP 610)
    origin: str  #: "cache", "index", "built" or "overlay"
    bytecode: Bytecode | None = None  #: what was compiled from it for the target's interpreter; None: it goes without


@value
class PreparedInstall:
    """All that an installation will do; making it changed nothing."""

    target: Target
    installed: tuple[ReadyWheel, ...]  #: are put in
    removed: tuple[InstalledDistribution, ...]  #: make room
    unchanged: tuple[ReadyWheel, ...]  #: are there already
    archives_before: frozenset[str]  #: that the target uses now
    archives_after: frozenset[str]  #: that it will use
    link_mode: LinkMode  #: the way that was found, never AUTO
    warnings: tuple[str, ...]
    layout: Layout
    placements: tuple[Placement, ...]
    ground: Ground
    change: Change

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.installed and not self.removed


@value
class InstallOutcome:
    """What an installation did."""

    installed: tuple[ReadyWheel, ...]
    removed: tuple[InstalledDistribution, ...]
    unchanged: tuple[ReadyWheel, ...]
    link_mode: LinkMode
    file_count: int  #: linked or written
    warnings: tuple[str, ...]


def prepare_install(
    target: Target,
    wheels: Sequence[ReadyWheel],
    installed: Sequence[InstalledDistribution],
    *,
    reinstall: bool,
    link_mode: LinkMode,
) -> PreparedInstall:
    """Decide on everything; nothing in the target is changed.

    Where two wheels bring different files of one name, the later one's counts: give them sorted by project.

    Raises:
        FileConflictError: a file must not be replaced.
        TargetError: the target cannot be used so: a symbolic link leads out of it, the link mode does not work, what
            makes room has no RECORD, …
        DamagedEntryError: a file is missing from the cache.
        DiskError: the disk refused.
    """
    wanted = [_wanted(wheel) for wheel in wheels]
    projects = {each.project for each in wanted}
    broken = [each for each in installed if each.project in projects and not names_itself(each)]
    plan = plan_install(wanted, installed, reinstall=reinstall, broken=broken)
    chosen = tuple(wheels[position] for position in plan.install)
    layout = find_layout(target)
    with translated(layout.root):
        try:
            root_fd = os.open(layout.root, _ROOT)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise TargetError(layout.root, "there is no such directory") from error
        try:
            return _prepare(
                target, wheels, installed, plan, chosen, link_mode=link_mode, layout=layout, root_fd=root_fd
            )
        finally:
            os.close(root_fd)


def apply_install(prepared: PreparedInstall) -> InstallOutcome:
    """Change the target: wholly, or, if an error is raised, not at all.

    Raises:
        FileConflictError: another program put a file in the way meanwhile.
        DamagedEntryError: a file is missing from the cache.
        DiskError, OutOfSpaceError: the disk refused. Where it also refused to take back what was done, the error says
            so in a note, and `recover` takes it back later.
    """
    warnings = list(prepared.warnings)
    count = 0
    if not prepared.is_empty:
        root = prepared.layout.root
        with translated(root):
            root_fd = os.open(root, _ROOT)
            try:
                count = _apply(prepared, root_fd, warnings)
            finally:
                os.close(root_fd)
    return InstallOutcome(
        installed=prepared.installed,
        removed=prepared.removed,
        unchanged=prepared.unchanged,
        link_mode=prepared.link_mode,
        file_count=count,
        warnings=tuple(warnings),
    )


def _prepare(
    target: Target,
    wheels: Sequence[ReadyWheel],
    installed: Sequence[InstalledDistribution],
    plan: InstallPlan,
    chosen: tuple[ReadyWheel, ...],
    *,
    link_mode: LinkMode,
    layout: Layout,
    root_fd: int,
) -> PreparedInstall:
    mode = _decide(chosen, link_mode, layout)
    placements = tuple(_place(number, wheel, target, layout, mode) for number, wheel in enumerate(chosen))
    projects = [wheel.manifest.totals.project for wheel in chosen]
    warnings = settle_between(placements, projects)
    leaving = {distribution.dist_info for distribution in plan.remove}
    staying = [distribution for distribution in installed if distribution.dist_info not in leaving]
    removal = find_removal(plan.remove, staying, root=layout.root, scripts=layout.scripts, root_fd=root_fd)
    ground = survey(placements, projects, removal.paths, staying, layout=layout, kind=target.kind, root_fd=root_fd)
    archives = {one.archive_id: one.link_mode or "" for one in installed if one.archive_id is not None}
    change = Change(
        archives=archives | {wheel.archive_id: mode.value for wheel in chosen},
        distributions=tuple(NewDistribution(one.site, one.dist_info, one.record) for one in placements),
        directories=ground.directories,
        kept=ground.kept,
        stashed=ground.stashed,
        known=tuple(os.path.relpath(os.path.realpath(one.dist_info), layout.root) for one in installed),
        floor=layout.floor,
        compiled=tuple(_compiled_anew(placements, ground)),
    )
    return PreparedInstall(
        target=target,
        installed=chosen,
        removed=plan.remove,
        unchanged=tuple(wheels[position] for position in plan.unchanged),
        archives_before=frozenset(archives),
        archives_after=frozenset(one.archive_id for one in staying if one.archive_id is not None)
        | {wheel.archive_id for wheel in chosen},
        link_mode=mode,
        warnings=(*warnings, *removal.warnings, *ground.warnings),
        layout=layout,
        placements=placements,
        ground=ground,
        change=change,
    )


def _apply(prepared: PreparedInstall, root_fd: int, warnings: list[str]) -> int:
    root = prepared.layout.root
    journal = begin(prepared.change, root=root, root_fd=root_fd)
    try:
        try:
            count = _bring_in(prepared, journal, root_fd)
            _move_out(prepared, journal, root_fd)
            journal.decide()
        finally:
            journal.close()
    except BaseException as error:
        _take_back(error, root=root, root_fd=root_fd)
        raise
    try:
        settle(root=root, root_fd=root_fd)
    except OSError as error:  # the new state counts; the next installation here tries again
        warnings.append(f"{root}: what was replaced could not be removed yet ({error})")
    return count


def _bring_in(prepared: PreparedInstall, journal: Journal, root_fd: int) -> int:
    work = LinkWork(
        mode=prepared.link_mode,
        root=prepared.layout.root,
        root_fd=root_fd,
        journal=journal,
        records=prepared.ground.records,
    )
    placements = prepared.placements
    link_files(work, (piece for placement in placements for piece in placement.pieces))
    write_files(work, (one for placement in placements for one in placement.generated))
    link_dist_infos(work, placements)
    return sum(len(piece.names) for one in placements for piece in (*one.pieces, *one.dist_info_pieces)) + sum(
        len(one.generated) + len(one.dist_info_generated) + 1 for one in placements
    )


def _move_out(prepared: PreparedInstall, journal: Journal, root_fd: int) -> None:
    """Stash the files of what makes room that nothing new replaced."""
    replaced = set(prepared.ground.records.values())
    for placement in prepared.placements:
        for piece in (*placement.pieces, *placement.dist_info_pieces):
            replaced.update(piece.replaces.values())
        for one in (*placement.generated, *placement.dist_info_generated):
            if one.replaces is not None:
                replaced.add(one.replaces)
    with Descent(root_fd, prepared.layout.root) as descent:
        for position, path in enumerate(prepared.ground.stashed):
            if position in replaced:
                continue
            directory, _, name = path.rpartition("/")
            try:
                dir_fd = descent.enter(directory)
            except FileNotFoundError:
                continue
            journal.stash(name, position, dir_fd)


def _compiled_anew(placements: Sequence[Placement], ground: Ground) -> Iterator[str]:
    """Give the bytecode that comes in place of that of a module which is replaced."""
    stashed = set(ground.stashed)
    for piece in (piece for placement in placements for piece in placement.pieces) if stashed else ():
        if piece.modules is not None:
            place = f"{piece.modules.target}/" if piece.modules.target else ""
            yield from (f"{piece.target}/{name}" for name in piece.names if place + piece.source_of(name) in stashed)


def _take_back(error: BaseException, *, root: str, root_fd: int) -> None:
    try:
        settle(root=root, root_fd=root_fd)
    except Exception as second:  # noqa: BLE001 - the first error is the one to raise; the journal stays for `recover`
        error.add_note(f"{root}: it could not be taken back ({second}); the next installation here takes it back")


def _decide(chosen: tuple[ReadyWheel, ...], link_mode: LinkMode, layout: Layout) -> LinkMode:
    if not chosen:
        return LinkMode.COPY if link_mode is LinkMode.AUTO else link_mode
    first = chosen[0]
    sample = f"{first.tree}/{first.manifest.dist_info}/METADATA"
    return decide(link_mode, sample=sample, by_way_of=os.path.join(layout.root, PROBE))


def _place(number: int, wheel: ReadyWheel, target: Target, layout: Layout, mode: LinkMode) -> Placement:
    return place_wheel(
        number,
        wheel.manifest,
        wheel.tree,
        layout,
        executable=target.interpreter.executable,
        archive_id=wheel.archive_id,
        requested=wheel.requested,
        direct_url=wheel.direct_url,
        link_mode=mode,
        bytecode=wheel.bytecode,
    )


def _wanted(wheel: ReadyWheel) -> Wanted:
    totals = wheel.manifest.totals
    by_content = wheel.direct_url is not None or wheel.origin == "overlay"
    return Wanted(totals.project, totals.version, wheel.archive_id, by_content=by_content)
