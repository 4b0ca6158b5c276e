"""What every test shares: one event loop flavour, and a home and cache dir that are never the user's.

Alone, pytest runs every test. Where several Pythons run them after each other, `--share` lets each take a part of those
that show the same on any (CONTRIBUTING.md, "Tests").
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from aiocache_engine.testing.index_server import IndexServer
from reports import BUILT, REAL, Stage, build_cast
from shares import Share, hangs_on_python, read_share

# What a change must pass is the same each time; `--hypothesis-profile=default` looks further.
hypothesis.settings.register_profile("everyday", deadline=None, derandomize=True)
hypothesis.settings.load_profile("everyday")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let several Pythons share what is the same on all of them."""
    told = "of the tests that hang on no version of Python, run the K-th of N parts only"
    parser.addoption("--share", type=read_share, default=read_share("1/1"), metavar="K/N", help=told)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the other Pythons run."""
    share: Share = config.getoption("--share")
    ours, theirs = [], []
    for item in items:
        (ours if hangs_on_python(item) or share.has(item.nodeid) else theirs).append(item)
    config.hook.pytest_deselected(items=theirs)
    items[:] = ours


@pytest.fixture(scope="session")
def share(pytestconfig: pytest.Config) -> Share:
    """The part of a sweep inside a test that this Python does."""
    found: Share = pytestconfig.getoption("--share")
    return found


def pytest_configure() -> None:
    """Let signals mean what they mean to a person's shell: one that runs tests in the background has them ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The engine promises asyncio only."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _strange_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every way to the user's home and cache dir at an empty directory."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    for name in ("AIOC_CACHE_DIR", "AIOC_LEASE", "AIOC_OFFLINE", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session")
def built_cast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels with which the reports are acted out where there is no network."""
    directory = tmp_path_factory.mktemp("cast")
    build_cast(directory)
    return directory


@pytest.fixture(params=["built", pytest.param("real", marks=pytest.mark.network)])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Where a report is acted out: with built packages always, with real ones where tests may use the network."""
    home = tmp_path / "home"
    home.mkdir()
    if request.param == "real":
        yield Stage(home, REAL, None)
        return
    with IndexServer(request.getfixturevalue("built_cast")) as server:
        yield Stage(home, BUILT, server.index_url)
