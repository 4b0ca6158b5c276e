"""`clean --even-in-use`: nothing but what cannot be read keeps what is named, and everybody who uses it is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.model.removal import CleanPolicy, CleanTarget, RemovalPlan
from aiocache_engine.model.snapshot import ReferrerState, Snapshot
from aiocache_engine.model.value import replace
from aiocache_engine.policy.clean import plan_clean
from aiocache_engine.store.generations import version_matches
from snapshots import A, B, E, archive, environment, lease, name, pin, referrer, snapshot, snapshots, tool

TINY = CleanTarget("tiny", None)
IN_SPITE = CleanPolicy(takes_in_use=True)
BOTH = CleanPolicy(takes_in_use=True, takes_dependencies=True)
ALL = (archive(A), archive(B), name(A), name(B), environment(E, A, B), tool(E, A, B))


def clean(seen: Snapshot, *targets: CleanTarget, policy: CleanPolicy = IN_SPITE) -> RemovalPlan:
    return plan_clean(seen, targets, matches=version_matches, policy=policy)


def going(plan: RemovalPlan) -> set[str]:
    return {item.object.id for item in plan.objects}


USED: dict[str, tuple[Snapshot, tuple[str, ...]]] = {
    "by nobody": (snapshot(*ALL), ()),
    "by a tool": (
        snapshot(*ALL, lease(E, A, B)),
        ("process 7 (aioc run tiny) uses what is removed: environment of tiny, tiny 1.0",),
    ),
    "by a process without a lease": (
        snapshot(*ALL, running=(E,)),
        ("process 9 (tiny) uses what is removed: environment of tiny",),
    ),
    "by work whose lease cannot be read": (
        replace(snapshot(*ALL), leases=(replace(lease(), holder=None, objects=None),)),
        (f"lease {'1' * 32} covers what is removed: environment of tiny, tiny 1.0",),
    ),
    "by an environment of symbolic links": (
        snapshot(*ALL, referrer("symlink", A)),
        ("environment /env, which breaks until it is installed into again, links to what is removed: tiny 1.0",),
    ),
    "by one with files of its own": (snapshot(*ALL, referrer("hardlink", A)), ()),
    "by a pin": (snapshot(*ALL, pin(A, B)), ("pin mine keeps no longer what is removed: tiny 1.0",)),
    "by an environment that came during the scan": (
        snapshot(archive(A), name(A), environment(E, A, is_new=True)),
        (),
    ),
}


@pytest.mark.parametrize("case", USED)
def test_what_is_named_goes_and_who_uses_it_is_told(case: str) -> None:
    seen, warnings = USED[case]
    plan = clean(seen, TINY)
    assert going(plan) == {A, E}
    assert plan.kept == ()
    assert plan.warnings == warnings


def test_a_pin_that_cannot_be_read_keeps_all_the_same() -> None:
    plan = clean(replace(snapshot(*ALL), unreadable_pins=("/x",)), TINY)
    assert going(plan) == {E}
    assert [kept.object.id for kept in plan.kept] == [A]


def test_dependencies_in_use_by_what_goes_go_too_and_others_stay() -> None:
    assert going(clean(snapshot(*ALL, lease(E, A, B)), TINY, policy=BOTH)) == {A, B, E}
    for other in (replace(lease(B), id="2" * 32), referrer("copy", B), pin(B)):
        assert going(clean(snapshot(*ALL, lease(E, A, B), other), TINY, policy=BOTH)) == {A, E}


@given(seen=snapshots(), targets=st.sampled_from([(), (TINY,), (TINY, CleanTarget("odd", None))]))
def test_all_that_is_named_goes_and_nothing_that_is_not_is_forced(
    seen: Snapshot, targets: tuple[CleanTarget, ...]
) -> None:
    plan = clean(seen, *targets)
    assert plan.named <= going(plan)
    for item in plan.objects:
        if item.object.id in plan.named:
            continue
        assert not any(each.covers(item.object.id) for each in seen.leases)
        assert not seen.is_pinned(item.object.id)
    users = [each for each in seen.referrers if each.state is not ReferrerState.MISSING]
    broken = any("symlink" in (each.uses.get(item.object.id) or "") for each in users for item in plan.objects)
    assert broken == any("breaks" in each for each in plan.warnings)
