"""What is no list or no target is refused before anything is done: the letters of a name are names too."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.blocking import BlockingCacheEngine
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
