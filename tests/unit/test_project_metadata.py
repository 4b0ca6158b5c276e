"""What pyproject.toml states is what a build would say, and whatever is not plain is left to the build."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocache_engine.pipeline.builds.project_metadata import project_metadata
from aiocache_engine.pipeline.builds.static_metadata import static_metadata
from aiocache_engine.pipeline.resolution.metadata import demands_of, parse_metadata

PROJECT = """
[project]
name = "Tiny.Project"
version = "1.0"
requires-python = ">=3.9"
dependencies = ["plain>=1", "marked; os_name == 'posix'", "far @ https://127.0.0.1/far-1-py3-none-any.whl"]
[project.optional-dependencies]
more = ["extra-plain", "extra-marked[x]>2; os_name == 'nt' or os_name == 'posix'"]
none = []
"""


def write(root: Path, text: str) -> Path:
    (root / "pyproject.toml").write_text(text)
    return root


def test_all_that_resolving_needs_is_taken_from_the_table(tmp_path: Path) -> None:
    content = static_metadata(str(write(tmp_path, PROJECT)))
    assert content is not None
    metadata = parse_metadata(content)
    assert (metadata.project, metadata.version, metadata.requires_python) == ("tiny-project", "1.0", ">=3.9")
    assert metadata.extras == {"more", "none"}
    asked = {
        extra: [str(each) for each in demands_of(metadata, extra, {"os_name": "posix"})]
        for extra in ("", "more", "none")
    }
    far = "far @ https://127.0.0.1/far-1-py3-none-any.whl"
    assert asked == {"": ["plain>=1", "marked", far], "more": ["extra-plain", "extra-marked[x]>2"], "none": []}


def test_what_pkg_info_states_comes_first(tmp_path: Path) -> None:
    stated = b"Metadata-Version: 2.2\nName: tiny-project\nVersion: 1.0\nRequires-Dist: told\n"
    (write(tmp_path, PROJECT) / "PKG-INFO").write_bytes(stated)
    assert static_metadata(str(tmp_path)) == stated
    (tmp_path / "PKG-INFO").write_bytes(stated.replace(b"2.2", b"2.1"))
    assert b"plain>=1" in (static_metadata(str(tmp_path)) or b"")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[build-system]\nrequires = []\n",
        "not toml",
        "project = 3",
        'tool = 3\n[project]\nname = "a"\nversion = "1"\n',
        PROJECT.replace('version = "1.0"', 'dynamic = ["version"]'),
        PROJECT.replace('version = "1.0"', "version = 1.0"),
        PROJECT.replace("[project]\n", '[project]\ndynamic = ["dependencies"]\n'),
        PROJECT.replace("[project]\n", '[project]\ndynamic = ["optional-dependencies"]\n'),
        PROJECT.replace("[project]\n", '[project]\ndynamic = ["requires-python"]\n'),
        PROJECT.replace("[project]\n", "[project]\ndynamic = 3\n"),
        PROJECT.replace('"plain>=1"', '"plain>=="'),
        PROJECT.replace('"plain>=1"', "3"),
        PROJECT.replace('"1.0"', '"1.0\\nRequires-Dist: other"'),
        PROJECT.replace("none = []", '"x\\ny" = []'),
        '[project]\nname = "a"\nversion = "1"\n[tool.poetry.dependencies]\nb = "*"\n',
        f"[x]\ny = {'[' * 5000}{']' * 5000}\n{PROJECT}",
    ],
)
def test_whatever_is_not_plain_is_left_to_the_build(tmp_path: Path, text: str) -> None:
    assert project_metadata(str(write(tmp_path, text))) is None


def test_where_there_is_no_pyproject_there_is_nothing_stated(tmp_path: Path) -> None:
    assert static_metadata(str(tmp_path)) is None
