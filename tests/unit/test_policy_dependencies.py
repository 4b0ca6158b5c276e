"""`clean --deps`: which archives go with what is named. A table of single cases, and laws over random snapshots."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.model.records import NameKind
from aiocache_engine.model.removal import CleanPolicy, CleanTarget, KeepCode, RemovalPlan, RemovalReason, TargetKind
from aiocache_engine.model.snapshot import Need, Snapshot
from aiocache_engine.model.value import replace
from aiocache_engine.policy.clean import plan_clean, plan_named
from aiocache_engine.store.generations import version_matches
from snapshots import (
    ARCHIVES,
    PROJECT,
    A,
    B,
    C,
    E,
    F,
    archive,
    environment,
    lease,
    name,
    pin,
    referrer,
    snapshot,
    snapshots,
    tool,
)

TINY = CleanTarget("tiny", None)
THE_TOOL = CleanTarget("tiny", None, TargetKind.TOOL)
WITH_DEPENDENCIES = CleanPolicy(takes_dependencies=True)
CHAIN = {A: ("big",), B: ("odd",)}  # tiny needs big, which needs odd


def needing(seen: Snapshot, needs: Mapping[str, tuple[str, ...]]) -> Snapshot:
    """Say what archives need: a project, or versions of it."""
    said = {i: tuple(Need(text.rstrip("<>=0123456789"), text.lstrip("abcdefghijklmnopqrstuvwxyz")) for text in texts)
            for i, texts in needs.items()}  # fmt: skip
    return replace(seen, needs=said)


def clean(seen: Snapshot, *targets: CleanTarget) -> RemovalPlan:
    return plan_clean(seen, targets, matches=version_matches, policy=WITH_DEPENDENCIES)


def told(plan: RemovalPlan) -> dict[str, str]:
    """Give why each object goes, or what keeps it; what waits for the end of its users has a star."""
    going = {item.object.id[0]: item.reason.value for item in plan.objects}
    staying = {
        kept.object.id[0]: "+".join(reason.code.value for reason in kept.reasons) + ("*" if kept.is_condemned else "")
        for kept in plan.kept
    }
    assert not going.keys() & staying.keys()
    return going | staying


ALL = (archive(A), archive(B), archive(C), name(A), name(B), name(C))
TOOL = (environment(E, A, B), tool(E, A, B))
TABLE: dict[str, tuple[Snapshot, CleanTarget, Mapping[str, str]]] = {
    "nothing is needed": (snapshot(*ALL), TINY, {"a": "named"}),
    "what it needs, and what that needs": (
        needing(snapshot(*ALL), CHAIN),
        TINY,
        {"a": "named", "b": "deps", "c": "deps"},
    ),
    "two that need each other": (
        needing(snapshot(*ALL), {A: ("big",), B: ("odd",), C: ("big",)}),
        TINY,
        {"a": "named", "b": "deps", "c": "deps"},
    ),
    "needed by one that stays, with all that needs": (
        needing(snapshot(*ALL), {A: ("big",), C: ("big",)}),
        TINY,
        {"a": "named", "b": "pointer"},
    ),
    "one that stays needs another version": (
        needing(snapshot(*ALL), {A: ("big",), C: ("big>1",)}),
        TINY,
        {"a": "named", "b": "deps"},
    ),
    "another version is needed": (needing(snapshot(*ALL), {A: ("big<1",)}), TINY, {"a": "named"}),
    "not there": (needing(snapshot(archive(A), name(A)), CHAIN), TINY, {"a": "named"}),
    "an environment outside uses it, by a link of its own": (
        needing(snapshot(*ALL, referrer("hardlink", B)), CHAIN),
        TINY,
        {"a": "named", "b": "referrer", "c": "pointer"},
    ),
    "running work uses it": (
        needing(snapshot(*ALL, lease(B)), CHAIN),
        TINY,
        {"a": "named", "b": "lease", "c": "pointer"},
    ),
    "running work uses what is named, too": (
        needing(snapshot(*ALL, lease(A, B)), CHAIN),
        TINY,
        {"a": "lease*", "b": "lease", "c": "pointer"},
    ),
    "the environment of a tool, and what else is in it": (
        snapshot(*ALL, *TOOL),
        TINY,
        {"e": "named", "a": "named", "b": "deps"},
    ),
    "of a tool alone, with all that is in it": (
        snapshot(*ALL, *TOOL),
        THE_TOOL,
        {"e": "named", "a": "deps", "b": "deps"},
    ),
    "another tool has it, too": (
        snapshot(*ALL, *TOOL, environment(F, B), tool(F, B, digest="1" * 32)),
        TINY,
        {"e": "named", "a": "named", "b": "environment"},
    ),
    "an environment that nothing leads to has it, too": (
        snapshot(*ALL, *TOOL, environment(F, B)),
        TINY,
        {"e": "named", "a": "named", "f": "named", "b": "deps"},
    ),
    "the tool runs": (
        snapshot(*ALL, *TOOL, lease(E, A, B)),
        TINY,
        {"e": "lease*", "a": "lease+environment*", "b": "lease+environment*"},
    ),
    "the tool runs without a lease": (
        snapshot(*ALL, *TOOL, running=(E,)),
        TINY,
        {"e": "running*", "a": "environment*", "b": "environment*"},
    ),
    "the tool runs, and so does other work": (
        snapshot(*ALL, *TOOL, lease(E, A, B), replace(lease(B), id="2" * 32)),
        TINY,
        {"e": "lease*", "a": "lease+environment*", "b": "lease"},
    ),
    "pinned": (needing(snapshot(*ALL, pin(B)), CHAIN), TINY, {"a": "named", "b": "pin", "c": "pointer"}),
    "pinned itself, though named": (
        needing(snapshot(*ALL, pin(A)), CHAIN),
        TINY,
        {"a": "pin"},
    ),
    "pinned, in an environment that goes, and needing another": (
        needing(snapshot(*ALL, pin(A), environment(E, A, B, C), tool(E, A, B, C)), {A: ("big",)}),
        THE_TOOL,
        {"e": "named", "a": "pin", "b": "pointer", "c": "deps"},
    ),
    "a record that cannot be read": (
        replace(needing(snapshot(*ALL), CHAIN), unreadable_referrers=("/x",)),
        TINY,
        {"a": "unknown", "b": "unknown", "c": "unknown"},
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_dependencies_go_or_stay_as_the_table_says(case: str) -> None:
    seen, target, expected = TABLE[case]
    assert told(clean(seen, target)) == expected


@pytest.mark.parametrize("case", TABLE)
def test_without_it_they_are_not_even_looked_at(case: str) -> None:
    seen, target, expected = TABLE[case]
    plan = plan_clean(seen, (target,), matches=version_matches)
    assert "deps" not in told(plan).values()
    assert plan.dependencies == frozenset()
    assert told(plan).keys() <= expected.keys()


def test_who_needs_one_is_told_with_what_would_release_it() -> None:
    (kept,) = clean(needing(snapshot(*ALL), {A: ("big",), C: ("big",)}), TINY).kept
    (reason,) = kept.reasons
    assert (reason.via, reason.release) == (("odd 1.0",), "aioc clean odd --deps")


def test_those_that_only_a_running_tool_uses_lose_their_names_too() -> None:
    plan = clean(snapshot(*ALL, *TOOL, lease(E, A, B)), TINY)
    assert plan.dependencies_in_use == (CleanTarget(B, None, TargetKind.ID),)
    assert clean(snapshot(*ALL, *TOOL), TINY).dependencies_in_use == ()


def test_projects_of_which_nothing_is_left_go_with_their_pages() -> None:
    assert clean(needing(snapshot(*ALL), CHAIN), TINY).projects == ("big", "odd")
    other = replace(archive(B), id="9" * 32)
    assert other.totals is not None
    other = replace(other, totals=replace(other.totals, version="2.0"))
    both = snapshot(*ALL, other, replace(name(B), path="/other", pointer=replace(name(B).pointer, archive_id=other.id)))
    assert clean(needing(both, {A: ("big<2",)}), TINY).projects == ()


NEEDS = st.dictionaries(ARCHIVES, st.lists(st.sampled_from(["tiny", "big", "odd>0", "odd<1"]), max_size=3).map(tuple))
TARGETS = st.lists(
    st.sampled_from([TINY, CleanTarget("odd", None), THE_TOOL, CleanTarget(E, None, TargetKind.ID)]),
    min_size=1,
    max_size=2,
).map(tuple)


@given(seen=snapshots(), needs=NEEDS, targets=TARGETS)
def test_it_takes_all_that_a_clean_takes_and_nothing_that_anything_else_uses(
    seen: Snapshot, needs: Mapping[str, tuple[str, ...]], targets: tuple[CleanTarget, ...]
) -> None:
    seen = needing(seen, needs)
    plan = clean(seen, *targets)
    bare = plan_clean(seen, targets, matches=version_matches)
    assert {item.object.id for item in bare.objects} <= {item.object.id for item in plan.objects}
    removed, kept = [i.object.id for i in plan.objects], [k.object.id for k in plan.kept]
    assert len({*removed, *kept}) == len(removed) + len(kept)
    for item in plan.objects:
        if item.reason is not RemovalReason.DEPENDENCY:
            continue
        archive_id = item.object.id
        assert archive_id in plan.dependencies
        assert not any(each.covers(archive_id) for each in seen.leases)
        assert not any(archive_id in each.uses for each in seen.referrers)
        assert not seen.is_pinned(archive_id)
        assert set(item.containers) <= set(removed)
        assert set(item.names) == {each for each in seen.names if each.object_id == archive_id}
        staying = seen.archives.keys() - set(removed) - plan.named
        for user in staying - {i for i in plan.dependencies if KeepCode.POINTER in _codes(plan, i)}:
            fits = [n for n in seen.needs.get(user, ()) if n.project == PROJECT[archive_id]]
            condemned = any(k.object.id == user and k.is_condemned for k in plan.kept)
            assert condemned or not any(version_matches(need.specifier, "1.0") for need in fits)


def _codes(plan: RemovalPlan, object_id: str) -> set[KeepCode]:
    return {reason.code for kept in plan.kept if kept.object.id == object_id for reason in kept.reasons}


@given(seen=snapshots(), needs=NEEDS, targets=TARGETS)
def test_doing_it_twice_is_doing_it_once(
    seen: Snapshot, needs: Mapping[str, tuple[str, ...]], targets: tuple[CleanTarget, ...]
) -> None:
    seen = needing(seen, needs)
    plan = clean(seen, *targets)
    gone = {item.object.id for item in plan.objects}
    after = replace(
        seen,
        archives={i: each for i, each in seen.archives.items() if i not in gone},
        environments={i: each for i, each in seen.environments.items() if i not in gone},
        names=tuple(each for each in seen.names if each.object_id not in gone),
        tools=tuple(each for each in seen.tools if each.object_id not in gone),
    )
    again = plan_named(after, plan.named, plan.dependencies, matches=version_matches)
    assert again.objects == ()


def test_a_hash_name_alone_keeps_none_and_goes_with_it() -> None:
    seen = needing(snapshot(archive(A), archive(B), name(A), name(B, NameKind.HASH)), CHAIN)
    assert [[each.kind for each in item.names] for item in clean(seen, TINY).objects] == [
        [NameKind.INDEX],
        [NameKind.HASH],
    ]
