"""Why nothing is chosen from the pages of some indexes, and where else to look."""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from aiocache_engine.index.page_parser import by_version
from aiocache_engine.index.urls import index_of
from aiocache_engine.model.index import IndexFile, IndexKind, IndexSettings, IndexStrategy
from aiocache_engine.model.page import StoredPage, encode_lines
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Refusal
from aiocache_engine.pipeline.find import Finder
from aiocache_engine.pipeline.inputs.requirements import parse_requirement
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.python.interpreter import probe

ONE, OTHER = (index_of(f"http://127.0.0.1/{name}/simple", IndexKind.SIMPLE)[0] for name in ("one", "other"))
WHERE = f"on {ONE.url}, the first index that knows it; --index-strategy best-match asks all"


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return probe(sys.executable)


def page_of(*filenames: str) -> StoredPage:
    files = [IndexFile(name, f"http://127.0.0.1/{name}", None, None, None, None, None) for name in filenames]
    return StoredPage(
        "tiny", ONE.digest, "", 0.0, 0.0, {}, is_storable=True, lines=encode_lines(by_version(files, "tiny"))
    )


@pytest.mark.parametrize(
    ("requirement", "filename", "reason"),
    [
        (
            "tiny",
            "tiny-1.0.tar.gz",
            f"it is there only as source, tiny-1.0.tar.gz, and --no-build rules building it out ({WHERE})",
        ),
        ("tiny==2", "tiny-1.0-py3-none-any.whl", f"there is no such version ({WHERE})"),
        (
            "tiny>2",
            "tiny-1.0-py3-none-any.whl",
            f"no version of it matches; the newest with a wheel is 1.0 ({WHERE})",
        ),
        (
            "tiny>2,<1",
            "tiny-1.0-py3-none-any.whl",
            "what is asked of its version contradicts itself, so that none can match",
        ),
        (
            "tiny==1.0,==2.0",
            "tiny-1.0-py3-none-any.whl",
            "what is asked of its version contradicts itself, so that none can match",
        ),
        (
            "built",
            "built-1.0-py3-none-any.whl",
            "--no-binary wants it built from source, and --no-build rules that out",
        ),
    ],
)
def test_what_is_wrong_and_where_else_to_look_are_kept_apart(
    interpreter: Interpreter, requirement: str, filename: str, reason: str
) -> None:
    assert refusal(interpreter, requirement, filename, [ONE, OTHER]) == reason


def test_nobody_is_sent_to_another_index_where_there_is_none(interpreter: Interpreter) -> None:
    wheel = "tiny-1.0-py3-none-any.whl"
    nothing_more = f"there is no such version (on {ONE.url})"
    assert refusal(interpreter, "tiny==2", wheel, [ONE]) == nothing_more
    assert refusal(interpreter, "tiny==2", wheel, [OTHER, ONE]) == nothing_more
    assert refusal(interpreter, "tiny==2", wheel, [ONE, OTHER], IndexStrategy.BEST_MATCH) == nothing_more


def refusal(
    interpreter: Interpreter,
    requirement: str,
    filename: str,
    indexes: list[Any],
    strategy: IndexStrategy = IndexStrategy.FIRST_INDEX,
) -> str:
    settings = IndexSettings(
        indexes=tuple(indexes), strategy=strategy, trusted_hosts=(), ca_bundle=None, client_cert=None, proxy=None,
        timeout_seconds=1.0, retries=0, keyring_provider="disabled",
    )  # fmt: skip
    chooser = WheelChooser(interpreter, builds=False, is_to_be_built=lambda project: project == "built")
    finder = Finder(cast("Any", None), settings, chooser, is_offline=True)
    wanted = parse_requirement(requirement, interpreter.markers)
    assert wanted is not None
    chosen = finder.choice_among(wanted, [(ONE, page_of(filename))])
    assert isinstance(chosen, Refusal)
    return chosen.reason
