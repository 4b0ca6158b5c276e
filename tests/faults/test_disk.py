"""Full disks, read-only ones, and damage: refused or healed in one clear line, nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from aiocache_engine.errors import CacheEngineError, OutOfSpaceError, ReadOnlyCacheError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.store import trash
from aiocache_engine.store.stamps import STAMP_BYTES
from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound, untouched
from caches import Place
from targets import snapshot

NEEDS_ROOT = "it needs to mount a file system"


def mount(kind: str, where: Path, options: str) -> bool:
    command = ["mount", "-t", kind, "-o", options, kind, where]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def imports_tiny(environment: Path) -> bool:
    return subprocess.run([environment / "bin" / "python", "-c", "import tiny"], check=False).returncode == 0


@pytest.fixture(params=["tmpfs-blocks", "tmpfs-inodes", "ext4-blocks", "ext4-inodes"])
def tiny_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few small wheels and not for more."""
    where = tmp_path / "disk"
    where.mkdir()
    kind, _, what = request.param.partition("-")
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip(NEEDS_ROOT)
    if kind == "tmpfs":
        options = "size=2m" if what == "blocks" else "size=50m,nr_inodes=260"
        if not mount("tmpfs", where, options):
            pytest.skip(NEEDS_ROOT)
    else:
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate((4 if what == "blocks" else 16) << 20)
        shape = ["-N", "2000" if what == "blocks" else "272", "-m", "0", "-O", "^has_journal"]
        subprocess.run(["mkfs.ext4", "-q", "-F", *shape, image], check=True)
        made = subprocess.run(["mount", "-o", "loop", image, where], capture_output=True, check=False)
        if made.returncode:
            pytest.skip(NEEDS_ROOT)
    yield where
    subprocess.run(["umount", where], check=True)


def fill(disk: Path) -> list[Path]:
    """Leave no block and no inode."""
    made: list[Path] = []
    for size in (1 << 20, 1 << 16, 1 << 12, 1, 0):
        # Where only blocks are scarce, empty files would go on for ever.
        for _ in range(600):
            path = disk / f"filler{len(made)}"
            try:
                path.write_bytes(b"x" * size)
            except OSError:
                if path.exists() and not path.stat().st_size and size:
                    path.unlink()
                elif path.exists():
                    made.append(path)
                break
            made.append(path)
    return made


