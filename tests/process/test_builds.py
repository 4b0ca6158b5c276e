"""What has only an sdist is built once, whoever wants it, and a clean in between takes nothing from its users."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from anyio import create_task_group, sleep

from aiocache_engine.engine import CacheEngine
from aiocache_engine.errors import BuildCycleError, BuildError, CacheEngineError
from aiocache_engine.pipeline.builds.built import BuiltWheels
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.report import Reporter
from aiocache_engine.testing.invariants import assert_sound
from aiocache_engine.testing.sdists import (
    Backend,
    Behaviour,
    build_backend_wheel,
    make_project,
    make_sdist,
    read_trace,
)
from aiocache_engine.testing.wheels import build_wheel
from caches import Place, process, said


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    if place.cache.exists():
        assert os.listdir(place.cache / "staging") == []
        assert_sound(place.cache)


def sdist(place: Place, name: str = "one", version: str = "1.0", **options: Any) -> Path:
    return make_sdist(place.wheels, name, version, trace=place.root / "trace", **options)


def calls(place: Place, hook: str = "build_wheel") -> list[str]:
    return [each["name"] for each in read_trace(place.root / "trace") if each["hook"] == hook]


async def begun(place: Place, count: int = 1) -> None:
    """Wait until so many builds have begun."""
    while len(calls(place)) < count:  # noqa: ASYNC110 - it is another process that begins them
        await sleep(0.01)


async def fetch(place: Place, *requirements: str, **config: Any) -> list[str]:
    """Fetch; give where each came from."""
    async with place.engine(**config) as engine:
        report = await engine.fetch(requirements, python=sys.executable)
    return [each.origin for each in report.fetched]


async def test_what_has_only_an_sdist_is_built_with_what_it_needs_and_installed(place: Place) -> None:
    build_backend_wheel(place.wheels)
    place.wheel("dependency")
    sdist(place, backend=Backend.TINY, requires=["dependency"])
    async with place.engine() as engine:
        target = TargetChoice(venv=str(place.root / "environment"))
        report = await engine.install(["one"], target=target)
    assert [(each.project, each.origin) for each in report.installed] == [("dependency", "index"), ("one", "built")]
    assert await fetch(place, "one") == ["cache", "cache"]
    assert calls(place) == ["one"]


async def test_a_project_without_pyproject_is_built_with_setuptools(place: Place) -> None:
    build_backend_wheel(place.wheels, name="setuptools", version="80")
    sdist(place, backend=Backend.SETUP_PY, metadata_version="1.0")
    assert await fetch(place, "one") == ["built"]


async def test_tasks_that_want_the_same_build_have_it_done_once(place: Place) -> None:
    sdist(place, gate=place.root / "gate", metadata_version="")
    async with place.engine() as engine, create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(lambda: engine.fetch(["one"], python=sys.executable))
        await begun(place)
        (place.root / "gate").touch()
    assert calls(place) == ["one"]
    assert calls(place, "prepare_metadata_for_build_wheel") == ["one"]


_FETCH = """
import asyncio, json, sys
from aiocache_engine import CacheEngine, Config
from aiocache_engine.report import Reporter

class Telling(Reporter):
    def waits(self, wait):
        print(json.dumps(["waits", wait.mode]), flush=True)

