"""clean and prune of real caches with real environments: what goes, what stays and why, and how many bytes it frees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import create_task_group

from aiocache_engine.errors import CacheEngineError, LockError, LocksUnsupportedError, ReadOnlyCacheError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.removal import Removal
from aiocache_engine.pipeline.collector import collect, passes
from aiocache_engine.pipeline.collector.whereabouts import Whereabouts
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.pipeline.undertake import FetchRequest, Inputs, look_into_fetch
from aiocache_engine.pipeline.warm import fetch_warm
from aiocache_engine.store.documents import decode, encode
from aiocache_engine.store.notes import write_note
from aiocache_engine.system.keylock import KeyLock
from aiocache_engine.system.lockfile import LockFile
from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound, untouched
from caches import Place, clean_now, process, said, tell

HARD = LinkMode.HARDLINK
SYMLINK = LinkMode.SYMLINK
OWN_FILES = [LinkMode.HARDLINK, LinkMode.COPY]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel()
    return place


def reasons(removal: Removal) -> set[str]:
    return {each.reason.value for each in removal.removed if each.kind == "archive"}


def codes(removal: Removal) -> set[str]:
    return {reason.code.value for kept in removal.kept for reason in kept.reasons}


def runs(environment: Path, code: str = "import tiny") -> bool:
    return (
        subprocess.run([environment / "bin" / "python", "-c", code], capture_output=True, check=False).returncode == 0
    )


# What a clean takes


async def test_a_clean_takes_everything_of_a_project_and_nothing_of_others(place: Place) -> None:
    place.wheel("tiny", "2.0")
    place.wheel("tiny-tools")
    await place.fetch("tiny==1.0")
    await place.fetch("tiny==2.0")
    [other] = await place.fetch("tiny-tools")
    removal = await place.clean("Tiny")
    assert place.archives() == {other}
    assert all(name.startswith("tiny-tools/") for name in place.names())
    assert reasons(removal) == {"named"}
    assert len([each for each in removal.removed if each.kind == "archive"]) == 2
    assert_sound(place.cache, is_pruned=True)


@pytest.mark.parametrize(
    ("specifier", "left"),
    [
        ("==1.0", {"1.5rc1", "2.0"}),
        ("<2", {"2.0"}),
        (">=1.5rc1,<3", {"1.0"}),
        ("!=1.0", {"1.0"}),
        ("==9", {"1.0", "1.5rc1", "2.0"}),
    ],
)
async def test_a_clean_by_specifier_takes_exactly_the_versions_that_match(
    place: Place, specifier: str, left: set[str]
) -> None:
    for version in ("1.0", "1.5rc1", "2.0"):
        place.wheel("tiny", version)
        await place.fetch(f"tiny=={version}")
    await place.clean(f"tiny{specifier}")
    async with place.engine() as engine:
        assert {entry.version for entry in await engine.entries()} == left
    assert_sound(place.cache, is_pruned=True)


async def test_a_clean_of_everything_leaves_an_empty_cache_that_works(place: Place) -> None:
    place.wheel("other")
    await place.fetch("tiny", "other")
    await place.install("env", "tiny")
    await place.clean()
    assert place.archives() == place.names() == set()
    assert_sound(place.cache, is_pruned=True)
    assert await place.fetch("tiny")


async def test_a_clean_of_a_name_that_matches_nothing_says_so_with_near_names(place: Place) -> None:
    await place.fetch("tiny")
    removal = await place.clean("tinny")
    assert removal.removed == ()
    assert removal.near_names == ("tiny",)


def test_a_clean_of_what_a_read_only_cache_does_not_have_says_so_and_of_all_else_that_it_cannot(place: Place) -> None:
    anyio.run(place.fetch, "tiny")
    cache = place.opened()
    cache.is_read_only = True
    with untouched(place.cache):
        removal = clean_now(cache, "tinny", "tiny==9")
        assert (removal.removed, removal.kept, removal.is_dry_run) == ((), (), False)
        assert [target.project for target in removal.unmatched] == ["tinny", "tiny"]
        assert removal.near_names == ("tiny",)
        for names in (["tiny"], ["tinny", "tiny"], ["tiny==1.0"], []):
            with pytest.raises(ReadOnlyCacheError):
                clean_now(cache, *names)
    page = place.cache / "projects-v1" / "tiny" / ("0" * 32) / "page"
    page.parent.mkdir()
    page.write_bytes(b"it may promise 9")
    with untouched(place.cache), pytest.raises(ReadOnlyCacheError):
        clean_now(cache, "tiny==9")
    anyio.run(place.clean)
    with untouched(place.cache), pytest.raises(ReadOnlyCacheError):
        clean_now(cache)  # a clean of everything renews the generation, whatever there is


async def test_the_next_fetch_after_a_clean_has_fresh_bytes(place: Place) -> None:
    [old] = await place.fetch("tiny")
    place.wheel(files={"tiny/__init__.py": "fresh = True\n"})
    await place.clean("tiny")
    [new] = await place.fetch("tiny")
    assert old != new
    assert (place.cache / "archives-v1" / new / "tree" / "tiny" / "__init__.py").read_text() == "fresh = True\n"


# Leases


HOLD = """
import asyncio, json, sys
from pathlib import Path
from caches import *

