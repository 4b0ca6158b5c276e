"""Sdists of real projects unpack to the trees that the standard library's data filter makes of them."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from pathlib import Path

import pytest
from packaging.version import Version

from aiocache_engine.index.client import IndexClient
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.model.index import IndexSettings
from aiocache_engine.model.names import is_sdist, sdist_name
from aiocache_engine.pipeline.builds.project import read_build_system
from aiocache_engine.pipeline.builds.static_metadata import static_metadata
from aiocache_engine.pipeline.builds.unpack import unpack_sdist

pytestmark = pytest.mark.network

REAL_HOME = os.environ.get("HOME")  #: before the tests point it elsewhere: pip's own settings lead to the index
EARLIEST = 315_619_200

# What they were made with and when differs: setuptools, meson, maturin, hatchling, flit, scikit-build, old distutils.
PROJECTS = [
    "cffi", "cryptography", "docopt", "flit-core", "greenlet", "hatchling", "lxml", "markupsafe", "meson-python",
    "numpy", "packaging", "pillow", "psutil", "pyyaml", "ruamel-yaml", "setuptools", "setuptools-scm", "simplejson",
    "sqlalchemy", "wrapt",
]  # fmt: skip


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> IndexSettings:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if REAL_HOME:
        monkeypatch.setenv("HOME", REAL_HOME)
    return discover_settings(IndexOptions(), os.environ)


async def newest_sdist(settings: IndexSettings, project: str, directory: Path) -> Path:
    async with IndexClient(settings) as client:
        page = await client.page(project, settings.indexes[-1])
        assert page is not None
        files = [(Version(version), file) for version, file in page.all_files() if is_sdist(file.filename)]
        _, file = max((each for each in files if not each[0].is_prerelease), key=lambda each: each[0])
        path = directory / file.filename
        got = await client.download(file, str(path))
        assert got.sha256 == file.sha256
    return path


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """What is there: kind, and executable bit, SHA-256 and time of change (in whole seconds) or target."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(directory, name)
            state = path.lstat()
            if stat.S_ISLNK(state.st_mode):
                what: tuple[object, ...] = ("link", os.readlink(path))
            elif stat.S_ISDIR(state.st_mode):
                what = ("directory",)
            else:
                assert stat.S_ISREG(state.st_mode)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                # flit gives PKG-INFO the time 0, which no zip file can tell.
                what = ("file", bool(state.st_mode & 0o100), digest, max(int(state.st_mtime), EARLIEST))
            found[path.relative_to(root).as_posix()] = what
    return found


@pytest.mark.parametrize("project", PROJECTS)
async def test_real_sdists_give_the_tree_that_the_data_filter_makes(
    settings: IndexSettings, project: str, tmp_path: Path
) -> None:
    sdist = await newest_sdist(settings, project, tmp_path)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    with sdist.open("rb") as file:
        root = unpack_sdist(file.fileno(), sdist.name, str(ours))
    with tarfile.open(sdist) as archive:
        archive.extractall(theirs, filter="data")

    assert tree(theirs) == tree(ours)
    assert ours == Path(root).parent
    assert read_build_system(root, sdist.name).backend
    metadata = static_metadata(root)
    version = sdist_name(sdist.name, project).version
    assert metadata is None or f"\nVersion: {version}\n".encode() in metadata.replace(b"\r\n", b"\n")
