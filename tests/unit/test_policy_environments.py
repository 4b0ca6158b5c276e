"""What clean and prune decide on cached environments and what is in them: single cases, and laws over random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.model.manifest import Totals
from aiocache_engine.model.records import (
    EnvironmentManifest,
    EnvironmentPointer,
    Holder,
    Member,
    NameKind,
    Pointer,
    Referrer,
)
from aiocache_engine.model.removal import CleanTarget, Kept, RemovalPlan, TargetKind
from aiocache_engine.model.snapshot import (
    ReferrerState,
    SeenArchive,
    SeenEnvironment,
    SeenLease,
    SeenName,
    SeenProcess,
    SeenReferrer,
    SeenTool,
    Snapshot,
)
from aiocache_engine.model.value import replace
from aiocache_engine.policy.clean import plan_clean, plan_condemned
from aiocache_engine.policy.prune import plan_prune
from aiocache_engine.store.generations import version_matches

A, B, E, F = "a" * 32, "b" * 32, "e" * 32, "f" * 32
PROJECT = {A: "tiny", B: "big", "c" * 32: "odd"}
TINY, BIG = CleanTarget("tiny", None), CleanTarget("big", None)
HOLDER = Holder(7, 0.0, "host", "machine", "boot", None, "aioc run tiny", 0.0)


def archive(archive_id: str, *, is_linked: bool = True) -> SeenArchive:
    project = PROJECT[archive_id]
    totals = Totals(project, "1.0", f"{project}-1.0-py3-none-any.whl", archive_id * 2, 1, 10, "boot")
    return SeenArchive(archive_id, totals, archive_id.encode(), 0.0, is_linked)


def members(*archive_ids: str) -> tuple[Member, ...]:
    return tuple(Member(PROJECT[each], "1.0", each) for each in archive_ids)


def environment(environment_id: str, *archive_ids: str, is_readable: bool = True, **what: bool) -> SeenEnvironment:
    manifest = EnvironmentManifest("tiny", "d" * 32, "/python", members(*archive_ids), 1, 10, 0, is_cloned=False)
    seen = manifest if is_readable else None
    return SeenEnvironment(environment_id, f"/{environment_id}", seen, environment_id.encode(), 0.0, **what)


def tool(environment_id: str, *archive_ids: str, is_runnable: bool = True, digest: str = "d" * 32) -> SeenTool:
    pointer = EnvironmentPointer(environment_id, "tiny", digest, "/python", members(*archive_ids), (), 1.0)
    return SeenTool(f"/tools-v1/tiny/{digest}.json", pointer, environment_id.encode(), (1, 1, 1), is_runnable)


def name(archive_id: str, kind: NameKind = NameKind.INDEX) -> SeenName:
    pointer = Pointer(archive_id, PROJECT[archive_id], "1.0", "file.whl", archive_id * 2, "", "")
    return SeenName(kind, f"/{kind.value}/{archive_id}", pointer, archive_id.encode())


def lease(*objects: str) -> SeenLease:
    return SeenLease("1" * 32, HOLDER, frozenset(objects))


def referrer(link_mode: str, *archive_ids: str) -> SeenReferrer:
    uses = dict.fromkeys(archive_ids, link_mode)
    record = Referrer("2" * 32, "/env", ("/env/site",), 1, 1, "machine", None, uses, 0.0, "stamp")
    return SeenReferrer(record, ReferrerState.ALIVE, uses)


def snapshot(*seen: SeenArchive | SeenEnvironment | SeenTool | SeenName | SeenLease | SeenReferrer) -> Snapshot:
    return Snapshot(
        archives={each.id: each for each in seen if isinstance(each, SeenArchive)},
        names=tuple(each for each in seen if isinstance(each, SeenName)),
        leases=tuple(each for each in seen if isinstance(each, SeenLease)),
        referrers=tuple(each for each in seen if isinstance(each, SeenReferrer)),
        unreadable_referrers=(),
        projects=frozenset(),
        leftovers=(),
        environments={each.id: each for each in seen if isinstance(each, SeenEnvironment)},
        tools=tuple(each for each in seen if isinstance(each, SeenTool)),
        tool_directories=frozenset({"tiny"}),
    )


def running(*seen: SeenArchive | SeenEnvironment | SeenTool | SeenName | SeenLease | SeenReferrer) -> Snapshot:
    return replace(snapshot(*seen), processes={E: (SeenProcess(7, "tool"),)})


def told(plan: RemovalPlan) -> dict[str, str]:
    """Give why each object goes, or what keeps it; what waits for the end of a lease has a star."""
    going = {item.object.id[0]: item.reason.value for item in plan.objects}
    staying = {kept.object.id[0]: _kept(kept) for kept in plan.kept}
    assert not going.keys() & staying.keys()
    return going | staying


def _kept(kept: Kept) -> str:
    return "+".join(reason.code.value for reason in kept.reasons) + ("*" if kept.is_condemned else "")


CURRENT = (archive(A), archive(B), name(A), name(B), environment(E, A, B), tool(E, A, B))
NAMELESS = (archive(A), archive(B), environment(E, A, B))
TABLE: dict[str, tuple[Snapshot, Mapping[str, str], Mapping[str, str]]] = {  # what prune, and what `clean tiny` says
    "current": (
        snapshot(*CURRENT),
        {"e": "pointer", "a": "environment", "b": "environment"},
        {"e": "named", "a": "named"},
    ),
    "current, of archives that have no name": (
        snapshot(*NAMELESS, tool(E, A, B)),
        {"e": "pointer", "a": "environment", "b": "environment"},
        {"e": "named", "a": "named", "b": "unreachable"},
    ),
    "no request names it": (
        snapshot(*NAMELESS, name(A), name(B)),
        {"e": "superseded", "a": "environments-gone", "b": "environments-gone"},
        {"e": "named", "a": "named"},
    ),
    "its interpreter is gone": (
        snapshot(*NAMELESS, tool(E, A, B, is_runnable=False)),
        {"e": "superseded", "a": "unreachable", "b": "unreachable"},
        {"e": "named", "a": "named", "b": "unreachable"},
    ),
    "running": (
        snapshot(*CURRENT, lease(E, A, B)),
        {"e": "lease+pointer", "a": "lease+environment", "b": "lease+environment"},
        {"e": "lease*", "a": "lease+environment*"},
    ),
    "running, and without any name": (
        snapshot(*NAMELESS, lease(E, A, B)),
        {"e": "lease*", "a": "lease+environment*", "b": "lease+environment*"},
        {"e": "lease*", "a": "lease+environment*", "b": "lease+environment*"},
    ),
    "running, on a lease that leaves its archives out": (
        snapshot(*NAMELESS, lease(E)),
        {"e": "lease*", "a": "environment*", "b": "environment*"},
        {"e": "lease*", "a": "environment*", "b": "environment*"},
    ),
    "a process lives in it, without a lease": (
        running(*CURRENT),
        {"e": "running+pointer", "a": "environment", "b": "environment"},
        {"e": "running*", "a": "environment*"},
    ),
    "a process lives in it, without a lease and without any name": (
        running(*NAMELESS),
        {"e": "running*", "a": "environment*", "b": "environment*"},
        {"e": "running*", "a": "environment*", "b": "environment*"},
    ),
    "a process lives in it, and a lease is on it": (
        running(*NAMELESS, lease(E, A, B)),
        {"e": "lease+running*", "a": "lease+environment*", "b": "lease+environment*"},
        {"e": "lease+running*", "a": "lease+environment*", "b": "lease+environment*"},
    ),
    "new": (
        snapshot(archive(A), archive(B), environment(E, A, B, is_new=True)),
        {"e": "recently-used", "a": "environment", "b": "environment"},
        {"e": "recently-used", "a": "environment"},
    ),
    "unreadable, and named": (
        snapshot(archive(A), archive(B), environment(E, is_readable=False), tool(E, A, B)),
        {"e": "pointer", "a": "environment", "b": "environment"},
        {"e": "named", "a": "named", "b": "unreachable"},
    ),
    "unreadable, and without any name": (
        snapshot(archive(A), name(A), environment(E, is_readable=False)),
        {"e": "superseded", "a": "environments-gone"},
        {"a": "named"},
    ),
    "another one contains the same": (
        snapshot(*NAMELESS, environment(F, B), tool(F, B)),
        {"e": "superseded", "a": "unreachable", "f": "pointer", "b": "environment"},
        {"e": "named", "a": "named"},
    ),
    "others are linked from what is in it": (
        snapshot(*NAMELESS, referrer("hardlink", A, B)),
        {"e": "superseded", "a": "referrer", "b": "referrer"},
        {"e": "named", "a": "named"},
    ),
    "others are linked from it by symlink": (
        snapshot(*NAMELESS, tool(E, A, B), referrer("symlink", A, B)),
        {"e": "pointer", "a": "referrer+environment", "b": "referrer+environment"},
        {"e": "named", "a": "referrer"},
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_prune_decides_as_the_table_says(case: str) -> None:
    seen, expected, _ = TABLE[case]
    assert told(plan_prune(seen)) == expected


@pytest.mark.parametrize("case", TABLE)
def test_clean_of_a_project_decides_as_the_table_says(case: str) -> None:
    seen, _, expected = TABLE[case]
    assert told(clean(seen, TINY)) == expected


def clean(seen: Snapshot, *targets: CleanTarget) -> RemovalPlan:
    return plan_clean(seen, targets, matches=version_matches)


@pytest.mark.parametrize("specifier", ["==2", ">1", "<1"])
def test_a_clean_of_other_versions_takes_no_environment(specifier: str) -> None:
    plan = clean(snapshot(*CURRENT), CleanTarget("tiny", specifier))
    assert told(plan) == {}
    assert plan.unmatched == (CleanTarget("tiny", specifier),)


def test_a_project_that_is_only_in_an_environment_is_matched_and_known() -> None:
    seen = snapshot(environment(E, A), tool(E, A))
    assert clean(seen, TINY).unmatched == ()
    assert clean(seen, CleanTarget("tinny", None)).near_names == ("tiny",)


def test_the_names_of_an_environment_go_with_it_and_tell_what_contains_an_archive() -> None:
    seen = snapshot(*CURRENT)
    of_environment, of_archive = clean(seen, TINY).objects
    assert of_environment.names == seen.tools
    assert (of_archive.containers, of_environment.containers) == ((E,), ())


NAMED: dict[str, tuple[CleanTarget, Mapping[str, str]]] = {  # of CURRENT and an environment of another tool
    "an archive": (CleanTarget(B, None, TargetKind.ID), {"e": "named", "b": "named"}),
    "an environment": (CleanTarget(E, None, TargetKind.ID), {"e": "named"}),
    "no object": (CleanTarget("0" * 32, None, TargetKind.ID), {}),
    "a tool": (CleanTarget("tiny", None, TargetKind.TOOL), {"e": "named"}),
    "no tool, though a project": (CleanTarget("big", None, TargetKind.TOOL), {}),
    "a pattern": (CleanTarget("b*", None, TargetKind.PATTERN), {"e": "named", "b": "named"}),
    "a pattern of several": (CleanTarget("*d?*", None, TargetKind.PATTERN), {"d": "named", "c": "named"}),
    "a pattern of nothing": (CleanTarget("*z", None, TargetKind.PATTERN), {}),
    "a project that is called like a pattern": (CleanTarget("b*", None), {}),
}


@pytest.mark.parametrize("case", NAMED)
def test_clean_takes_what_is_named_in_another_way(case: str) -> None:
    target, expected = NAMED[case]
    other = environment("d" * 32, "c" * 32)
    assert other.manifest is not None
    other = replace(other, manifest=replace(other.manifest, tool="odd"))
    seen = snapshot(*CURRENT, archive("c" * 32), name("c" * 32), other)
    plan = clean(replace(seen, tool_directories=frozenset()), target)
    assert told(plan) == expected
    assert plan.unmatched == (() if expected else (target,))


def test_a_tool_that_matches_nothing_is_named_near_ones() -> None:
    assert clean(snapshot(*CURRENT), CleanTarget("tinny", None, TargetKind.TOOL)).near_names == ("tiny",)
    assert clean(snapshot(*CURRENT), CleanTarget("bigg", None, TargetKind.TOOL)).near_names == ()
    assert clean(snapshot(*CURRENT), CleanTarget("tinn?", None, TargetKind.PATTERN)).near_names == ()


def test_names_that_lead_to_no_environment_are_dangling_and_their_tool_is_left_alone() -> None:
    lost, unreadable = tool(E, A), replace(tool(F, digest="0" * 32), pointer=None)
    plan = plan_prune(snapshot(archive(A), lost, unreadable))
    assert plan.dangling == (lost, unreadable)
    assert plan.tools == ("tiny",)
    assert plan_prune(snapshot(*CURRENT)).tools == ()


def test_a_condemned_environment_brings_what_only_it_contained() -> None:
    assert told(plan_condemned(snapshot(*NAMELESS, name(B)), {E})) == {"e": "unreachable", "a": "unreachable"}
    assert told(plan_condemned(snapshot(*CURRENT), {E})) == {}


def test_a_condemned_archive_takes_an_abandoned_environment_first() -> None:
    assert told(plan_condemned(snapshot(*NAMELESS, name(B)), {A})) == {"e": "unreachable", "a": "unreachable"}
    assert told(plan_condemned(snapshot(*NAMELESS, tool(E, A, B)), {A})) == {"a": "environment"}


def test_where_an_environment_is_of_clones_the_figure_is_an_upper_bound() -> None:
    assert plan_prune(snapshot(*NAMELESS)).is_freed_exact
    seen = environment(E, A, B)
    assert seen.manifest is not None
    cloned = replace(seen, manifest=replace(seen.manifest, is_cloned=True))
    assert not plan_prune(snapshot(archive(A), cloned)).is_freed_exact
    assert not clean(snapshot(archive(A), cloned, tool(E, A)), TINY).is_freed_exact


# Laws

ARCHIVES = st.sampled_from(list(PROJECT))
ENVIRONMENTS = st.sampled_from(["d" * 32, E, F])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    archives = [archive(each, is_linked=draw(st.booleans())) for each in sorted(draw(st.sets(ARCHIVES)))]
    inside = {each: sorted(draw(st.sets(ARCHIVES, max_size=3))) for each in sorted(draw(st.sets(ENVIRONMENTS)))}
    environments = [
        environment(each, *inside[each], is_readable=draw(st.sampled_from([True, True, False])), is_new=draw(RARELY))
        for each in inside
    ]
    names = [name(each, kind) for each, kind in draw(st.sets(st.tuples(ARCHIVES, st.sampled_from(NameKind))))]
    tools = [
        tool(each, *inside.get(each, ()), is_runnable=draw(st.booleans()), digest=number * 32)
        for number, each in zip("12", draw(st.lists(ENVIRONMENTS, max_size=2)), strict=False)
    ]
    leases = [lease(*draw(st.sets(ARCHIVES | ENVIRONMENTS))) for _ in range(draw(st.integers(0, 1)))]
    modes = st.sampled_from(["symlink", "hardlink"])
    referrers = [referrer(draw(modes), *draw(st.sets(ARCHIVES))) for _ in range(draw(st.integers(0, 1)))]
    seen = snapshot(*archives, *environments, *names, *tools, *leases, *referrers)
    processes = {each: (SeenProcess(7, "tool"),) for each in sorted(draw(st.sets(ENVIRONMENTS, max_size=1)))}
    return replace(seen, processes=processes if draw(RARELY) else {})


RARELY = st.sampled_from([False, False, False, True])
Planner = Callable[[Snapshot], RemovalPlan]
PLANS: dict[str, Planner] = {
    "prune": plan_prune,
    "clean tiny": lambda seen: clean(seen, TINY),
    "clean tiny big": lambda seen: clean(seen, TINY, BIG),
    "clean of everything": clean,
    "condemned archive": lambda seen: plan_condemned(seen, {A}),
    "condemned environment": lambda seen: plan_condemned(seen, {E}),
}
plans = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())


@plans
@given(seen=snapshots())
def test_an_archive_goes_only_after_all_that_contains_it(plan: Planner, seen: Snapshot) -> None:
    made = plan(seen)
    gone: list[str] = []
    for item in made.objects:
        containing = {
            each.id
            for each in seen.environments.values()
            if each.manifest is not None and item.object.id in {member.archive_id for member in each.manifest.members}
        }
        assert containing <= set(item.containers) <= set(gone)
        gone.append(item.object.id)
    assert len(gone) == len(set(gone))
    assert not set(gone) & {kept.object.id for kept in made.kept}


@plans
@given(seen=snapshots())
def test_nothing_that_is_in_use_or_new_goes_and_all_names_go_with_what_does(plan: Planner, seen: Snapshot) -> None:
    for item in plan(seen).objects:
        assert not any(each.covers(item.object.id) for each in seen.leases)
        assert item.object.id not in seen.processes
        assert not (isinstance(item.object, SeenEnvironment) and item.object.is_new)
        leading = {each.path for each in (*seen.names, *seen.tools) if each.object_id == item.object.id}
        assert {each.path for each in item.names} == leading


@given(seen=snapshots())
def test_a_prune_leaves_what_can_run_and_all_that_is_in_it(seen: Snapshot) -> None:
    going = {item.object.id for item in plan_prune(seen).objects}
    for each in seen.tools:
        if each.is_runnable and each.pointer is not None and each.object_id in seen.environments:
            manifest = seen.environments[each.pointer.environment_id].manifest
            inside = manifest.members if manifest is not None else each.pointer.members
            assert not going & {each.object_id, *(member.archive_id for member in inside)}


def done(seen: Snapshot, made: RemovalPlan, *nameless: str) -> Snapshot:
    """Give the state after a plan, in which these have lost their names, too."""
    gone = {item.object.id for item in made.objects}
    taken = {each.path for item in made.objects for each in item.names} | {each.path for each in made.dangling}
    return replace(
        seen,
        archives={i: each for i, each in seen.archives.items() if i not in gone},
        environments={i: each for i, each in seen.environments.items() if i not in gone},
        names=tuple(each for each in seen.names if each.path not in taken and each.object_id not in nameless),
        tools=tuple(each for each in seen.tools if each.path not in taken and each.object_id not in nameless),
    )


@plans
@given(seen=snapshots())
def test_doing_it_twice_is_doing_it_once(plan: Planner, seen: Snapshot) -> None:
    made = plan(seen)
    assert plan(done(seen, made)).objects == ()


@given(seen=snapshots())
def test_what_is_condemned_goes_when_its_users_end(seen: Snapshot) -> None:
    for plan in (plan_prune, lambda seen: clean(seen, TINY)):
        made = plan(seen)
        condemned = {kept.object.id for kept in made.kept if kept.is_condemned}
        then = replace(done(seen, made, *condemned), leases=(), processes={})
        assert condemned <= {item.object.id for item in plan_condemned(then, condemned).objects}
