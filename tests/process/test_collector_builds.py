"""Clean and prune of what builds and overlays keep: added and built wheels, sdists, environments for builds, logs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocache_engine.cli.render_why import why_text
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import FileKey, Member, Pin
from aiocache_engine.model.removal import CleanPolicy, KeepCode, PrunePolicy, Removal, RemovalReason, StoredSdist
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.inspect import list_entries, measure_cache
from aiocache_engine.pipeline.collector.why import why
from aiocache_engine.pipeline.inputs.requirements import clean_targets
from aiocache_engine.pipeline.steps import InHold, Steps
from aiocache_engine.store import detach_names
from aiocache_engine.store.archives import WHEEL_FILE
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.layout import BUILT, OVERLAY
from aiocache_engine.store.overlay_choice import OverlayChoice
from aiocache_engine.store.pins import write_pin
from aiocache_engine.store.spared import Spared
from aiocache_engine.system.clock import SystemClock
from aiocache_engine.testing.invariants import assert_sound, untouched
from caches import Place, clean_now, in_hold, key, perform, pointer, prune_now, staged
from toolsheds import begin, describe, finish, make_tool, run_tool
from toolsheds import publish as publish_environment

INDEX = "a" * 32
DAY = 86_400.0
SHAS = {"1.0": "1" * 64, "2.0": "2" * 64}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def cache(place: Place) -> CacheDir:
    return place.opened()


def add(
    cache: CacheDir, overlay: str = "mine", version: str = "1.0", *, sha256: str = "", project: str = "tiny"
) -> str:
    """Add a wheel to an overlay; gives the archive's id."""
    sha256 = sha256 or SHAS[version]
    work = begin(cache, project)
    path, what = staged(work, project, version, sha256), pointer(project, version, sha256=sha256)
    where = key(project, version, index=f"{OVERLAY}{overlay}")
    published = in_hold(cache, LockMode.SHARED, lambda hold: work.add_to_overlay(hold, path, where, what))
    finish(work)
    return str(published.archive.id)


def publish(cache: CacheDir, *where: FileKey, version: str = "1.0", sha256: str = "") -> str:
    """Publish a wheel of tiny; gives the archive's id."""
    work = begin(cache, "tiny")
    sha256 = sha256 or SHAS[version]
    path, what = staged(work, "tiny", version, sha256), pointer(version=version, sha256=sha256)
    first, *others = where
    published = in_hold(cache, LockMode.SHARED, lambda hold: work.publish(hold, path, first, what, also=others))
    finish(work)
    return str(published.archive.id)


def built(digest: str = "d" * 32) -> FileKey:
    return FileKey("tiny", BUILT, digest, None)


def store(cache: CacheDir, version: str = "1.0", *, log: bool = False, idle_seconds: float = 0.0) -> str:
    """Store an sdist of tiny, or the log of a build; gives its path."""
    work = begin(cache, "tiny")
    path = f"{work.new_staging()}/file"
    Path(path).write_bytes(b"x" * 100)
    if log:
        place = cache.layout.build_log("tiny", "e" * 32)
        in_hold(cache, LockMode.SHARED, lambda hold: work.write_build_log(hold, built("e" * 32), path, version))
    else:
        where = FileKey("tiny", INDEX, f"tiny-{version}.tar.gz", None)
        place = cache.layout.source("tiny", INDEX, where.filename)
        in_hold(cache, LockMode.SHARED, lambda hold: work.write_source(hold, where, path, version))
    finish(work)
    age(place, idle_seconds)
    return place


def age(path: str, seconds: float) -> None:
    then = SystemClock().now() - seconds
    os.utime(path, (then, then))


def clean(cache: CacheDir, *names: str, overlay: str | None = None, policy: CleanPolicy | None = None) -> Removal:
    """Clean after a dry run, which has told the same."""
    targets = clean_targets(names, (), overlay)
    rules = policy or CleanPolicy()
    planned = perform(cache, Collector(cache).plan_clean(targets, rules))
    told = foresee(cache, planned)
    done: Removal = perform(cache, Collector(cache).clean(targets, rules))
    assert summary(told) == summary(done)
    return done


