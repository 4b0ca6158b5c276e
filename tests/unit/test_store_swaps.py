"""A directory of the cache that becomes a link just before something in it is deleted or written leads nobody out."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiocache_engine.errors import CacheEngineError, ForeignCacheDirError, KeyLockTimeoutError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import wheel_name
from aiocache_engine.model.records import FileKey, Member, Pin, Referrer
from aiocache_engine.model.removal import CleanPolicy
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.forgetting import forget_by_hand
from aiocache_engine.pipeline.collector.pinning import unpin
from aiocache_engine.pipeline.inputs.requirements import parse_clean_target
from aiocache_engine.pipeline.kit import Kit, end_work
from aiocache_engine.pipeline.wheels.unpack import unpack
from aiocache_engine.report import Reporter
from aiocache_engine.store.archives import mark_checked, write_description
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.environments import write_environment_description
from aiocache_engine.store.generations import Cleaned, bump
from aiocache_engine.store.layout import OVERLAY
from aiocache_engine.store.pins import write_pin
from aiocache_engine.store.referrers import fresh_stamp, note_seen, register
from aiocache_engine.store.work import Work
from aiocache_engine.system.disk import open_stream
from aiocache_engine.system.keylock import KeyLock
from aiocache_engine.system.lock import Hold
from aiocache_engine.system.process import me
from aiocache_engine.testing.invariants import untouched
from aiocache_engine.testing.wheels import build_wheel
from caches import Place, begun, clean_now, in_hold, key, perform, pointer, prune_now, staged
from toolsheds import begin, describe, stage
from unit.test_store_work import INDEX_A as INDEX
from unit.test_store_work import SHA, publish

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


def gone_environment(archives: Collection[str]) -> Referrer:
    here = me()
    return Referrer(
        id=REFERRER,
        path="/gone",
        site_directories=("/gone/site",),
        device=os.stat("/").st_dev,
        inode=1,
        machine_id=here.machine_id,
        mount_namespace=here.mount_namespace,
        archives=dict.fromkeys(archives, "copy"),
        stamp=fresh_stamp(),
        registered_at=1.0,
    )


def furnished(place: Place) -> CacheDir:
    """Make a cache that has something to delete in every directory."""
    cache = place.opened()
    work = begun(cache)
    archive = publish(work).archive.id
    work.end()
    layout = cache.layout
    gone = gone_environment(())
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


def put_link_in_place(directory: Path) -> Path:
    """Put a link to a copy in a directory's place; gives the copy, which lies outside the cache dir."""
    place = directory.parents[directory.parts[::-1].index("cache")]
    shutil.copytree(directory, place / "outside", copy_function=shutil.copy2)
    directory.rename(place / "was")
    directory.symlink_to(place / "outside")
    return place / "outside"


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
            watching.enter_context(untouched(put_link_in_place(directory)))

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


Writing = Callable[[], object]


def held(write: Callable[[CacheDir, Hold], object], mode: LockMode = LockMode.SHARED) -> Callable[[CacheDir], Writing]:
    return lambda cache: lambda: in_hold(cache, mode, lambda hold: write(cache, hold))


def with_work(write: Callable[[Work, Hold], object]) -> Callable[[CacheDir], Writing]:
    def prepare(cache: CacheDir) -> Writing:
        work = begun(cache)
        return lambda: in_hold(cache, LockMode.SHARED, lambda hold: write(work, hold))

    return prepare


def publishing(index: str = INDEX, *, sha256: str = SHA, is_cleaned: bool = False) -> Callable[[CacheDir], Writing]:
    """Publish: with the hash of what is there already it is adopted."""

    def prepare(cache: CacheDir) -> Writing:
        work = begun(cache)
        path = staged(work, sha256=sha256)
        if is_cleaned:
            bump(cache.layout.generation("tiny"), Cleaned(), by_way_of=cache.temporary())
        put = work.add_to_overlay if index.startswith(OVERLAY) else work.publish
        where, what = key(index=index), pointer(sha256=sha256)
        return lambda: in_hold(cache, LockMode.SHARED, lambda hold: put(hold, path, where, what))

    return prepare


def publishing_tool(cache: CacheDir) -> Writing:
    archives = os.listdir(cache.layout.archives)
    tool = describe(cache, archives)
    work = begin(cache, "tiny")
    path = stage(work, tool)

    def publish_tool(hold: Hold) -> object:
        return work.publish_environment(hold, path, tool.environment_id, tool, is_named=True)

    return lambda: in_hold(cache, LockMode.SHARED, publish_tool)


def moving_in(cache: CacheDir) -> Writing:
    work = begun(cache)
    path = work.stage_page(b"an sdist")
    sdist = FileKey("tiny", INDEX, "tiny-1.0.tar.gz", None)
    return lambda: in_hold(cache, LockMode.SHARED, lambda hold: work.write_source(hold, sdist, path, "1.0"))


def storing_a_page(cache: CacheDir) -> Writing:
    work = begun(cache)
    path = work.stage_page(b"a page")
    return lambda: in_hold(cache, LockMode.SHARED, lambda hold: work.write_page(hold, "tiny", INDEX, path))


def storing_metadata(work: Work, hold: Hold) -> object:
    return work.write_metadata(hold, "tiny", INDEX, "tiny-1.0-py3-none-any.whl", version="1.0", content=b"Name: tiny")


def adding_names(work: Work, hold: Hold) -> object:
    return work.find(hold, [key(index="b" * 32, sha256=SHA)])


