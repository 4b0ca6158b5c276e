"""Every command, killed or refused by the disk at its N-th step: the cache stays sound, the command works again.

The short form strikes at every k-th step, the torture at each. Where several Pythons share the tests, each strikes
other steps of every command, and all together every step that is due.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound, untouched
from caches import Place
from faults.striking import COMMANDS, State, Strikes, prepare
from shares import Share

ERRNOS = ("ENOSPC", "EIO", "EMFILE", "EROFS")
DOCUMENTED = frozenset({
    "CacheDirError", "DiskError", "InterpreterError", "LockError", "OutOfSpaceError", "ReadOnlyCacheError",
    "TargetError",
})  # fmt: skip
pytestmark = pytest.mark.each_python
FORMS = ("short", pytest.param("each step", marks=pytest.mark.torture))


@dataclass(frozen=True)
class Scene:
    """Where a command has something to do."""

    place: Place
    state: State
    count: int  #: of the steps that the command takes there


@pytest.fixture(scope="module")
def strikes() -> Iterator[Strikes]:
    program = Strikes()
    yield program
    program.close()


@pytest.fixture(scope="module")
def scene_of(strikes: Strikes, decoy: Path) -> Callable[[str], Scene]:
    """Give the scene of a command; it is made once, and put back before each strike."""

    @functools.cache
    def make(command: str) -> Scene:
        root = decoy.parent / command / "place"
        root.mkdir(parents=True)
        place = Place(root)
        state = prepare(place, command, strikes)
        return Scene(place, state, strikes.done(place, command))

    return make


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_killed_at_any_step_leaves_a_sound_cache_and_works_when_run_again(
    form: str, command: str, *, scene_of: Callable[[str], Scene], strikes: Strikes, decoy: Path, share: Share
) -> None:
    scene = scene_of(command)
    struck = 0
    with untouched(decoy):
        for number in steps(form, scene.count, share, every=17, first=1):
            scene.state.restore()
            _, outcome, message = strikes.at(scene.place, command, number, "kill")
            struck += outcome == "killed"
            assert outcome in {"killed", "done"}, message
            heals(scene.place, command, strikes, (number, outcome))
    # The number of steps varies a little, with what is waited for and listed.
    assert struck
    assert struck >= 0.8 * len(steps(form, scene.count, share, every=17, first=1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("code", ERRNOS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refused_by_the_disk_at_any_step_says_so_and_works_when_run_again(
    form: str, command: str, code: str, *, scene_of: Callable[[str], Scene], strikes: Strikes, decoy: Path, share: Share
) -> None:
    scene = scene_of(command)
    refused = 0
    with untouched(decoy):
        for number in steps(form, scene.count, share, every=19, first=3 + 4 * ERRNOS.index(code)):
            scene.state.restore()
            _, outcome, message = strikes.at(scene.place, command, number, code)
            # What is only remembered to save time (an interpreter's answer, say) is done without.
            assert outcome == "done" or outcome in DOCUMENTED, message
            refused += outcome != "done"
            heals(scene.place, command, strikes, (number, outcome, message))
    assert refused


def steps(form: str, count: int, share: Share, *, every: int, first: int) -> range:
    if form != "short":
        return range(1, count + 1)
    return share.part(range(first, count + 1, every))


def heals(place: Place, command: str, strikes: Strikes, what: tuple[object, ...]) -> None:
    """Hold the cache against the rules, then run the command again, and a prune."""
    try:
        if (place.cache / "trash").exists():
            assert_sound(place.cache)
        strikes.done(place, command)
        if command in {"install", "compile"}:
            assert_environment_sound(place.root / "env")
        strikes.done(place, "prune")
        assert_sound(place.cache, is_pruned=True)
    except AssertionError as error:
        error.add_note(f"after {command} was struck: {what}")
        raise


@pytest.fixture(scope="module")
def decoy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree beside everything that is nobody's business."""
    directory = tmp_path_factory.mktemp("crash") / "decoy"
    (directory / "deep").mkdir(parents=True)
    (directory / "deep" / "file").write_text("mine")
    (directory / "link").symlink_to("deep/file")
    return directory
