"""The mark of the leases: what is put on a lease after a collector read the others is never missed (rules 8 and 31)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import new_object_id
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import encode
from aiocache_engine.store.leases import FEW, Lease, LeaseReader
from aiocache_engine.store.shares import Share
from aiocache_engine.system.lock import Hold
from caches import HOLDER, Place, clean_now, in_hold, prune_now

OBJECT, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2


@pytest.fixture
def cache(tmp_path: Path) -> CacheDir:
    return Place(tmp_path).opened()


@pytest.fixture
def mark(cache: CacheDir) -> Path:
    return Path(f"{cache.layout.leases}.changed")


def born(cache: CacheDir) -> Lease:
    lease: Lease = in_hold(cache, LockMode.SHARED, lambda hold: Lease.birth(hold, cache.layout.leases, HOLDER))
    return lease


def put(cache: CacheDir, lease: Lease | Share, object_id: str = OBJECT) -> None:
    in_hold(cache, LockMode.SHARED, lambda hold: lease.add(hold, [object_id]))


def crowd(cache: CacheDir, count: int = FEW + 1) -> LeaseReader:
    """Give a reader that has seen so many leases; their holders are gone."""
    record = encode({name: getattr(HOLDER, name) for name in HOLDER.__slots__ if name != "name"})
    for _ in range(count):
        Path(cache.layout.lease(new_object_id())).write_bytes(record)
    reader = LeaseReader(cache.layout.leases)
    assert len(reader.read()) >= count
    return reader


def in_next_hold(cache: CacheDir, reader: LeaseReader, object_id: str = OBJECT) -> bool | None:
    """Ask whether an object is leased, in one exclusive hold; None: the leases are to be read ahead of another."""

    def ask(hold: Hold) -> bool | None:
        is_leased = reader.held(hold)
        return None if is_leased is None else is_leased(object_id)

    answer: bool | None = in_hold(cache, LockMode.EXCLUSIVE, ask)
    return answer


def nothing() -> None:
    """Do nothing."""


def ask(
    cache: CacheDir,
    reader: LeaseReader,
    *,
    marked: Callable[[], None] = nothing,
    read: Callable[[], None] = nothing,
) -> bool:
    """Ask as a collector does; something is done after the first hold that read the mark, or after the reading."""
    while (answer := in_next_hold(cache, reader)) is None:
        marked()
        reader.read_ahead()
        read()
        marked = read = nothing
    return answer


def owned(cache: CacheDir) -> Lease:
    return born(cache)


def made(cache: CacheDir) -> Share:
    lease = born(cache)
    return Share(lease.path, lease)


def joined(cache: CacheDir) -> Share:
    return Share(born(cache).path)


@pytest.mark.parametrize("begin", [owned, made, joined])
@pytest.mark.parametrize("when", ["marked", "read"])
def test_what_is_added_after_the_mark_was_read_is_seen(
    cache: CacheDir, begin: Callable[[CacheDir], Lease | Share], when: str
) -> None:
    lease = begin(cache)
    put(cache, lease, OTHER)
    reader = crowd(cache)
    assert ask(cache, reader, **{when: lambda: put(cache, lease)})


@pytest.mark.parametrize("when", ["marked", "read"])
def test_a_lease_that_is_born_after_the_mark_was_read_is_seen(cache: CacheDir, when: str) -> None:
    first = born(cache)
    put(cache, first, OTHER)
    reader = crowd(cache)
    late: list[Lease] = []

    def bear() -> None:
        late.append(born(cache))
        put(cache, late[0])

    assert ask(cache, reader, **{when: bear})


@pytest.mark.parametrize("count", [0, FEW + 1])
def test_what_is_added_between_two_holds_of_one_collector_is_seen_in_the_second(cache: CacheDir, count: int) -> None:
    lease = born(cache)
    put(cache, lease, OTHER)
    reader = crowd(cache, count)
    assert not ask(cache, reader)
    put(cache, lease)
    assert ask(cache, reader)


def test_leases_that_are_as_they_were_are_looked_at_in_no_later_hold(
    cache: CacheDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = born(cache)
    put(cache, lease)
    reader = crowd(cache)
    assert ask(cache, reader)
    monkeypatch.delattr(LeaseReader, "read_living")
    assert in_next_hold(cache, reader)
    assert in_next_hold(cache, reader, OTHER) is False


def test_few_leases_are_read_in_the_hold(cache: CacheDir) -> None:
    lease = born(cache)
    put(cache, lease)
    reader = crowd(cache, FEW - 1)
    assert in_next_hold(cache, reader)


def test_where_leases_grow_on_they_are_read_in_the_fourth_hold(cache: CacheDir) -> None:
    lease = born(cache)
    put(cache, lease, OTHER)
    reader = crowd(cache)
    for _ in range(3):
        assert in_next_hold(cache, reader) is None
        reader.read_ahead()
        put(cache, lease, new_object_id())
    put(cache, lease)
    assert in_next_hold(cache, reader)


def test_leases_are_read_ahead_of_holds_as_often_as_they_grow(cache: CacheDir) -> None:
    lease = born(cache)
    reader = crowd(cache)
    for _ in range(5):
        put(cache, lease, new_object_id())
        assert in_next_hold(cache, reader) is None
        reader.read_ahead()
        assert in_next_hold(cache, reader) is False


def test_a_lease_that_covers_everything_is_found_among_many(cache: CacheDir) -> None:
    lease = born(cache)
    put(cache, lease, OTHER)
    with open(lease.path, "ab") as file:
        file.write(b"\n[]\n")
    assert ask(cache, crowd(cache))


def test_a_living_lease_without_end_is_not_read_and_covers_everything(cache: CacheDir) -> None:
    lease = born(cache)
    put(cache, lease, OTHER)
    os.truncate(lease.path, 40_000_000_000)  # of which nothing is on the disk
    reader = crowd(cache, 0)
    assert in_next_hold(cache, reader)
    lease.end()
    assert in_next_hold(cache, reader) is False


def test_what_was_given_up_since_the_leases_were_read_protects_no_longer(cache: CacheDir) -> None:
    share = made(cache)
    put(cache, share)
    reader = crowd(cache)
    assert ask(cache, reader)
    share.drop([OBJECT])
    assert in_next_hold(cache, reader) is False


@pytest.mark.parametrize("file_stays", [True, False])
def test_a_lease_that_ended_since_the_leases_were_read_protects_no_longer(cache: CacheDir, *, file_stays: bool) -> None:
    lease = born(cache)
    put(cache, lease)
    reader = crowd(cache)
    assert ask(cache, reader)
    content = Path(lease.path).read_bytes()
    lease.end()
    if file_stays:  # as where its holder was killed
        Path(lease.path).write_bytes(content)
    assert in_next_hold(cache, reader) is False


def no_mark(mark: Path) -> None:
    mark.unlink()


def cut(mark: Path) -> None:
    mark.write_bytes(mark.read_bytes()[:15])


def too_long(mark: Path) -> None:
    mark.write_bytes(mark.read_bytes() * 2)


def without_end(mark: Path) -> None:
    os.truncate(mark, 40_000_000_000)  # of which nothing is on the disk


def a_directory(mark: Path) -> None:
    mark.unlink()
    mark.mkdir()


def a_link(mark: Path) -> None:
    mark.rename(mark.with_name("elsewhere"))
    mark.symlink_to("elsewhere")


def a_pipe(mark: Path) -> None:
    mark.unlink()
    os.mkfifo(mark)


def a_name_of_another_file(mark: Path) -> None:
    mark.rename(mark.with_name("elsewhere"))
    mark.hardlink_to(mark.with_name("elsewhere"))


@pytest.mark.parametrize("spoil", [no_mark, cut, too_long, without_end, a_directory, a_link, a_pipe])
def test_without_a_mark_of_ours_every_hold_reads_the_leases(
    cache: CacheDir, mark: Path, spoil: Callable[[Path], None]
) -> None:
    lease = born(cache)
    put(cache, lease, OTHER)
    reader = crowd(cache)
    spoil(mark)
    assert in_next_hold(cache, reader) is False
    with open(lease.path, "ab") as file:
        file.write(f'\n{{"add":["{OBJECT}"]}}\n'.encode())
    assert in_next_hold(cache, reader)


@pytest.mark.parametrize(
    "spoil", [no_mark, cut, too_long, without_end, a_directory, a_link, a_pipe, a_name_of_another_file]
)
def test_whoever_adds_makes_the_mark_anew(cache: CacheDir, mark: Path, spoil: Callable[[Path], None]) -> None:
    lease = born(cache)
    put(cache, lease, OTHER)
    before = mark.read_bytes()
    spoil(mark)
    put(cache, lease)
    assert mark.is_file()
    assert not mark.is_symlink()
    assert mark.stat().st_size == 16
    assert mark.read_bytes() != before
    elsewhere = mark.with_name("elsewhere")
    assert not elsewhere.exists() or elsewhere.read_bytes() == before


def test_a_pipe_that_somebody_reads_makes_way_for_a_mark(cache: CacheDir, mark: Path) -> None:
    lease = born(cache)
    os.mkfifo(mark)
    reader = os.open(mark, os.O_RDONLY | os.O_NONBLOCK)
    try:
        put(cache, lease)
    finally:
        os.close(reader)
    assert mark.stat().st_size == 16


@pytest.mark.parametrize("spoil", [a_directory, a_link, a_pipe, a_name_of_another_file])
def test_a_prune_takes_what_stood_in_the_place_of_the_mark(
    cache: CacheDir, mark: Path, spoil: Callable[[Path], None]
) -> None:
    lease = born(cache)
    put(cache, lease, OTHER)
    spoil(mark)
    put(cache, lease)
    lease.end()
    before = mark.read_bytes()
    prune_now(cache)
    assert os.listdir(cache.layout.leases) == os.listdir(cache.layout.trash) == []
    assert {path.name for path in mark.parent.glob("leases*")} == {"leases", "leases.changed"}
    assert mark.read_bytes() == before


def test_a_mark_that_was_removed_and_made_anew_is_another(cache: CacheDir, mark: Path) -> None:
    lease = born(cache)
    put(cache, lease, OTHER)
    reader = crowd(cache)
    assert not ask(cache, reader)
    mark.unlink()
    put(cache, lease)
    assert ask(cache, reader)


def test_a_clean_of_everything_and_a_prune_keep_the_mark(cache: CacheDir, mark: Path) -> None:
    lease = born(cache)
    put(cache, lease)
    lease.end()
    before = mark.read_bytes()
    clean_now(cache)
    prune_now(cache)
    assert mark.read_bytes() == before


def test_nothing_is_added_where_the_mark_cannot_be_written(cache: CacheDir, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = born(cache)

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(OSError, match="No space left"):
        put(cache, lease)
    monkeypatch.undo()
    assert lease.objects == set()
    assert LeaseReader(cache.layout.leases).read()[0].objects == frozenset()


def test_a_birth_and_giving_up_leave_the_mark_as_it_is(cache: CacheDir, mark: Path) -> None:
    share = made(cache)
    assert not mark.exists()
    put(cache, share)
    before = mark.read_bytes()
    born(cache)
    share.drop([OBJECT])
    put(cache, share)
    renewed = mark.read_bytes()
    put(cache, share)  # it is on it already
    share.end()
    assert before != renewed == mark.read_bytes()
