"""What clean and prune decide, from snapshots alone: a table of single cases, and laws over random ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.model.manifest import Totals
from aiocache_engine.model.records import Holder, Member, NameKind, Pin, Pointer, Referrer
from aiocache_engine.model.removal import CleanTarget, KeepCode, RemovalPlan, RemovalReason, TargetKind
from aiocache_engine.model.snapshot import (
    Leftover,
    PageKind,
    ReferrerState,
    SeenArchive,
    SeenLease,
    SeenName,
    SeenPage,
    SeenReferrer,
    Snapshot,
)
from aiocache_engine.model.value import replace
from aiocache_engine.policy.clean import plan_candidates, plan_clean, plan_condemned
from aiocache_engine.policy.mark import SYMLINK
from aiocache_engine.policy.prune import plan_prune
from aiocache_engine.store.generations import version_matches

A, B, C = "a" * 32, "b" * 32, "c" * 32
HOLDER = Holder(7, 0.0, "host", "machine", "boot", None, "aioc install", 0.0)


def archive(archive_id: str, project: str = "tiny", version: str = "1.0", *, is_linked: bool = False) -> SeenArchive:
    totals = Totals(project, version, f"{project}-{version}-py3-none-any.whl", archive_id * 2, 1, 10, "boot")
    return SeenArchive(archive_id, totals, archive_id.encode(), 0.0, is_linked)


def name(
    archive_id: str,
    project: str = "tiny",
    version: str = "1.0",
    kind: NameKind = NameKind.INDEX,
    overlay: str = "mine",
) -> SeenName:
    """A name of an archive; those of the kind are in the overlay."""
    pointer = Pointer(archive_id, project, version, "file.whl", archive_id * 2, "", "")
    where = overlay if kind is NameKind.OVERLAY else ""
    return SeenName(kind, f"/{where}/{project}/{kind.value}/{archive_id}", pointer, archive_id.encode(), where)


def lease(*objects: str) -> SeenLease:
    return SeenLease("1" * 32, HOLDER, frozenset(objects))


def referrer(uses: dict[str, str], state: ReferrerState = ReferrerState.ALIVE) -> SeenReferrer:
    record = Referrer("2" * 32, "/env", ("/env/site",), 1, 1, "machine", None, uses, 0.0, "stamp")
    return SeenReferrer(record, state, uses)


def pin(*archive_ids: str) -> Pin:
    return Pin("mine", tuple(Member("tiny", "1.0", each) for each in archive_ids), 0.0)


def snapshot(
    *archives: SeenArchive,
    names: tuple[SeenName, ...] = (),
    leases: tuple[SeenLease, ...] = (),
    referrers: tuple[SeenReferrer, ...] = (),
    unreadable: tuple[str, ...] = (),
    projects: frozenset[str] | None = None,
) -> Snapshot:
    if projects is None:
        projects = frozenset(each.pointer.project for each in names)
    return Snapshot({each.id: each for each in archives}, names, leases, referrers, unreadable, projects, ())


def clean(seen: Snapshot, *targets: CleanTarget) -> RemovalPlan:
    return plan_clean(seen, targets, matches=version_matches)


POINTED = snapshot(archive(A), names=(name(A), name(A, kind=NameKind.HASH)))
LINKED = snapshot(archive(A, is_linked=True), names=(name(A),))
TABLE: dict[str, tuple[Snapshot, str, str]] = {  # snapshot, what prune says, what clean says
    "nothing refers to it": (snapshot(archive(A)), "unreachable", "named"),
    "a pointer": (POINTED, "pointer", "named"),
    "a hash name alone": (snapshot(archive(A), names=(name(A, kind=NameKind.HASH),)), "unreachable", "named"),
    "once linked": (LINKED, "environments-gone", "named"),
    "leased": (replace(POINTED, leases=(lease(A),)), "lease", "lease"),
    "leased by what cannot be read": (replace(POINTED, leases=(SeenLease("1" * 32, None, None),)), "lease", "lease"),
    "another is leased": (replace(POINTED, leases=(lease(B),)), "pointer", "named"),
    "symlinked": (replace(LINKED, referrers=(referrer({A: "symlink"}),)), "referrer", "referrer"),
    "hard-linked": (replace(LINKED, referrers=(referrer({A: "hardlink"}),)), "referrer", "named"),
    "copied": (replace(LINKED, referrers=(referrer({A: "copy"}),)), "referrer", "named"),
    "cloned": (replace(LINKED, referrers=(referrer({A: "clone"}),)), "referrer", "named"),
    "unreachable environment": (
        replace(LINKED, referrers=(referrer({A: "symlink"}, ReferrerState.UNREACHABLE),)),
        "referrer",
        "referrer",
    ),
    "environment gone": (
        replace(LINKED, referrers=(referrer({}, ReferrerState.MISSING),)),
        "environments-gone",
        "named",
    ),
    "a record that cannot be read": (replace(POINTED, unreadable_referrers=("/x",)), "unknown", "unknown"),
    "pinned": (replace(LINKED, pins=(pin(A),)), "pin", "pin"),
    "another is pinned": (replace(LINKED, pins=(pin(B),)), "environments-gone", "named"),
    "a pin that cannot be read": (replace(LINKED, unreadable_pins=("/x",)), "unknown", "unknown"),
    "no manifest": (
        snapshot(replace(archive(A), totals=None), names=(name(A, kind=NameKind.HASH),)),
        "unreachable",
        "named",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_prune_decides_as_the_table_says(case: str) -> None:
    seen, expected, _ = TABLE[case]
    assert verdict(plan_prune(seen)) == expected


@pytest.mark.parametrize("case", TABLE)
def test_clean_of_a_project_decides_as_the_table_says(case: str) -> None:
    seen, _, expected = TABLE[case]
    assert verdict(clean(seen, CleanTarget("tiny", None))) == expected
    assert verdict(clean(seen)) == expected


def verdict(plan: RemovalPlan) -> str:
    """Give why the only archive goes, or what keeps it first."""
    if plan.objects:
        assert not plan.kept
        [item] = plan.objects
        return item.reason.value
    [kept] = plan.kept
    return kept.reasons[0].code.value


def test_a_clean_of_another_project_or_version_takes_nothing() -> None:
    for target in (CleanTarget("other", None), CleanTarget("tiny", "==2"), CleanTarget("tiny", ">1.0")):
        plan = clean(POINTED, target)
        assert plan.objects == plan.kept == ()


ADDED = name(A, kind=NameKind.OVERLAY)


@pytest.mark.parametrize(
    ("names", "target", "is_going"),
    [
        ((ADDED,), CleanTarget("tiny", None, overlay="mine"), True),
        ((ADDED,), CleanTarget("*", None, TargetKind.PATTERN, overlay="mine"), True),
        ((ADDED,), CleanTarget("tiny", "==1.0", overlay="mine"), True),
        ((ADDED,), CleanTarget("tiny", "==2.0", overlay="mine"), False),
        ((ADDED,), CleanTarget("big", None, overlay="mine"), False),
        ((ADDED,), CleanTarget("tiny", None, overlay="other"), False),
        ((ADDED,), CleanTarget("tiny", None), True),
        ((ADDED, name(A, kind=NameKind.HASH)), CleanTarget("tiny", None, overlay="mine"), True),
        ((ADDED, name(A)), CleanTarget("tiny", None, overlay="mine"), False),
        ((ADDED, name(A, kind=NameKind.BUILT)), CleanTarget("tiny", None, overlay="mine"), False),
        (
            (ADDED, name(A, kind=NameKind.OVERLAY, overlay="other")),
            CleanTarget("tiny", None, overlay="mine"),
            False,
        ),
        ((name(A, kind=NameKind.HASH),), CleanTarget("tiny", None, overlay="mine"), False),
    ],
)
def test_a_clean_of_an_overlay_takes_what_is_nowhere_else(
    names: tuple[SeenName, ...], target: CleanTarget, *, is_going: bool
) -> None:
    plan = clean(snapshot(archive(A), names=names), target)
    assert [item.object.id for item in plan.objects] == [A] * is_going
    assert plan.kept == ()


def test_an_overlay_that_is_not_there_is_told_with_near_names() -> None:
    seen = replace(snapshot(archive(A), names=(ADDED,)), overlays=frozenset({"mine", "mine/tiny"}))
    target = CleanTarget("*", None, TargetKind.PATTERN, overlay="mane")
    assert (clean(seen, target).unmatched, clean(seen, target).near_names) == ((target,), ("mine",))
    assert clean(seen, CleanTarget("tinny", None, overlay="mine")).near_names == ("tiny",)
    assert clean(seen, CleanTarget("tiny", None, overlay="mine")).unmatched == ()


def test_an_sdist_of_a_version_is_a_match_though_nothing_else_is_there() -> None:
    sdist = SeenPage("/tiny-1.0.tar.gz", "tiny", 0.0, PageKind.SDIST, "1.0")
    seen = replace(snapshot(projects=frozenset({"tiny"})), pages=(sdist,))
    assert clean(seen, CleanTarget("tiny", "==1.0")).unmatched == ()
    assert clean(seen, CleanTarget("tiny", "==2.0")).unmatched != ()


def test_a_pointer_names_an_archive_whose_manifest_says_another_version() -> None:
    seen = snapshot(archive(A, version="1.0"), names=(name(A, version="1.0.post1"),))
    assert [item.object.id for item in clean(seen, CleanTarget("tiny", "==1.0.post1")).objects] == [A]


def test_what_only_a_lease_keeps_is_condemned_and_what_else_is_kept_is_not() -> None:
    symlinked = replace(POINTED, leases=(lease(A),), referrers=(referrer({A: "symlink"}),))
    assert [kept.is_condemned for kept in clean(symlinked).kept] == [False]
    assert [kept.is_condemned for kept in clean(replace(POINTED, leases=(lease(A),))).kept] == [True]
    assert [kept.is_condemned for kept in plan_prune(replace(POINTED, leases=(lease(A),))).kept] == [False]
    assert [kept.is_condemned for kept in plan_prune(snapshot(archive(A), leases=(lease(A),))).kept] == [True]


def test_all_names_of_an_archive_go_with_it_the_hash_name_last() -> None:
    names = (name(A, kind=NameKind.HASH), name(A), name(B))
    plan = plan_prune(snapshot(archive(A, is_linked=True), archive(B), names=names))
    [item] = plan.objects
    assert [each.kind for each in item.names] == [NameKind.INDEX, NameKind.HASH]


def test_a_prune_takes_names_that_lead_nowhere_and_projects_that_are_left_alone() -> None:
    names = (name(A, "tiny"), name(B, "gone"), name(C, "linked"))
    seen = snapshot(archive(A), archive(C, "linked", is_linked=True), names=names)
    plan = plan_prune(replace(seen, projects=seen.projects | {"only-a-page"}))
    assert plan.dangling == (name(B, "gone"),)
    assert plan.projects == ("gone", "linked", "only-a-page")


def test_condemned_archives_that_a_name_leads_to_again_stay() -> None:
    assert plan_condemned(POINTED, {A}).objects == ()
    only_hash = snapshot(archive(A), names=(name(A, kind=NameKind.HASH),))
    assert [item.object.id for item in plan_condemned(only_hash, {A, B}).objects] == [A]


def test_a_pin_is_told_with_how_it_is_taken_off() -> None:
    seen = replace(LINKED, pins=(Pin("torch<2.5", (Member("tiny", "1.0", A),), 0.0),))
    (kept,) = clean(seen).kept
    assert (kept.reasons[0].via, kept.reasons[0].release) == (("torch<2.5",), "aioc unpin 'torch<2.5'")
    assert not kept.is_condemned


def test_near_names_are_offered_only_for_what_matches_nothing() -> None:
    assert clean(POINTED, CleanTarget("tinny", None)).near_names == ("tiny",)
    assert clean(POINTED, CleanTarget("tiny", None)).near_names == ()
    assert clean(POINTED, CleanTarget("unlike", None)).near_names == ()


def test_an_unreachable_environment_is_warned_of_by_prune() -> None:
    seen = replace(LINKED, referrers=(referrer({A: "copy"}, ReferrerState.UNREACHABLE),))
    assert ["/env" in warning for warning in plan_prune(seen).warnings] == [True]


DAYS = 86_400.0


@pytest.mark.parametrize(
    ("link_mode", "state", "days", "is_kept"),
    [
        ("hardlink", ReferrerState.UNREACHABLE, 29, True),
        ("hardlink", ReferrerState.UNREACHABLE, 31, False),
        ("copy", ReferrerState.UNREACHABLE, 31, False),
        ("clone", ReferrerState.UNREACHABLE, 31, False),
        ("symlink", ReferrerState.UNREACHABLE, 3000, True),
        ("hardlink", ReferrerState.ALIVE, 3000, True),
        ("hardlink", ReferrerState.UNREACHABLE, -3000, True),
    ],
)
def test_an_environment_that_cannot_be_reached_is_given_up_after_thirty_days_unless_it_would_break(
    link_mode: str, state: ReferrerState, days: int, *, is_kept: bool
) -> None:
    user = replace(referrer({A: link_mode}, state), last_seen_at=-days * DAYS)
    plan = plan_prune(replace(LINKED, referrers=(user,), taken_at=0.0))
    assert (verdict(plan) == "referrer") is is_kept
    assert (plan.forgotten == ()) is is_kept
    is_noted = state is ReferrerState.ALIVE
    assert plan.seen_again == ((user.referrer.id,) if is_noted else ())


@pytest.mark.parametrize(
    ("link_mode", "others", "is_told"),
    [
        ("symlink", (), True),
        ("hardlink", (), False),
        ("copy", (), False),
        ("symlink", (referrer({A: "copy"}),), False),  # nothing that it used goes
    ],
)
def test_a_prune_tells_of_a_symlinked_environment_that_is_gone_if_what_it_used_goes(
    link_mode: str, others: tuple[SeenReferrer, ...], *, is_told: bool
) -> None:
    gone = replace(referrer({A: link_mode}), state=ReferrerState.MISSING, uses={})
    warnings = plan_prune(replace(LINKED, referrers=(gone, *others))).warnings
    assert warnings == (("environment /env is gone; if it was moved, install into it again",) if is_told else ())


def test_environments_that_are_gone_are_forgotten_and_no_others() -> None:
    for state in ReferrerState:
        plan = plan_prune(replace(LINKED, referrers=(referrer({}, state),)))
        assert len(plan.forgotten) == (state is ReferrerState.MISSING)


# Laws

IDS = st.sampled_from([letter * 32 for letter in "abcdef"])
PROJECTS = st.sampled_from(["tiny", "big", "odd"])
VERSIONS = st.sampled_from(["1.0", "2.0", "3.0rc1"])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    ids = draw(st.sets(IDS))
    archives = {i: archive(i, draw(PROJECTS), draw(VERSIONS), is_linked=draw(st.booleans())) for i in sorted(ids)}
    names = []
    for archive_id, kind in draw(st.lists(st.tuples(IDS, st.sampled_from(NameKind)), unique=True)):
        seen = archives.get(archive_id)
        project, version = (seen.totals.project, seen.totals.version) if seen and seen.totals else ("odd", "1.0")
        names.append(name(archive_id, project, version, kind))
    leases = draw(st.lists(st.sets(IDS).map(lambda ids: lease(*ids)), max_size=2))
    modes = st.sampled_from(["symlink", "hardlink", "copy"])
    uses = st.dictionaries(IDS, modes, max_size=3)
    alive = st.sampled_from([ReferrerState.ALIVE, ReferrerState.UNREACHABLE])
    referrers = draw(st.lists(st.builds(referrer, uses, alive), max_size=2))
    projects = frozenset(each.pointer.project for each in names) | draw(st.sets(PROJECTS))
    leftovers = draw(st.lists(st.just(Leftover("/x", "trash")), max_size=1))
    seen = Snapshot(archives, tuple(names), tuple(leases), tuple(referrers), (), projects, tuple(leftovers))
    return replace(seen, pins=tuple(draw(st.lists(st.sets(IDS, min_size=1).map(lambda ids: pin(*ids)), max_size=1))))


TARGETS = st.builds(
    CleanTarget,
    PROJECTS,
    st.none() | st.sampled_from(["==1.0", "<3", ">=2"]),
    overlay=st.sampled_from([None, None, "mine", "other"]),
)
PLANS: dict[str, Callable[[Snapshot, tuple[CleanTarget, ...]], RemovalPlan]] = {
    "prune": lambda seen, _: plan_prune(seen),
    "clean": lambda seen, targets: clean(seen, *targets),
    "everything": lambda seen, _: clean(seen),
}
plans = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())


@plans
@given(seen=snapshots(), targets=st.lists(TARGETS, min_size=1, max_size=2).map(tuple))
def test_removed_and_kept_are_apart_and_all_there(
    plan: Callable[[Snapshot, tuple[CleanTarget, ...]], RemovalPlan], seen: Snapshot, targets: tuple[CleanTarget, ...]
) -> None:
    made = plan(seen, targets)
    removed = [item.object.id for item in made.objects]
    kept = [each.object.id for each in made.kept]
    assert len({*removed, *kept}) == len(removed) + len(kept)
    assert {*removed, *kept} <= seen.archives.keys()
    if made.command == "prune" or made.is_everything:
        assert {*removed, *kept} == seen.archives.keys()
    assert all(each.reasons for each in made.kept)


@plans
@given(seen=snapshots(), targets=st.lists(TARGETS, min_size=1, max_size=2).map(tuple))
def test_nothing_that_a_root_keeps_is_removed(
    plan: Callable[[Snapshot, tuple[CleanTarget, ...]], RemovalPlan], seen: Snapshot, targets: tuple[CleanTarget, ...]
) -> None:
    made = plan(seen, targets)
    for item in made.objects:
        archive_id = item.object.id
        assert not any(each.covers(archive_id) for each in seen.leases)
        modes = [each.uses[archive_id] for each in seen.referrers if archive_id in each.uses]
        assert SYMLINK not in modes
        assert not seen.is_pinned(archive_id)
        if made.command == "prune":
            assert not modes
            kinds = {n.kind for n in seen.names if n.pointer.archive_id == archive_id}
            assert NameKind.BUILT not in kinds
            assert not kinds & {NameKind.INDEX, NameKind.OVERLAY} or item.object.is_linked
        assert set(item.names) == {n for n in seen.names if n.pointer.archive_id == archive_id}


@plans
@given(seen=snapshots(), targets=st.lists(TARGETS, min_size=1, max_size=2).map(tuple), chance=st.randoms())
def test_the_order_of_what_was_seen_decides_nothing(
    plan: Callable[[Snapshot, tuple[CleanTarget, ...]], RemovalPlan],
    seen: Snapshot,
    targets: tuple[CleanTarget, ...],
    chance: object,
) -> None:
    def shuffled(values: object) -> list[object]:
        mixed = list(values)  # type: ignore[call-overload]
        chance.shuffle(mixed)  # type: ignore[attr-defined]
        return mixed

    mixed = Snapshot(
        dict(shuffled(seen.archives.items())),
        tuple(shuffled(seen.names)),
        tuple(shuffled(seen.leases)),
        tuple(shuffled(seen.referrers)),
        (),
        seen.projects,
        seen.leftovers,
        pins=seen.pins,
    )
    one, other = plan(seen, targets), plan(mixed, tuple(reversed(targets)))
    assert {(item.object.id, item.reason) for item in one.objects} == {
        (item.object.id, item.reason) for item in other.objects
    }
    assert {kept.object.id for kept in one.kept} == {kept.object.id for kept in other.kept}
    assert (set(one.projects), set(one.dangling)) == (set(other.projects), set(other.dangling))


@plans
@given(seen=snapshots(), targets=st.lists(TARGETS, min_size=1, max_size=2).map(tuple))
def test_doing_it_twice_is_doing_it_once(
    plan: Callable[[Snapshot, tuple[CleanTarget, ...]], RemovalPlan], seen: Snapshot, targets: tuple[CleanTarget, ...]
) -> None:
    made = plan(seen, targets)
    gone = {item.object.id for item in made.objects}
    taken = {n for item in made.objects for n in item.names} | set(made.dangling)
    after = replace(
        seen,
        archives={i: each for i, each in seen.archives.items() if i not in gone},
        names=tuple(n for n in seen.names if n not in taken),
        projects=seen.projects - set(made.projects),
        leftovers=(),
    )
    again = plan(after, targets)
    assert again.objects == ()
    assert again.dangling == again.projects == ()
    assert {kept.object.id for kept in again.kept} == {kept.object.id for kept in made.kept}


@given(seen=snapshots(), candidates=st.sets(IDS))
def test_candidates_are_a_part_of_what_a_clean_of_everything_takes(seen: Snapshot, candidates: set[str]) -> None:
    part = {item.object.id for item in plan_candidates(seen, candidates, reason=RemovalReason.NAMED).objects}
    whole = {item.object.id for item in clean(seen).objects}
    assert part == whole & candidates
    assert KeepCode.POINTER not in {r.code for kept in clean(seen).kept for r in kept.reasons}