def prune(cache: CacheDir, **policy: object) -> Removal:
    """Prune after a dry run, which has told the same."""
    rules = PrunePolicy(**policy)  # type: ignore[arg-type]
    told = foresee(cache, perform(cache, Collector(cache).plan_prune(rules)))
    done: Removal = perform(cache, Collector(cache).prune(rules))
    assert summary(told) == summary(done)
    return done


def summary(removal: Removal) -> tuple[list[tuple[str, str]], int, int]:
    """Tell what went by kind and reason, and how much."""
    kinds = sorted({(each.kind, each.reason.value) for each in removal.removed if each.file_count})
    return kinds, sum(each.file_count for each in removal.removed), removal.freed_bytes


def added_names(cache: CacheDir) -> set[str]:
    bucket = Path(cache.layout.overlays)
    return {str(path.relative_to(bucket)).removesuffix("-py3-none-any.whl.json") for path in bucket.rglob("*.json")}


def test_a_clean_of_a_project_takes_it_in_every_overlay_and_all_that_builds_keep_of_it(
    place: Place, cache: CacheDir
) -> None:
    add(cache)
    add(cache, "other", "2.0")
    other = add(cache, project="big", sha256="3" * 64)
    archive_id = publish(cache, built(), sha256="4" * 64)
    store(cache)
    store(cache, log=True)
    make_tool(cache, [archive_id], tool="")
    clean(cache, "tiny")
    assert place.archives() == {other}
    assert added_names(cache) == {"mine/big/big-1.0"}
    assert not os.path.lexists(cache.layout.project("tiny"))
    assert os.listdir(cache.layout.builds) == os.listdir(cache.layout.environments) == []
    assert_sound(place.cache)
    prune_now(cache)
    assert os.listdir(cache.layout.overlays) == ["mine"]
    assert_sound(place.cache, is_pruned=True)


def test_a_clean_of_a_version_takes_its_sdist_and_its_wheels_in_overlays_and_no_others(
    place: Place, cache: CacheDir
) -> None:
    first, second = store(cache, "1.0"), store(cache, "2.0")
    add(cache)
    stays = {add(cache, version="2.0"), publish(cache, built(), version="2.0", sha256="4" * 64)}
    publish(cache, built("c" * 32), sha256="5" * 64)
    clean(cache, "tiny==1.0")
    assert (os.path.exists(first), os.path.exists(second)) == (False, True)
    assert place.archives() == stays
    assert added_names(cache) == {"mine/tiny/tiny-2.0"}
    assert_sound(place.cache)


@pytest.mark.parametrize("names", [(), ("tiny",), ("t*",), ("tiny==1.0",)])
def test_a_clean_of_an_overlay_takes_nothing_from_elsewhere(
    names: tuple[str, ...], place: Place, cache: CacheDir
) -> None:
    mine = add(cache)
    add(cache, "other", sha256="3" * 64)
    publish(cache, key(index=INDEX), sha256="4" * 64)
    make_tool(cache, [mine])
    sdist = store(cache)
    clean(cache, *names, overlay="mine")
    assert mine not in place.archives()
    assert len(place.archives()) == 2
    assert added_names(cache) == {"other/tiny/tiny-1.0"}
    assert os.path.exists(sdist)
    assert os.listdir(cache.layout.environments) == []
    assert_sound(place.cache)
    prune_now(cache)
    assert os.listdir(cache.layout.overlays) == ["other"]
    assert_sound(place.cache, is_pruned=True)


def test_what_an_index_gave_too_loses_its_place_in_the_overlay_and_its_hash_name_alone(
    place: Place, cache: CacheDir
) -> None:
    archive_id = add(cache)
    assert publish(cache, key(index=INDEX)) == archive_id
    clean(cache, overlay="mine")
    assert place.archives() == {archive_id}
    assert added_names(cache) == set()
    assert place.names() == {f"tiny/{INDEX}/tiny-1.0-py3-none-any.whl.json"}
    assert_sound(place.cache)