def on(disk: Path, tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.cache = disk / "cache"
    return place


async def test_a_full_disk_refuses_a_fetch_with_one_clear_line_and_loses_nothing(
    tiny_disk: Path, tmp_path: Path
) -> None:
    place = on(tiny_disk, tmp_path)
    place.wheel("tiny")
    place.wheel("big", files={f"big/{number}": os.urandom(9000) for number in range(500)})
    [tiny] = await place.fetch("tiny")
    with pytest.raises((OutOfSpaceError, ExceptionGroup)) as refused:
        await place.fetch("big")
    errors = refused.value.exceptions if isinstance(refused.value, ExceptionGroup) else (refused.value,)
    assert all(isinstance(error, OutOfSpaceError) and "free some space" in str(error) for error in errors)
    assert place.archives() == {tiny}
    assert os.listdir(place.cache / "staging") == os.listdir(place.cache / "leases") == []
    assert_sound(place.cache, is_pruned=True)
    assert await place.fetch("tiny") == (tiny,)


async def test_a_full_disk_refuses_an_installation_and_leaves_the_target_as_it_was(
    tiny_disk: Path, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    place.wheel("big", files={f"big/{number}": os.urandom(9000) for number in range(500)})
    place.root = tiny_disk
    environment = await place.install("env", "tiny", mode=LinkMode.COPY)
    before = snapshot(environment)
    with pytest.raises(OutOfSpaceError):
        await place.install("env", "big", mode=LinkMode.COPY)
    assert snapshot(environment) == before
    assert_environment_sound(environment)
    assert_sound(place.cache)


@pytest.mark.parametrize("remove", ["clean", "clean all", "clean version", "prune"])
async def test_clean_and_prune_work_with_no_block_and_no_inode_left(
    tiny_disk: Path, tmp_path: Path, remove: str
) -> None:
    place = on(tiny_disk, tmp_path)
    for number in range(3):
        place.wheel(f"p{number}")
    await place.fetch("p0", "p1", "p2")
    if remove == "prune":
        shutil.rmtree(place.cache / "projects-v1" / "p0")
    fillers = fill(tiny_disk)
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "one-more").write_bytes(b"x" * (1 << 20))
    match remove:
        case "clean":
            removal = await place.clean("p0")
        case "clean version":
            removal = await place.clean("p0==1.0")
        case "clean all":
            removal = await place.clean()
        case _:
            removal = await place.prune()
    gone = [each for each in removal.removed if each.kind == "archive"]
    assert len(gone) == (3 if remove == "clean all" else 1)
    assert len(place.archives()) == 3 - len(gone)
    for filler in fillers:
        filler.unlink()
    await place.prune()
    assert (place.cache / ".reserve").exists()
    assert_sound(place.cache, is_pruned=True)


async def test_clean_and_prune_work_on_a_full_disk_even_without_the_reserve(tiny_disk: Path, tmp_path: Path) -> None:
    place = on(tiny_disk, tmp_path)
    place.wheel("p0")
    place.wheel("p1")
    await place.fetch("p0", "p1")
    shutil.rmtree(place.cache / "projects-v1" / "p0")
    (place.cache / ".reserve").unlink()
    fill(tiny_disk)
    removal = await place.prune()
    assert [each.project for each in removal.removed if each.kind == "archive"] == ["p0"]
    assert len(place.archives()) == 1


async def test_where_a_rename_is_refused_things_are_deleted_in_place_names_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    for version in ("1.0", "2.0"):
        place.wheel("tiny", version, file_count=20)
        await place.fetch(f"tiny=={version}")
    [name] = [path for path in place.names() if "tiny-1.0" in path]
    (place.cache / "projects-v1" / name).unlink()
    rename = os.rename

    def refuse(source: str, destination: str, *, dst_dir_fd: int | None = None, **named: object) -> None:
        if dst_dir_fd is not None and os.path.samestat(os.fstat(dst_dir_fd), (place.cache / "trash").stat()):
            raise OSError(errno.ENOSPC, "No space left on device", destination)
        rename(source, destination, dst_dir_fd=dst_dir_fd, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(trash.os, "rename", refuse)
    await place.prune()
    assert len(place.archives()) == 1
    assert_sound(place.cache, is_pruned=True)
    await place.clean("tiny==2.0")
    assert place.archives() == place.names() == set()
    assert_sound(place.cache, is_pruned=True)


# Read-only


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Place]:
    """A cache that holds tiny, behind a read-only bind mount."""
    place = Place(tmp_path)
    place.wheel("tiny")
    anyio.run(place.fetch, "tiny")
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    bound = subprocess.run(["mount", "--bind", place.cache, frozen], capture_output=True, check=False)
    if os.geteuid() != 0 or bound.returncode:
        pytest.skip(NEEDS_ROOT)
    subprocess.run(["mount", "-o", "remount,ro,bind", frozen], check=True)
    writable, place.cache = place.cache, frozen
    with untouched(writable):
        yield place
    subprocess.run(["umount", frozen], check=True)


async def test_a_read_only_cache_serves_what_it_holds_offline_without_writing(read_only: Place) -> None:
    async with read_only.engine(is_offline=True) as engine:
        target = TargetChoice(venv=str(read_only.root / "env"))
        report = await engine.install(["tiny"], target=target)
        assert [each.origin for each in report.installed] == ["cache"]
        assert len(await engine.entries()) == 1
        await engine.foresee(await engine.plan_prune())
    assert_environment_sound(read_only.root / "env")
    assert imports_tiny(read_only.root / "env")


async def test_what_would_write_to_a_read_only_cache_says_what_is_wrong(read_only: Place) -> None:
    read_only.wheel("other")
    async with read_only.engine() as engine:
        for call in (lambda: engine.clean(["tiny"]), engine.clean, engine.prune):
            with pytest.raises(ReadOnlyCacheError, match="read-only"):
                await call()
        with pytest.raises((ReadOnlyCacheError, ExceptionGroup)) as refused:
            await engine.fetch(["other"], python=sys.executable)
    errors = refused.value.exceptions if isinstance(refused.value, ExceptionGroup) else (refused.value,)
    assert all(isinstance(error, ReadOnlyCacheError) for error in errors)


def test_a_cache_dir_without_write_permission_works_for_others_than_root(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    script = """
import asyncio, os, sys
from pathlib import Path
from caches import *
from aiocache_engine.errors import ReadOnlyCacheError

async def main(place):
    await place.fetch("tiny")
    place.cache.chmod(0o500)
    async with place.engine(is_offline=True) as engine:
        await engine.install(["tiny"], target=TargetChoice(venv=str(place.root / "env")))
        try:
            await engine.clean(["tiny"])
        except ReadOnlyCacheError as error:
            print(json.dumps(str(error)), flush=True)
    place.cache.chmod(0o700)
    await place.clean()

os.umask(0o022)
asyncio.run(main(Place(Path(sys.argv[1]))))
"""
    # Somebody else's home must be reachable for him: not below our own temporary directory.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory, "wheels").mkdir()
        Place(Path(directory)).wheel("tiny")
        for path in (Path(directory), *Path(directory).rglob("*")):
            os.chown(path, 65534, 65534)
        look = [sys.executable, "-c", "import aiocache_engine"]
        try:
            subprocess.run(look, user=65534, group=65534, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this Python is not for others")
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "HOME": directory}
        done = subprocess.run(
            [sys.executable, "-c", script, directory],
            user=65534, group=65534, extra_groups=[], env=environ, capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "read-only" in done.stdout


# Damage


def some_file(place: Place, archive: str) -> Path:
    return place.cache / "archives-v1" / archive / "tree" / "tiny" / "__init__.py"


def reboot(place: Place, archive: str) -> None:
    """Let the archive look as if it was last used before a reboot."""
    used = place.cache / "archives-v1" / archive / "used"
    used.write_bytes(used.read_bytes()[:STAMP_BYTES] + b"another boot")


DAMAGES = ["missing", "truncated", "longer", "a link", "a directory"]


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    match how:
        case "truncated":
            path.write_bytes(content[:-1])
        case "longer":
            path.write_bytes(content + b"x")
        case "a link":
            path.symlink_to("elsewhere")
        case "a directory":
            path.mkdir()


@pytest.mark.parametrize("how", DAMAGES)
async def test_the_first_use_after_a_reboot_meets_damage_and_fetches_again(tmp_path: Path, how: str) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    [old] = await place.fetch("tiny")
    damage(some_file(place, old), how)
    reboot(place, old)
    environment = await place.install("env", "tiny")
    assert_environment_sound(environment)
    assert old not in place.archives()
    await place.prune()
    assert_sound(place.cache, is_pruned=True)


async def test_the_first_use_after_a_reboot_of_a_whole_archive_checks_it_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    [archive] = await place.fetch("tiny")
    reboot(place, archive)
    assert await place.fetch("tiny") == (archive,)
    damage(some_file(place, archive), "truncated")
    assert await place.fetch("tiny") == (archive,), "sizes are not looked at again in the same boot"


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY])
async def test_a_file_found_missing_while_linking_is_fetched_again(tmp_path: Path, mode: LinkMode) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    [old] = await place.fetch("tiny")
    some_file(place, old).unlink()
    environment = await place.install("env", "tiny", mode=mode)
    assert_environment_sound(environment)
    assert old not in place.archives()
    await place.prune()
    assert_sound(place.cache, is_pruned=True)


async def test_a_file_found_missing_offline_is_one_clear_error_and_the_target_stays_as_it_was(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    place.wheel("other")
    with IndexServer(place.wheels) as server:
        options = {"index_url": server.index_url, "find_links": ()}
        target = TargetChoice(venv=str(tmp_path / "env"))
        async with place.engine(**options) as engine:
            await engine.install(["other"], target=target)
            report = await engine.fetch(["tiny"], python=sys.executable)
    some_file(place, report.fetched[0].archive_id).unlink()
    async with place.engine(**options, is_offline=True) as engine:
        before = snapshot(tmp_path / "env")
        with pytest.raises((CacheEngineError, ExceptionGroup)) as refused:
            await engine.install(["tiny"], target=target)
        assert snapshot(tmp_path / "env") == before
    assert "--offline" in repr(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b"half a manif"])
async def test_a_damaged_manifest_is_met_at_the_next_use(tmp_path: Path, content: bytes | None) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    [old] = await place.fetch("tiny")
    manifest = place.cache / "archives-v1" / old / "manifest"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content)
    [new] = await place.fetch("tiny")
    assert new != old
    await place.prune()
    assert place.archives() == {new}
    assert_sound(place.cache, is_pruned=True)