async def main(cache, links, *names):
    config = Config(index_url=f"file://{links}", find_links=(links,), build_count=1)
    async with CacheEngine(cache, config=config, reporter=Telling()) as engine:
        try:
            report = await engine.fetch(names, python=sys.executable)
        except BaseException as error:
            print(json.dumps([type(error).__name__, str(error)]), flush=True)
        else:
            print(json.dumps(["done", [each.origin for each in report.fetched]]), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_that_want_the_same_build_wait_and_another_takes_over_if_the_builder_is_killed(
    place: Place,
) -> None:
    sdist(place, gate=place.root / "gate")
    with process(_FETCH, place.cache, place.wheels, "one") as first:
        await begun(place)
        with process(_FETCH, place.cache, place.wheels, "one") as second:
            assert said(second) == ["waits", "the build of one-1.0.tar.gz"]
            assert calls(place) == ["one"]
            first.kill()
            await begun(place, 2)
            with process(_FETCH, place.cache, place.wheels, "one") as third:
                assert said(third)[0] == "waits"
                (place.root / "gate").touch()
                assert said(second) == ["done", ["built"]]
                assert said(third) == ["done", ["cache"]]
    assert calls(place) == ["one", "one"]
    await place.prune()  # what the killed one left


async def test_a_build_that_is_cancelled_leaves_nothing_and_is_done_by_the_next(place: Place) -> None:
    sdist(place, gate=place.root / "gate", behaviour=Behaviour.CHILD)
    async with place.engine() as engine, create_task_group() as tasks:
        tasks.start_soon(lambda: engine.fetch(["one"], python=sys.executable))
        await begun(place)
        tasks.cancel_scope.cancel()
    assert place.archives() == set()
    assert os.listdir(place.cache / "staging") == os.listdir(place.cache / "leases") == []
    (place.root / "gate").touch()
    assert await fetch(place, "one") == ["built"]


async def test_builds_that_need_builds_finish_with_one_slot(place: Place) -> None:
    for number in range(4):
        needs = [f"p{number + 1}", f"p{number + 2}"] if number < 3 else []
        imports = [need for need in needs if need != "p5"]
        make_sdist(place.wheels, f"p{number}", "1.0", build_requires=needs, imports=imports, trace=place.root / "trace")
    build_wheel(place.wheels, "p4", "1.0")
    assert await fetch(place, "p0", build_count=1) == ["built"]
    assert sorted(calls(place)) == ["p0", "p1", "p2", "p3"]


async def test_builds_that_need_each_other_are_refused_with_the_way_around(place: Place) -> None:
    sdist(place, "a", build_requires=["b"])
    sdist(place, "b", build_requires=["c"])
    sdist(place, "c", build_requires=["a"])
    with pytest.raises(BuildCycleError) as caught:
        await fetch(place, "a")
    assert caught.value.chain == ("a==1.0", "b==1.0", "c==1.0", "a==1.0")


async def test_tasks_whose_builds_need_each_other_are_refused_from_whichever_side_they_come(place: Place) -> None:
    names = ["a", "b", "c"]
    for name, needed in zip(names, ["b", "c", "a"], strict=True):
        sdist(place, name, build_requires=[needed])
    caught: list[BaseException] = []

    async def fetch_one(engine: CacheEngine, name: str) -> None:
        try:
            await engine.fetch([name], python=sys.executable)
        except* BuildCycleError as group:
            caught.extend(group.exceptions)

    async with place.engine(build_count=1) as engine, create_task_group() as tasks:
        for name in names:
            tasks.start_soon(fetch_one, engine, name)
    assert len(caught) == 3


async def test_processes_whose_builds_need_each_other_are_refused_both(place: Place) -> None:
    sdist(place, "a", build_requires=["b"])
    sdist(place, "b", build_requires=["a"])
    with (
        process(_FETCH, place.cache, place.wheels, "a") as first,
        process(_FETCH, place.cache, place.wheels, "b") as second,
    ):
        for program in (first, second):
            kind, text = said(program)
            assert kind == "BuildCycleError"
            assert "a==1.0 -> b==1.0" in text


async def test_build_requirements_without_end_are_refused(place: Place) -> None:
    for number in range(40):
        make_sdist(place.wheels, f"p{number}", "1.0", build_requires=[f"p{number + 1}"])
    with pytest.raises(BuildCycleError, match="that has no end"):
        await fetch(place, "p0")


async def test_a_build_knows_what_it_is_part_of_through_the_environment(place: Place) -> None:
    sdist(place, "a", build_requires=["b"])
    sdist(place, "b")
    assert await fetch(place, "a") == ["built"]
    chains = {each["name"]: each["environment"]["AIOC_BUILD_CHAIN"] for each in read_trace(place.root / "trace")}
    assert chains == {"a": "a==1.0", "b": "a==1.0\nb==1.0"}
    environ = {"PATH": os.environ["PATH"], "AIOC_BUILD_CHAIN": "c==1.0\nd==1.0"}
    sdist(place, "d")
    async with CacheEngine(place.cache, config=place.config(), environ=environ) as engine:
        with pytest.raises(BuildCycleError, match=r"d==1\.0 -> d==1\.0"):
            await engine.fetch(["d"], python=sys.executable)


async def test_nobody_else_waits_while_a_build_lasts(place: Place) -> None:
    sdist(place, gate=place.root / "gate")
    place.wheel("six")
    async with place.engine() as engine, create_task_group() as tasks:
        tasks.start_soon(lambda: engine.fetch(["one"], python=sys.executable))
        await begun(place)
        async with place.engine(lock_timeout_seconds=5) as other:
            await other.install(["six"], target=TargetChoice(venv=str(place.root / "environment")))
            assert (await other.clean(["six"])).removed
            await other.prune()
            await other.clean()
        (place.root / "gate").touch()


async def test_a_clean_during_a_build_leaves_the_wheel_to_its_users_alone(place: Place) -> None:
    sdist(place, gate=place.root / "gate")
    origins: list[str] = []
    async with place.engine() as engine:

        async def use() -> None:
            report = await engine.install(["one"], target=TargetChoice(venv=str(place.root / "environment")))
            origins.extend(each.origin for each in report.installed)

        async with create_task_group() as tasks:
            tasks.start_soon(use)
            await begun(place)
            await engine.clean(["one"])
            (place.root / "gate").touch()
    assert origins == ["built"]
    assert [name for name in place.names() if name.startswith("one/")] == []
    assert await fetch(place, "one") == ["built"]
    assert calls(place) == ["one", "one"]


async def test_projects_whose_requirements_come_to_the_same_share_a_build_environment(place: Place) -> None:
    build_backend_wheel(place.wheels)
    sdist(place, "one", backend=Backend.TINY)
    sdist(place, "two", backend=Backend.TINY, build_requires=["tiny_backend>=0.5"])
    sdist(place, "three", backend=Backend.TINY, wheel_requires=["extra"], imports=[])
    place.wheel("extra")
    assert await fetch(place, "one", "two", "three") == ["built"] * 3
    environments = {
        each["name"]: each["prefix"] for each in read_trace(place.root / "trace") if each["hook"] == "build_wheel"
    }
    assert environments["one"] == environments["two"] != environments["three"]
    assert len(os.listdir(place.cache / "builds-v1")) == 2


async def test_metadata_is_read_where_it_is_static_asked_for_where_it_is_not_and_built_where_nobody_knows(
    place: Place,
) -> None:
    place.wheel("needed")
    sdist(place, "static", requires=["needed"])
    sdist(place, "asked", requires=["needed"], dynamic=["Requires-Dist"])
    sdist(place, "built", requires=["needed"], metadata_version="2.1", without=["prepare_metadata_for_build_wheel"])
    async with place.engine() as engine:
        report = await engine.resolve(["static", "asked", "built"], python=sys.executable)
    assert [each.project for each in report.pins] == ["asked", "built", "needed", "static"]
    assert calls(place, "prepare_metadata_for_build_wheel") == ["asked"]
    assert calls(place) == ["built"]


async def test_another_file_of_the_same_name_is_built_anew(place: Place) -> None:
    sdist(place)
    assert await fetch(place, "one") == ["built"]
    path = sdist(place, files={"src/one.py": "changed = True\n"})
    os.utime(path, (1, 1))
    assert await fetch(place, "one") == ["built"]
    assert await fetch(place, "one") == ["cache"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no build system": ({"backend": Backend.NONE}, "neither pyproject.toml nor setup.py"),
    "unknown backend": ({"backend": Backend.UNKNOWN}, "cannot be imported"),
    "malformed pyproject": ({"pyproject": "[build-system"}, "pyproject.toml is malformed"),
    "malformed requirement": ({"build_requires": ["not a requirement"]}, "requires 'not a requirement' for builds"),
    "crash": ({"behaviour": Behaviour.CRASH}, "failed with exit code 1"),
    "no hook": ({"without": ["build_wheel"]}, "build_wheel"),
    "hang": ({"behaviour": Behaviour.HANG}, "did not end within"),
    "wrong name": ({"behaviour": Behaviour.WRONG_NAME}, "another-1.0-py3-none-any.whl, a wheel of something else"),
    "wrong version": ({"behaviour": Behaviour.WRONG_VERSION}, "one-99.9-py3-none-any.whl, a wheel of something else"),
    "wrong metadata": ({"behaviour": Behaviour.WRONG_METADATA}, "made a wheel that is none"),
    "path": ({"behaviour": Behaviour.PATH}, "is not the file name of a wheel"),
    "broken wheel": ({"behaviour": Behaviour.BROKEN_WHEEL}, "made a wheel that is none"),
}
AFTER_THE_BACKEND = ["wrong name", "wrong version", "wrong metadata", "broken wheel"]


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_project_is_told_in_one_line_and_leaves_nothing_but_its_log(place: Place, what: str) -> None:
    options, reason = BAD[what]
    sdist(place, **options)
    before = sorted(place.wheels.iterdir())
    with pytest.raises(BuildError) as caught:
        await fetch(place, "one", build_time_limit_seconds=2.0)
    assert reason in caught.value.reason
    assert "\n" not in caught.value.reason
    assert place.archives() == set()
    assert sorted(place.wheels.iterdir()) == before
    assert caught.value.log is None or os.path.isfile(caught.value.log)  # noqa: ASYNC240 - nothing else runs
    assert what not in AFTER_THE_BACKEND or caught.value.log is not None


async def test_metadata_that_is_not_that_of_the_sdist_is_refused(place: Place) -> None:
    make_sdist(place.wheels, "other", "2.0", filename="one-1.0.tar.gz")
    with pytest.raises(BuildError, match=r"its metadata is for other 2\.0"):
        await fetch(place, "one")


async def test_what_a_build_needs_and_cannot_have_is_told_with_what_for(place: Place) -> None:
    sdist(place, build_requires=["missing"])
    with pytest.raises(CacheEngineError) as caught:
        await fetch(place, "one")
    assert caught.value.__notes__ == ["it is needed to build one-1.0.tar.gz"]


async def test_the_log_of_a_failed_build_stays_and_its_end_is_told(place: Place) -> None:
    sdist(place, behaviour=Behaviour.CRASH)
    with pytest.raises(BuildError) as caught:
        await fetch(place, "one")
    assert "the backend crashed on purpose" in caught.value.last_lines[-1]
    assert caught.value.log is not None
    assert caught.value.log.startswith(f"{place.cache}/projects-v1/one/built/")
    assert "the backend crashed on purpose" in Path(caught.value.log).read_text()  # noqa: ASYNC240 - as above


async def test_wheels_are_built_into_a_directory_and_a_failure_stops_no_other(place: Place) -> None:
    sdist(place, "one")
    sdist(place, "bad", behaviour=Behaviour.CRASH)
    project = make_project(place.root / "project", "mine", "0.1", trace=place.root / "trace")
    archive = make_sdist(place.root, "file", "3.0")
    sources = ["one==1.0", "bad", project, archive]
    async with place.engine() as engine:
        report = await engine.build(sources, wheel_dir=place.root / "out", config_settings={"a": "b", "c": ["d", "e"]})
        again = await engine.build(["one", project], wheel_dir=place.root / "out", jobs=1)
        other = await engine.build(["one"], wheel_dir=place.root / "out", config_settings={"a": "z"})
    assert [(each.project, each.version, each.origin) for each in report.built] == [
        ("one", "1.0", "built"),
        ("mine", "0.1", "built"),
        ("file", "3.0", "built"),
    ]
    assert sorted(os.listdir(place.root / "out")) == sorted(os.path.basename(each.path) for each in report.built)
    assert [(each.source, each.last_lines != ()) for each in report.failed] == [("bad", True)]
    assert [each.origin for each in again.built] == ["built", "built"]  # other settings, and a directory
    assert [each.origin for each in other.built] == ["built"]
    settings = [each["config_settings"] for each in read_trace(place.root / "trace") if each["hook"] == "build_wheel"]
    assert {"a": "b", "c": ["d", "e"]} in settings
    assert None in settings


async def test_a_wheel_that_was_built_for_an_installation_is_handed_out_without_a_build(place: Place) -> None:
    sdist(place)
    await fetch(place, "one")
    async with place.engine() as engine:
        report = await engine.build(["one"], wheel_dir=place.root / "out", python=sys.executable)
    assert [each.origin for each in report.built] == ["cache"]
    assert (place.root / "out" / "one-1.0-py3-none-any.whl").is_file()
    assert calls(place) == ["one"]


async def test_a_wheel_of_the_index_does_not_stand_in_for_a_build(place: Place) -> None:
    sdist(place)
    place.wheel("one")
    assert await fetch(place, "one") == ["index"]
    async with place.engine() as engine:
        report = await engine.build(["one"], wheel_dir=place.root / "out")
    assert [each.origin for each in report.built] == ["built"]


HELPER = "value = 1\n"
#: What a careless build does where it was only to import from.
MISCHIEF = """
from importlib.util import find_spec
from pathlib import Path

helper = find_spec("helper")
if helper is not None:
    path = Path(helper.origin)
    if {change!r} == "add":
        path.with_name("stray.pth").touch()
    elif {change!r} == "remove":
        path.unlink()
    elif {change!r} == "edit":
        path.write_text("value = 2\\n")
    elif {change!r} == "edit bytecode":
        Path(helper.cached).write_bytes(b"")
"""


class Warned(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warns(self, text: str) -> None:
        self.warnings.append(text)


def meddling(place: Place, change: str) -> None:
    """Make an sdist whose build changes its build environment, and one that is built there afterwards."""
    for name in ("first", "second"):
        mischief = MISCHIEF.format(change=change if name == "first" else "")
        sdist(
            place,
            name,
            build_requires=["helper"],
            imports=["mischief"] if name == "first" else ["helper"],
            files={"backend/mischief.py": mischief},
            without=["get_requires_for_build_wheel"],
        )
    place.wheel("helper", files={"helper.py": HELPER})


@pytest.mark.parametrize("change", ["add", "remove", "edit", "edit bytecode"])
async def test_what_a_build_does_to_its_environment_reaches_no_later_build_and_no_installation(
    place: Place, change: str
) -> None:
    meddling(place, change)
    reporter = Warned()
    async with CacheEngine(place.cache, config=place.config(), reporter=reporter) as engine:
        assert [each.origin for each in (await engine.fetch(["first"], python=sys.executable)).fetched] == ["built"]
        await engine.fetch(["second"], python=sys.executable)
        await engine.install(["helper"], target=TargetChoice(venv=str(place.root / "environment")))
        first, second = (e["prefix"] for e in read_trace(place.root / "trace") if e["hook"] == "build_wheel")
        assert first != second
        assert await fetch(place, "first") == ["cache"]
    (helper,) = (place.root / "environment").glob("lib/*/site-packages/helper.py")
    assert helper.read_text() == HELPER
    assert reporter.warnings[0].startswith("while first-1.0.tar.gz was built, its build environment was changed (lib/")
    assert len(reporter.warnings) == (2 if change.startswith("edit") else 1)
    await place.prune()
    assert os.listdir(place.cache / "environments-v1") == [os.path.basename(os.path.dirname(second))]


async def test_environments_made_of_what_a_build_changed_are_found_no_more(place: Place) -> None:
    meddling(place, "edit")
    place.wheel("extra")
    sdist(place, "third", build_requires=["helper", "extra"], imports=["helper"])
    assert await fetch(place, "third") == ["built"]
    assert await fetch(place, "first") == ["built"]
    await place.clean("third")
    assert await fetch(place, "third") == ["built"]
    prefixes = [each["prefix"] for each in read_trace(place.root / "trace") if each["name"] == "third"]
    assert len(set(prefixes)) == 2


@pytest.mark.parametrize("is_stated", [False, True])
async def test_a_wheel_may_add_a_local_version_and_is_found_kept_and_cleaned_by_either(
    place: Place, *, is_stated: bool
) -> None:
    stated = "Metadata-Version: 2.2\nName: one\nVersion: 1.0\n"
    sdist(place, version="1.0+abc", filename="one-1.0.tar.gz", files={"PKG-INFO": stated} if is_stated else {})
    target = TargetChoice(venv=str(place.root / "environment"))
    async with place.engine() as engine:
        report = await engine.install(["one==1.0"], target=target)
        assert [(each.version, each.origin) for each in report.installed] == [("1.0+abc", "built")]
        again = await engine.install(["one"], target=target)
        assert [each.version for each in again.unchanged] == ["1.0+abc"]
        built = await engine.build(["one"], wheel_dir=place.root / "out", python=sys.executable)
        assert [(each.version, each.origin) for each in built.built] == [("1.0+abc", "cache")]
        for named in ["one==1.0", "one==1.0+abc"]:
            assert await fetch(place, "one") == ["cache"]
            await engine.clean([named])
            assert await fetch(place, "one") == ["built"]
    assert calls(place) == ["one"] * 3


async def test_a_wheel_of_another_version_with_a_local_one_is_refused(place: Place) -> None:
    sdist(place, version="1.1+abc", filename="one-1.0.tar.gz", metadata_version="")
    with pytest.raises(BuildError, match=r"its metadata is for one 1\.1\+abc"):
        await fetch(place, "one")


async def test_a_build_refuses_an_sdist_that_says_it_is_another_project(place: Place) -> None:
    stated = "Metadata-Version: 2.2\nName: other\nVersion: 1.0\n"
    sdist(place, files={"PKG-INFO": stated})
    async with place.engine() as engine:
        report = await engine.build(["one"], wheel_dir=place.root / "out")
    assert report.built == ()
    assert "its metadata is for other 1.0" in report.failed[0].message
    assert calls(place) == []


async def test_metadata_without_end_is_refused_before_it_is_read(place: Place) -> None:
    grow = """
import atexit, glob, os

def grow():
    for path in glob.glob(os.path.join(os.getcwd(), "..", "..", "metadata", "*.dist-info", "METADATA")):
        os.truncate(path, 100 * 1024**3)

atexit.register(grow)
"""
    sdist(place, metadata_version="", imports=["grow"], files={"backend/grow.py": grow})
    with pytest.raises(BuildError, match="its backend wrote METADATA of more than 32 MiB") as caught:
        await fetch(place, "one")
    assert caught.value.log is not None


async def test_a_circle_of_builds_is_told_once_and_what_leads_to_it_beside(place: Place) -> None:
    sdist(place, "top", build_requires=["a"])
    sdist(place, "a", build_requires=["b"])
    sdist(place, "b", build_requires=["a"])
    with pytest.raises(BuildCycleError) as caught:
        await fetch(place, "top")
    assert caught.value.__notes__ == ["it is needed to build top-1.0.tar.gz"]


async def test_a_build_requirement_that_cannot_be_read_is_not_said_to_be_needed_by_itself(place: Place) -> None:
    sdist(place, build_requires=["other @ git+https://127.0.0.1/other"])
    with pytest.raises(BuildError, match="of its build requirements") as caught:
        await fetch(place, "one")
    assert not hasattr(caught.value, "__notes__")


async def test_a_file_of_holes_is_refused_before_it_is_copied(place: Place) -> None:
    wheel = place.root / "one-1.0-py3-none-any.whl"
    wheel.touch()
    os.truncate(wheel, 8 * 1024**3)
    work = SimpleNamespace(new_staging=lambda: str(place.root))
    built = BuiltWheels(cast(Any, None), cast(Any, work), cast(Any, None))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024**2, limits[1]))  # no copy can be written
    try:
        with pytest.raises(BuildError, match=r"a wheel that is none: .* it is no zip file"):
            await built.stage(str(wheel), "one-1.0.tar.gz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_version_without_end_is_told_of_its_sdist_and_stops_no_other(place: Place) -> None:
    long = f"Metadata-Version: 2.2\nName: two\nVersion: {'1' * 4301}\n"
    lengthen = f"""
import atexit, glob, os

def lengthen():
    for path in glob.glob(os.path.join(os.getcwd(), "..", "..", "metadata", "*.dist-info", "METADATA")):
        with open(path, "w") as file:
            file.write({long!r})

atexit.register(lengthen)
"""
    sdist(place, "one")
    sdist(place, "two", files={"PKG-INFO": long})
    sdist(place, "three", metadata_version="", imports=["lengthen"], files={"backend/lengthen.py": lengthen})
    async with place.engine() as engine:
        report = await engine.build(["two", "one"], wheel_dir=place.root / "out")
    assert [each.project for each in report.built] == ["one"]
    assert ["its metadata is for two 111" in each.message for each in report.failed] == [True]
    with pytest.raises(BuildError, match="its metadata is for two 111"):
        await fetch(place, "three")
