"""What a project says of its build is read as PEP 517, 518 and 643 say, and refused in one clear line."""

from __future__ import annotations

import pytest

from aiocache_engine.errors import BuildError
from aiocache_engine.pipeline.builds.project import BuildSystem, read_build_system
from aiocache_engine.pipeline.builds.static_metadata import static_metadata
from aiocache_engine.testing.sdists import Backend, make_project

LEGACY = "setuptools.build_meta:__legacy__"
OWN = '[build-system]\nrequires = []\nbuild-backend = "b"\n'


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "demo"
    root.mkdir()
    return root


def read(project, pyproject):
    (project / "pyproject.toml").write_text(pyproject)
    return read_build_system(str(project), "demo-1.0.tar.gz")


def test_a_build_system_is_read_as_it_is_written(project):
    (project / "backend").mkdir()
    found = read(
        project,
        '[build-system]\nrequires = ["a>=1", "b ; python_version > \'3\'"]\n'
        'build-backend = "own.backend:object.attribute"\nbackend-path = ["backend", "."]\n',
    )
    assert found == BuildSystem(
        requires=("a>=1", "b ; python_version > '3'"),
        backend="own.backend:object.attribute",
        backend_path=("backend", "."),
    )


@pytest.mark.parametrize(
    ("pyproject", "requires"),
    [
        ("", ("setuptools>=40.8.0",)),
        ("[tool.black]\n", ("setuptools>=40.8.0",)),
        ('[project]\nname = "demo"\n', ("setuptools>=40.8.0",)),
        ('[build-system]\nrequires = ["setuptools", "cython"]\n', ("setuptools", "cython")),
        ('[build-system]\nrequires = ["SetupTools>=60"]\n', ("SetupTools>=60",)),
        ('[build-system]\nrequires = ["cython"]\n', ("cython", "setuptools>=40.8.0")),
    ],
)
def test_setuptools_builds_what_names_no_backend(project, pyproject, requires):
    assert BuildSystem(requires=requires, backend=LEGACY, backend_path=()) == read(project, pyproject)


def test_setuptools_builds_a_project_that_has_setup_py_alone(tmp_path):
    root = make_project(tmp_path / "demo", "demo", "1.0", backend=Backend.SETUP_PY)
    assert read_build_system(str(root), "demo") == BuildSystem(("setuptools>=40.8.0",), LEGACY, ())


def test_a_project_without_pyproject_and_setup_py_is_refused_in_one_line(tmp_path):
    root = make_project(tmp_path / "demo", "demo", "1.0", backend=Backend.NONE)
    with pytest.raises(BuildError) as caught:
        read_build_system(str(root), "demo-1.0.tar.gz")
    assert str(caught.value) == ("demo-1.0.tar.gz could not be built: it has neither pyproject.toml nor setup.py")


@pytest.mark.parametrize(
    ("pyproject", "reason"),
    [
        ("[build-system", "is malformed"),
        ("a = 1\na = 2\n", "is malformed"),
        ("a = " + "[" * 5000, "is malformed"),
        ("build-system = 3\n", "no table"),
        ("[build-system]\n", "lacks build-system.requires"),
        ('[build-system]\nbuild-backend = "b"\n', "lacks build-system.requires"),
        ('[build-system]\nrequires = "setuptools"\n', "build-system.requires that is no list of texts"),
        ("[build-system]\nrequires = [1]\n", "build-system.requires that is no list of texts"),
        ('[build-system]\nrequires = ["a b"]\n', "requires 'a b' for builds, which cannot be read"),
        ('[build-system]\nrequires = ["--index-url=x"]\n', "which cannot be read"),
        ('[build-system]\nrequires = []\nbuild-backend = ""\n', "no module or object of one"),
        ("[build-system]\nrequires = []\nbuild-backend = 3\n", "no module or object of one"),
        ('[build-system]\nrequires = []\nbuild-backend = "a:b:c"\n', "no module or object of one"),
        ('[build-system]\nrequires = []\nbuild-backend = "a;import os"\n', "no module or object of one"),
        (f'[build-system]\nrequires = ["a{",".join([">=1.0"] * 2000)}"]\n', "it is longer than 8192 characters"),
        (f'[build-system]\nrequires = ["a=={"1" * 5000}"]\n', "a number in it has too many digits"),
        (
            "[build-system]\nrequires = [" + '"a",' * 1001 + "]\n",
            "build-system.requires of 1001 entries; 1000 are allowed",
        ),
        (f'[build-system]\nrequires = []\nbuild-backend = "{"a." * 2500}a"\n', "no module or object of one"),
        ('[build-system]\nrequires = []\nbackend-path = ["."]\n', "a backend-path and no build-backend"),
        ('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = "."\n', "no list of texts"),
        ('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = [".."]\n', "leads out"),
        ('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["a/../../b"]\n', "leads out"),
        ('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["/usr"]\n', "leads out"),
        ('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["link"]\n', "leads out"),
        ('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["demo\\u0000"]\n', "leads out"),
        (f'{OWN}backend-path = ["{"x/" * 2100}"]\n', "a build-system.backend-path of more than 4096 characters"),
        (f'{OWN}backend-path = ["{"x/" * 1100}", "{"y/" * 1100}"]\n', "backend-path of more than 4096 characters"),
        (f"{OWN}backend-path = [" + '".",' * 101 + "]\n", "build-system.backend-path of 101 entries; 100 are allowed"),
        (f"{'.'.join(['a'] * 5000)} = 1\n", "has a key of more than 32 parts"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(project, pyproject, reason):
    (project / "link").symlink_to("..")
    with pytest.raises(BuildError) as caught:
        read(project, pyproject)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("demo-1.0.tar.gz could not be built: its pyproject.toml ")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_an_absolute_backend_path_is_refused_even_inside(project):
    with pytest.raises(BuildError, match="leads out"):
        read(project, f'[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["{project}"]\n')


def test_bytes_that_are_no_text_are_refused(project):
    (project / "pyproject.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BuildError, match="is malformed"):
        read_build_system(str(project), "demo")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata_version": "2.4"},
        {"dynamic": ["License", "Description"]},
    ],
)
def test_metadata_that_holds_for_every_wheel_is_given_as_it_stands(tmp_path, options):
    root = make_project(tmp_path / "demo", "demo", "1.0", requires=["other"], requires_python=">=3.8", **options)
    assert static_metadata(str(root)) == (root / "PKG-INFO").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"metadata_version": ""},
        {"metadata_version": "2.1"},
        {"metadata_version": "1.2"},
        {"metadata_version": "3.0"},
        {"metadata_version": "two"},
        {"dynamic": ["Requires-Dist"]},
        {"dynamic": ["License", "requires-python"]},
        {"dynamic": ["PROVIDES-EXTRA"]},
        {"dynamic": ["Version"]},
        {"files": {"PKG-INFO": b"Metadata-Version: 2.2\nName: demo\n"}},
        {"files": {"PKG-INFO": b"Metadata-Version: 2.2\nVersion: 1.0\n"}},
        {"files": {"PKG-INFO": b"\xff\xfe\0"}},
        {"files": {"PKG-INFO": b""}},
        {"files": {"PKG-INFO": b"Name: demo\nVersion: 1.0\n"}},
    ],
)
def test_metadata_that_a_build_may_change_or_that_is_none_is_not_relied_on(tmp_path, options):
    assert static_metadata(str(make_project(tmp_path / "demo", "demo", "1.0", **options))) is None


def test_a_directory_in_place_of_the_metadata_is_none(project):
    (project / "PKG-INFO").mkdir()
    assert static_metadata(str(project)) is None