async def test_damage_in_what_an_environment_is_symlinked_to_leaves_that_environment_its_archive(
    tmp_path: Path,
) -> None:
    # races.md 31: quarantined at once, a live environment would lose its files.
    place = Place(tmp_path)
    place.wheel("tiny", files={"tiny/__init__.py": "", "tiny/data": "x"})
    environment = await place.install("env", "tiny", mode=LinkMode.SYMLINK)
    [old] = place.archives()
    (place.cache / "archives-v1" / old / "tree" / "tiny" / "data").unlink()
    reboot(place, old)
    [new] = await place.fetch("tiny")
    await place.prune()
    assert place.archives() == {old, new}
    assert imports_tiny(environment)


async def test_an_adopted_archive_that_is_damaged_is_replaced(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel("tiny")
    [old] = await place.fetch("tiny")
    some_file(place, old).unlink()
    reboot(place, old)
    # An index that tells no hashes leads to the archive only once the file was downloaded.
    with IndexServer(place.wheels) as server:
        server.has_hashes = False
        async with place.engine(index_url=server.index_url, find_links=()) as engine:
            report = await engine.fetch(["tiny"], python=sys.executable)
    assert report.fetched[0].archive_id != old
    await place.prune()
    assert_sound(place.cache, is_pruned=True)


async def test_a_wheel_published_by_us_has_modes_that_nobody_else_can_write(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel("tiny", data={"scripts": {"run": "#!python\n"}})
    umask = os.umask(0)
    try:
        await place.fetch("tiny")
    finally:
        os.umask(umask)
    assert_sound(place.cache)