def test_versions_and_projects_in_an_overlay_are_told_apart(place: Place, cache: CacheDir) -> None:
    add(cache)
    stays = {add(cache, version="2.0"), add(cache, project="big", sha256="3" * 64)}
    clean(cache, "tiny<2", overlay="mine")
    assert place.archives() == stays
    removal = clean(cache, "tiny", overlay="nowhere")
    assert [target.overlay for target in removal.unmatched] == ["nowhere"]
    assert place.archives() == stays


def test_a_clean_of_everything_takes_overlays_and_build_environments(place: Place, cache: CacheDir) -> None:
    make_tool(cache, [add(cache)], tool="")
    publish(cache, built(), sha256="4" * 64)
    store(cache)
    clean(cache)
    assert place.archives() == place.names() == added_names(cache) == set()
    assert os.listdir(cache.layout.overlays) == os.listdir(cache.layout.builds) == []
    assert_sound(place.cache)


def test_a_clean_of_an_id_takes_its_names_in_overlays(place: Place, cache: CacheDir) -> None:
    mine, other = add(cache), add(cache, "other", "2.0")
    clean(cache, mine)
    assert place.archives() == {other}
    assert added_names(cache) == {"other/tiny/tiny-2.0"}


@pytest.mark.parametrize("overlay", [None, "mine"])
@pytest.mark.parametrize("names", [(), ("tiny",)])
def test_what_is_pinned_stays_in_its_overlay(
    names: tuple[str, ...], overlay: str | None, place: Place, cache: CacheDir
) -> None:
    mine = add(cache)
    add(cache, version="2.0")
    pin = Pin("kept", (Member("tiny", "1.0", mine),), 0.0)
    in_hold(cache, LockMode.SHARED, lambda hold: write_pin(hold, cache, pin))
    clean(cache, *names, overlay=overlay)
    assert place.archives() == {mine}
    assert added_names(cache) == {"mine/tiny/tiny-1.0"}
    assert place.names() == {f"tiny/hash/{SHAS['1.0']}"}
    assert_sound(place.cache)


def test_what_is_pinned_in_an_overlay_goes_from_it_if_that_is_said(place: Place, cache: CacheDir) -> None:
    pin = Pin("kept", (Member("tiny", "1.0", add(cache)),), 0.0)
    in_hold(cache, LockMode.SHARED, lambda hold: write_pin(hold, cache, pin))
    clean(cache, overlay="mine", policy=CleanPolicy(takes_in_use=True))
    assert place.archives() == added_names(cache) == set()


def test_what_is_in_use_loses_its_name_in_the_overlay_and_goes_with_its_user(place: Place, cache: CacheDir) -> None:
    mine = add(cache)
    user = begin(cache, "tiny")
    in_hold(cache, LockMode.SHARED, lambda hold: user.find(hold, [key(index=f"{OVERLAY}mine")]))
    removal = clean(cache, overlay="mine")
    assert [(kept.object.id, kept.is_condemned) for kept in removal.kept] == [(mine, True)]
    assert added_names(cache) == place.names() == set()
    user.end()
    clean_now(cache, "something-else")
    assert place.archives() == set()
    assert_sound(place.cache)


def test_a_wheel_that_is_replaced_is_freed_by_the_next_command_and_not_before_its_user_ends(
    place: Place, cache: CacheDir
) -> None:
    first = add(cache)
    user = begin(cache, "tiny")
    in_hold(cache, LockMode.SHARED, lambda hold: user.find(hold, [key(index=f"{OVERLAY}mine")]))
    second = add(cache, sha256="3" * 64)
    clean_now(cache, "something-else")
    assert place.archives() == {first, second}
    user.end()
    clean_now(cache, "something-else")
    assert place.archives() == {second}
    assert_sound(place.cache)


def just_before_the_first_hold(steps: Steps[Removal], event: Callable[[], object]) -> Steps[Removal]:
    """Let something happen when all is scanned, and nothing taken yet."""
    has_happened = False
    step = next(steps)
    while True:
        if isinstance(step, InHold) and not has_happened:
            has_happened = True
            event()
        answer = yield step
        try:
            step = steps.send(answer)
        except StopIteration as end:
            assert has_happened
            removal: Removal = end.value
            return removal


