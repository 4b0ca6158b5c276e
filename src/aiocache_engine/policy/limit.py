"""What becomes of a plan that is handed back: whatever is there by now, nothing goes that it does not list."""

from __future__ import annotations

from aiocache_engine.model.removal import KeepCode, RemovalPlan
from aiocache_engine.model.value import replace


def listed_ids(planned: RemovalPlan) -> frozenset[str]:
    """Give the ids of all that a plan takes, at once or when its last user is gone."""
    going = {item.object.id for item in planned.objects}
    return frozenset(going | {kept.object.id for kept in planned.kept if kept.is_condemned})


def nameless_ids(planned: RemovalPlan) -> frozenset[str]:
    """Give the ids of all that loses its names by a plan: what it takes, and what it names and no pin kept then."""
    pinned = {kept.object.id for kept in planned.kept if any(each.code is KeepCode.PIN for each in kept.reasons)}
    return listed_ids(planned) | (planned.named - pinned)


def within(now: RemovalPlan, planned: RemovalPlan) -> RemovalPlan:
    """Give of a plan that was made now only what an earlier one lists, too."""
    ids = listed_ids(planned)
    dangling = {name.path for name in planned.dangling}
    pages = {item.page.path for item in planned.pages}
    compiled = {item.object.id for item in planned.bytecode}
    leftovers = {each.path for each in planned.leftovers}
    forgotten = {seen.referrer.id for seen in planned.forgotten}
    return replace(
        now,
        objects=tuple(item for item in now.objects if item.object.id in ids and ids.issuperset(item.containers)),
        kept=tuple(kept for kept in now.kept if kept.object.id in ids or not kept.is_condemned),
        named=now.named & planned.named,
        dependencies=now.dependencies & planned.dependencies,
        dependencies_in_use=tuple(target for target in now.dependencies_in_use if target.project in ids),
        dangling=tuple(name for name in now.dangling if name.path in dangling),
        projects=tuple(each for each in now.projects if each in planned.projects),
        tools=tuple(each for each in now.tools if each in planned.tools),
        overlays=tuple(each for each in now.overlays if each in planned.overlays),
        pages=tuple(item for item in now.pages if item.page.path in pages),
        bytecode=tuple(item for item in now.bytecode if item.object.id in compiled),
        leftovers=tuple(each for each in now.leftovers if each.path in leftovers),
        forgotten=tuple(seen for seen in now.forgotten if seen.referrer.id in forgotten),
    )
