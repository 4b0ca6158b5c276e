"""Overlays: wheels that were added by hand, for whoever names them, before every index."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine import (
    BlockingCacheEngine,
    CacheEngine,
    Config,
    DamagedEntryError,
    IndexStrategy,
    InvalidNameError,
    InvalidWheelError,
    NoMatchingWheelError,
    ProjectNotFoundError,
    TargetChoice,
    UsageError,
)
from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.invariants import assert_sound
from aiocache_engine.testing.wheels import build_wheel
from caches import Place
from commands import Aioc


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Where wheels are built that no index has."""
    directory = tmp_path / "built"
    directory.mkdir()
    return directory


def wheel_of(directory: Path, name: str, version: str, says: str, **what: object) -> Path:
    return build_wheel(directory, name, version, files={f"{name}/__init__.py": f"SAYS = {says!r}\n"}, **what)


def says(environment: Path, name: str) -> str:
    (module,) = environment.glob(f"lib/python3*/site-packages/{name}/__init__.py")
    return module.read_text().removeprefix("SAYS = ").strip().strip("'")


async def installed(engine: CacheEngine, environment: Path, *requirements: str, **how: object) -> str:
    report = await engine.install(requirements, target=TargetChoice(venv=str(environment)), **how)
    return report.installed[0].origin


async def test_an_added_wheel_is_taken_by_whoever_names_the_overlay_and_by_nobody_else(
    place: Place, built: Path, tmp_path: Path
) -> None:
    place.wheel("tiny", "1.0")
    wheel = wheel_of(built, "tiny", "1.0", "built")
    async with place.engine() as engine:
        report = await engine.add([wheel], overlay="mine")
        assert [(each.project, each.version, each.overlay) for each in report.added] == [("tiny", "1.0", "mine")]
        assert await installed(engine, tmp_path / "with", "tiny", overlays=["mine"]) == "overlay"
        assert await installed(engine, tmp_path / "without", "tiny") == "index"
    assert says(tmp_path / "with", "tiny") == "built"
    assert "SAYS" not in says(tmp_path / "without", "tiny")
    assert wheel.exists()
    assert_sound(place.cache)


@pytest.mark.parametrize("dependencies", [True, False])
async def test_a_rebuilt_wheel_takes_the_place_of_the_old_one_at_once(
    place: Place, built: Path, tmp_path: Path, *, dependencies: bool
) -> None:
    async with place.engine(overlays=("mine",)) as engine:
        for number in ("first", "second"):
            await engine.add([wheel_of(built, "tiny", "1.0", number)], overlay="mine")
            await installed(engine, tmp_path / number, "tiny==1.0", dependencies=dependencies)
            assert says(tmp_path / number, "tiny") == number
        await engine.prune()
        kept = {entry.id for entry in await engine.entries("tiny")}
        assert len(kept) == 1, "nothing but hard links used the first one"
    assert_sound(place.cache)
