"""The engine's `resolve`: a complete list of pins, which `install` then takes as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aiocache_engine.errors import UnsatisfiableError
from aiocache_engine.model.outcome import Named
from aiocache_engine.testing.invariants import assert_environment_sound
from caches import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel("app", "1.0", requires=["lib>=1", "unneeded; python_version < '3'"])
    place.wheel("lib", "1.0", requires=["base<2"])
    place.wheel("lib", "2.0", requires=["base>=2"])
    place.wheel("base", "1.0")
    place.wheel("base", "2.0")
    return place


async def test_resolving_follows_dependencies_markers_and_constraints(place: Place) -> None:
    async with place.engine() as engine:
        plain = await engine.resolve(["app"], python=sys.executable)
        held = await engine.resolve(["app"], constraints=["base<2"], python=sys.executable)
    assert [(pin.project, pin.version) for pin in plain.pins] == [("app", "1.0"), ("base", "2.0"), ("lib", "2.0")]
    assert plain.asked == ("app",)
    assert [(pin.project, pin.version) for pin in held.pins] == [("app", "1.0"), ("base", "1.0"), ("lib", "1.0")]


async def test_the_pins_that_come_back_can_be_installed_as_they_are(place: Place) -> None:
    async with place.engine() as engine:
        report = await engine.resolve(["app"], python=sys.executable)
    environment = await place.install("environment", *(f"{pin.project}=={pin.version}" for pin in report.pins))
    assert_environment_sound(environment)
    assert Named("lib", "2.0") in report.pins


async def test_a_conflict_is_told_in_words(place: Place) -> None:
    async with place.engine() as engine:
        with pytest.raises(UnsatisfiableError, match="lib"):
            await engine.resolve(["app", "lib>=2", "base<2"], python=sys.executable)
