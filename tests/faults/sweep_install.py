"""Run one installation many times, each stopped at another of its changes; started by test_install_faults.py.

    sweep_install.py CASE MANNER DIRECTORY FIRST STEP

CASE: fresh, upgrade or shared. MANNER: `kill` (SIGKILL at the N-th change), `error` (the N-th fails, once), `full`
(the N-th and all that follow fail), `again` (the N-th fails, and SIGKILL comes while it is being taken back). Each N
has its own process, since an audit hook stays for good. Prints how many were tried; exits with 1 and tells where a
target was neither as before nor complete.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

from aiocache_engine.errors import CacheEngineError
from aiocache_engine.model.python import Target
from aiocache_engine.pipeline.linking import link
from aiocache_engine.pipeline.linking.install import ReadyWheel, apply_install, prepare_install, recover
from aiocache_engine.python.installed import JOURNAL, archives_in_use, read_installed
from targets import environment, install, ready, snapshot

CHANGES = frozenset({"os.link", "os.symlink", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime"})
WRITING = os.O_WRONLY | os.O_RDWR


def build(case: str, base: Path) -> tuple[Target, list[ReadyWheel]]:
    cache = base / "cache"
    target = environment(base / "env")
    old = ready(
        cache,
        "main",
        "1",
        files={"main/__init__.py": "old = 1", "main/gone/x.py": "x", "single.py": "old"},
        data={"scripts": {"tool": "#!python\nold\n"}, "data": {"share/main/old.txt": "old"}},
        entry_points={"console_scripts": {"main": "main:old"}},
    )
    new = ready(
        cache,
        "main",
        "2",
        files={"main/__init__.py": "new = 2", "main/fresh/y.py": "y", "main/fresh/z.py": "z"},
        data={"scripts": {"tool": "#!python\nnew\n"}, "data": {"share/main/new.txt": "new"}},
        entry_points={"console_scripts": {"main": "main:new"}},
        direct_url='{"url": "file:///x"}',
    )
    other = ready(cache, "other", files={"other/__init__.py": "", "space/__init__.py": "shared"})
    neighbour = ready(cache, "neighbour", files={"space/__init__.py": "shared", "space/n.py": "n"})
    if case == "fresh":
        return target, [new, other]
    install(target, old, neighbour)
    Path(target.purelib, "main/__pycache__").mkdir()
    Path(target.purelib, "main/__pycache__/__init__.cpython-311.pyc").write_bytes(b"stale")
    if case == "upgrade":
        return target, [new]
    Path(target.purelib, "other").mkdir()
    Path(target.purelib, "other/__init__.py").write_text("a file of nobody")
    return target, [new, other]


def attempt(target: Target, wheels: list[ReadyWheel], manner: str, number: int) -> bool:
    """Install in a child, stopped at a change; tell whether it got through without being stopped."""
    if (child := os.fork()) == 0:
        code = 2
        try:
            recover(target)
            installed = read_installed(target.site_directories())
            count = 0

            def hook(event: str, arguments: tuple[object, ...]) -> None:
                nonlocal count
                flags = arguments[2] if event == "open" else 0
                if event not in CHANGES and not (isinstance(flags, int) and flags & WRITING):
                    return
                count += 1
                if manner == "kill" and count == number:
                    os.kill(os.getpid(), 9)
                if manner == "again" and count == number + 1 + number * 7 % 23:
                    os.kill(os.getpid(), 9)
                if (manner in ("error", "again") and count == number) or (manner == "full" and count >= number):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            sys.addaudithook(hook)
            apply_install(prepare_install(target, wheels, installed, reinstall=False, link_mode=MODE))
            code = 0 if count < number else 3  # 3: stopped, and done all the same
        except CacheEngineError:
            code = 4  # refused in our own words
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    expected = {"kill": (-9, 0), "again": (-9, 0, 3, 4)}.get(manner, (0, 3, 4))
    assert status in expected, f"{manner} at {number}: exit {status}"
    return status == 0


def state(target: Target) -> dict[str, tuple[str, bytes | str]]:
    return {path: value for path, value in snapshot(target.root).items() if not path.endswith((".pyc", "__pycache__"))}


def main(case: str, manner: str, directory: str, first: int, step: int) -> None:
    base = Path(directory)
    target, wheels = build(case, base)
    pristine = base / "pristine"
    shutil.copytree(target.root, pristine, symlinks=True)
    before = state(target)
    install(target, *wheels, link_mode=MODE)
    after = state(target)
    assert before != after
    ids = {wheel.archive_id for wheel in wheels}
    cache, away = base / "cache", base / "cache-away"
    outcomes = {"before": 0, "after": 0}
    number = first
    while True:
        shutil.rmtree(target.root)
        shutil.copytree(pristine, target.root, symlinks=True)
        through = attempt(target, wheels, manner, number)
        interrupted = os.path.lexists(os.path.join(target.root, JOURNAL))
        used = archives_in_use(target.site_directories(), target.root)
        assert used is not None
        if interrupted and state(target).keys() & {f"{JOURNAL}/begun", f"{JOURNAL}/done"}:
            assert ids <= used.keys(), f"{manner} at {number}: the journal does not name the new archives"
        if manner == "error":
            # Past the decision only the removal of the old can fail: files are complete, empty directories may be left.
            assert not interrupted or files(state(target)) == files(after), f"{manner} at {number}: not taken back"
        os.rename(cache, away)  # taking back and carrying through need no archive
        recover(target)
        os.rename(away, cache)
        now = state(target)
        assert now in (before, after), f"{case}, {manner} at {number}: {difference(now, before, after)}"
        outcomes["after" if now == after else "before"] += 1
        install(target, *wheels, link_mode=MODE)
        assert state(target) == after, f"{case}, {manner} at {number}: the same command does not complete it"
        if through:
            break
        number += step
    print(number, outcomes)


def files(found: dict[str, tuple[str, bytes | str]]) -> dict[str, tuple[str, bytes | str]]:
    return {path: value for path, value in found.items() if value[0] != "directory" and not path.startswith(JOURNAL)}


def difference(now: dict[str, object], *others: dict[str, object]) -> str:
    closest = min(others, key=lambda other: len(now.items() ^ other.items()))
    return ", ".join(sorted({path for path, _ in now.items() ^ closest.items()}))


if __name__ == "__main__":
    from aiocache_engine.model.python import LinkMode

    MODE = LinkMode(os.environ.get("SWEEP_MODE", "hardlink"))
    if os.environ.get("SWEEP_THREADS"):
        link._FILES_A_JOB = 2  # many jobs, so that the second thread takes part
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