def test_what_is_added_between_the_scan_and_the_hold_goes_too_with_what_was_made_of_it(
    place: Place, cache: CacheDir
) -> None:
    def come() -> None:
        make_tool(cache, [add(cache, version="2.0")])

    add(cache)
    cleaning = Collector(cache).clean(clean_targets((), (), "mine"))
    perform(cache, just_before_the_first_hold(cleaning, come))
    assert place.archives() == added_names(cache) == place.names() == set()
    assert os.listdir(cache.layout.environments) == []
    assert_sound(place.cache)


def test_what_is_added_while_a_prune_looks_at_what_it_replaces_stays(place: Place, cache: CacheDir) -> None:
    second = ""

    def come() -> None:
        nonlocal second
        second = add(cache, sha256="3" * 64)

    age(f"{cache.layout.archive(add(cache))}/used", DAY)
    pruning = Collector(cache).prune(PrunePolicy(unused_for_seconds=DAY / 2))
    perform(cache, just_before_the_first_hold(pruning, come))
    assert added_names(cache) == {"mine/tiny/tiny-1.0"}
    prune_now(cache)
    assert place.archives() == {second}
    assert_sound(place.cache, is_pruned=True)


def test_a_plan_of_an_overlay_that_is_handed_back_takes_nothing_that_came_since(place: Place, cache: CacheDir) -> None:
    targets = clean_targets((), (), "mine")
    add(cache)
    plan = perform(cache, Collector(cache).plan_clean(targets))
    late = add(cache, version="2.0")
    made = make_tool(cache, [late])
    perform(cache, Collector(cache).clean(targets, planned=plan))
    assert place.archives() == {late}
    assert added_names(cache) == {"mine/tiny/tiny-2.0"}
    assert os.listdir(cache.layout.environments) == [made.environment_id]
    assert_sound(place.cache)


def test_work_begun_before_a_clean_of_an_overlay_names_no_environment_with_something_of_it(cache: CacheDir) -> None:
    mine = add(cache)
    maker = begin(cache, "tiny")
    in_hold(cache, LockMode.SHARED, lambda hold: maker.keep(hold, [mine]))
    perform(cache, Collector(cache).clean(clean_targets((), (), "mine")))
    pointer_ = describe(cache, [mine])
    assert not publish_environment(maker, pointer_).is_named
    finish(maker)
    user, found = run_tool(cache, pointer_)
    assert found is None
    user.end()


