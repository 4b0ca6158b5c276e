"""An sdist is looked into without building it: what it says, what its backend adds, and where its file goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from aiocache_engine.errors import BuildError, NoMatchingWheelError, UsageError
from aiocache_engine.testing.invariants import assert_sound
from aiocache_engine.testing.sdists import Backend, Behaviour, make_sdist, read_trace
from aiocache_engine.testing.wheels import build_wheel
from caches import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    assert_sound(place.cache)


def hooks(place: Place) -> list[str]:
    return [each["hook"] for each in read_trace(place.root / "trace") if each["hook"] != "import"]


async def test_what_an_sdist_says_is_told_and_its_backend_is_not_run(place: Place) -> None:
    place.wheel("one", "3.0")  # of which there is no sdist
    options = {"requires": ["two>=1"], "requires_python": ">=3.8", "build_requires": ["three", "four<9"]}
    sdist = make_sdist(place.wheels, "One", "1.5", trace=place.root / "trace", **options)
    make_sdist(place.wheels, "One", "2.0")
    copies = place.root / "made" / "sdists"
    async with place.engine() as engine:
        told = await engine.inspect("one<2", python=sys.executable, sdist_dir=copies)
    assert (told.project, told.version, told.filename) == ("one", "1.5", "one-1.5.tar.gz")
    assert (told.build_requires, told.backend_requires) == (("three", "four<9"), None)
    assert (told.requires, told.requires_python) == (("two>=1",), ">=3.8")
    assert told.path == str(copies / "one-1.5.tar.gz")
    assert told.sha256 == sha256(sdist.read_bytes()).hexdigest()
    assert [(each.name, each.read_bytes()) for each in copies.iterdir()] == [(sdist.name, sdist.read_bytes())]
    assert hooks(place) == []


async def test_a_backend_that_is_asked_adds_what_it_needs_and_builds_nothing(place: Place) -> None:
    place.wheel("three", "1.0")
    options = {"build_requires": ["three"], "imports": ["three"], "wheel_requires": ["five"], "dynamic": ["Version"]}
    sdist = make_sdist(place.wheels, "one", "1.0", trace=place.root / "trace", **options)
    async with place.engine() as engine:
        told = await engine.inspect(str(sdist), asks_backend=True, python=sys.executable)
    assert (told.build_requires, told.backend_requires, told.requires) == (("three",), ("five",), None)
    assert (told.path, told.requires_python) == (None, None)
    assert hooks(place) == ["get_requires_for_build_wheel"]


@pytest.mark.parametrize(
    ("backend", "behaviour", "text"),
    [
        (Backend.NONE, Behaviour.RIGHT, "neither pyproject.toml nor setup.py"),
        (Backend.IN_TREE, Behaviour.CRASH, "get_requires_for_build_wheel"),
    ],
)
async def test_an_sdist_that_cannot_tell_is_an_error(
    place: Place, backend: Backend, behaviour: Behaviour, text: str
) -> None:
    hook = "get_requires_for_build_wheel"
    make_sdist(place.wheels, "one", "1.0", backend=backend, behaviour=behaviour, misbehaves_in=hook)
    async with place.engine() as engine:
        with pytest.raises(BuildError, match=text):
            await engine.inspect("one", asks_backend=True, python=sys.executable)


async def test_what_has_no_sdist_or_is_a_directory_is_refused(place: Place, tmp_path: Path) -> None:
    place.wheel("one", "1.0")
    async with place.engine() as engine:
        with pytest.raises(NoMatchingWheelError, match="only as wheels"):
            await engine.inspect("one", python=sys.executable)
        with pytest.raises(UsageError, match="only sdists"):
            await engine.inspect(f"{tmp_path}/", python=sys.executable)


async def test_an_sdist_is_found_although_an_overlay_has_wheels_of_the_project(place: Place, tmp_path: Path) -> None:
    """An overlay hides the indexes below it; it has no sdists, though, and what is built may be newer than it."""
    make_sdist(place.wheels, "one", "2.0")
    (tmp_path / "old").mkdir()
    old = build_wheel(tmp_path / "old", "one", "1.0")
    async with place.engine(overlays=("ci",)) as engine:
        await engine.add([old], overlay="ci")
        assert (await engine.inspect("one", python=sys.executable)).version == "2.0"
        report = await engine.build(["one"], wheel_dir=tmp_path / "built", python=sys.executable)
    assert [(each.project, each.version) for each in report.built] == [("one", "2.0")]
