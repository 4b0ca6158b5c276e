"""A directory of the cache that becomes a link just before something in it is deleted leads nobody out of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.errors import CacheEngineError, ForeignCacheDirError, KeyLockTimeoutError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Member, Pin, Referrer
from aiocache_engine.model.removal import CleanPolicy
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.forgetting import forget_by_hand
from aiocache_engine.pipeline.collector.pinning import unpin
from aiocache_engine.pipeline.inputs.requirements import parse_clean_target
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.report import Reporter
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.pins import write_pin
from aiocache_engine.store.referrers import fresh_stamp, note_seen, register
from aiocache_engine.system.keylock import KeyLock
from aiocache_engine.system.process import me
from aiocache_engine.testing.invariants import untouched
from caches import Place, begun, clean_now, in_hold, perform, prune_now
from unit.test_store_work import publish

LEASE, NOTE, REFERRER, STAGING, KEY = (digit * 32 for digit in "12345")  #: no two alike: a name tells its directory


def kit_of(cache: CacheDir) -> Kit:
    place = Place(Path(cache.root).parent)
    return Kit(cache, place.config(), {}, Reporter())


def end_lease(cache: CacheDir) -> None:
    begun(cache).end()


def end_staging(cache: CacheDir) -> None:
    work = begun(cache)
    work.new_staging()
    end_work(work)


def release(cache: CacheDir) -> None:
    perform(cache, Collector(cache).clean((parse_clean_target("tiny"),), CleanPolicy(takes_in_use=True)))


def hold_key(cache: CacheDir) -> None:
    with KeyLock(cache.layout.key_lock(KEY)).hold_now(what="a test"):
        pass


DELETING = ("unlink", "rmdir", "utime")
#: what deletes in a directory, or writes to what is there, by the directory
DELETIONS: tuple[tuple[str, Callable[[CacheDir], object]], ...] = (
    ("leases", prune_now),
    ("leases", lambda cache: clean_now(cache, "tiny")),
    ("leases", end_lease),
    ("condemned", prune_now),
    ("condemned", lambda cache: perform(cache, Collector(cache).free_condemned())),
    ("referrers", prune_now),
    ("referrers", lambda cache: perform(cache, forget_by_hand(cache, ["/gone"]))),
    ("referrers", lambda cache: note_seen(cache.layout, [REFERRER])),
    ("pins", lambda cache: perform(cache, unpin(kit_of(cache), "a pin"))),
    ("pins", release),
    ("staging", prune_now),
    ("staging", end_staging),
    ("trash", prune_now),
    (".locks/keys", prune_now),
    (".locks", prune_now),
)


def furnished(place: Place) -> CacheDir:
    """Make a cache that has something to delete in every directory."""
    cache = place.opened()
    work = begun(cache)
    archive = publish(work).archive.id
    work.end()
    layout = cache.layout
    here = me()
    gone = Referrer(
        id=REFERRER,
        path="/gone",
        site_directories=("/gone/site",),
        device=os.stat("/").st_dev,
        inode=1,
        machine_id=here.machine_id,
        mount_namespace=here.mount_namespace,
        archives={},
        stamp=fresh_stamp(),
        registered_at=1.0,
    )
    in_hold(cache, LockMode.SHARED, lambda hold: register(hold, cache, gone, links=False))
    pin = Pin("a pin", (Member("tiny", "1.0", archive),), 1.0)
    in_hold(cache, LockMode.SHARED, lambda hold: write_pin(hold, cache, pin))
    for path in (
        layout.lease(LEASE),
        f"{layout.condemned}/{NOTE}-0",
        f"{layout.staging}/{STAGING}/x",
        layout.key_lock(KEY),
    ):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    Path(layout.condemned, f"{NOTE}-1", "deep").mkdir(parents=True)
    Path(layout.trash, "x", "deep").mkdir(parents=True)
    return cache


@contextmanager
def swapped_at_the_last_moment(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, before: Collection[str] = DELETING
) -> Iterator[None]:
    """Put a link to a copy in a directory's place just before the first entry of it is touched; watch the copy then."""
    with monkeypatch.context() as patch, ExitStack() as watching:

        def swap(path: Any) -> None:
            name = os.path.basename(os.fsdecode(path))
            if name.startswith("cache.lock") or not any(Path(each, name).exists() for each, _, _ in os.walk(directory)):
                return
            patch.undo()
            place = directory.parents[directory.parts[::-1].index("cache")]
            shutil.copytree(directory, place / "outside", copy_function=shutil.copy2)
            directory.rename(place / "was")
            directory.symlink_to(place / "outside")
            watching.enter_context(untouched(place / "outside"))

        def swapping(name: str) -> None:
            function = getattr(os, name)

            def swap_first(path: Any, *arguments: Any, **named: Any) -> Any:
                if not isinstance(path, int) and (name != "open" or arguments[0] & os.O_CREAT):
                    swap(path)
                return function(path, *arguments, **named)

            patch.setattr(os, name, swap_first)

        for name in before:
            swapping(name)
        yield
        assert directory.is_symlink()


@pytest.mark.parametrize(
    ("directory", "number"), [(directory, number) for number, (directory, _) in enumerate(DELETIONS)]
)
def test_nothing_is_touched_behind_a_link_that_was_put_there_meanwhile(
    directory: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = furnished(Place(tmp_path))
    with swapped_at_the_last_moment(Path(cache.root, directory), monkeypatch), suppress(CacheEngineError):
        DELETIONS[number][1](cache)


@pytest.mark.parametrize("directory", [".locks", ".locks/keys"])
def test_no_lock_file_is_made_or_taken_behind_a_link_that_was_put_there_meanwhile(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = furnished(Place(tmp_path))
    with swapped_at_the_last_moment(Path(cache.root, directory), monkeypatch, before=["open"]):
        with (
            pytest.raises(KeyLockTimeoutError),
            KeyLock(cache.layout.key_lock(KEY)).hold_now(what="a", timeout_seconds=0),
        ):
            pass
        with pytest.raises(ForeignCacheDirError, match="a symbolic link stands in the place of a directory"):
            prune_now(Place(tmp_path).opened())


def test_a_prune_puts_a_key_lock_back_that_was_made_just_as_it_took_a_link_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Place(tmp_path).opened()
    key = Path(cache.layout.key_lock(KEY))
    key.symlink_to(tmp_path / "absent")
    look = os.lstat
    with ExitStack() as held:

        def look_too_early(path: Any, **how: Any) -> os.stat_result:
            seen = look(path, **how)
            if os.fspath(path) == str(key) and key.is_symlink():
                key.unlink()
                held.enter_context(KeyLock(key).hold_now(what="a test"))
            return seen

        monkeypatch.setattr(os, "lstat", look_too_early)
        prune_now(cache)
        assert key.is_file()
        assert os.listdir(cache.layout.trash) == []
