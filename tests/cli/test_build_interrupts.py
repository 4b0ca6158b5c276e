"""A command that builds is interrupted or killed: no process of the build lives on, and nothing stays in the cache."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.sdists import Behaviour, make_sdist
from commands import Aioc
from marked import Mark


class World:
    def __init__(self, root: Path) -> None:
        self.files, self.output = root / "files", root / "output"
        self.files.mkdir()
        self.mark = Mark()
        make_sdist(self.files, "slow", "1.0", behaviour=Behaviour.STUBBORN, trace=root / "trace")
        self.trace = root / "trace"

    def wait_building(self) -> None:
        deadline = time.monotonic() + 60
        while not (self.trace.exists() and '"build_wheel"' in self.trace.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.mark.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_build_whose_command_is_interrupted_or_killed(
    tmp_path: Path, world: World, number: int
) -> None:
    with IndexServer(world.files) as server:
        aioc = Aioc(tmp_path, server.index_url)
        process = aioc.start("fetch", "slow", **world.mark.environ)
        try:
            world.wait_building()
        finally:
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        world.mark.wait_dead()
        assert aioc("prune").code == 0
    else:
        assert (process.returncode, err.splitlines()[-1]) == (130, "aioc: error: interrupted")
        assert world.mark.alive() == []
    for directory in ("staging", "leases", "trash"):
        assert list((aioc.cache_dir / directory).iterdir()) == []
