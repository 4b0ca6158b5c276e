"""The JSON of our documents is what the standard library's json makes of them, whichever way it is read and written."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.model.plain_json import dump, load

TEXTS = st.text(st.characters(codec="utf-16-le", categories=None)) | st.text()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
THINGS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(TEXTS, inner), max_leaves=20
)
BROKEN = [
    "",
    " ",
    "{",
    "[1,",
    '{"a"}',
    '{"a":1,}',
    "[1 2]",
    "01",
    "1 2",
    "nul",
    "'a'",
    '"a',
    '"\n"',
    '"\\x"',
    "\ufeff1",
    "{1:2}",
]


@pytest.fixture(params=["by CPython's functions", "by the package"], autouse=True)
def _road(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "by the package":
            patch.setitem(sys.modules, "_json", None)
        yield


@given(THINGS)
def test_it_writes_what_json_writes_and_reads_it_back(thing: object) -> None:
    written = dump(thing)
    assert written == json.dumps(thing, separators=(",", ":")).encode()
    for form in (written, b" \r\n" + written + b"\t\n", json.dumps(thing, indent=1).encode()):
        assert repr(load(form)) == repr(json.loads(form))


def test_it_writes_what_default_gives_for_a_thing_without_a_word() -> None:
    assert dump({"set": {1}}, default=list) == b'{"set":[1]}'
    with pytest.raises(TypeError):
        dump({"set": {1}})


@pytest.mark.parametrize("text", BROKEN)
def test_it_refuses_what_json_refuses(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever kind of it
        json.loads(text)
    for form in (text, text.encode()):
        with pytest.raises(ValueError):  # noqa: PT011 - as above
            load(form)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        load(b'"\xff"')


def test_what_is_nested_too_deep_is_refused_and_does_not_crash() -> None:
    with pytest.raises(RecursionError):
        load("[" * 100_000)


def test_numbers_that_json_does_not_have_survive() -> None:
    assert math.isnan(load(dump(math.nan)))
    assert load(dump([math.inf, -math.inf])) == [math.inf, -math.inf]


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="another Python has its own json")
def test_it_needs_neither_json_nor_regular_expressions() -> None:
    code = "import sys; from aiocache_engine.model.plain_json import *; load(dump({'a': [1]})); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"json", "re", "typing"} & set(ran.stdout.split())
