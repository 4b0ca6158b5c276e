"""What is no list or no target is refused before anything is done: the letters of a name are names too."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
from aiocache_engine.config import Config
from aiocache_engine.engine import CacheEngine
from aiocache_engine.errors import UsageError
from caches import Place

LISTS = [
    *((verb, name) for verb in ("resolve", "install", "plan_install", "fetch") for name in ("requirements", "files")),
    *((verb, name) for verb in ("resolve", "install", "plan_install", "fetch") for name in ("constraints",)),
    *((verb, "no_binary") for verb in ("resolve", "install", "plan_install", "fetch", "environment")),
    *((verb, "constraint_files") for verb in ("resolve", "install", "plan_install", "fetch")),
    *((verb, name) for verb in ("plan_clean", "clean") for name in ("names", "tools")),
    ("environment", "additions"),
    ("pin", "requirements"),
    *(
        (verb, "overlays")
        for verb in ("resolve", "install", "plan_install", "fetch", "environment", "build", "inspect")
    ),
]
NO_LISTS = ["tiny", b"tiny", 7, None, Path("tiny")]
NO_TARGETS = ["env", Path("env"), {"venv": "env"}]


def arguments(verb: str, **wrong: Any) -> dict[str, Any]:
    needed: dict[str, dict[str, Any]] = {
        "environment": {"requirement": "tiny"},
        "inspect": {"source": "tiny"},
        "build": {"sources": ["tiny"], "wheel_dir": "dist"},
    }
    return {**needed.get(verb, {}), **wrong}


def no_lists(name: str) -> list[Any]:
    return [given for given in NO_LISTS if name != "overlays" or given is not None]


@pytest.fixture
def blocking(tmp_path: Path) -> Iterator[BlockingCacheEngine]:
    with BlockingCacheEngine(tmp_path / "cache", config=Place(tmp_path).config(), environ={}) as engine:
        yield engine


async def call(engine: CacheEngine, verb: str, given: dict[str, Any]) -> None:
    using = getattr(engine, verb)(**given)
    if verb == "environment":
        async with using:
            return
    await using


@pytest.mark.parametrize(("verb", "name"), LISTS)
async def test_one_text_where_a_list_is_meant_is_refused(place: Place, verb: str, name: str) -> None:
    async with place.engine() as engine:
        for given in no_lists(name):
            with pytest.raises(UsageError, match=rf"^{name} is to be a list of texts, and .*(tiny|7|None)"):
                await call(engine, verb, arguments(verb, **{name: given}))


@pytest.mark.parametrize(("verb", "name"), LISTS)
def test_the_blocking_engine_refuses_it_too(blocking: BlockingCacheEngine, verb: str, name: str) -> None:
    for given in no_lists(name):
        with pytest.raises(UsageError, match=f"^{name} is to be a list of texts"):
            getattr(blocking, verb)(**arguments(verb, **{name: given})).__enter__()


@pytest.mark.parametrize("verb", ["install", "plan_install"])
async def test_a_target_that_is_none_is_refused_with_the_way_to_tell_one(place: Place, verb: str) -> None:
    async with place.engine() as engine:
        for given in NO_TARGETS:
            with pytest.raises(UsageError, match=r"^a target is told as TargetChoice\(venv="):
                await getattr(engine, verb)([], target=given)


@pytest.mark.parametrize("verb", ["install", "plan_install"])
def test_the_blocking_engine_refuses_such_a_target_too(blocking: BlockingCacheEngine, verb: str) -> None:
    for given in NO_TARGETS:
        with pytest.raises(UsageError, match="TargetChoice"):
            getattr(blocking, verb)([], target=given)


@pytest.mark.parametrize("engine", [CacheEngine, BlockingCacheEngine])
def test_every_list_that_a_verb_takes_is_among_those(engine: type) -> None:
    taken = {
        (verb, parameter.name)
        for verb, method in inspect.getmembers(engine, inspect.isfunction)
        if not verb.startswith("_")
        for parameter in inspect.signature(method).parameters.values()
        if "Iterable[str]" in str(parameter.annotation)
    }
    assert taken == set(LISTS)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


NO_TEXTS = [
    ("unpin", (42,), "a pin's name is to be text"),
    ("unpin", ("",), "a pin's name is to be text"),
    ("unpin", ("q\udcffz",), "a pin's name is to be text"),
    ("why", (None,), "what `why` is asked about is to be a text, and None"),
    ("why", ("a\0b/",), "what `why` is asked about is to be a text"),
    ("why", ("tiny", 42), "PrunePolicy"),
    ("entries", (42,), "the name is to be a text, and 42"),
    ("prune", (42,), "PrunePolicy"),
    ("plan_prune", (None,), "PrunePolicy"),
    ("foresee", ("tiny",), "a plan"),
    ("forget", (42,), "a path is to be a text or a Path, and 42"),
    ("pin", ([42],), "of requirements is to be a text, and 42"),
    ("clean", ([42],), "of names is to be a text, and 42"),
]
NO_BUILDS = [
    ({"jobs": "2"}, "jobs is to be a whole number from 1 on, and '2' is none"),
    ({"jobs": True}, "jobs is to be a whole number from 1 on, and True is none"),
    ({"jobs": 2.5}, "jobs is to be a whole number from 1 on, and 2.5 is none"),
    ({"jobs": 0}, "jobs is to be a whole number from 1 on, and 0 is none"),
    ({"config_settings": ["a=1"]}, r"config_settings is to be a mapping, and \['a=1'\] is none"),
    ({"wheel_dir": ""}, "wheel_dir is empty; name a directory"),
    ({"wheel_dir": None}, "a path is to be a text or a Path"),
    ({"sources": ["nope/"]}, "^nope/: there is no such directory or file$"),
    ({"sources": ["nope/demo-1.0.tar.gz[x]"]}, "there is no such directory or file$"),
    ({"sources": ["nope/demo-1.0.tar.gz#subdirectory=x ; os_name=='posix'"]}, "there is no such directory or file$"),
    ({"wheel_dir": __file__}, r"\.py is a file; name a directory$"),
    ({"sources": [Path("projdir")]}, r"^\./projdir: there is no such directory or file$"),
    ({"sources": [Path("~/projdir")]}, r"^\./~/projdir: there is no such directory or file$"),
]
NO_SETTINGS = [
    ("build_count", -1, "build_count is to be a whole number from 1 on, and -1 is none"),
    ("build_count", "x", "build_count is to be a whole number from 1 on"),
    ("download_count", 0, "download_count is to be a whole number from 1 on"),
    ("page_count", True, "page_count is to be a whole number from 1 on"),
    ("build_time_limit_seconds", "x", "build_time_limit_seconds is to be a number of seconds above 0, and 'x' is none"),
    ("build_time_limit_seconds", -1, "build_time_limit_seconds is to be a number of seconds above 0"),
    ("build_time_limit_seconds", 0, "build_time_limit_seconds is to be a number of seconds above 0"),
    ("build_time_limit_seconds", float("nan"), "build_time_limit_seconds is to be a number of seconds above 0"),
]


@pytest.mark.parametrize(("wrong", "line"), NO_BUILDS)
async def test_what_a_build_cannot_be_told_is_refused_with_what_is(
    place: Place, wrong: dict[str, Any], line: str
) -> None:
    async with place.engine() as engine:
        with pytest.raises(UsageError, match=line):
            await engine.build(**{"sources": ["tiny"], "wheel_dir": place.root / "dist", **wrong})
    assert not (place.root / "dist").exists()


@pytest.mark.parametrize(("name", "given", "line"), NO_SETTINGS)
def test_a_number_that_no_engine_can_go_by_is_refused_at_once(name: str, given: Any, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        Config(**{name: given})


def test_no_time_at_all_for_a_build_is_refused() -> None:
    with pytest.raises(UsageError, match="AIOC_BUILD_TIMEOUT is '0'; use a number of seconds above 0"):
        Config.from_environ({"AIOC_BUILD_TIMEOUT": "0"})
    assert Config.from_environ({"AIOC_LOCK_TIMEOUT": "0"}).lock_timeout_seconds == 0


@pytest.mark.parametrize(("verb", "given", "line"), NO_TEXTS)
async def test_what_cannot_be_meant_is_refused_with_what_is(
    place: Place, verb: str, given: tuple[Any, ...], line: str
) -> None:
    async with place.engine() as engine:
        with pytest.raises(UsageError, match=line):
            await getattr(engine, verb)(*given)


@pytest.mark.parametrize("name", ["", 42, "q\udcffz"])
async def test_a_pin_is_called_by_a_text_that_can_be_said_again(place: Place, name: Any) -> None:
    async with place.engine() as engine:
        with pytest.raises(UsageError, match="a pin's name is to be text"):
            await engine.pin(["tiny"], name=name)
