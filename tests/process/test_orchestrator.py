"""The orchestrator of examples/ builds made-up projects: in order, without rounds, past failures, and after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.testing.invariants import assert_sound
from aiocache_engine.testing.sdists import Behaviour, make_sdist, read_trace
from aiocache_engine.testing.wheels import build_wheel

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "orchestrator" / "build_wheels.py"
TIMEOUT_SECONDS = 120
Run = Callable[..., str]


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory that serves as the only index."""
    (links := tmp_path / "links").mkdir()
    monkeypatch.setenv("AIOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AIOC_INDEX_URL", links.as_uri())
    monkeypatch.setenv("AIOC_FIND_LINKS", str(links))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    yield links
    assert_sound(tmp_path / "cache")
    assert os.listdir(tmp_path / "cache" / "staging") == []


def sdist(links: Path, name: str, version: str = "1.0", **options: Any) -> None:
    make_sdist(links, name, version, trace=links.parent / "trace", **options)


def start(links: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), "-d", str(links.parent / "made"), *words]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=links.parent)


def run(links: Path, *words: str, code: int = 0) -> str:
    process = start(links, *words)
    said, complaints = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == code, said + complaints
    return said


def built(links: Path) -> list[str]:
    return [each["name"] for each in read_trace(links.parent / "trace") if each["hook"] == "build_wheel"]


def wheels(links: Path) -> set[str]:
    return {path.name.removesuffix("-py3-none-any.whl") for path in (links.parent / "made").glob("wheels/*")}


def installed(links: Path) -> set[str]:
    (site,) = (links.parent / "made" / "environment").glob("lib/python3*/site-packages")
    return {path.name.removesuffix(".dist-info") for path in site.glob("*.dist-info")}


def test_all_that_is_needed_is_built_once_each_after_what_it_needs(links: Path) -> None:
    sdist(links, "base")
    sdist(links, "tool", build_requires=["base"], requires=["base"])
    sdist(links, "late", build_requires=["tool"])
    sdist(links, "lib", "1.0", build_requires=["tool<2", 'gone; python_version < "3"'], imports=["tool", "base"])
    sdist(links, "fast", build_requires=["tool"])
    sdist(links, "web", requires=['gone; python_version < "3"', 'fast; extra == "quick"'])
    sdist(links, "app", build_requires=["tool"], wheel_requires=["late"], requires=["lib", "web[quick]"])
    build_wheel(links, "late", "1.0")  # which nobody is to take: it was not built here
    said = run(links, "app")
    order = built(links)
    assert sorted(order) == ["app", "base", "fast", "late", "lib", "tool", "web"]
    for first, then in [("base", "tool"), ("tool", "late"), ("tool", "lib"), ("tool", "fast"), ("late", "app")]:
        assert order.index(first) < order.index(then)
    assert installed(links) == {"app-1.0", "lib-1.0", "web-1.0", "fast-1.0"}
    assert wheels(links) == {f"{name}-1.0" for name in order}
    assert "builds: 7\ncache hits: 0\ncleans and prunes: 14\n" in said
    assert "No broken requirements found." in said


def test_a_build_begins_as_soon_as_what_it_needs_is_there_whatever_else_is_being_built(links: Path) -> None:
    """With rounds, the second would wait for the first to end, and `slow` waits here for what comes in the third."""
    sdist(links, "one")
    sdist(links, "two", build_requires=["one"])
    sdist(links, "three", build_requires=["two"])
    sdist(links, "slow", gate=links.parent / "made" / "wheels" / "three-1.0-py3-none-any.whl")
    run(links, "slow", "three", "--jobs", "2")
    assert wheels(links) == {"one-1.0", "two-1.0", "three-1.0", "slow-1.0"}


def test_a_failing_build_is_told_with_all_that_lack_it_and_stops_nothing_else(links: Path) -> None:
    sdist(links, "broken", behaviour=Behaviour.CRASH)
    sdist(links, "tool", requires=["broken"])
    sdist(links, "needy", build_requires=["tool"])
    sdist(links, "user", requires=["needy"])
    sdist(links, "fine")
    said = run(links, "user", "fine", code=1)
    assert wheels(links) == {"tool-1.0", "user-1.0", "fine-1.0"}
    assert not (links.parent / "made" / "environment").exists()
    failed, _, lacking = said.partition("failed: ")[2].partition("  is needed by ")
    assert failed.startswith("broken-1.0.tar.gz could not be built")
    assert "log: " in failed
    assert lacking.partition("wall seconds")[0].split("\n  is needed by ") == [
        "needy==1.0",
        "tool==1.0",
        "user==1.0\n",
    ]


def test_a_circle_is_named_and_ended_by_a_wheel_where_that_was_allowed(links: Path) -> None:
    sdist(links, "egg", build_requires=["hen"])
    sdist(links, "hen", build_requires=["egg"])
    build_wheel(links, "hen", "1.0")
    said = run(links, "egg", code=1)
    assert "(hen==1.0 -> egg==1.0 -> hen==1.0)" in said
    assert "--prebuilt" in said
    assert (built(links), wheels(links)) == ([], set())
    run(links, "egg", "--prebuilt", "hen")
    assert (built(links), wheels(links)) == (["egg"], {"egg-1.0"})


