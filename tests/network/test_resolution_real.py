"""Real requirements are resolved to what uv resolves them to: same interpreter, same index, with sdists and without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread
from packaging.utils import canonicalize_name
from packaging.version import Version

from aiocache_engine.engine import CacheEngine
from aiocache_engine.errors import NoMatchingWheelError, UnsatisfiableError
from aiocache_engine.index.client import IndexClient
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.model.index import IndexSettings
from aiocache_engine.model.python import Interpreter
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.resolution.fetch import Fetcher
from aiocache_engine.pipeline.resolution.resolve import Resolved, resolve_live, resolve_stored
from aiocache_engine.pipeline.resolution.shelf import Shelf
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.policy.resolution import Problem
from aiocache_engine.python.interpreter import probe
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.store.cache_dir import open_cache_dir
from aiocache_engine.store.work import Work
from caches import HOLDER
from catalogs import wanted

pytestmark = pytest.mark.network

REAL = [
    "hatch", "jupyter", "mlflow", "poetry", "apache-airflow-core", "fastapi[standard]", "scikit-learn", "sphinx",
    "ansible", "dvc", "black", "pytest", "django", "httpx[http2]", "requests[socks]", "pandas", "matplotlib",
    "jupyterlab", "celery", "scrapy", "streamlit", "dask[complete]", "pydantic", "sqlalchemy[asyncio]", "twine",
]  # fmt: skip
SOURCES = [
    *("docopt", "feedparser", "hydra-core", "mysqlclient", "pycairo", "pyperclip<1.9", "termcolor<2", "nose<1.3.7"),
    *("nose<1.3.7 --no-build", "pyperclip --no-build", "six --no-binary six", "markupsafe --no-binary :all:"),
    *("requests --no-binary idna", "docopt --no-build", "mysqlclient --no-build", "termcolor<2 --no-build"),
]
IMPOSSIBLE = [
    (("boto3>=1.34", "urllib3<1.20"), ("botocore", "urllib3<1.20", "boto3>=1.34")),
    (("black==24.1.0", "click<8"), ("black==24.1.0 depends on click>=8.0.0", "click<8")),
]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> IndexSettings:
    """pip's default index alone: what uv uses without configuration."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    return discover_settings(IndexOptions(), os.environ, memo_path=None)


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return probe(sys.executable)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


def uv(requirement: str, cache: Path, *rules: str) -> dict[str, Version] | None:
    """Give what uv takes; None: it says that there is nothing to take."""
    beside = Path(sys.executable).parent / "uv"
    program = str(beside) if beside.exists() else shutil.which("uv")
    assert program, "uv is in the test extra"
    command = [program, "pip", "compile", "--no-config", "-q", "--no-header", "--no-annotate", *rules]
    command += ["--python", sys.executable, "--cache-dir", str(cache / "uv"), "-"]
    done = subprocess.run(command, input=requirement, capture_output=True, text=True, check=False)
    if "No solution found" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    lines = [line.partition("==") for line in done.stdout.splitlines() if "==" in line]
    return {canonicalize_name(name.partition("[")[0]): Version(version) for name, _, version in lines}


async def resolve(
    requirements: tuple[str, ...], settings: IndexSettings, interpreter: Interpreter, cache: Path
) -> Resolved:
    """Resolve with the index at hand, then once more from the cache alone."""

    async def whole(choice: Choice) -> bytes:
        raise NoMatchingWheelError(choice.wanted.text, "a server that gives no part of it")

    opened = open_cache_dir(str(cache / "aioc"))
    conductor = Conductor(opened.lock, timeout_seconds=60)
    problem = Problem(tuple(wanted(each) for each in requirements))
    chooser = WheelChooser(interpreter, builds=False)
    work = Work(opened, HOLDER)
    async with IndexClient(settings) as client:

        async def give() -> IndexClient:
            return client

        shelf = Shelf(work, settings, is_offline=False, refreshes=False)
        try:
            fetcher = Fetcher(shelf, give, conductor, whole, sdist_metadata=whole, page_count=32)
            resolved = await resolve_live(problem, interpreter, fetcher, chooser=chooser)
        finally:
            work.end()

    def again() -> Resolved | None:
        work = Work(opened, HOLDER)
        try:
            shelf = Shelf(work, settings, is_offline=True, refreshes=False)
            return resolve_stored(problem, interpreter, shelf, conductor, chooser=chooser)
        finally:
            work.end()

    stored = await to_thread.run_sync(again)
    assert stored is not None
    assert stored.pins == resolved.pins
    return resolved


@pytest.mark.parametrize("requirement", REAL)
async def test_the_versions_are_those_of_uv(
    requirement: str, settings: IndexSettings, interpreter: Interpreter, shared: Path
) -> None:
    resolved = await resolve((requirement,), settings, interpreter, shared)
    ours = {pin.project: pin.version for pin in resolved.pins}
    assert ours == await to_thread.run_sync(uv, requirement, shared, "--no-build")


@pytest.mark.parametrize("asked", SOURCES)
@pytest.mark.usefixtures("settings")
async def test_the_versions_are_those_of_uv_where_there_are_only_sources_or_rules(asked: str, shared: Path) -> None:
    requirement, *rules = asked.split()
    no_binary = [rules[place + 1] for place, word in enumerate(rules) if word == "--no-binary"]
    theirs = await to_thread.run_sync(uv, requirement, shared, *rules)
    async with CacheEngine(shared / "built", environ=os.environ) as engine:
        resolve = partial(
            engine.resolve, [requirement], python=sys.executable, no_build="--no-build" in rules, no_binary=no_binary
        )
        if theirs is None:
            with pytest.raises(UnsatisfiableError, match=r"--no-build|none for this Python"):
                await resolve()
            return
        pins = (await resolve()).pins
        assert theirs == {canonicalize_name(pin.project): Version(pin.version) for pin in pins}


async def test_a_real_project_that_is_there_only_as_source_is_installed(
    settings: IndexSettings, tmp_path: Path
) -> None:
    assert settings.indexes
    async with CacheEngine(tmp_path / "cache", environ=os.environ) as engine:
        for environment, origin in (("one", "built"), ("other", "cache")):
            report = await engine.install(["docopt"], target=TargetChoice(venv=str(tmp_path / environment)))
            assert [(each.project, each.origin) for each in report.installed] == [("docopt", origin)]
    call = [str(tmp_path / "other/bin/python"), "-c", "import docopt; print(docopt.__version__)"]
    done = await to_thread.run_sync(partial(subprocess.run, call, check=True, capture_output=True, text=True))
    assert done.stdout == "0.6.2\n"


@pytest.mark.parametrize(("requirements", "words"), IMPOSSIBLE)
async def test_a_real_conflict_is_explained_in_bounded_time(
    requirements: tuple[str, ...],
    words: tuple[str, ...],
    settings: IndexSettings,
    interpreter: Interpreter,
    shared: Path,
) -> None:
    started = time.monotonic()
    with pytest.raises(UnsatisfiableError) as caught:
        await resolve(requirements, settings, interpreter, shared)
    assert (
        time.monotonic() - started < 300
    )  # where others are at work, too; it takes forty seconds, and once took forever
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert len(text.splitlines()) < 12
