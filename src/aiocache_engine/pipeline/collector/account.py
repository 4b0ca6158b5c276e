"""What went with a clean or prune, or would go, told entry by entry with its bytes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable

from aiocache_engine.model.names import digest
from aiocache_engine.model.removal import (
    CleanTarget,
    PlannedObject,
    PlannedPage,
    Removal,
    RemovalPlan,
    RemovalReason,
    Removed,
    TargetKind,
)
from aiocache_engine.model.snapshot import Leftover, PageKind, SeenEnvironment
from aiocache_engine.model.value import replace, value
from aiocache_engine.policy.limit import nameless_ids
from aiocache_engine.store.blocks import empty_directory_bytes, generation_growth
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.detach import BYTECODE, object_path
from aiocache_engine.store.detach_names import name_directories, unspared
from aiocache_engine.store.generations import Cleaned, version_matches
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.name_choice import NameChoice
from aiocache_engine.store.overlay_choice import name_choice
from aiocache_engine.store.pins import read_pins
from aiocache_engine.store.release import emptied
from aiocache_engine.store.spared import Spared, matching_names
from aiocache_engine.store.trash import Links, Swept, measure
from aiocache_engine.store.unlisted import unlisted_paths

OLD_FORMAT = "format"
_LEFTOVERS = {  # what some are reported as, and why they go
    OLD_FORMAT: (OLD_FORMAT, RemovalReason.OLD_FORMAT),
    BYTECODE: (BYTECODE, RemovalReason.UNREACHABLE),
}


@value
class Names:
    """Names and pages that go together, and are reported together."""

    project: str | None  #: None: of several projects
    reason: RemovalReason
    kind: str = "pointer"  #: as they are reported


PINS = Names(None, RemovalReason.NAMED, "pin")
_RECORDS = Names(None, RemovalReason.ENVIRONMENTS_GONE, "leftover")  # of the environments that are gone


def names_of(target: CleanTarget) -> Names:
    """Say as whose the names are reported that a clean's target takes."""
    return Names(target.project if target.kind is TargetKind.PROJECT else None, RemovalReason.NAMED)


def names_of_page(item: PlannedPage) -> Names:
    """Say as what a page, or what else stands beside names, is reported."""
    kind = "leftover" if item.page.kind is PageKind.LOG else item.page.kind.value
    return Names(item.page.project, item.reason, kind)


def names_of_lonely(layout: Layout, directory: str) -> Names:
    """Say as whose the names and pages are reported that go with a directory in which nothing else is left."""
    bucket, name = os.path.split(directory)
    return Names(name if bucket == layout.projects else None, RemovalReason.UNREACHABLE)


def foresee(cache: CacheDir, plan: RemovalPlan) -> Removal:
    """Tell what executing the plan now would give, by looking at every file it names and touching none."""
    layout = cache.layout
    is_clean = plan.command == "clean"
    by_names, written_bytes = _names_of_clean(cache, plan) if is_clean else (_names_of_prune(cache, plan), 0)
    with_object = {name.path for item in plan.objects for name in item.names}
    if is_clean:  # it takes the names first, so that nothing of those is left to go with the object
        first = {path for paths in by_names.values() for path in paths}
        with_object = {path for path in with_object if first.isdisjoint(_with_parents(path)) and not plan.is_everything}
        lonely = [f"{layout.projects}/{project}" for project in plan.projects]
        for directory in lonely:  # their names go with their objects before
            by_names[names_of_lonely(layout, directory)].append(directory)
    links: Links = {}  # of all together: what an environment shares with an archive goes with the second of them
    removed: list[Removed] = []
    for item in plan.objects:
        names = [name.path for name in item.names if name.path in with_object]
        removed += objects_removed(layout, item, links, names)
    with_object |= {item.page.path for item in plan.pages}  # told by themselves, whatever else of the project goes
    alone = {
        names: total(measure(p, without=with_object, links=links) for p in paths) for names, paths in by_names.items()
    }
    if is_clean and plan.clean_policy.takes_in_use:
        alone[PINS] = total(measure(layout.pin(digest(pin.name))) for pin in emptied(read_pins(layout), plan.named))
    removed = less(with_names(removed, alone), written_bytes)
    for item in plan.bytecode:
        if os.path.lexists(compiled := layout.bytecode(item.object.id)):
            removed.append(object_removed(item, BYTECODE, measure(compiled, links=links)))
    removed += [leftover_removed(each, measure(each.path, links=links)) for each in plan.leftovers]
    removed += [each for item in plan.condemned for each in objects_removed(layout, item, links)]
    removed = with_records(removed, total(measure(layout.referrer(seen.referrer.id)) for seen in plan.forgotten))
    return Removal(
        command=plan.command,
        is_dry_run=True,
        removed=tuple(removed),
        kept=plan.kept,
        sdists=plan.sdists,
        waited_seconds=0.0,
        longest_hold_seconds=0.0,
        warnings=plan.warnings,
        near_names=plan.near_names,
        unmatched=plan.unmatched,
        is_freed_exact=plan.is_freed_exact,
        missing_bytes=plan.missing_bytes,
    )


def objects_removed(
    layout: Layout, item: PlannedObject, links: Links, names: Iterable[str] = ()
) -> tuple[Removed, ...]:
    """Tell of an object that is going, with these names of it, and of its bytecode."""
    paths = [object_path(layout, item.object), *names]
    removed = object_removed(item, item.object.kind, total(measure(path, links=links) for path in paths))
    compiled = layout.bytecode(item.object.id)
    if isinstance(item.object, SeenEnvironment) or not os.path.lexists(compiled):
        return (removed,)
    return removed, object_removed(item, BYTECODE, measure(compiled, links=links))


