"""Errors are found where users look for them, and come whole out of another process."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable

import pytest

import aiocache_engine
from aiocache_engine import errors

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.CacheEngineError) and kind.__module__ == errors.__name__
]


def made(kind: type[errors.CacheEngineError]) -> errors.CacheEngineError:
    """Make one with a fact for everything that it takes."""
    parameters = inspect.signature(kind).parameters.values()
    facts = {"waited_seconds": 2.5, "line_number": 3, "indexes": ("an index",), "lines": ("one", "two")}
    named = {
        each.name: facts.get(each.name, f"its {each.name}")
        for each in parameters
        if each.kind is not inspect.Parameter.VAR_POSITIONAL
    }
    return kind(**named) if named else kind("a text")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_can_be_imported_from_the_package(kind: type[errors.CacheEngineError]) -> None:
    assert getattr(aiocache_engine, kind.__name__) is kind
    assert kind.__name__ in dir(aiocache_engine)


def test_what_the_package_needs_itself_is_no_public_name() -> None:
    assert {"TYPE_CHECKING", "annotations"}.isdisjoint(dir(aiocache_engine))
    everything: dict[str, object] = {}
    exec("from aiocache_engine import *", everything)
    assert {"TYPE_CHECKING", "annotations"}.isdisjoint(everything)
    assert {kind.__name__ for kind in CLASSES} <= everything.keys()


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_keeps_class_text_and_facts_when_it_is_copied(
    kind: type[errors.CacheEngineError], copied: Callable[[errors.CacheEngineError], errors.CacheEngineError]
) -> None:
    error = made(kind)
    error.add_note("seen on the way")
    again = copied(error)
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.args == error.args
    assert vars(again) == vars(error)


def test_of_groups_that_share_their_members_each_error_is_told_once_and_soon() -> None:
    group: Exception = errors.BuildError("one.tar.gz", "it has no build system")
    for _ in range(200):  # 2 ** 200 ways lead to it
        group = ExceptionGroup("several", [group, ExceptionGroup("others", [group])])
    last = errors.UsageError("name something")
    found = errors.single_errors(ExceptionGroup("all", [group, last, errors.UsageError("name something")]))
    assert [str(each) for each in found] == [str(errors.BuildError("one.tar.gz", "it has no build system")), str(last)]
