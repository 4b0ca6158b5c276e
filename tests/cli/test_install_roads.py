"""What the warm road and the long road of an installation share: each input read once, one lock, no needless fetch."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from aiocache_engine.engine import engine_over
from aiocache_engine.errors import LockError
from aiocache_engine.pipeline import deliver
from aiocache_engine.pipeline.undertake import Inputs, InstallRequest, look_into_install
from aiocache_engine.pipeline.warm import install_warm
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.testing.index_server import IndexServer

from .conftest import Aioc


def test_a_requirements_file_that_can_be_read_only_once_is_read_once(aioc: Aioc, tmp_path: Path) -> None:
    pipe = tmp_path / "pins"
    os.mkfifo(pipe)
    process = aioc.start("install", "--no-deps", "-r", str(pipe), "--venv", "v", "--json")
    pipe.write_text("tiny==1.0\n")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, '"name": "tiny"' in out) == (0, True), out + err


def test_what_is_installed_in_the_pinned_version_is_not_fetched_again(aioc: Aioc, server: IndexServer) -> None:
    assert aioc("install", "--no-deps", "tiny==1.0", "--venv", "v").code == 0
    assert aioc("clean").code == 0
    before = sum(server.counts.values())
    again = aioc("install", "--no-deps", "tiny==1.0", "--venv", "v", "--json")
    assert again.document["unchanged"] == [{"name": "tiny", "version": "1.0"}]
    assert again.document["link_mode"] is None
    assert sum(server.counts.values()) == before
    assert aioc("install", "--offline", "--no-deps", "tiny==1.0", "--venv", "v").code == 0
    assert aioc("install", "--offline", "--no-deps", "--reinstall", "tiny==1.0", "--venv", "v").code == 1


def test_a_new_environment_is_made_of_the_interpreter_that_is_named(aioc: Aioc, tmp_path: Path) -> None:
    base = tmp_path / "base"
    assert aioc("install", "--venv", str(base)).code == 0
    made = aioc("install", "--no-deps", "tiny==1.0", "--venv", "v", "--python", str(base / "bin/python"))
    assert made.code == 0, made.err
    assert (aioc.home / "v/bin/python").resolve() == (base / "bin/python").resolve()
    refused = aioc("install", "--no-deps", "tiny==1.0", "--target", "t", "--python", str(base / "bin/python"))
    assert (refused.code, "name different places" in refused.err) == (2, True)


def lock_of(aioc: Aioc, choice: TargetChoice) -> str:
    options = deliver.Options(link_mode=deliver.LinkMode.AUTO, reinstalls=False, is_ephemeral=False, is_dry_run=False)
    return look_into_install(aioc.kit(), InstallRequest(Inputs(), choice, options)).lock_path


def test_an_environment_has_one_lock_however_it_is_named(aioc: Aioc, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert aioc("install", "--venv", str(tmp_path / name)).code == 0
    (tmp_path / "link").symlink_to(tmp_path / "one")
    locks = [
        lock_of(aioc, TargetChoice(venv=str(tmp_path / "one"))),
        lock_of(aioc, TargetChoice(venv=str(tmp_path / "link"))),
        lock_of(aioc, TargetChoice(python=str(tmp_path / "one/bin/python"))),
    ]
    assert len(set(locks)) == 1
    assert lock_of(aioc, TargetChoice(python=str(tmp_path / "two/bin/python"))) not in locks


@pytest.mark.parametrize("kind", ["venv", "target"])
@pytest.mark.parametrize("second", ["warm", "cold"])
async def test_of_two_who_find_a_place_missing_one_tells_that_it_made_it(aioc: Aioc, second: str, kind: str) -> None:
    kit = aioc.kit()
    options = deliver.Options(link_mode=deliver.LinkMode.AUTO, reinstalls=False, is_ephemeral=False, is_dry_run=False)
    choice = TargetChoice(**{kind: str(aioc.home / "v")})
    one, other = (look_into_install(kit, InstallRequest(Inputs(), choice, options)) for _ in range(2))
    async with engine_over(kit) as engine:
        assert (await engine.run_install(one)).is_target_new
        if second == "cold":
            report = await engine.run_install(other)
    if second == "warm":
        report = await anyio.to_thread.run_sync(install_warm, kit, other)
    assert report is not None
    assert not report.is_target_new


@pytest.mark.parametrize("how", ["link", "foreign", "open to all"])
def test_a_strange_place_for_locks_is_refused(
    how: str, aioc: Aioc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    place, victim = tmp_path / f"aioc-{os.geteuid()}", tmp_path / "victim"
    victim.mkdir()
    if how == "link":
        place.symlink_to(victim)
    else:
        place.mkdir()
        if how == "foreign":
            if os.geteuid() != 0:
                pytest.skip("only root can give a directory away")
            os.chown(place, 65534, 65534)
        else:
            place.chmod(stat.S_IRWXU | stat.S_IRWXO)
    kit = aioc.kit()
    kit.cache.is_read_only = True
    target = look_into_target(aioc, tmp_path)
    with pytest.raises(LockError, match="set TMPDIR"):
        deliver.lock_path(kit.cache, target)
    assert list(victim.iterdir()) == []


def look_into_target(aioc: Aioc, tmp_path: Path) -> deliver.Target:
    options = deliver.Options(link_mode=deliver.LinkMode.AUTO, reinstalls=False, is_ephemeral=False, is_dry_run=False)
    choice = TargetChoice(venv=str(tmp_path / "v"))
    return look_into_install(aioc.kit(), InstallRequest(Inputs(), choice, options)).target


HOLDER = """
import sys
from aiocache_engine.model.locking import LockMode
from aiocache_engine.system.lock import CacheLock
with CacheLock.at(sys.argv[1]).hold_now(LockMode.SHARED):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_command_that_is_done_leaves_the_freeing_to_the_next_one_when_the_cache_is_busy(aioc: Aioc) -> None:
    assert aioc("fetch", "--no-deps", "tiny==1.0", "tiny==1.0").code == 0
    assert aioc("fetch", "--no-deps", "other==1.0").code == 0
    other = aioc.archive_of("other")
    shutil.rmtree(aioc.cache_dir / "projects-v1" / "other")
    (aioc.cache_dir / "condemned" / f"{other}-0").touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(aioc.cache_dir / ".locks/cache.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        done = aioc.start("fetch", "--no-deps", "--offline", "tiny==1.0")
        out, err = done.communicate(timeout=30)  # the lock's own time-out is 60 s
    assert done.returncode == 0, out + err
    assert os.path.isdir(aioc.cache_dir / "archives-v1" / other)
    assert aioc("size").code == 0
    assert not os.path.isdir(aioc.cache_dir / "archives-v1" / other)