def describing(cache: CacheDir) -> Writing:
    (archive,) = os.listdir(cache.layout.archives)
    return lambda: mark_checked(cache.layout.archive(archive), "another boot")


def registering(cache: CacheDir, hold: Hold) -> None:
    register(hold, cache, gone_environment(os.listdir(cache.layout.archives)), links=True)


def pinning(cache: CacheDir, hold: Hold) -> None:
    write_pin(hold, cache, Pin("another", (), 1.0))


def staging(cache: CacheDir) -> Writing:
    """Write what is published later: manifest and stamp of an archive."""
    path = begun(cache).new_staging()
    return lambda: write_description(path, b"a manifest", "boot")


def staging_a_tool(cache: CacheDir) -> Writing:
    tool = describe(cache, os.listdir(cache.layout.archives))
    path = begun(cache).new_staging()
    return lambda: write_environment_description(path, tool, boot_id="boot")


def unpacking(cache: CacheDir) -> Writing:
    wheel = build_wheel(Path(cache.root).parent, "tiny", "1.0")
    path = begun(cache).new_staging()
    name = wheel_name(wheel.name)
    return lambda: unpack(str(wheel), f"{path}/tree", name=name, sha256=SHA, boot_id="boot")


def downloading(cache: CacheDir) -> Writing:
    path = begun(cache).new_staging()

    async def download() -> None:
        async with open_stream(f"{path}.whl") as stream:
            await stream.write(b"a wheel")

    return lambda: anyio.run(download)


#: what writes in a directory, by the directory; what is made ready before is not watched
WRITES: tuple[tuple[str, Callable[[CacheDir], Writing]], ...] = (
    ("archives-v1", with_work(lambda work, hold: work.find(hold, [key(index=INDEX)]))),
    ("archives-v1", publishing(sha256="b" * 64)),
    ("archives-v1", publishing()),
    ("archives-v1", held(registering)),
    ("archives-v1", describing),
    ("leases", lambda cache: lambda: begun(cache)),
    ("generations", lambda cache: lambda: clean_now(cache, "tiny")),
    ("generations", lambda cache: lambda: clean_now(cache)),
    ("generations/projects", lambda cache: lambda: clean_now(cache, "tiny")),
    ("pins", held(pinning)),
    ("referrers", held(registering)),
    ("condemned", publishing(sha256="b" * 64, is_cleaned=True)),
    ("projects-v1", publishing(sha256="b" * 64)),
    ("projects-v1/tiny", publishing(sha256="b" * 64)),
    ("projects-v1", with_work(adding_names)),
    ("projects-v1", moving_in),
    ("projects-v1", storing_a_page),
    ("projects-v1", with_work(storing_metadata)),
    ("overlays-v1", publishing("overlay/mine", sha256="b" * 64)),
    ("environments-v1", publishing_tool),
    ("tools-v1", publishing_tool),
    ("archives-v1", publishing_tool),
    ("staging", publishing(sha256="b" * 64)),
    ("staging", with_work(lambda work, _: work.new_staging())),
    ("staging", with_work(lambda work, _: work.stage_page(b"a page"))),
    ("staging", held(pinning)),
    ("staging", staging),
    ("staging", staging_a_tool),
    ("staging", unpacking),
    ("staging", downloading),
)
TOUCHING = ("open", "rename", "replace", "mkdir", "link", "unlink", "utime")


@contextmanager
def swapped_at(directory: Path, moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Put a link to a copy in a directory's place just before it is touched for the n-th time; watch the copy then.

    Gives a list that says which call it was before; it stays empty where the directory is not touched so often.
    """
    tree = [directory, *(path for path in directory.rglob("*") if path.is_dir())]
    identities = {(path.stat().st_dev, path.stat().st_ino) for path in tree}
    swapped: list[str] = []
    count = 0
    with monkeypatch.context() as patch, ExitStack() as watching:

        def is_inside(path: Any, fd: int | None) -> bool:
            if not isinstance(path, str | bytes | os.PathLike):
                return False
            if fd is None:
                return Path(os.fsdecode(path)) in tree or directory in Path(os.fsdecode(path)).parents
            status = os.fstat(fd)
            return (status.st_dev, status.st_ino) in identities or os.fsdecode(path) == directory.name

        def swap(said: str) -> None:
            patch.undo()
            watching.enter_context(untouched(put_link_in_place(directory)))
            swapped.append(said)

        def swapping(name: str) -> None:
            function = getattr(os, name)

            def swap_first(*arguments: Any, **named: Any) -> Any:
                nonlocal count
                fds = [named.get(each) for each in ("dir_fd", "src_dir_fd", "dst_dir_fd") if each in named] or [None]
                if any(map(is_inside, arguments[:2], [*fds, fds[0]])):
                    if count == moment:
                        swap(f"{name}{arguments}")
                    count += 1
                return function(*arguments, **named)

            patch.setattr(os, name, swap_first)

        for name in TOUCHING:
            swapping(name)
        yield swapped


@pytest.mark.parametrize(("directory", "number"), [(directory, number) for number, (directory, _) in enumerate(WRITES)])
def test_nothing_is_written_behind_a_link_whenever_it_was_put_there(
    directory: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in itertools.count():
        root = tmp_path / str(moment)
        root.mkdir()
        cache = furnished(Place(root))
        write = WRITES[number][1](cache)
        with swapped_at(Path(cache.root, directory), moment, monkeypatch) as swapped:
            try:
                write()
            except (CacheEngineError, OSError):
                assert swapped
            if not swapped:
                break
    assert moment > 0


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
