"""Real wheels of many kinds give the files that the standard library and `installer` read from them."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from installer.sources import WheelFile

from aiocache_engine.model.names import wheel_name
from aiocache_engine.model.record import parse_record
from aiocache_engine.pipeline.wheels.unpack import unpack

pytestmark = pytest.mark.network

PROJECTS = [
    "ansible-core", "attrs", "babel", "black", "boto3", "botocore", "certifi", "cffi", "click", "cmake",
    "cryptography", "debugpy", "django", "fonttools", "google-cloud-storage", "greenlet", "grpcio", "idna", "jedi",
    "jupyterlab", "lxml", "matplotlib", "mypy", "ninja", "numpy", "packaging", "pandas", "pillow", "pip",
    "protobuf", "psutil", "pyarrow", "pybind11", "pydantic-core", "pygments", "pytz", "pyyaml", "pyzmq", "rich",
    "ruff", "scipy", "setuptools", "sqlalchemy", "tornado", "tzdata", "uv", "zope.interface",
]  # fmt: skip


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(directory), *PROJECTS], check=True)
    return sorted(directory.glob("*.whl"))


def theirs(wheel: Path) -> dict[str, tuple[str, bool]]:
    """SHA-256 and executable bit by path, RECORD left out."""
    with WheelFile.open(wheel) as source:
        source.validate_record()
        return {
            record[0]: (hashlib.sha256(stream.read()).hexdigest(), is_executable)
            for record, stream, is_executable in source.get_contents()
            if record[0] != f"{source.dist_info_dir}/RECORD"
        }


def ours(tree: Path) -> dict[str, tuple[str, bool]]:
    found = {}
    for directory, _, names in os.walk(tree):
        for name in names:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            assert stat.S_ISREG(mode)
            assert not mode & 0o022
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[path.relative_to(tree).as_posix()] = (digest, bool(mode & 0o111))
    return found


def test_real_wheels_give_the_files_that_installer_reads(wheels: list[Path], tmp_path: Path) -> None:
    assert len(PROJECTS) == len(wheels)
    for wheel in wheels:
        tree = tmp_path / wheel.name
        manifest = unpack(str(wheel), str(tree), name=wheel_name(wheel.name), sha256="0" * 64, boot_id="")
        files = ours(tree)
        assert theirs(wheel) == files, wheel.name
        listed = {
            f"{directory.path}/{name}".lstrip("/"): sha256
            for directory in manifest.directories
            for name, sha256 in zip(directory.names, directory.sha256, strict=True)
        }
        assert {path: digest for path, (digest, _) in files.items()} == listed
        assert files.keys() == {row.path for row in parse_record(manifest.record)}
        assert {path for path, (_, is_executable) in files.items() if is_executable} == manifest.executables
