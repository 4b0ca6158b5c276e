"""Links planted anywhere in a cache dir lead nobody out of it: not a look-up, nor a publication, clean or prune."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from aiocache_engine.errors import CacheEngineError, ForeignCacheDirError, TargetError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.removal import CleanTarget, PrunePolicy, TargetKind
from aiocache_engine.pipeline.collector.account import foresee
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.inspect import list_entries, list_usage, measure_cache
from aiocache_engine.pipeline.inputs.requirements import parse_clean_target
from aiocache_engine.pipeline.steps import InHold, Steps
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.trash import freed_files, measure, sweep, to_trash
from aiocache_engine.system.descent import Descent
from aiocache_engine.testing.invariants import untouched
from caches import Place, begun, clean_now, in_hold, key, perform, prune_now
from unit.test_store_work import INDEX_A, find, publish

ID = "0123456789abcdef" * 2
PLACES = (
    "archives-v1/{id}",
    "archives-v1/{archive}/used",
    "archives-v1/{archive}/tree",
    "archives-v1/{archive}/manifest",
    "archives-v1/{archive}/linked",
    "projects-v1/tiny",
    "projects-v1/other",
    "projects-v1/tiny/{id}",
    "projects-v1/tiny/hash",
    "projects-v1/tiny/{index}",
    "projects-v1/tiny/{index}/page",
    "projects-v1/tiny/{index}/other.json",
    "interpreters-v1/{id}.json",
    "leases/{id}",
    "leases/.birth-{id}",
    "referrers/{id}",
    "staging/{id}",
    "staging/.birth-{id}",
    "trash/{id}",
    "condemned/{id}-00",
    "generations/global",
    "generations/projects/tiny",
    "projects-v0",
    ".reserve",
)


def publish_and_end(cache: CacheDir) -> None:
    work = begun(cache)
    try:
        find(work, sha256="a" * 64)
        publish(work)
        page = work.stage_page(b"page")
        in_hold(cache, LockMode.SHARED, lambda hold: work.write_page(hold, "tiny", INDEX_A, page))
    finally:
        work.end()


COLLECTIONS: dict[str, Callable[[CacheDir], object]] = {
    "prune": prune_now,
    "clean tiny": lambda cache: clean_now(cache, "tiny"),
    "clean tiny==1.0": lambda cache: clean_now(cache, "tiny==1.0"),
    "clean": clean_now,
    "publish": publish_and_end,
    "list": lambda cache: (list_entries(cache, None, matches=lambda *_: True), list_usage(cache), measure_cache(cache)),
    "foresee": lambda cache: foresee(cache, perform(cache, Collector(cache).plan_prune())),
}


@pytest.fixture
def decoy(tmp_path: Path) -> Path:
    """A tree that looks like what would stand in the link's place, as far as one tree can."""
    decoy = tmp_path / "decoy"
    (decoy / "tree").mkdir(parents=True)
    (decoy / INDEX_A).mkdir()
    for name in ("used", "manifest", "file", "page", "other.json", "tree/file", f"{INDEX_A}/page", f"{INDEX_A}/x.json"):
        (decoy / name).write_bytes(b"mine" * 10)
    return decoy


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("what", ["directory", "file", "nothing"])
def test_nothing_behind_a_planted_link_is_touched(where: str, what: str, tmp_path: Path, decoy: Path) -> None:
    target = {"directory": decoy, "file": decoy / "file", "nothing": decoy / "absent"}[what]
    for number, (name, collect) in enumerate(COLLECTIONS.items()):
        (tmp_path / str(number)).mkdir()
        place = Place(tmp_path / str(number))
        cache = place.opened()
        work = begun(cache)
        archive = publish(work).archive.id
        work.end()
        path = place.cache / where.format(id=ID, archive=archive, index=key(index=INDEX_A).index)
        if path.exists():
            path.rename(tmp_path / f"{number}-was")
        os.symlink(target, path)
        with untouched(decoy):
            try:
                collect(cache)
            except CacheEngineError as error:
                # A prune or a clean must not be stopped by it; others may say what is in the way.
                assert name not in {"prune", "clean tiny", "clean tiny==1.0", "clean"}, error  # noqa: PT017
            except OSError as error:
                assert name == "publish", error  # noqa: PT017 - translated one floor above, by the steps
        prune_now(cache)


def swapping(steps: Steps[object], swap: Callable[[], None]) -> Steps[object]:
    """Perform steps, and `swap` after the scan, just before the first hold."""
    is_swapped = False
    step = next(steps)
    while True:
        if isinstance(step, InHold) and not is_swapped:
            swap()
            is_swapped = True
        outcome = yield step
        try:
            step = steps.send(outcome)
        except StopIteration as stop:
            assert is_swapped
            return stop.value


