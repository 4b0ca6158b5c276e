"""Real sets of pinned distributions, installed by us and by uv: the same files, whole, and gone again on uninstall."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pins were computed for Python 3.11"),
]

PINS = Path(__file__).parent.parent / "data" / "pins"
SETS = sorted(path.stem for path in PINS.glob("*.txt"))
RECORD_FILES = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "aioc.json", "uv_cache.json"})

CHECK_SCRIPTS = """
import importlib.metadata, os, runpy, sys, types
bad = []
for distribution in importlib.metadata.distributions():
    for entry in distribution.entry_points:
        if entry.group not in ("console_scripts", "gui_scripts"):
            continue
        calls = []
        holder = target = types.ModuleType("stand-in")
        *path, last = entry.attr.split(".")
        for part in path:
            setattr(target, part, types.SimpleNamespace())
            target = getattr(target, part)
        setattr(target, last, lambda: calls.append(1) or 42)
        before = dict(sys.modules)
        parts = entry.module.split(".")
        for length in range(1, len(parts) + 1):
            package = types.ModuleType(".".join(parts[:length]))
            package.__path__ = []
            sys.modules[package.__name__] = package
        sys.modules[entry.module] = holder
        script = os.path.join(os.path.dirname(sys.executable), entry.name)
        sys.argv = [script]
        try:
            runpy.run_path(script, run_name="__main__")
            code = None
        except SystemExit as error:
            code = error.code
        except BaseException as error:
            code = repr(error)
        sys.modules.clear()
        sys.modules.update(before)
        if calls != [1] or code != 42:
            bad.append((entry.name, code))
print(bad)
"""


def run(*command: str | Path, cache: Path, **options: object) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"AIOC_CACHE_DIR": str(cache / "aioc"), "UV_CACHE_DIR": str(cache / "uv")}
    environ.pop("VIRTUAL_ENV", None)
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done


def uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    assert found, "uv is in the test extra"
    return found


def files(root: Path, *, aside: frozenset[str] = frozenset()) -> dict[str, tuple[bytes | str, bool]]:
    """Every file below the environment: its content without shebang, and whether it may be executed."""
    found: dict[str, tuple[bytes | str, bool]] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory) / name
            relative = str(path.relative_to(root))
            if name in RECORD_FILES or relative in {*aside, ".lock"} or "__pycache__" in relative:  # .lock is uv's
                continue
            content = path.read_bytes() if not path.is_symlink() else os.readlink(path)
            if isinstance(content, bytes) and content.startswith(b"#!") and path.parent.name == "bin":
                content = content.partition(b"\n")[2]
            found[relative] = (content, bool(path.stat().st_mode & stat.S_IXUSR))
    return found


def entry_point_scripts(root: Path) -> set[str]:
    names: set[str] = set()
    for path in root.glob("lib/python*/site-packages/*.dist-info/entry_points.txt"):
        section = ""
        for line in path.read_text().splitlines():
            if line.startswith("["):
                section = line.strip("[] ")
            elif "=" in line and section in ("console_scripts", "gui_scripts"):
                names.add(f"bin/{line.partition('=')[0].strip()}")
    return names | ({f"bin/pip3.{sys.version_info[1]}"} if "bin/pip" in names else set())


@pytest.mark.parametrize("name", SETS)
def test_a_pinned_set_is_installed_as_uv_installs_it_and_can_be_uninstalled(name: str, tmp_path: Path) -> None:
    cache, pins = tmp_path / "cache", PINS / f"{name}.txt"
    ours, theirs, empty_ours, empty_theirs = (tmp_path / each for each in ("ours", "theirs", "empty-a", "empty-b"))
    aioc = (sys.executable, "-m", "aiocache_engine")
    run(*aioc, "install", "--venv", empty_ours, "--no-deps", "--no-compile", cache=cache)
    for environment in (theirs, empty_theirs):
        run(uv(), "venv", "--no-config", "-q", "-p", sys.executable, environment, cache=cache)
    python = ours / "bin" / "python"

    run(*aioc, "install", "--no-deps", "--no-compile", "-r", pins, "--venv", ours, cache=cache)
    run(uv(), "pip", "install", "--no-config", "--no-deps", "-r", pins, "-p", theirs / "bin/python", cache=cache)

    scripts = entry_point_scripts(ours)
    mine = files(ours, aside=frozenset(files(empty_ours)))
    other = files(theirs, aside=frozenset(files(empty_theirs)))
    assert sorted(other) == sorted(mine)
    assert {path: mode for path, (_, mode) in other.items()} == {path: mode for path, (_, mode) in mine.items()}
    different = [path for path in mine if path not in scripts and mine[path][0] != other[path][0]]
    assert different == []
    assert run(python, "-c", CHECK_SCRIPTS, cache=cache).stdout.strip() == "[]"

    pip = (sys.executable, "-m", "pip", "--python")
    run(*pip, python, "check", cache=cache)
    names = [line.partition("==")[0] for line in pins.read_text().splitlines() if "==" in line]
    again = tmp_path / "again"
    run(*aioc, "install", "--offline", "--no-deps", "--no-compile", "-r", pins, "--venv", again, cache=cache)
    run(*pip, python, "uninstall", "-y", *names, cache=cache)
    run(uv(), "pip", "uninstall", "--no-config", "-p", again / "bin/python", *names, cache=cache)
    for environment in (ours, again):
        assert files(environment, aside=frozenset(files(empty_ours))) == {}