async def main():
    place = Place(Path(sys.argv[1]))
    async with place.engine() as engine:
        conductor = engine._opened.conductor()
        from aiocache_engine.pipeline.steps import in_shared_hold
        work = engine._opened.work()
        await conductor.conduct(in_shared_hold(lambda hold: work.begin(hold, ["tiny"])))
        await conductor.conduct(in_shared_hold(lambda hold: work.keep(hold, sys.argv[2:])))
        print(json.dumps(work.lease.id), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        work.end()
        print(1, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.mark.parametrize("named", [("tiny",), ("tiny==1.0",), ()])
async def test_names_of_what_is_leased_go_at_once_and_bytes_when_the_lease_ends(
    place: Place, named: tuple[str, ...]
) -> None:
    [archive] = await place.fetch("tiny")
    with process(HOLD, place.root, archive) as holder:
        said(holder)
        removal = await place.clean(*named)
        assert [kept.object.id for kept in removal.kept] == [archive]
        assert codes(removal) == {"lease"}
        assert removal.kept[0].reasons[0].pid == holder.pid
        assert place.archives() == {archive}
        assert place.names() == set()
        # A fetch while it is still in use makes a new one.
        [fresh] = await place.fetch("tiny")
        assert fresh != archive
        tell(holder)
        said(holder)
        # Every command ends by freeing what was condemned; here one that has nothing to do.
        await place.clean("unknown")
    assert place.archives() == {fresh}
    await place.prune()
    assert_sound(place.cache, is_pruned=True)


async def test_bytes_condemned_under_a_killed_holder_are_freed_by_the_next_command_even_if_it_fails(
    place: Place,
) -> None:
    [archive] = await place.fetch("tiny")
    with process(HOLD, place.root, archive) as holder:
        said(holder)
        await place.clean("tiny")
        holder.kill()
        holder.wait()
    with pytest.raises((CacheEngineError, ExceptionGroup)):
        await place.fetch("no-such-project")
    assert place.archives() == set()


def test_a_warm_call_that_fails_frees_what_was_condemned(place: Place) -> None:
    anyio.run(place.fetch, "tiny")
    [archive] = place.archives()
    write_note(str(place.cache / "condemned"), archive)
    shutil.rmtree(place.cache / "projects-v1" / "tiny")
    kit = open_kit(place.cache, config=place.config(), environ={"PATH": os.environ["PATH"]})
    with pytest.raises(CacheEngineError):
        fetch_warm(
            kit,
            look_into_fetch(
                kit, FetchRequest(Inputs(requirements=("tiny==9",), follows_dependencies=False), sys.executable)
            ),
        )
    assert place.archives() == set()


async def test_a_prune_beside_a_holder_keeps_what_it_holds_and_frees_the_rest(place: Place) -> None:
    place.wheel("other")
    [archive] = await place.fetch("tiny")
    [other] = await place.fetch("other")
    shutil.rmtree(place.cache / "projects-v1")
    with process(HOLD, place.root, archive) as holder:
        said(holder)
        removal = await place.prune()
        assert [each.id for each in removal.removed if each.kind == "archive"] == [other]
        assert codes(removal) == {"lease"}
    await place.prune()
    assert place.archives() == set()


# Environments


async def test_what_an_environment_links_to_by_symlink_stays_until_the_environment_goes(place: Place) -> None:
    environment = await place.install("env", "tiny", mode=SYMLINK)
    removal = await place.clean("tiny")
    assert codes(removal) == {"referrer"}
    assert place.names() == set()
    assert runs(environment)
    await place.prune()
    assert runs(environment)
    shutil.rmtree(environment)
    removal = await place.prune()
    assert reasons(removal) == {"unreachable"}
    assert place.archives() == set()
    assert_sound(place.cache, is_pruned=True)


@pytest.mark.parametrize("mode", OWN_FILES)
async def test_what_an_environment_has_files_of_its_own_of_goes_with_a_clean(place: Place, mode: LinkMode) -> None:
    environment = await place.install("env", "tiny", mode=mode)
    with untouched(environment):
        await place.clean("tiny")
    assert place.archives() == set()
    assert runs(environment)
    assert_environment_sound(environment)


@pytest.mark.parametrize("mode", [*OWN_FILES, SYMLINK])
async def test_a_prune_keeps_what_an_environment_uses_and_takes_it_when_all_are_gone(
    place: Place, mode: LinkMode
) -> None:
    environments = [await place.install(name, "tiny", mode=mode) for name in ("one", "two")]
    for environment in environments:
        removal = await place.prune()
        assert codes(removal) == {"referrer"}
        assert {each.kind for each in removal.removed} <= {"leftover"}  # the records of those that are gone
        shutil.rmtree(environment)
    removal = await place.prune()
    assert reasons(removal) == {"environments-gone"}
    assert place.archives() == place.names() == set()
    assert os.listdir(place.cache / "referrers") == []
    assert_sound(place.cache, is_pruned=True)


async def test_a_prune_takes_what_was_uninstalled_from_its_last_environment(place: Place) -> None:
    place.wheel("other")
    environment = await place.install("env", "tiny", "other")
    dist_info = next(environment.rglob("tiny-1.0.dist-info"))
    shutil.rmtree(dist_info)
    removal = await place.prune()
    assert [each.project for each in removal.removed if each.kind == "archive"] == ["tiny"]


async def test_an_upgrade_lets_the_old_version_go(place: Place) -> None:
    await place.install("env", "tiny")
    place.wheel("tiny", "2.0")
    await place.install("env", "tiny==2.0")
    removal = await place.prune()
    assert [each.version for each in removal.removed if each.kind == "archive"] == ["1.0"]


async def test_what_was_fetched_and_never_linked_stays_as_does_what_was_linked_for_a_moment_only(place: Place) -> None:
    place.wheel("other")
    await place.fetch("tiny")
    shutil.rmtree(await place.install("env", "other", ephemeral=True))
    removal = await place.prune()
    assert codes(removal) == {"pointer"}
    assert len(place.archives()) == 2


async def test_an_archive_that_nothing_but_its_hash_names_is_unreachable(place: Place) -> None:
    await place.fetch("tiny")
    for index in (place.cache / "projects-v1" / "tiny").iterdir():
        if index.name != "hash":
            shutil.rmtree(index)
    removal = await place.prune()
    assert reasons(removal) == {"unreachable"}
    assert place.names() == set()


def change_referrer(place: Place, **changes: object) -> None:
    [record] = (place.cache / "referrers").iterdir()
    document = decode(record.read_bytes())
    assert document is not None
    document.pop("format")
    record.write_bytes(encode({**document, **changes}))


@pytest.mark.parametrize(
    "changes", [{"machine_id": "another"}, {"mount_namespace": 1}, {"device": 1}, {"path": "/proc/none/such/env"}]
)
@pytest.mark.parametrize("mode", [HARD, SYMLINK])
async def test_an_environment_that_cannot_be_told_to_be_gone_keeps_all_that_it_was_registered_with(
    place: Place, changes: dict[str, object], mode: LinkMode
) -> None:
    shutil.rmtree(await place.install("env", "tiny", mode=mode))
    change_referrer(place, **changes)
    for _ in range(2):
        removal = await place.prune()
        assert codes(removal) == {"referrer"}
        assert len(removal.warnings) == 1
    assert len(place.archives()) == 1


async def test_an_environment_that_went_with_its_whole_project_is_gone(place: Place) -> None:
    (place.root / "work" / "project").mkdir(parents=True)
    await place.install("work/project/.venv", "tiny")
    shutil.rmtree(place.root / "work" / "project")
    removal = await place.prune()
    assert reasons(removal) == {"environments-gone"}
    assert removal.warnings == ()
    assert os.listdir(place.cache / "referrers") == []
    assert_sound(place.cache, is_pruned=True)


async def test_an_environment_that_was_replaced_by_another_one_is_gone(place: Place) -> None:
    place.wheel("other")
    shutil.rmtree(await place.install("env", "tiny"))
    await place.install("env", "other")
    removal = await place.prune()
    assert [each.project for each in removal.removed if each.kind == "archive"] == ["tiny"]


async def test_an_environment_that_lost_its_id_keeps_what_its_distributions_use(place: Place) -> None:
    environment = await place.install("env", "tiny", mode=SYMLINK)
    (environment / "aioc.json").unlink()
    assert codes(await place.prune()) == {"referrer"}
    assert runs(environment)
    shutil.rmtree(environment)
    environment.mkdir()
    assert reasons(await place.prune()) == {"environments-gone"}


async def test_the_copy_of_an_environment_does_not_take_over_the_record_of_the_original(place: Place) -> None:
    place.wheel("other")
    original = await place.install("env", "tiny", mode=SYMLINK)
    shutil.copytree(original, place.root / "copy", symlinks=True)
    await place.install("copy", "other", mode=SYMLINK)
    shutil.rmtree(place.root / "copy")
    await place.prune()
    assert runs(original)


async def test_an_environment_that_moved_is_registered_where_it_is_now(place: Place) -> None:
    place.wheel("other")
    environment = await place.install("env", "tiny")
    environment.rename(place.root / "moved")
    await place.install("moved", "other")
    assert codes(await place.prune()) == {"referrer"}
    assert len(os.listdir(place.cache / "referrers")) == 1


@pytest.mark.parametrize("is_moved", [True, False])
async def test_a_prune_that_frees_what_a_symlinked_environment_used_says_that_it_takes_it_for_gone(
    place: Place, *, is_moved: bool
) -> None:
    environment = await place.install("env", "tiny", mode=SYMLINK)
    if is_moved:
        beyond = place.root.joinpath("far", *"123456")  # deeper than it is searched for
        beyond.mkdir(parents=True)
        environment.rename(beyond / "env")
    else:
        shutil.rmtree(environment)
    expected = (f"environment {environment} is gone; if it was moved, install into it again",)
    async with place.engine() as engine:
        assert (await engine.foresee(await engine.plan_prune())).warnings == expected
    assert (await place.prune()).warnings == expected
    assert (await place.prune()).warnings == ()
    if is_moved:
        await place.install("moved", "tiny", mode=SYMLINK)
        assert runs(place.root / "moved")


async def test_a_warning_of_a_prune_is_told_though_a_later_pass_finds_no_cause_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.wheel("other")
    environment = await place.install("env", "tiny", mode=SYMLINK)
    shutil.rmtree(environment)
    [other] = await place.fetch("other")
    shutil.rmtree(place.cache / "projects-v1" / "other")
    detach = passes.detach_objects

    def stamped_meanwhile(*arguments: object, **named: object) -> object:
        monkeypatch.undo()
        (place.cache / "archives-v1" / other / "used").write_bytes(os.urandom(16))
        return detach(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(passes, "detach_objects", stamped_meanwhile)
    removal = await place.prune()
    assert place.archives() == set()
    assert [str(environment) in warning for warning in removal.warnings] == [True]


async def test_an_unreadable_record_of_an_environment_keeps_everything(place: Place) -> None:
    await place.fetch("tiny")
    shutil.rmtree(place.cache / "projects-v1")
    (place.cache / "referrers" / ("0" * 32)).write_bytes(b'{"format": 2}')
    assert codes(await place.prune()) == {"unknown"}
    assert len(place.archives()) == 1


async def test_an_interrupted_installation_keeps_its_archives_until_it_is_settled(place: Place) -> None:
    script = """
import asyncio, os, signal, sys
from pathlib import Path
from caches import *

def strike(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("RECORD"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(strike)
asyncio.run(Place(Path(sys.argv[1])).install("env", "tiny", mode=LinkMode.SYMLINK))
"""
    with process(script, place.root) as installer:
        installer.wait(60)
    assert (place.root / "env" / "aioc-journal").exists()
    await place.clean("tiny")
    removal = await place.prune()
    assert codes(removal) == {"referrer"}
    assert len(place.archives()) == 1
    await place.install("env", "tiny", mode=HARD)
    assert runs(place.root / "env")
    await place.prune()
    assert len(place.archives()) == 1
    assert_sound(place.cache, is_pruned=True)


# Leftovers


async def test_a_prune_takes_what_dead_work_left(place: Place) -> None:
    await place.fetch("tiny")
    left = {
        "staging/" + "0" * 32 + "/x/tree/file": "x" * 9000,
        "staging/.birth-11": "half",
        "leases/.birth-" + "1" * 32: "half",
        "leases/" + "2" * 32: "dead",
        "trash/archive-1-2/tree/file": "y" * 9000,
        "trash/pointer-1": "z",
        "projects-v0/old/file": "old",
        "condemned/" + "3" * 32 + "-44": "",
    }
    for path, content in left.items():
        file = place.cache / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    theirs = place.cache / "somebody-else-v0"
    theirs.mkdir()
    (theirs / "file").write_text("mine")
    with untouched(theirs):
        removal = await place.prune()
    kinds = sorted((each.kind, each.reason.value) for each in removal.removed)
    assert kinds == [("format", "old-format")] + [("leftover", "leftover")] * 6
    assert not (place.cache / "projects-v0").exists()
    assert len(place.archives()) == 1
    assert_sound(place.cache, is_pruned=True)


async def test_a_prune_takes_key_locks_that_nobody_holds(place: Place) -> None:
    await place.install("env", "tiny")
    keys = place.cache / ".locks" / "keys"
    assert len(os.listdir(keys)) == 2
    script = """
import sys
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.pipeline.undertake import FetchRequest, Inputs, look_into_fetch
from aiocache_engine.pipeline.warm import fetch_warm
from aiocache_engine.store.notes import write_note
from aiocache_engine.system.keylock import KeyLock
with KeyLock(sys.argv[1]).hold_now(what="a test"):
    print(1, flush=True)
    sys.stdin.readline()
"""
    with process(script, keys / ("0" * 32)) as holder:
        said(holder)
        await place.prune()
        assert os.listdir(keys) == ["0" * 32]
        async with KeyLock(keys / ("1" * 32)).hold(what="a test"):
            await place.prune()
            assert sorted(os.listdir(keys)) == ["0" * 32, "1" * 32]


@pytest.mark.parametrize("name", ["cache.lock", "cache.lock.gate"])
async def test_nobody_locks_through_a_link_in_the_place_of_a_lock_file(name: str, place: Place, tmp_path: Path) -> None:
    lock = place.cache / ".locks" / name
    await place.fetch("tiny")
    lock.unlink()
    lock.symlink_to(tmp_path / "outside")
    with pytest.raises(LockError, match="a symbolic link stands in the place of the lock file; remove it"):
        await place.clean("tiny")
    assert not (tmp_path / "outside").exists()
    lock.unlink()
    await place.clean("tiny")
    assert place.archives() == set()


async def test_a_prune_takes_links_and_pipes_among_key_locks_away_and_touches_nothing_behind_them(
    place: Place, tmp_path: Path
) -> None:
    keys = place.cache / ".locks" / "keys"
    await place.install("env", "tiny")
    (outside := tmp_path / "outside").mkdir()
    (outside / "file").write_bytes(b"mine")
    for name, target in (("a", "absent"), ("b", "file"), ("c", "")):
        (keys / (name * 32)).symlink_to(outside / target)
    os.mkfifo(keys / ("d" * 32))
    with untouched(outside):
        await place.prune()
    assert os.listdir(keys) == []


async def test_a_prune_leaves_a_key_lock_that_was_made_anew_while_it_looked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.install("env", "tiny")
    keys = place.cache / ".locks" / "keys"
    for each in keys.iterdir():
        each.unlink()
    key = keys / ("0" * 32)
    key.touch()
    look = os.lstat
    looked: list[str] = []
    with ExitStack() as held:

        def look_too_late(path: Any, **how: Any) -> os.stat_result:
            if os.fspath(path) != str(key) or looked:
                return look(path, **how)
            looked.append(str(key))
            key.unlink()  # as another prune does
            try:
                return look(path, **how)
            finally:
                held.enter_context(KeyLock(key).hold_now(what="a test"))

        monkeypatch.setattr(os, "lstat", look_too_late)
        await place.prune()
        assert looked
        assert key.exists()


async def test_a_prune_says_that_the_file_system_has_no_locks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.install("env", "tiny")
    key = place.cache / ".locks" / "keys" / ("0" * 32)
    key.touch()
    take = LockFile.take

    def refuse(path: str, mode: LockMode) -> LockFile | None:
        if path == str(key):
            raise LocksUnsupportedError(path, "Function not implemented")
        return take(path, mode)

    monkeypatch.setattr(LockFile, "take", refuse)
    with pytest.raises(LocksUnsupportedError):
        await place.prune()
    assert key.exists()


async def test_a_page_goes_with_its_project_s_last_archive(place: Place) -> None:
    page = place.cache / "projects-v1" / "gone" / ("0" * 32) / "page"
    await place.fetch("tiny")
    page.parent.mkdir(parents=True)
    page.write_bytes(b"a page")
    kept = place.cache / "projects-v1" / "tiny" / ("0" * 32) / "page"
    kept.parent.mkdir()
    kept.write_bytes(b"a page")
    await place.prune()
    assert not page.exists()
    assert kept.exists()


async def test_a_prune_of_what_was_pruned_has_nothing_to_do(place: Place) -> None:
    shutil.rmtree(await place.install("env", "tiny"))
    assert (await place.prune()).removed
    again = await place.prune()
    assert (again.removed, again.kept) == ((), ())


# Bytes


def allocated(path: Path) -> int:
    """Add up the blocks of every inode below a directory, each once, as `du` does."""
    inodes: dict[int, int] = {}
    for directory, names, files in os.walk(path):
        for each in (directory, *(os.path.join(directory, name) for name in (*names, *files))):
            status = os.lstat(each)
            inodes[status.st_ino] = status.st_blocks * 512
    return sum(inodes.values())


def beside(path: Path) -> set[int]:
    return {os.lstat(os.path.join(d, f)).st_ino for d, _, files in os.walk(path) for f in files}


@pytest.mark.parametrize("remove", ["clean tiny", "clean big==1.0", "clean", "prune"])
@pytest.mark.parametrize("linked", ["nowhere", "hard", "gone"])
async def test_a_dry_run_tells_what_then_happens_and_both_tell_what_the_disk_gets_back(
    place: Place, remove: str, linked: str
) -> None:
    place.wheel("big", file_count=120, files={"big/data": "x" * 300_000})
    await place.fetch("tiny", "big")
    if linked != "nowhere":
        environment = await place.install("env", "tiny", "big")
        if linked == "gone":
            shutil.rmtree(environment)
    (place.cache / "trash" / "left").write_bytes(b"x" * 10_000)
    (place.cache / "leases" / ("0" * 32)).write_bytes(b"x")
    command, _, name = remove.partition(" ")
    names = [name] if name else []
    async with place.engine() as engine:
        plan = await (engine.plan_clean(names) if command == "clean" else engine.plan_prune())
        before = allocated(place.root)
        with untouched(place.cache):
            foreseen = await engine.foresee(plan)
        removal = await (engine.clean(names) if command == "clean" else engine.prune())
        went = before - allocated(place.root)
    assert tell_of(foreseen) == tell_of(removal)
    assert foreseen.is_dry_run
    # A new generation, empty directories, and the record of an environment that is gone are a few blocks.
    assert abs(removal.freed_bytes - went) <= max(0.01 * went, 4 * 4096)
    assert_sound(place.cache)


def tell_of(removal: Removal) -> list[tuple[object, ...]]:
    return sorted(
        (
            each.kind,
            each.project or "",
            each.version or "",
            each.id or "",
            each.file_count,
            each.size_bytes,
            each.freed_bytes,
        )
        for each in removal.removed
    )


async def test_a_dry_run_changes_nothing(place: Place) -> None:
    await place.install("env", "tiny", mode=SYMLINK)
    async with place.engine() as engine:
        with untouched(place.cache, place.root / "env"):
            for names in (["tiny"], ["tiny==1.0"], []):
                await engine.foresee(await engine.plan_clean(names))
            await engine.foresee(await engine.plan_prune())


# What changes while it is being collected


async def test_what_is_used_between_scan_and_detach_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    [archive] = await place.fetch("tiny")
    shutil.rmtree(place.cache / "projects-v1" / "tiny")
    detach = passes.detach_objects
    seen: list[str] = []

    def stamped_meanwhile(*arguments: object, **named: object) -> object:
        (place.cache / "archives-v1" / archive / "used").write_bytes(os.urandom(16))
        seen.append("stamped")
        return detach(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(passes, "detach_objects", stamped_meanwhile)
    removal = await place.prune()
    assert place.archives() == {archive}
    assert len(seen) == collect.PASSES
    assert codes(removal) == {"recently-used"}
    monkeypatch.undo()
    await place.prune()
    assert place.archives() == set()


async def test_what_is_registered_again_between_scan_and_forgetting_is_not_forgotten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = await place.install("env", "tiny", mode=SYMLINK)
    kept = place.root / "further" / "env"
    kept.parent.mkdir()
    environment.rename(kept)

    def come_back() -> Whereabouts:
        # A mount that comes back just now, say.
        if kept.exists():
            kept.rename(environment)
        return Whereabouts()

    monkeypatch.setattr(collect, "Whereabouts", come_back)
    await place.prune()
    assert len(os.listdir(place.cache / "referrers")) == 1


async def test_many_collectors_at_once_do_not_disturb_each_other_or_the_fetches_beside_them(place: Place) -> None:
    for number in range(6):
        place.wheel(f"p{number}", file_count=20)
    wrong: list[object] = []

    async def fetch(number: int) -> None:
        for _ in range(4):
            environment = await place.install(f"env{number}", f"p{number}", mode=SYMLINK)
            if not runs(environment, f"import p{number}"):
                wrong.append(environment)

    async def collect(remove: str) -> None:
        for _ in range(8):
            await (place.prune() if remove == "prune" else place.clean(*remove.split()))

    async with create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(fetch, number)
        for remove in ("prune", "prune", "p0 p1", "p2==1.0", ""):
            tasks.start_soon(collect, remove)
    assert not wrong
    await place.prune()
    assert_sound(place.cache, is_pruned=True)
    for number in range(6):
        assert runs(place.root / f"env{number}", f"import p{number}")
