"""What prune takes under each policy: the rows of the table one by one, and laws over random snapshots."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocache_engine.model.records import NameKind
from aiocache_engine.model.removal import PrunePolicy, RemovalPlan, RemovalReason
from aiocache_engine.model.snapshot import Leftover, PageKind, ReferrerState, Snapshot
from aiocache_engine.model.value import replace
from aiocache_engine.policy.prune import plan_prune
from snapshots import (
    AGES,
    NOW,
    A,
    B,
    E,
    F,
    G,
    archive,
    environment,
    lease,
    name,
    page,
    referrer,
    snapshot,
    snapshots,
    tool,
)

POLICIES = {
    "plain": PrunePolicy(),
    "tools": PrunePolicy(takes_tools=True),
    "keep-latest": PrunePolicy(keeps_latest=True),
    "tools, keep-latest": PrunePolicy(takes_tools=True, keeps_latest=True),
    "unused-for": PrunePolicy(unused_for_seconds=100),
    "unused-for, keep-latest": PrunePolicy(unused_for_seconds=100, keeps_latest=True),
    "ci": PrunePolicy(is_ci=True),
}


BUILT, OVERLAY = NameKind.BUILT, NameKind.OVERLAY
DAY = 86_400.0


def told(plan: RemovalPlan) -> dict[str, str]:
    """Give why each object goes, or what keeps it."""
    going = {item.object.id[0]: item.reason.value for item in plan.objects}
    staying = {each.object.id[0]: "+".join(sorted(r.code.value for r in each.reasons)) for each in plan.kept}
    assert not going.keys() & staying.keys()
    return going | staying


TOOL = (archive(A), name(A), environment(E, A, age=50), tool(E, A))
OLD_TOOL = (archive(A, age=500), name(A), environment(E, A, age=500), tool(E, A))
TWO_REQUESTS = (
    archive(A),
    environment(E, A),
    environment(F, A),
    tool(E, A, digest="1" * 32, created_at=1.0),
    tool(F, A, digest="2" * 32, created_at=2.0),
)

#: what each row of the table says: a snapshot, and by policy what becomes of the object named first
ROWS: dict[str, tuple[Snapshot, str, Mapping[str, str]]] = {
    "unreachable": (snapshot(archive(A)), A, dict.fromkeys(POLICIES, "unreachable")),
    "found by its hash alone": (
        snapshot(archive(A), name(A, NameKind.HASH)), A, dict.fromkeys(POLICIES, "unreachable"),
    ),
    "once linked, its users gone, used lately": (
        snapshot(archive(A, age=99), name(A)),
        A,
        dict.fromkeys(POLICIES, "environments-gone") | {"unused-for": "pointer", "unused-for, keep-latest": "pointer"},
    ),
    "once linked, its users gone, idle": (
        snapshot(archive(A, age=101), name(A)),
        A,
        dict.fromkeys(POLICIES, "environments-gone") | {"unused-for": "unused", "unused-for, keep-latest": "unused"},
    ),
    "never linked, used lately": (
        snapshot(archive(A, is_linked=False, age=100), name(A)), A, dict.fromkeys(POLICIES, "pointer") | {"ci": "ci"},
    ),
    "never linked, idle": (
        snapshot(archive(A, is_linked=False, age=101), name(A)),
        A,
        dict.fromkeys(POLICIES, "pointer")
        | {"ci": "ci", "unused-for": "unused", "unused-for, keep-latest": "unused"},
    ),
    "never linked, last used in the future": (
        snapshot(archive(A, is_linked=False, age=-500), name(A)), A, dict.fromkeys(POLICIES, "pointer") | {"ci": "ci"},
    ),
    "tool environment that no request names": (
        snapshot(archive(A), environment(E, A)), E, dict.fromkeys(POLICIES, "superseded"),
    ),
    "tool environment whose interpreter is gone": (
        snapshot(archive(A), environment(E, A), tool(E, A, is_runnable=False)),
        E,
        dict.fromkeys(POLICIES, "superseded"),
    ),
    "current tool environment": (
        snapshot(*TOOL), E, dict.fromkeys(POLICIES, "pointer") | {"tools": "tools", "ci": "ci"},
    ),
    "current tool environment, idle": (
        snapshot(*OLD_TOOL),
        E,
        dict.fromkeys(POLICIES, "pointer")
        | {"tools": "tools", "ci": "ci", "unused-for": "unused", "unused-for, keep-latest": "unused"},
    ),
    "current tool environment, running": (
        snapshot(*OLD_TOOL, lease(E)),
        E,
        dict.fromkeys(POLICIES, "lease+pointer"),
    ),
    "current tool environment, seen to run": (
        snapshot(*OLD_TOOL, running=(E,)),
        E,
        dict.fromkeys(POLICIES, "pointer+running"),
    ),
    "older request": (
        snapshot(*TWO_REQUESTS),
        E,
        dict.fromkeys(POLICIES, "pointer")
        | {"tools": "tools", "tools, keep-latest": "tools", "ci": "ci"}
        | {"keep-latest": "superseded", "unused-for, keep-latest": "superseded"},
    ),
    "newest request": (
        snapshot(*TWO_REQUESTS), F, dict.fromkeys(POLICIES, "pointer") | {"tools": "tools", "ci": "ci"},
    ),
    "older request for another interpreter": (
        snapshot(
            environment(E), environment(F), tool(E, digest="1" * 32, executable="/other"),
            tool(F, digest="2" * 32, created_at=2.0),
        ),
        E,
        dict.fromkeys(POLICIES, "pointer") | {"tools": "tools", "ci": "ci"},
    ),
    "older request than one whose interpreter is gone": (
        snapshot(
            environment(E), environment(F), tool(E, digest="1" * 32),
            tool(F, digest="2" * 32, created_at=2.0, is_runnable=False),
        ),
        E,
        dict.fromkeys(POLICIES, "pointer") | {"tools": "tools", "ci": "ci"},
    ),
    "older request than one whose environment is gone": (
        snapshot(environment(E), tool(E, digest="1" * 32), tool(G, digest="2" * 32, created_at=2.0)),
        E,
        dict.fromkeys(POLICIES, "pointer") | {"tools": "tools", "ci": "ci"},
    ),
    "built here, once linked": (
        snapshot(archive(A, age=99), name(A, BUILT)), A, dict.fromkeys(POLICIES, "pointer"),
    ),
    "built here, idle": (
        snapshot(archive(A, is_linked=False, age=101), name(A, BUILT)),
        A,
        dict.fromkeys(POLICIES, "pointer") | {"unused-for": "unused", "unused-for, keep-latest": "unused"},
    ),
    "added, never linked": (
        snapshot(archive(A, is_linked=False, age=99), name(A, OVERLAY)),
        A,
        dict.fromkeys(POLICIES, "pointer") | {"ci": "ci"},
    ),
    "added, and replaced": (
        snapshot(archive(A), name(A, NameKind.HASH), archive(B), name(B, OVERLAY)),
        A,
        dict.fromkeys(POLICIES, "unreachable"),
    ),
    "build environment, used within 7 days": (
        snapshot(environment(E, age=7 * DAY, name=""), tool(E, name="")),
        E,
        dict.fromkeys(POLICIES, "pointer") | {"ci": "ci", "unused-for": "unused", "unused-for, keep-latest": "unused"},
    ),
    "build environment, used lately": (
        snapshot(environment(E, age=99, name=""), tool(E, name="")),
        E,
        dict.fromkeys(POLICIES, "pointer") | {"ci": "ci"},
    ),
    "build environment, idle for more than 7 days": (
        snapshot(environment(E, age=7 * DAY + 1, name=""), tool(E, name="")),
        E,
        dict.fromkeys(POLICIES, "unused") | {"ci": "ci"},
    ),
    "build environment, its manifest damaged, idle": (
        snapshot(environment(E, age=7 * DAY + 1, is_readable=False), tool(E, name="")),
        E,
        dict.fromkeys(POLICIES, "unused") | {"ci": "ci"},
    ),
    "build environment whose interpreter is gone": (
        snapshot(environment(E, name=""), tool(E, name="", is_runnable=False)),
        E,
        dict.fromkeys(POLICIES, "superseded"),
    ),
    "build environment in use": (
        snapshot(environment(E, age=8 * DAY, name=""), tool(E, name=""), lease(E)),
        E,
        dict.fromkeys(POLICIES, "lease+pointer"),
    ),
    "fetched and built here, idle": (
        snapshot(archive(A, age=101), name(A, BUILT), name(A)),
        A,
        dict.fromkeys(POLICIES, "pointer+pointer") | {"unused-for": "unused", "unused-for, keep-latest": "unused"},
    ),
    "in a build environment that stays": (
        snapshot(archive(A, is_linked=False), environment(E, A, name=""), tool(E, A, name="")),
        A,
        dict.fromkeys(POLICIES, "environment") | {"ci": "unreachable"},
    ),
    "idle and leased": (snapshot(archive(A, age=500), name(A), lease(A)), A, dict.fromkeys(POLICIES, "lease")),
    **{
        f"idle and in an environment by {mode}": (
            snapshot(archive(A, age=500), name(A), referrer(mode, A)), A, dict.fromkeys(POLICIES, "referrer"),
        )
        for mode in ("symlink", "hardlink", "clone", "copy")
    },
    "idle and in an environment that cannot be reached": (
        snapshot(archive(A, age=500), name(A), referrer("copy", A, state=ReferrerState.UNREACHABLE)),
        A,
        dict.fromkeys(POLICIES, "referrer"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_table_goes_or_stays_as_the_policy_says(row: str, policy: str) -> None:
    seen, object_id, expected = ROWS[row]
    assert told(plan_prune(seen, POLICIES[policy]))[object_id[0]] == expected[policy]


def test_what_was_in_a_tool_environment_goes_with_it() -> None:
    assert told(plan_prune(snapshot(*TOOL), PrunePolicy(takes_tools=True))) == {"e": "tools", "a": "environments-gone"}
    assert told(plan_prune(snapshot(*TWO_REQUESTS), PrunePolicy(keeps_latest=True)))["a"] == "environment"


@pytest.mark.parametrize(
    ("policy", "going"), [("plain", []), ("tools", []), ("unused-for", [101]), ("ci", [50, 101])]
)  # fmt: skip
def test_pages_of_projects_that_stay_go_by_age_or_before_a_ci_cache_is_saved(policy: str, going: list[int]) -> None:
    seen = snapshot(archive(A), name(A), referrer("copy", A), page("tiny", age=50), page("tiny", age=101))
    plan = plan_prune(seen, POLICIES[policy])
    assert [NOW - each.page.last_used_at for each in plan.pages] == going
    assert plan.projects == ()
    assert {item.reason for item in plan.pages} <= {RemovalReason.CI if policy == "ci" else RemovalReason.UNUSED}


@pytest.mark.parametrize("policy", POLICIES)
def test_pages_go_with_the_last_entry_of_their_project_but_only_idle_ones_where_age_matters(policy: str) -> None:
    fresh = plan_prune(snapshot(page("lost", age=99)), POLICIES[policy])
    idle = plan_prune(snapshot(page("lost", age=101)), POLICIES[policy])
    mixed = plan_prune(snapshot(page("lost", age=99), page("lost", age=101)), POLICIES[policy])
    is_by_age = POLICIES[policy].unused_for_seconds is not None
    assert (fresh.projects, fresh.pages) == (() if is_by_age else ("lost",), ())
    assert (idle.projects, idle.pages) == (("lost",), ())
    assert [NOW - each.page.last_used_at for each in mixed.pages] == ([101] if is_by_age else [])


SDIST = page("tiny", age=99, kind=PageKind.SDIST, version="1.0")
OLD_SDIST = page("tiny", age=101, kind=PageKind.SDIST, version="1.0")
LOG = page("tiny", age=7 * DAY, kind=PageKind.LOG)
OLD_LOG = page("tiny", age=7 * DAY + 1, kind=PageKind.LOG)
BY_AGE = {"unused-for": "unused", "unused-for, keep-latest": "unused"}
#: what becomes of what is stored beside names
STORED: dict[str, tuple[Snapshot, Mapping[str, str]]] = {
    "an sdist that nothing was built of": (snapshot(SDIST), {"ci": "ci"}),
    "an idle sdist that nothing was built of": (snapshot(OLD_SDIST), {**BY_AGE, "ci": "ci"}),
    "an sdist of which a wheel was built": (
        snapshot(SDIST, archive(A), name(A, BUILT)),
        dict.fromkeys(POLICIES, "superseded") | {"ci": "ci", "unused-for": "", "unused-for, keep-latest": ""},
    ),
    "an sdist of which a wheel was built that is gone": (snapshot(SDIST, name(A, BUILT)), {"ci": "ci"}),
    "an sdist beside a wheel that was fetched": (snapshot(SDIST, archive(A), name(A)), {"ci": "ci"}),
    "an sdist of another version than the wheel that was built": (
        snapshot(replace(SDIST, version="1.1"), archive(A), name(A, BUILT)),
        {"ci": "ci"},
    ),
    "an sdist whose version is written in another way": (
        snapshot(replace(SDIST, version="1"), archive(A), name(A, BUILT)),
        dict.fromkeys(POLICIES, "superseded") | {"ci": "ci", "unused-for": "", "unused-for, keep-latest": ""},
    ),
    "an sdist whose version nobody can tell": (
        snapshot(replace(SDIST, version=None), archive(A), name(A, BUILT)),
        {"ci": "ci"},
    ),
    "a log of 7 days": (snapshot(LOG), {**BY_AGE, "ci": "ci"}),
    "an older log": (snapshot(OLD_LOG), dict.fromkeys(POLICIES, "unused") | {"ci": "ci"}),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("case", STORED)
def test_sdists_and_logs_go_or_stay_as_the_policy_says_and_keep_their_project(case: str, policy: str) -> None:
    seen, expected = STORED[case]
    plan = plan_prune(seen, POLICIES[policy])
    reason = expected.get(policy, "")
    assert [item.reason.value for item in plan.pages] == [reason] * bool(reason)
    has_archive = any(kept.object.id == A for kept in plan.kept)
    assert plan.projects == (() if has_archive or not reason else ("tiny",))


def test_an_overlay_without_names_goes_or_the_projects_in_it_that_have_none() -> None:
    seen = snapshot(archive(A, is_linked=False), name(A, OVERLAY), name(B, OVERLAY), archive(B))
    assert plan_prune(seen).overlays == ("mine/big",)
    assert plan_prune(seen, PrunePolicy(is_ci=True)).overlays == ("mine",)
    assert plan_prune(replace(seen, overlays=seen.overlays | {"lone", "lone/tiny"})).overlays == ("lone", "mine/big")


def test_before_a_ci_cache_is_saved_bytecode_goes_but_not_where_symlinks_or_work_may_use_it() -> None:
    def bytecode(*seen: object) -> list[str]:
        plan = plan_prune(snapshot(archive(A), name(A), *seen), PrunePolicy(is_ci=True))  # type: ignore[arg-type]
        assert told(plan).keys() == {"a"}
        return [item.object.id for item in plan.bytecode]

    assert bytecode(referrer("hardlink", A)) == [A]
    assert bytecode(referrer("symlink", A)) == []
    assert bytecode(referrer("hardlink", A), lease(A)) == []
    assert plan_prune(snapshot(archive(A), name(A), referrer("copy", A)), POLICIES["unused-for"]).bytecode == ()


@pytest.mark.parametrize("policy", POLICIES)
def test_leftovers_of_dead_work_go_whatever_the_policy(policy: str) -> None:
    leftovers = (Leftover("/staging/x", "staging"), Leftover("/archives-v0", "format"))
    assert plan_prune(replace(snapshot(), leftovers=leftovers), POLICIES[policy]).leftovers == leftovers


# Laws

law = settings(max_examples=50, deadline=None)
ANY_POLICY = st.builds(
    PrunePolicy,
    takes_tools=st.booleans(),
    keeps_latest=st.booleans(),
    unused_for_seconds=st.sampled_from([None, 0.0, 100.0]),
    is_ci=st.booleans(),
)


@law
@given(seen=snapshots(), policy=ANY_POLICY)
def test_what_goes_and_what_is_kept_are_all_there_is(seen: Snapshot, policy: PrunePolicy) -> None:
    plan = plan_prune(seen, policy)
    parts = [*(item.object.id for item in plan.objects), *(kept.object.id for kept in plan.kept)]
    assert sorted(parts) == sorted([*seen.archives, *seen.environments])
    assert all(kept.reasons for kept in plan.kept)


@law
@given(seen=snapshots(), policy=ANY_POLICY)
def test_nothing_goes_that_a_user_or_an_environment_keeps(seen: Snapshot, policy: PrunePolicy) -> None:
    plan = plan_prune(seen, policy)
    going = {item.object.id for item in plan.objects}
    staying = {each.object.id for each in plan.kept}
    for each in seen.referrers:
        assert not going & each.uses.keys()
    for lease_ in seen.leases:
        assert not going & (lease_.objects or set())
    assert not going & seen.processes.keys()
    for environment_ in seen.environments.values():
        if environment_.id in staying and environment_.manifest is not None:
            assert not going & {member.archive_id for member in environment_.manifest.members}


@law
@given(seen=snapshots(), policy=ANY_POLICY, random=st.randoms())
def test_a_plan_does_not_depend_on_the_order_in_which_things_were_seen(
    seen: Snapshot, policy: PrunePolicy, random: object
) -> None:
    def mixed(things: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(random.sample(things, len(things)))  # type: ignore[attr-defined]

    again = replace(
        seen,
        archives=dict(mixed(tuple(seen.archives.items()))),
        environments=dict(mixed(tuple(seen.environments.items()))),
        names=mixed(seen.names),
        tools=mixed(seen.tools),
        pages=mixed(seen.pages),
    )
    one, other = plan_prune(seen, policy), plan_prune(again, policy)
    assert told(one) == told(other)
    assert (set(one.pages), one.projects, one.tools) == (set(other.pages), other.projects, other.tools)


@law
@given(seen=snapshots(), policy=ANY_POLICY)
def test_doing_it_twice_is_doing_it_once(seen: Snapshot, policy: PrunePolicy) -> None:
    plan = plan_prune(seen, policy)
    gone = {item.object.id for item in plan.objects}
    pages = {item.page for item in plan.pages}
    taken = {each.path for item in plan.objects for each in item.names} | {each.path for each in plan.dangling}
    then = replace(
        seen,
        archives={i: each for i, each in seen.archives.items() if i not in gone},
        environments={i: each for i, each in seen.environments.items() if i not in gone},
        names=tuple(each for each in seen.names if each.path not in taken),
        tools=tuple(each for each in seen.tools if each.path not in taken),
        pages=tuple(each for each in seen.pages if each not in pages and each.project not in plan.projects),
        overlays=frozenset(each for each in seen.overlays if not {each, each.partition("/")[0]} & {*plan.overlays}),
        projects=seen.projects - set(plan.projects),
    )
    again = plan_prune(then, policy)
    assert (again.objects, again.pages, again.projects, again.dangling, again.overlays) == ((), (), (), (), ())


@law
@given(seen=snapshots(), age=AGES)
def test_a_longer_time_takes_nothing_more(seen: Snapshot, age: float) -> None:
    shorter = plan_prune(seen, PrunePolicy(unused_for_seconds=abs(age)))
    longer = plan_prune(seen, PrunePolicy(unused_for_seconds=abs(age) + 100))
    assert {item.object.id for item in longer.objects} <= {item.object.id for item in shorter.objects}


@law
@given(seen=snapshots(), policy=ANY_POLICY)
def test_the_newest_environment_of_a_tool_stays_where_nothing_but_its_kind_speaks_against_it(
    seen: Snapshot, policy: PrunePolicy
) -> None:
    plan = plan_prune(seen, replace(policy, keeps_latest=True, is_ci=False, unused_for_seconds=None))
    alive = {
        each.pointer.tool
        for each in seen.tools
        if each.pointer and each.pointer.tool and each.is_runnable and each.object_id in seen.environments
    }
    kept = {each.object.id for each in plan.kept}
    for name_ in alive:
        assert kept & {each.object_id for each in seen.tools if each.pointer and each.pointer.tool == name_}


def test_the_example_of_two_archives_is_not_vacuous() -> None:
    plan = plan_prune(snapshot(archive(A, age=500), name(A), archive(B, age=1), name(B)), POLICIES["unused-for"])
    assert told(plan) == {"a": "unused", "b": "pointer"}
