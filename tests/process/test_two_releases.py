"""Two releases on one cache dir: what a newer one uses, by records that this one cannot read, this one does not remove.

The newer release is a copy of this one whose leases, records of environments and pins are of another format. It runs in
processes of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import aiocache_engine
from aiocache_engine.model.removal import KeepCode, PrunePolicy, Removal
from aiocache_engine.pipeline.collector import passes
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.collector.inspect import list_usage
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.testing.invariants import assert_sound, untouched
from caches import Place, clean_now, perform, process, prune_now, said, tell

TESTS = Path(__file__).parents[1]
BEGIN = """
import asyncio, json, os, sys
from pathlib import Path
import aiocache_engine
from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.python import LinkMode
from caches import Place, begun, in_hold
assert "newer" in aiocache_engine.__file__
place = Place(Path(sys.argv[1]))

def say_and_wait(what=None):
    print(json.dumps(what), flush=True)
    sys.stdin.readline()
"""
NEWER_FORMAT = """
import json
_encode, _decode = encode, decode

def encode(body):
    return _encode({**body, "format": 2})

def decode(content):
    try:
        return _decode(content)
    except NewerFormatError:
        return json.loads(content)
"""
HOLD = """
asyncio.run(place.fetch("tiny"))
cache = place.opened()
work = begun(cache)
in_hold(cache, LockMode.SHARED, lambda hold: work.keep(hold, place.archives()))
say_and_wait()
work.end()
say_and_wait()
"""
INSTALL = """
asyncio.run(place.install("env", "tiny", mode=LinkMode.SYMLINK))
say_and_wait()
asyncio.run(place.prune())
say_and_wait()
"""
PIN = """
asyncio.run(place.fetch("tiny"))
with BlockingCacheEngine(place.cache, config=place.config()) as engine:
    engine.pin(["tiny"], name="mine")
    say_and_wait()
    engine.unpin("mine")
say_and_wait()
"""
TOOL = """
import sys
def main():
    print(1, flush=True)
    sys.stdin.readline()
    import tiny.late
    print(tiny.late.WORD, flush=True)
"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the newer release; gives the directory to import it from."""
    root = tmp_path_factory.mktemp("newer")
    package = shutil.copytree(Path(aiocache_engine.__file__).parent, root / "aiocache_engine")
    for module in ("leases", "referrers", "pins"):
        with (package / "store" / f"{module}.py").open("a") as file:
            file.write(NEWER_FORMAT)
    return root


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel(files={"tiny/__init__.py": "", "tiny/late.py": "WORD = 'late'\n"})
    return place


@contextmanager
def beside(newer: Path, place: Place, script: str) -> Iterator[subprocess.Popen[str]]:
    """Have the newer release at work, and wait until it has come to the point where it waits itself."""
    environ = {"PYTHONPATH": os.pathsep.join([str(newer), str(TESTS)])}
    with process(BEGIN + script, place.root, environ=environ) as other:
        said(other)
        yield other


def remove_all_that_may_go(cache: CacheDir) -> list[Removal]:
    """Prune and clean as hard as may be without `--even-in-use`."""
    policy = PrunePolicy(takes_tools=True, is_ci=True, unused_for_seconds=0.0)
    return [
        perform(cache, Collector(cache).prune(policy)),
        clean_now(cache, "tiny"),
        clean_now(cache),
        prune_now(cache),
    ]


def codes(removal: Removal) -> set[KeepCode]:
    return {reason.code for kept in removal.kept for reason in kept.reasons}


def test_what_a_newer_release_has_leased_stays_until_its_lease_ends(newer: Path, place: Place) -> None:
    with beside(newer, place, HOLD) as other:
        cache = place.opened()
        with untouched(place.cache / "leases"), untouched(*(place.cache / "archives-v1").glob("*/tree")):
            for removal in remove_all_that_may_go(cache):
                assert codes(removal) == {KeepCode.LEASE}
                assert "a newer aioc" in removal.kept[0].reasons[0].release
        [lease] = list_usage(cache).leases
        assert lease.is_of_newer_release
        assert lease.objects is None
        tell(other)
        said(other)
        prune_now(cache)
        assert place.archives() == set()
        assert_sound(place.cache, is_pruned=True)


def test_a_tool_that_a_newer_release_runs_keeps_its_environment_by_its_lease(
    newer: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.wheel(
        "tool", files={"tool.py": TOOL}, entry_points={"console_scripts": {"tool": "tool:main"}}, requires=["tiny"]
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AIOC_")}
    environ |= {"PYTHONPATH": str(newer), "AIOC_CACHE_DIR": str(place.cache), "AIOC_INDEX_URL": place.wheels.as_uri()}
    environ |= {"AIOC_FIND_LINKS": str(place.wheels)}
    words = [sys.executable, "-m", "aiocache_engine", "run", "-q", "tool"]
    with subprocess.Popen(words, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tool:
        said(tool)
        cache = place.opened()
        monkeypatch.setattr(passes, "find_processes", lambda *_: {})  # as where processes cannot be seen
        for removal in remove_all_that_may_go(cache):
            assert KeepCode.LEASE in codes(removal)
        tell(tool)
        assert tool.stdout is not None
        assert tool.stdout.readline() == "late\n"
    prune_now(cache)
    assert place.archives() == set()
    assert os.listdir(place.cache / "environments-v1") == []


def test_an_environment_that_a_newer_release_registered_keeps_what_it_links_to(newer: Path, place: Place) -> None:
    with beside(newer, place, INSTALL) as other:
        cache = place.opened()
        environment = place.root / "env"
        with untouched(place.cache / "referrers"), untouched(*(place.cache / "archives-v1").glob("*/tree")):
            for removal in remove_all_that_may_go(cache):
                assert codes(removal) == {KeepCode.UNKNOWN}
            late = subprocess.run([environment / "bin/python", "-c", "import tiny.late"], check=False)
            assert late.returncode == 0
            shutil.rmtree(environment)
            assert codes(prune_now(cache)) == {KeepCode.UNKNOWN}  # it cannot know whose record that is
        tell(other)
        said(other)
        assert place.archives() == set()


def test_what_a_newer_release_pinned_stays_with_its_names(newer: Path, place: Place) -> None:
    with beside(newer, place, PIN) as other:
        cache = place.opened()
        names = place.names()
        with untouched(place.cache / "pins"), untouched(*(place.cache / "archives-v1").glob("*/tree")):
            for removal in remove_all_that_may_go(cache):
                assert KeepCode.UNKNOWN in codes(removal)
        assert place.names() == names
        tell(other)
        said(other)
        clean_now(cache)
        assert place.archives() == set()
        assert place.names() == set()