def _names_of_clean(cache: CacheDir, plan: RemovalPlan) -> tuple[defaultdict[Names, list[str]], int]:
    """Give the paths that a clean takes before anything else: all that leads to what it names; and what it writes."""
    released = plan.named if plan.clean_policy.takes_in_use else frozenset[str]()
    unlisted = unlisted_paths(cache.layout, plan.targets, nameless_ids(plan))
    spared = Spared(cache.layout, besides=unlisted, without=released)
    spared.look_again()
    if plan.is_everything:
        directories = [each for each in name_directories(cache.layout) if not spared.keeps_in(each)]
        written_bytes = len(directories) * empty_directory_bytes(cache.layout)
        written_bytes += generation_growth(cache.layout, f"{cache.layout.generations}/global", (Cleaned(),))
        directories += unspared(cache.layout, spared)
        return defaultdict(list, {Names(None, RemovalReason.NAMED): directories}), written_bytes
    targets = (*plan.targets, *plan.dependencies_in_use)
    choices = [name_choice(target, (), (), matches=version_matches) for target in targets]
    paths: defaultdict[Names, list[str]] = defaultdict(list)
    taken: set[str] = set()  # each once, though several targets name it

    def take(choice: NameChoice, named: Iterable[str]) -> None:
        fresh = [path for path in named if taken.isdisjoint(_with_parents(path))]
        paths[names_of(choice.target)] += fresh
        taken.update(fresh)

    for choice in choices:
        take(choice, (each for each in choice.own(cache.layout) if not spared.keeps_in(each)))
    for choice in choices:
        take(choice, matching_names(cache.layout, choice, spared))
    bumps: defaultdict[str, list[Cleaned]] = defaultdict(list)
    for path, cleaned in (each for choice in choices if (each := choice.cleaned(cache.layout)) is not None):
        bumps[path].append(cleaned)
    return paths, sum(generation_growth(cache.layout, path, cleaned) for path, cleaned in bumps.items())


def _with_parents(path: str) -> tuple[str, str, str]:
    """Give the path of a name, and the two directories in its bucket that it stands in."""
    parent = os.path.dirname(path)
    return path, parent, os.path.dirname(parent)


def _names_of_prune(cache: CacheDir, plan: RemovalPlan) -> defaultdict[Names, list[str]]:
    """Give the paths that a prune takes by themselves: lonely directories, and names in others that lead nowhere."""
    lonely = [f"{cache.layout.projects}/{project}" for project in plan.projects]
    lonely += [f"{cache.layout.tools}/{tool}" for tool in plan.tools]
    lonely += [f"{cache.layout.overlays}/{each}" for each in plan.overlays]
    others = [name.path for name in plan.dangling if not name.path.startswith(tuple(f"{path}/" for path in lonely))]
    paths: defaultdict[Names, list[str]] = defaultdict(list, {Names(None, RemovalReason.UNREACHABLE): others})
    for directory in lonely:
        paths[names_of_lonely(cache.layout, directory)].append(directory)
    for item in plan.pages:
        paths[names_of_page(item)].append(item.page.path)
    return paths


def object_removed(item: PlannedObject, kind: str, swept: Swept) -> Removed:
    """Tell of an object, or of its bytecode."""
    seen = item.object
    return Removed(
        kind=kind,
        project=seen.project,
        version=seen.version,
        id=seen.id,
        file_count=swept.file_count,
        size_bytes=swept.size_bytes,
        freed_bytes=swept.freed_bytes,
        reason=item.reason,
        tool=seen.tool,
    )


def with_names(objects: list[Removed], by_names: dict[Names, Swept]) -> list[Removed]:
    """Add names and pages to what went. An empty directory is nobody's entry: its bytes are told with an object's."""
    removed = list(objects)
    for names, swept in by_names.items():
        if swept.file_count:
            removed.append(_names_removed(names, swept))
        elif objects:
            removed[0] = replace(removed[0], freed_bytes=removed[0].freed_bytes + swept.freed_bytes)
    return removed


def with_records(removed: list[Removed], swept: Swept) -> list[Removed]:
    """Add the records of environments that are gone; alone they are nobody's entry, so that nothing else went."""
    return [*removed, _names_removed(_RECORDS, swept)] if removed and swept.file_count else removed


def _names_removed(names: Names, swept: Swept) -> Removed:
    return Removed(
        names.kind, names.project, None, None, swept.file_count, swept.size_bytes, swept.freed_bytes, names.reason
    )


def less(removed: list[Removed], written_bytes: int) -> list[Removed]:
    """Take off what a removal wrote itself, names first; no entry gives back less than nothing."""
    first = sorted(
        range(len(removed)),
        key=lambda i: (
            removed[i].kind != "pointer",
            -removed[i].freed_bytes,
            removed[i].id or removed[i].project or "",
        ),
    )
    rest = list(removed)
    for i in first:
        taken_bytes = min(written_bytes, rest[i].freed_bytes)
        rest[i] = replace(rest[i], freed_bytes=rest[i].freed_bytes - taken_bytes)
        written_bytes -= taken_bytes
    return rest


def leftover_removed(leftover: Leftover, swept: Swept) -> Removed:
    """Tell of what dead work left."""
    kind, reason = _LEFTOVERS.get(leftover.kind, ("leftover", RemovalReason.LEFTOVER))
    archive_id = os.path.basename(leftover.path) if kind == BYTECODE else None
    return Removed(kind, None, None, archive_id, swept.file_count, swept.size_bytes, swept.freed_bytes, reason)


def total(parts: Iterable[Swept]) -> Swept:
    """Add up."""
    whole = list(parts)
    return Swept(
        sum(part.file_count for part in whole),
        sum(part.size_bytes for part in whole),
        sum(part.freed_bytes for part in whole),
    )