REMOVALS: dict[str, Callable[[Collector], Steps[object]]] = {
    "clean t*": lambda collector: collector.clean((CleanTarget("t*", None, TargetKind.PATTERN),)),
    "clean tiny==1.0": lambda collector: collector.clean((parse_clean_target("tiny==1.0"),)),
    "clean": lambda collector: collector.clean(()),
    "prune": lambda collector: collector.prune(PrunePolicy(is_ci=True)),
}


@pytest.mark.parametrize("bucket", ["projects-v1", "archives-v1", "trash", "generations", "generations/projects"])
@pytest.mark.parametrize("command", REMOVALS)
def test_a_bucket_that_becomes_a_link_during_a_run_stops_it_and_nothing_behind_it_is_touched(
    bucket: str, command: str, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    cache = place.opened()
    publish_and_end(cache)
    outside = tmp_path / "outside"
    shutil.copytree(place.cache / bucket, outside)

    def swap() -> None:
        (place.cache / bucket).rename(tmp_path / "was")
        (place.cache / bucket).symlink_to(outside)

    with untouched(outside), pytest.raises(ForeignCacheDirError, match="a symbolic link stands in the place"):
        perform(cache, swapping(REMOVALS[command](Collector(cache)), swap))


@pytest.mark.parametrize("where", ["projects-v1", "projects-v1/tiny", "projects-v1/tiny/hash"])
def test_nothing_is_taken_to_trash_from_behind_a_link(where: str, tmp_path: Path) -> None:
    cache = Place(tmp_path).opened()
    publish_and_end(cache)
    directory = Path(cache.root, where)
    outside = tmp_path / "outside"
    directory.rename(outside)
    directory.symlink_to(outside)
    with untouched(tmp_path):
        for path in outside.rglob("*"):
            inside = str(directory / path.relative_to(outside))
            assert to_trash(cache.layout, inside, kind="name", entry_id="named") is None
    assert to_trash(cache.layout, str(directory), kind="project", entry_id="tiny") is not None
    assert not directory.is_symlink()


def test_nothing_is_taken_to_a_trash_behind_a_link(tmp_path: Path) -> None:
    cache = Place(tmp_path).opened()
    publish_and_end(cache)
    Path(cache.layout.trash).rename(tmp_path / "outside")
    Path(cache.layout.trash).symlink_to(tmp_path / "outside")
    with untouched(tmp_path), pytest.raises(TargetError, match="symbolic link"):
        to_trash(cache.layout, cache.layout.project("tiny"), kind="project", entry_id="tiny")


def test_a_sweep_takes_links_away_and_leaves_what_they_lead_to(tmp_path: Path, decoy: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "file").write_bytes(b"x" * 5000)
    (tree / "link").symlink_to(decoy)
    (tree / "deep" / "link").symlink_to(decoy / "file")
    os.link(decoy / "file", tree / "deep" / "hard")
    with untouched(decoy):
        foreseen = measure(str(tree))
        swept = sweep(str(tree))
        assert foreseen == swept
    assert not tree.exists()
    assert swept.file_count == 4


def test_a_tree_deeper_than_any_path_may_be_long_is_measured_and_swept(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    root_fd = os.open(tree, os.O_RDONLY)
    with Descent(root_fd, str(tree)) as descent:
        for depth in range(250):
            fd = descent.enter("/".join(["a-name-of-twenty-let"] * depth), make=True)
            with open("file", "wb", opener=partial(os.open, mode=0o644, dir_fd=fd)) as file:
                file.write(bytes(5000))
    os.close(root_fd)
    freed = freed_files(str(tree), {})
    foreseen = measure(str(tree))
    assert freed.count == foreseen.file_count == 250
    assert foreseen == sweep(str(tree))
    assert not tree.exists()


def test_what_cannot_be_read_is_deleted_all_the_same(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(30):
        (tree / f"d{number}" / "deep").mkdir(parents=True)
        (tree / f"d{number}" / "deep" / "file").write_text("x")
        (tree / f"d{number}" / "deep").chmod(0o000)
        (tree / f"d{number}").chmod(0o500)
    tree.chmod(0o500)
    sweep(str(tree))
    assert not tree.exists()


def test_two_who_sweep_one_tree_count_every_file_once(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(40):
        (tree / f"d{number}").mkdir(parents=True)
        for name in "abcdefghij":
            (tree / f"d{number}" / name).write_text("x")
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(sweep(str(tree)).file_count)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not tree.exists()
    assert len(counts) == 3
    # Two may both have looked at a file before one of them removes it; only who removed it counts it.
    assert sum(counts) == 400
