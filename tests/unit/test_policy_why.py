"""Why something is still in the cache: the answer has no reason exactly where a prune takes it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocache_engine.model.records import NameKind
from aiocache_engine.model.removal import PrunePolicy, RemovalReason, StoredSdist
from aiocache_engine.model.snapshot import PageKind, ReferrerState, SeenPage, Snapshot
from aiocache_engine.model.value import replace
from aiocache_engine.model.why import Explanation, Question
from aiocache_engine.policy.prune import plan_prune
from aiocache_engine.policy.why import explain
from aiocache_engine.store.generations import version_matches
from snapshots import AGES, A, B, E, F, archive, environment, lease, name, page, referrer, snapshot, snapshots, tool

POLICIES = st.builds(
    PrunePolicy,
    takes_tools=st.booleans(),
    keeps_latest=st.booleans(),
    unused_for_seconds=st.sampled_from([None, 100.0]),
    is_ci=st.booleans(),
)


SDISTS = st.builds(
    page,
    st.sampled_from(["tiny", "lost"]),
    age=AGES,
    kind=st.just(PageKind.SDIST),
    version=st.sampled_from(["1.0", "2.0", None]),
)


def with_sdist(seen: Snapshot, sdist: SeenPage) -> Snapshot:
    return replace(seen, pages=(*{*seen.pages, sdist},), projects=seen.projects | {sdist.project})


SNAPSHOTS = st.builds(with_sdist, snapshots(), SDISTS)


def ask(seen: Snapshot, policy: PrunePolicy | None = None, **what: object) -> tuple[Explanation, ...]:
    question = Question(**what)  # type: ignore[arg-type]
    return explain(plan_prune(seen, policy or PrunePolicy()), question, matches=version_matches)


@given(seen=SNAPSHOTS, policy=POLICIES)
@settings(max_examples=60, deadline=None)
def test_an_answer_has_no_reason_exactly_where_prune_removes(seen: Snapshot, policy: PrunePolicy) -> None:
    removed = {item.object.id: item.reason for item in plan_prune(seen, policy).objects}
    for object_id in (*seen.archives, *seen.environments):
        (answer,) = ask(seen, policy, object_id=object_id)
        assert answer.object.id == object_id
        assert answer.removal == removed.get(object_id)
        assert (answer.reasons == ()) == (object_id in removed)
        assert all(reason.release for reason in answer.reasons)
    gone = {item.page.path: item.reason for item in plan_prune(seen, policy).pages}
    for sdist in (each for each in seen.pages if each.kind is PageKind.SDIST):
        (answer,) = ask(seen, policy, paths=(sdist.path,))
        assert answer.object == StoredSdist(sdist.project, sdist.version, sdist.path, sdist.size_bytes)
        assert answer.removal == gone.get(sdist.path)
        assert (answer.reasons == ()) == (sdist.path in gone)
        assert answer in ask(seen, policy, project=sdist.project)


@given(seen=SNAPSHOTS, policy=POLICIES)
@settings(max_examples=60, deadline=None)
def test_every_entry_is_either_removed_or_kept(seen: Snapshot, policy: PrunePolicy) -> None:
    plan = plan_prune(seen, policy)
    removed = {item.object.id for item in plan.objects} | {item.page.path for item in plan.pages}
    kept = {each.object.id for each in plan.kept} | {each.object.path for each in plan.sdists}
    assert not removed & kept
    sdists = {each.path for each in seen.pages if each.kind is PageKind.SDIST}
    assert {*seen.archives, *seen.environments, *sdists} <= removed | kept


def ids(answers: tuple[Explanation, ...]) -> list[str]:
    return [each.object.id for each in answers]


EVERYTHING = snapshot(
    archive(A), archive(B), name(A), environment(E, A), environment(F, B), tool(E, A),
    referrer("copy", B, path="/x/env"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"project": "tiny"}, [A, E]),
        ({"project": "tiny", "specifier": "==1.0"}, [A, E]),
        ({"project": "tiny", "specifier": ">1"}, []),
        ({"project": "lost"}, []),
        ({"object_id": F}, [F]),
        ({"object_id": "9" * 32}, []),
        ({"tool": "tiny"}, [E, F]),
        ({"paths": ("/x/env",)}, [B]),
        ({"paths": ("/y", "/x/env/lib/file.py")}, [B]),
        ({"paths": ("/x/env2",)}, []),
        ({"paths": ("/x",)}, []),
        ({"named": frozenset({A, F})}, [A, F]),
        ({}, []),
    ],
)
def test_what_is_meant_is_told_archives_first(what: dict[str, object], expected: list[str]) -> None:
    assert ids(ask(EVERYTHING, **what)) == expected


def test_the_chain_from_an_archive_leads_over_its_environment_to_what_keeps_that() -> None:
    answers = ask(snapshot(archive(A), environment(E, A), lease(E)), object_id=A)
    ((reason,),) = [each.reasons for each in answers]
    assert reason.via == (f"environment {E}", "lease 7")
    assert reason.release == "process 7 on host ends"


@pytest.mark.parametrize(
    ("state", "command"), [(ReferrerState.ALIVE, "rm -r"), (ReferrerState.UNREACHABLE, "aioc forget")]
)
def test_a_command_that_would_release_something_can_be_pasted(state: ReferrerState, command: str) -> None:
    seen = snapshot(archive(A), referrer("hardlink", A, state=state, path="/my envs/e"))
    ((reason,),) = [each.reasons for each in ask(seen, object_id=A)]
    assert reason.release.endswith(f"{command} '/my envs/e'")


def test_a_hash_name_keeps_nothing() -> None:
    (answer,) = ask(snapshot(archive(A), name(A, NameKind.HASH)), project="tiny")
    assert (answer.reasons, answer.removal) == ((), RemovalReason.UNREACHABLE)