def test_what_was_killed_goes_on_where_it_was(links: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    sdist(links, "one")
    sdist(links, "two", build_requires=["one"], gate=gate)
    process = start(links, "two")
    try:
        while built(links) != ["one", "two"]:
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    gate.touch()
    said = run(links, "two")
    assert built(links) == ["one", "two", "two"]
    assert "builds: 1\ncache hits: 1\n" in said
    assert installed(links) == {"two-1.0"}
    shutil.rmtree(tmp_path / "cache")
    assert "builds: 0\ncache hits: 1\n" in run(links, "two")  # the directory of wheels is all that it needs


def test_a_newer_version_supersedes_what_was_built_while_others_are_installed(links: Path) -> None:
    sdist(links, "tool")
    sdist(links, "app", build_requires=["tool"])
    run(links, "app")
    sdist(links, "tool", "2.0")
    sdist(links, "app", "2.0", build_requires=["tool"])
    sdist(links, "old", build_requires=["tool<2"])
    run(links, "app", "old")
    assert sorted(built(links)) == ["app", "app", "old", "tool", "tool"]
    assert installed(links) == {"app-2.0", "old-1.0"}
    overlay = links.parent / "cache" / "overlays-v1" / "orchestrator"
    there = sorted(path.name.partition("-py3")[0] for path in overlay.rglob("*.json"))
    assert there == ["app-2.0", "old-1.0", "tool-1.0", "tool-2.0"]


def test_what_is_superseded_goes_from_the_own_overlay_alone(links: Path) -> None:
    sdist(links, "tool")
    run(links, "tool", "--overlay", "another")
    run(links, "tool")
    cache = links.parent / "cache"
    names_of_others = {*cache.glob("overlays-v1/another/tool/**/*.json"), *cache.glob("projects-v1/tool/built/*.json")}
    sdist(links, "tool", "2.0")
    run(links, "tool")
    own = [path.name.partition("-py3")[0] for path in cache.glob("overlays-v1/orchestrator/tool/**/*.json")]
    assert own == ["tool-2.0"]
    assert len(names_of_others) >= 2
    assert all(path.exists() for path in names_of_others)


def test_what_cannot_be_resolved_is_told_with_what_needed_it_and_stops_nothing_else(links: Path) -> None:
    unknown: dict[str, Any] = {"dynamic": ["Requires-Dist"]}
    sdist(links, "broken", behaviour=Behaviour.CRASH, misbehaves_in="prepare_metadata_for_build_wheel", **unknown)
    sdist(links, "user", requires=["broken"])
    sdist(links, "needy", build_requires=["broken"])
    sdist(links, "egg", build_requires=["hen"], **unknown)
    sdist(links, "hen", build_requires=["egg"], **unknown)
    sdist(links, "old", requires=["lib<2"])
    sdist(links, "fine", requires=["lib"])
    sdist(links, "lib")
    sdist(links, "lib", "2.0")
    said = run(links, "user", "broken", "needy", "egg", "gone", "ok@@", "old", "fine", code=1)
    assert wheels(links) == {"old-1.0", "fine-1.0", "lib-1.0"}  # what can be had is had together: no lib 2.0
    assert not (links.parent / "made" / "environment").exists()
    told = [each.partition("wall seconds")[0].rstrip() for each in said.split("failed: ")[1:]]
    reasons = {tuple(each.split("\n  is needed by ")[1:]): each for each in told}
    assert len(reasons) == len(told) == 4
    assert reasons["broken", "needy==1.0", "user"].startswith("broken-1.0.tar.gz could not be built")
    assert "egg==1.0 -> hen==1.0 -> egg==1.0" in reasons["egg",]
    assert reasons["gone",].startswith("gone was not found")
    assert reasons["ok@@",].startswith("'ok@@' cannot be used as a requirement")


def test_what_cannot_be_had_together_is_built_each_by_itself_and_not_installed(links: Path) -> None:
    sdist(links, "old", requires=["lib<2"])
    sdist(links, "new", requires=["lib>=2"])
    sdist(links, "lib")
    sdist(links, "lib", "2.0")
    said = run(links, "old", "new", code=1)
    assert wheels(links) == {"old-1.0", "new-1.0", "lib-1.0", "lib-2.0"}
    assert not (links.parent / "made" / "environment").exists()
    assert "there are no versions that suit everybody.\n  is needed by old and new together\n" in said


def test_what_was_built_to_learn_what_it_needs_counts_as_built(links: Path) -> None:
    sdist(links, "tool")
    sdist(
        links, "app", build_requires=["tool"], without=["prepare_metadata_for_build_wheel"], dynamic=["Requires-Dist"]
    )
    assert "builds: 2\ncache hits: 0\n" in run(links, "app")
    assert sorted(built(links)) == ["app", "tool"]
    shutil.rmtree(links.parent / "made")
    assert "builds: 0\ncache hits: 2\n" in run(links, "app")


def test_files_that_are_no_sound_wheels_of_this_interpreter_are_built_anew_or_left_alone(links: Path) -> None:
    names = ("damaged", "empty", "other", "whole")
    for name in names:
        sdist(links, name)
    run(links, *names)
    there = links.parent / "made" / "wheels"
    (there / "empty-1.0-py3-none-any.whl").write_bytes(b"")
    damaged = there / "damaged-1.0-py3-none-any.whl"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    (there / "other-1.0-py3-none-any.whl").rename(there / "other-1.0-cp26-cp26m-any.whl")
    (there / "no wheel name.whl").touch()
    shutil.rmtree(links.parent / "cache")
    said = run(links, *names)
    assert "builds: 3\ncache hits: 1\n" in said
    assert "builds: 0\ncache hits: 4\n" in run(links, *names)


@pytest.mark.parametrize(
    ("words", "complaint"), [("-d file", "/file: Not a directory"), ("-j 0", "argument -j/--jobs: ")]
)
def test_an_option_that_cannot_be_followed_is_named_in_a_line(tmp_path: Path, words: str, complaint: str) -> None:
    (tmp_path / "file").touch()
    process = start(tmp_path / "links", "app", *words.split())
    _, said = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 2
    assert complaint in said.splitlines()[-1]
    assert "Traceback" not in said
