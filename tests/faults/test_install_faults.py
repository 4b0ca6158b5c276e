"""An installation stopped at any of its changes leaves the target as before or complete, with no manual step."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aiocache_engine.errors import TargetError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.pipeline.linking.install import apply_install, prepare_install, recover
from aiocache_engine.python.installed import JOURNAL, JOURNAL_BEGUN, archives_in_use, read_installed
from targets import environment, install, ready, run, snapshot

HERE = Path(__file__).parent
MANNERS = ["kill", "error", "full", "again"]


def sweep(case: str, manner: str, directory: Path, first: int, step: int, **environ: str) -> int:
    done = subprocess.run(
        [sys.executable, HERE / "sweep_install.py", case, manner, directory, str(first), str(step)],
        env={**os.environ, "PYTHONPATH": str(HERE.parent), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[0])


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("case", ["fresh", "upgrade", "shared"])
def test_stopped_at_some_changes_the_target_is_as_before_or_complete(case: str, manner: str, tmp_path: Path) -> None:
    first = MANNERS.index(manner) + 1
    assert sweep(case, manner, tmp_path, first, 5) > 20


@pytest.mark.torture
@pytest.mark.parametrize("mode", ["hardlink", "copy", "symlink"])
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("case", ["fresh", "upgrade", "shared"])
def test_stopped_at_any_change_the_target_is_as_before_or_complete(
    case: str, manner: str, mode: str, tmp_path: Path
) -> None:
    assert sweep(case, manner, tmp_path, 1, 1, SWEEP_MODE=mode) > 20


@pytest.mark.torture
@pytest.mark.parametrize("manner", MANNERS)
def test_stopped_at_any_change_of_two_threads_the_target_is_as_before_or_complete(manner: str, tmp_path: Path) -> None:
    assert sweep("shared", manner, tmp_path, 1, 1, SWEEP_THREADS="1") > 20


def test_a_full_disk_leaves_the_target_as_it_was_and_the_next_try_succeeds(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=200", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        target = environment(small / "env")
        wheel = ready(tmp_path / "cache", "big", files={f"big/{n}.bin": os.urandom(100_000) for n in range(40)})
        many = ready(tmp_path / "cache", "many", file_count=300)
        before = snapshot(target.root)
        for one in (wheel, many):
            with pytest.raises(Exception, match="free some space") as raised:
                install(target, one)
            assert type(raised.value).__name__ == "OutOfSpaceError"
            assert before == snapshot(target.root)
        install(target, ready(tmp_path / "cache", "little"))
        assert {"little"} == {one.project for one in read_installed(target.site_directories())}
    finally:
        subprocess.run(["umount", small], check=True)


def interrupted(tmp_path: Path):
    """An installation that was killed before the last rename of its last step: all is linked, no RECORD is in place."""
    target = environment(tmp_path / "env")
    wheel = ready(tmp_path / "cache", "main", files={"main/__init__.py": "ours = 1\n", "main/ours.py": ""})
    before = snapshot(target.root)
    prepared = prepare_install(target, [wheel], [], reinstall=False, link_mode=LinkMode.COPY)
    if (child := os.fork()) == 0:

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event == "os.rename" and arguments[0] == "RECORD.0":
                os._exit(0)

        sys.addaudithook(hook)
        apply_install(prepared)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert (Path(target.purelib) / "main/ours.py").exists()
    return target, wheel, before


def test_an_interrupted_installation_keeps_its_archives_until_it_is_settled(tmp_path: Path) -> None:
    target, wheel, before = interrupted(tmp_path)
    shutil.rmtree(Path(target.purelib, "main-1.0.dist-info"))
    assert {wheel.archive_id: "copy"} == archives_in_use(target.site_directories(), target.root)
    recover(target)
    assert archives_in_use(target.site_directories(), target.root) == {}
    assert before == snapshot(target.root)


def test_bytecode_that_was_compiled_meanwhile_goes_with_what_is_taken_back(tmp_path: Path) -> None:
    target, _, before = interrupted(tmp_path)
    writing = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run(Path(target.scripts, "python"), "-c", "import main", environ=writing)
    assert os.listdir(Path(target.purelib, "main/__pycache__"))
    recover(target)
    assert before == snapshot(target.root)


def test_a_journal_is_never_overwritten(tmp_path: Path) -> None:
    target, wheel, _ = interrupted(tmp_path)
    before = snapshot(target.root)
    prepared = prepare_install(target, [wheel], [], reinstall=False, link_mode=LinkMode.COPY)
    with pytest.raises(TargetError, match="run the same command again"):
        apply_install(prepared)
    assert before == snapshot(target.root)


def test_what_another_process_has_under_way_is_not_settled(tmp_path: Path) -> None:
    target, wheel, before = interrupted(tmp_path)
    holder = os.open(Path(target.root, JOURNAL), os.O_RDONLY)  # as an installation served by another cache dir
    fcntl.flock(holder, fcntl.LOCK_EX)
    half_way = snapshot(target.root)
    with pytest.raises(TargetError, match="another installation is under way"):
        install(target, wheel)
    assert half_way == snapshot(target.root)
    os.close(holder)
    recover(target)
    assert before == snapshot(target.root)


def test_what_another_tool_installed_after_a_crash_is_left_alone(tmp_path: Path) -> None:
    target, _, _ = interrupted(tmp_path)
    shutil.rmtree(Path(target.purelib, "main-1.0.dist-info"))
    wheels = tmp_path / "cache/wheels"
    theirs = ready(tmp_path / "cache", "main", "1.1", files={"main/__init__.py": "theirs = 1\n"})
    path = next(wheels.glob("main-1.1-*.whl"))
    pip = [sys.executable, "-m", "pip", "--python", os.path.join(target.scripts, "python")]
    subprocess.run([*pip, "install", "-q", "--no-index", "--no-compile", path], check=True, capture_output=True)
    recover(target)
    assert Path(target.purelib, "main/__init__.py").read_text() == "theirs = 1\n"
    assert not Path(target.purelib, "main/ours.py").exists()
    assert [(one.project, one.version) for one in read_installed(target.site_directories())] == [("main", "1.1")]
    install(target, theirs, reinstall=True)


def test_a_journal_of_another_release_or_a_damaged_one_is_told(tmp_path: Path) -> None:
    target, _, _ = interrupted(tmp_path)
    begun = Path(target.root, JOURNAL, JOURNAL_BEGUN)
    begun.write_text(begun.read_text().replace('"format":1', '"format":99'))
    with pytest.raises(TargetError, match="another release of aioc left it"):
        recover(target)
    assert archives_in_use(target.site_directories(), target.root) is None
    begun.write_text("{")
    with pytest.raises(TargetError, match="damaged"):
        recover(target)
    assert archives_in_use(target.site_directories(), target.root) is None