def test_the_holds_of_a_clean_of_an_overlay_are_short_and_each_gets_on(
    cache: CacheDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        add(cache, project=f"p{number}", sha256=f"{number:064x}")
        add(cache, version="2.0", project=f"p{number}", sha256=f"2{number:063x}")
    monkeypatch.setattr(detach_names, "is_over", lambda _hold: True)
    target = replace(clean_targets((), (), "mine")[0], specifier="==1.0")
    choice = OverlayChoice(target, (), (), matches=version_matches)
    spared = Spared(cache.layout)
    for _ in range(41):  # every name, and every hash name
        trashed, _, is_all = in_hold(
            cache, LockMode.EXCLUSIVE, lambda hold: detach_names.take_names(hold, cache, choice, spared=spared)
        )
        assert is_all or trashed
    assert is_all
    assert all(name.endswith("2.0") for name in added_names(cache))
    assert len(choice.archive_ids) == 20


def test_a_name_in_an_overlay_that_is_damaged_is_a_miss_and_goes_with_a_clean(place: Place, cache: CacheDir) -> None:
    add(cache)
    (path,) = Path(cache.layout.overlays).rglob("*.json")
    path.write_bytes(b"half")
    clean(cache, overlay="mine")
    assert added_names(cache) == set()
    prune_now(cache)
    assert place.archives() == set()
    assert_sound(place.cache, is_pruned=True)


def test_a_link_in_the_place_of_an_overlay_is_not_followed(place: Place, cache: CacheDir, tmp_path: Path) -> None:
    add(cache, "other")
    outside = tmp_path / "outside"
    os.rename(cache.layout.overlay("other"), outside)
    os.symlink(outside, cache.layout.overlay("other"))
    with untouched(outside):
        clean_now(cache, "tiny")
        perform(cache, Collector(cache).clean(clean_targets((), (), "other")))
        prune_now(cache)
    assert place.archives() == set()


# prune


def test_a_prune_keeps_what_was_added_or_built_and_frees_sdists_that_are_built(place: Place, cache: CacheDir) -> None:
    stays = {add(cache), publish(cache, built(), sha256="4" * 64)}
    done, waiting = store(cache, "1.0"), store(cache, "2.0")
    removal = prune(cache)
    assert place.archives() == stays
    assert (os.path.exists(done), os.path.exists(waiting)) == (False, True)
    assert [(each.kind, each.reason.value) for each in removal.removed] == [("sdist", "superseded")]
    assert [each.object.path for each in removal.sdists] == [waiting]
    prune(cache, is_ci=True)
    assert len(place.archives()) == 1
    assert not os.path.exists(waiting)
    assert_sound(place.cache, is_pruned=True)


def test_an_sdist_keeps_its_project_and_its_page_until_it_is_idle(place: Place, cache: CacheDir) -> None:
    sdist = store(cache, idle_seconds=DAY)
    Path(os.path.dirname(sdist), "page").write_bytes(b"page")
    prune(cache)
    assert os.path.exists(f"{os.path.dirname(sdist)}/page")
    prune(cache, unused_for_seconds=2 * DAY)
    assert os.path.exists(sdist)
    age(f"{os.path.dirname(sdist)}/page", 2 * DAY)
    prune(cache, unused_for_seconds=DAY / 2)
    assert os.listdir(cache.layout.projects) == []
    assert_sound(place.cache, is_pruned=True)


def test_an_sdist_that_is_used_after_the_scan_stays(cache: CacheDir) -> None:
    sdist = store(cache, idle_seconds=DAY)

    def use() -> None:
        work = begin(cache, "tiny")
        where = FileKey("tiny", INDEX, os.path.basename(sdist), None)
        os.close(in_hold(cache, LockMode.SHARED, lambda hold: work.find_source(hold, where)))
        finish(work)

    pruning = Collector(cache).prune(PrunePolicy(unused_for_seconds=DAY / 2))
    perform(cache, just_before_the_first_hold(pruning, use))
    assert os.path.exists(sdist)


@pytest.mark.parametrize("is_log", [False, True])
def test_what_is_stored_after_the_scan_keeps_its_project(cache: CacheDir, *, is_log: bool) -> None:
    os.makedirs(f"{cache.layout.project('tiny')}/{INDEX}")
    pruning = Collector(cache).prune()
    perform(cache, just_before_the_first_hold(pruning, lambda: store(cache, log=is_log)))
    assert os.listdir(cache.layout.projects) == ["tiny"]


@pytest.mark.parametrize(("days", "is_there"), [(6, True), (8, False)])
def test_build_environments_and_logs_go_after_seven_days(
    days: int, place: Place, cache: CacheDir, *, is_there: bool
) -> None:
    needed = publish(cache, key(index=INDEX))
    made = make_tool(cache, [needed], tool="")
    log = store(cache, log=True, idle_seconds=days * DAY)
    age(f"{cache.layout.environment(made.environment_id)}/used", days * DAY)
    prune(cache)
    assert os.listdir(cache.layout.environments) == [made.environment_id] * is_there
    assert os.listdir(cache.layout.builds) == [f"{made.digest}.json"] * is_there
    assert os.path.exists(log) == is_there
    assert place.archives() == {needed}, "it was fetched, and never linked"
    assert_sound(place.cache, is_pruned=True)


def test_a_prune_to_a_size_takes_idle_sdists_before_what_was_used_since(place: Place, cache: CacheDir) -> None:
    archive_id = publish(cache, key(index=INDEX))
    idle, used = store(cache, "1.0", idle_seconds=DAY), store(cache, "2.0")
    removal = prune(cache, max_size_bytes=150)
    assert removal.is_goal_met
    assert (os.path.exists(idle), os.path.exists(used)) == (False, True)
    assert place.archives() == {archive_id}
    assert [(each.kind, each.reason.value) for each in removal.removed] == [("sdist", "size")]


def test_the_wheel_file_beside_what_was_built_counts_in_every_size(cache: CacheDir) -> None:
    archive = publish(cache, built())
    (bare,), empty = list_entries(cache, None, matches=version_matches), measure_cache(cache)
    Path(cache.layout.archive(archive), WHEEL_FILE).write_bytes(bytes(100_000))
    (whole,), full = list_entries(cache, None, matches=version_matches), measure_cache(cache)
    assert (whole.file_count, whole.size_bytes) == (bare.file_count + 1, bare.size_bytes + 100_000)
    assert (full.file_count, full.size_bytes) == (empty.file_count + 1, empty.size_bytes + 100_000)
    assert prune(cache, max_size_bytes=full.size_bytes).removed == ()
    assert prune(cache, max_size_bytes=full.size_bytes - 1).is_goal_met
    assert measure_cache(cache).size_bytes == 0


def test_empty_overlays_go_with_a_prune(place: Place, cache: CacheDir) -> None:
    os.makedirs(f"{cache.layout.overlay('lone')}/tiny")
    add(cache)
    os.makedirs(f"{cache.layout.overlay('mine')}/big")
    prune(cache)
    assert os.listdir(cache.layout.overlays) == ["mine"]
    assert os.listdir(cache.layout.overlay("mine")) == ["tiny"]
    assert_sound(place.cache, is_pruned=True)


# ls, size, why


def test_sdists_are_listed_and_counted_and_archives_tell_their_overlays(cache: CacheDir) -> None:
    add(cache)
    add(cache, "other")
    store(cache)
    entries = list_entries(cache, None, matches=version_matches)
    assert [(each.kind, each.project, each.version, each.overlays) for each in entries] == [
        ("archive", "tiny", "1.0", ("mine", "other")),
        ("sdist", "tiny", "1.0", ()),
    ]
    size = measure_cache(cache)
    assert (size.buckets["sdists"], size.size_bytes, size.entry_count) == (100, 100, 2)


def test_why_names_no_log_that_goes_as_what_keeps_pages(cache: CacheDir) -> None:
    log = store(cache, log=True, idle_seconds=2 * DAY)
    os.makedirs(f"{cache.layout.project('tiny')}/{INDEX}", exist_ok=True)
    Path(cache.layout.project("tiny"), INDEX, "page").write_bytes(b"page")
    for days, code, path in ((3, KeepCode.POINTER, log), (1, KeepCode.RECENTLY_USED, None)):
        (answer,) = perform(cache, why(cache, "tiny", PrunePolicy(unused_for_seconds=days * DAY)))
        assert [(each.code, each.path) for each in answer.reasons] == [(code, path)]


def test_why_answers_for_what_builds_keep(cache: CacheDir) -> None:
    sdist = store(cache)
    (answer,) = perform(cache, why(cache, "tiny", PrunePolicy()))
    assert [(each.path, each.release) for each in answer.reasons] == [(sdist, "aioc clean tiny")]
    assert answer.object == StoredSdist("tiny", "1.0", sdist, 100)
    assert perform(cache, why(cache, sdist, PrunePolicy())) == (answer,)
    archive_id = publish(cache, built())
    (wheel, answer) = perform(cache, why(cache, "tiny", PrunePolicy()))
    assert (wheel.object.id, wheel.removal) == (archive_id, None)
    assert (answer.object.path, answer.reasons, answer.removal) == (sdist, (), RemovalReason.SUPERSEDED)
    assert why_text([answer]).splitlines()[1] == "  a wheel that was built of it is there"
    assert perform(cache, why(cache, sdist, PrunePolicy())) == (answer,)
    (idle,) = perform(cache, why(cache, sdist, PrunePolicy(unused_for_seconds=-DAY)))
    assert idle.removal is RemovalReason.UNUSED
    made = make_tool(cache, [archive_id], tool="")
    (answer,) = perform(cache, why(cache, cache.layout.build_pointer(made.digest), PrunePolicy()))
    assert answer.object.id == made.environment_id
    assert answer.reasons[0].release == f"aioc clean {made.environment_id}"
    add(cache, sha256="3" * 64)
    answers = perform(cache, why(cache, f"{cache.layout.overlay('mine')}/tiny", PrunePolicy()))
    assert {each.object.project for each in answers if each.object.kind == "archive"} == {"tiny"}
