"""Documents that are valid JSON and yet not ours: of wrong types, or nested so deeply that reading them gives up."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiocache_engine.errors import TargetError
from aiocache_engine.model.python import Target
from aiocache_engine.pipeline.linking.install import recover
from aiocache_engine.python.environment import environment_id
from aiocache_engine.python.installed import JOURNAL, JOURNAL_BEGUN, JOURNAL_DONE, archives_in_use, read_installed
from aiocache_engine.python.interpreter import decode_interpreter, encode_interpreter
from aiocache_engine.store.documents import decode
from caches import Place
from targets import environment, install, ready, running, snapshot
from toolsheds import begin, finish, make_tool

DEEP = "[" * 200_000
WHOLE = {
    "format": 1, "archives": {}, "distributions": [], "directories": [], "kept": [], "stashed": [], "known": [],
    "floor": [],
}  # fmt: skip
JOURNALS = {
    "deep": DEEP,
    "no more than a format": '{"format": 1}',
    "a list": "[]",
    "a number": "5",
    **{f"{key} is a number": json.dumps({**WHOLE, key: 5}) for key in WHOLE if key != "format"},
    **{f"{key} holds a number": json.dumps({**WHOLE, key: [5]}) for key in WHOLE if key != "format"},
    "an incomplete distribution": json.dumps({**WHOLE, "distributions": [["", "a-1.dist-info"]]}),
    "a distribution of numbers": json.dumps({**WHOLE, "distributions": [[1, 2, 3]]}),
    "archives of numbers": json.dumps({**WHOLE, "archives": {"a": 1}}),
}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return environment(tmp_path / "env")


@pytest.mark.parametrize("name", [JOURNAL_BEGUN, JOURNAL_DONE])
@pytest.mark.parametrize("text", JOURNALS.values(), ids=JOURNALS.keys())
def test_a_journal_that_is_not_ours_is_one_clear_error_and_nothing_changes(
    text: str, name: str, target: Target
) -> None:
    Path(target.root, JOURNAL).mkdir()
    Path(target.root, JOURNAL, name).write_text(text)
    before = snapshot(target.root)
    with pytest.raises(TargetError, match=rf"{JOURNAL}.*damaged; make the environment anew"):
        recover(target)
    assert before == snapshot(target.root)
    archives_in_use(target.site_directories(), target.root)


def test_a_pipe_in_place_of_the_journal_s_document_is_one_clear_error(target: Target) -> None:
    Path(target.root, JOURNAL).mkdir()
    os.mkfifo(Path(target.root, JOURNAL, JOURNAL_BEGUN))
    with pytest.raises(TargetError, match=rf"{JOURNAL}.*damaged"):
        recover(target)


def test_a_prepared_record_that_is_none_is_one_clear_error(target: Target) -> None:
    Path(target.root, JOURNAL).mkdir()
    site = os.path.relpath(target.purelib, target.root)
    document = {**WHOLE, "distributions": [[site, "a-1.dist-info", "0" * 64]]}
    Path(target.root, JOURNAL, JOURNAL_BEGUN).write_text(json.dumps(document))
    Path(target.root, JOURNAL, "RECORD.0").write_text('"never closed')
    with pytest.raises(TargetError, match=rf"{JOURNAL}.*damaged"):
        recover(target)


def test_a_deep_marker_makes_a_distribution_somebody_elses(tmp_path: Path, target: Target) -> None:
    install(target, ready(tmp_path / "cache", "one"))
    Path(target.purelib, "one-1.0.dist-info/aioc.json").write_text(DEEP)
    (found,) = read_installed(target.site_directories())
    assert (found.project, found.archive_id) == ("one", None)
    assert archives_in_use(target.site_directories(), target.root) is None


def test_a_deep_document_is_damaged_and_a_deep_id_is_none(tmp_path: Path) -> None:
    assert decode(DEEP.encode()) is None
    (tmp_path / "aioc.json").write_text(DEEP)
    assert environment_id(str(tmp_path)) is None


def test_any_change_in_what_is_kept_of_an_interpreter_makes_it_a_miss() -> None:
    whole = encode_interpreter(running())
    assert decode_interpreter(whole) == running()
    for content in (
        DEEP.encode(), whole[:-1], whole + b" ", whole.replace(b'"purelib"', b'"purelob"', 1),
        whole.replace(b"cpython", b"cpythom", 1), b"",
    ):  # fmt: skip
        assert content != whole
        assert decode_interpreter(content) is None


CUT_EVERYWHERE = """
import sys
from aiocache_engine.model.plain_json import load
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        whole = file.read()
    load(whole)
    for end in range(len(whole.rstrip())):
        for name in [name for name in sys.modules if name.partition(".")[0] == "json"]:
            del sys.modules[name]
        try:
            load(whole[:end])
        except ValueError:
            continue
        sys.exit(f"{whole[:end]!r} is taken for a document")
print("all refused")
"""


def _is_document(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and isinstance(json.loads(path.read_bytes()), dict)
    except ValueError:
        return False


def test_a_document_that_was_cut_is_damaged_wherever_it_was_cut_and_whatever_is_imported(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wheel()
    environment = asyncio.run(place.install("env", "tiny"))
    make_tool(place.opened(), sorted(place.archives()))
    work = begin(place.opened(), "tiny")
    kinds = {
        tuple(json.loads(path.read_bytes())): str(path)
        for root in (place.cache, environment)
        for path in sorted(root.rglob("*"))
        if _is_document(path)
    }
    buckets = {os.path.relpath(path, tmp_path).split("/")[1] for path in kinds.values()}
    assert buckets > {"aioc-cache.json", "leases", "tools-v1", "environments-v1", "projects-v1", "referrers", "lib"}
    command = [sys.executable, "-c", CUT_EVERYWHERE, *kinds.values()]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    finish(work)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "all refused\n", "")
