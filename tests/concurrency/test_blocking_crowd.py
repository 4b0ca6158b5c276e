"""Sixteen threads that install, add and clean the same names for many rounds, on one cache dir and one loop."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aiocache_engine import BlockingCacheEngine, LinkMode, TargetChoice
from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound
from aiocache_engine.testing.wheels import build_wheel
from caches import Place

THREADS = 16
NAMES = ("tiny", "other")
PART_COUNT = 12
MODES = (LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK)


def build(directory: Path, name: str, maker: object) -> Path:
    """Make a wheel, all modules of which tell who made it."""
    directory.mkdir(exist_ok=True)
    modules = {f"{name}/part_{each}.py": f"MAKER = {maker!r}\n" for each in range(PART_COUNT)}
    return build_wheel(directory, name, "1.0", files={f"{name}/__init__.py": "", **modules})


def makers(environment: Path, name: str) -> list[str]:
    return [path.read_text() for path in environment.glob(f"lib/python3*/site-packages/{name}/part_*.py")]


@pytest.mark.parametrize("rounds", [2, pytest.param(200, marks=pytest.mark.torture)])
def test_every_environment_is_right_while_sixteen_threads_install_add_and_clean_the_same_names(
    tmp_path: Path, rounds: int
) -> None:
    place = Place(tmp_path)
    for name in NAMES:
        build(place.wheels, name, "the index")
    added = [{name: build(tmp_path / f"made-{number}", name, number) for name in NAMES} for number in range(THREADS)]

    def work(engine: BlockingCacheEngine, number: int) -> None:
        environment = tmp_path / f"environment-{number}"
        for turn in range(number, number + rounds):
            name = NAMES[turn % 2]
            if turn % 4 == 0:
                engine.add([added[number][name]], overlay="mine")
            elif turn % 4 == 1:
                engine.clean([name] if turn % 8 == 1 else [])
            engine.install(
                NAMES,
                target=TargetChoice(venv=str(environment)),
                overlays=["mine"],
                link_mode=MODES[turn % 3],
                reinstall=True,  # it bears the same version, whoever made it
                compile=False,
            )
            assert_environment_sound(environment)
            for each in NAMES:
                told = makers(environment, each)
                assert (len(told), len(set(told))) == (PART_COUNT, 1)

    def engine() -> BlockingCacheEngine:
        return BlockingCacheEngine(place.cache, config=place.config(), environ={"PATH": os.environ["PATH"]})

    with engine() as one, engine() as other, ThreadPoolExecutor(THREADS) as threads:
        for job in [threads.submit(work, (one, other)[number % 2], number) for number in range(THREADS)]:
            job.result()
    with engine() as last:
        last.prune()
        assert last.leases().leases == ()
    assert_sound(place.cache, is_pruned=True)
