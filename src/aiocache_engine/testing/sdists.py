"""Build small sdists and projects quickly, for tests: right by default, with a backend that needs nothing installed.

The backend (`aiocache_engine.testing.tiny_backend`) lies in the sdist itself, or in a wheel that the sdist names as its
build requirement (`build_backend_wheel`, which may also stand in for setuptools). What lies under ``src/`` gets into
the wheel; it has the same bytes each time.
"""

from __future__ import annotations

import enum
import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiocache_engine.testing.wheels import Content, build_wheel
from aiocache_engine.testing.zips import ZipEntry, zip_bytes


class Backend(enum.Enum):
    """What an sdist says about its build."""

    IN_TREE = "in tree"  #: the tiny backend, in the sdist itself (backend-path)
    TINY = "tiny_backend"  #: the tiny backend, from the wheel of `build_backend_wheel`: a build requirement
    SETUPTOOLS = "setuptools.build_meta"  #: the real one, or the wheel of `build_backend_wheel` of that name
    SETUP_PY = "setup.py"  #: no pyproject.toml
    UNKNOWN = "unknown"  #: in tree, and no such module
    NONE = "none"  #: neither pyproject.toml nor setup.py


class Behaviour(enum.Enum):
    """What the tiny backend does in the hook that it `misbehaves_in`."""

    RIGHT = "right"
    CRASH = "crash"  #: raises an exception
    EXIT = "exit"  #: ends its process without a word
    SIGNAL = "signal"  #: kills itself
    HANG = "hang"
    STUBBORN = "stubborn"  #: hangs, ignores SIGTERM and SIGINT, and has a child that hangs; "child PID" is printed
    CHILD = "child"  #: builds right, and leaves a child behind that holds its output open; "child PID" is printed
    LOUD = "loud"  #: prints `loud_bytes`, then builds right
    OUTSIDE = "outside"  #: writes files named "written-outside" into HOME and above the project, then builds right
    WRONG_NAME = "wrong name"  #: builds a right wheel of the project "another"
    WRONG_VERSION = "wrong version"  #: builds a right wheel of version 99.9
    WRONG_METADATA = "wrong metadata"  #: METADATA names the project "another", and the file name does not
    MISSING = "missing"  #: gives the name of a wheel that is not there
    PATH = "path"  #: gives a path that leaves the directory
    NO_TEXT = "no text"  #: gives None
    BROKEN_WHEEL = "broken wheel"  #: what it writes is no zip file


def make_sdist(
    directory: Path | str, name: str, version: str, *, filename: str = "", form: str = ".tar.gz", **options: Any
) -> Path:
    """Write an sdist into the directory; give its path.

    Args:
        directory: where the file is made; it must exist.
        name: of the project, as PKG-INFO spells it.
        version: of the release.
        filename: another than the proper one (PEP 625).
        form: ".tar.gz" or ".zip".
        options: those of `project_files`.
    """
    stem = sdist_stem(name, version)
    files = {f"{stem}/{path}": content for path, content in project_files(name, version, **options).items()}
    path = Path(directory, filename or stem + form)
    path.write_bytes(_zip(files) if path.suffix == ".zip" else tar_gz_bytes(files))
    return path


def make_project(directory: Path | str, name: str, version: str, **options: Any) -> Path:
    """Write a project's source tree into the directory, which is made if it is missing; give its path.

    Options are those of `project_files`.
    """
    root = Path(directory)
    for path, content in project_files(name, version, **options).items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def build_backend_wheel(
    directory: Path | str, *, name: str = "tiny-backend", version: str = "1.0", requires: Sequence[str] = ()
) -> Path:
    """Write a wheel of the tiny backend into the directory; named "setuptools" it stands in for that one."""
    module = "setuptools/build_meta.py" if name == "setuptools" else f"{name.replace('-', '_')}.py"
    files = {module: _backend_source()} | ({"setuptools/__init__.py": b""} if name == "setuptools" else {})
    return build_wheel(directory, name, version, files=files, requires=requires)


def project_files(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str = "",
    build_requires: Sequence[str] = (),
    wheel_requires: Sequence[str] = (),
    backend: Backend = Backend.IN_TREE,
    behaviour: Behaviour = Behaviour.RIGHT,
    misbehaves_in: str = "build_wheel",
    without: Iterable[str] = (),
    imports: Iterable[str] = (),
    files: Mapping[str, Content] | None = None,
    scripts: Mapping[str, str] | None = None,
    pyproject: str | None = None,
    metadata_version: str = "2.2",
    dynamic: Iterable[str] = (),
    is_platform_bound: bool = False,
    trace: Path | str = "",
    gate: Path | str = "",
    loud_bytes: int = 64 * 1024 * 1024,
) -> dict[str, bytes]:
    """Give the files of a project by their paths below its root.

    Args:
        name: of the project, as PKG-INFO spells it.
        version: of the release.
        requires: requirements of the built wheel.
        requires_python: its Requires-Python; none if empty.
        build_requires: `build-system.requires`, beside what the backend itself needs.
        wheel_requires: what `get_requires_for_build_wheel` asks for (tiny backend).
        backend: which one, and where it is.
        behaviour: of the tiny backend.
        misbehaves_in: the hook with that behaviour, or "import".
        without: hooks that the tiny backend lacks.
        imports: modules that every hook imports first, to show that build requirements are there (tiny backend).
        files: content by path, in addition; without any under "src/", a package with the project's name is made.
        scripts: object references by name of the command.
        pyproject: the text of pyproject.toml, in place of the right one.
        metadata_version: of PKG-INFO; from 2.2 on it can be relied on but for `dynamic` (PEP 643). Empty: no PKG-INFO.
        dynamic: fields that PKG-INFO declares as unreliable.
        is_platform_bound: let the tiny backend build a wheel for this interpreter and platform alone.
        trace: a file that gets a JSON line for every hook called (hook, name, pid, directory, prefix, path,
            environment, config_settings, metadata_directory).
        gate: a path that `build_wheel` waits for.
        loud_bytes: how much Behaviour.LOUD prints.
    """
    package = _escaped(name)
    found: dict[str, Content] = {}
    if metadata_version:
        found["PKG-INFO"] = _pkg_info(
            name, version, metadata_version, requires=requires, requires_python=requires_python, dynamic=dynamic
        )
    if not any(path.startswith("src/") for path in files or ()):
        found[f"src/{package}/__init__.py"] = f"__version__ = {version!r}\n"
    found["tiny-backend.json"] = json.dumps(
        {
            "name": name,
            "version": version,
            "requires": list(requires),
            "requires_python": requires_python,
            "wheel_requires": list(wheel_requires),
            "behaviour": behaviour.value,
            "misbehaves_in": misbehaves_in,
            "without": list(without),
            "imports": list(imports),
            "scripts": dict(scripts or {}),
            "is_platform_bound": is_platform_bound,
            "trace": str(trace),
            "gate": str(gate),
            "loud_bytes": loud_bytes,
        }
    )
    if backend is Backend.IN_TREE:
        found["backend/tiny_backend.py"] = _backend_source()
    if backend is Backend.SETUP_PY:
        found["setup.py"] = _setup_py(name, version, requires, requires_python, scripts or {})
    elif backend is not Backend.NONE:
        found["pyproject.toml"] = _pyproject(
            backend, build_requires, name, version, requires=requires, requires_python=requires_python, scripts=scripts
        )
    if pyproject is not None:
        found["pyproject.toml"] = pyproject
    found |= files or {}
    return {path: content.encode() if isinstance(content, str) else content for path, content in found.items()}


def sdist_stem(name: str, version: str) -> str:
    """Give the name of an sdist without its ending, which is also that of its top directory (PEP 625)."""
    return f"{_escaped(name)}-{version}"


def read_trace(path: Path | str) -> list[dict[str, Any]]:
    """Give the calls of hooks that backends have traced so far, without one that is being written."""
    if not Path(path).exists():
        return []
    whole, _, _ = Path(path).read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def tar_gz_bytes(files: Mapping[str, bytes]) -> bytes:
    """Give a right .tar.gz of the files, the same bytes each time."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(tar.getvalue(), mtime=0)


def _zip(files: Mapping[str, bytes]) -> bytes:
    return zip_bytes([ZipEntry(path, content) for path, content in files.items()])


def _escaped(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _backend_source() -> bytes:
    return Path(__file__).with_name("tiny_backend.py").read_bytes()


def _pkg_info(
    name: str,
    version: str,
    metadata_version: str,
    *,
    requires: Sequence[str],
    requires_python: str,
    dynamic: Iterable[str],
) -> str:
    lines = [f"Metadata-Version: {metadata_version}", f"Name: {name}", f"Version: {version}"]
    lines += [f"Dynamic: {field}" for field in dynamic]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return "\n".join(lines) + "\n"


def _pyproject(
    backend: Backend,
    build_requires: Sequence[str],
    name: str,
    version: str,
    *,
    requires: Sequence[str],
    requires_python: str,
    scripts: Mapping[str, str] | None,
) -> str:
    needed = {Backend.TINY: ["tiny-backend"], Backend.SETUPTOOLS: ["setuptools>=61"]}.get(backend, [])
    module = {Backend.IN_TREE: "tiny_backend", Backend.UNKNOWN: "no_such_backend"}.get(backend, backend.value)
    lines = ["[build-system]", f"requires = {json.dumps([*needed, *build_requires])}", f'build-backend = "{module}"']
    if backend is Backend.IN_TREE:
        lines.append('backend-path = ["backend"]')
    if backend is not Backend.SETUPTOOLS:
        # The tiny backend reads nothing here, and what a project states here counts even where PKG-INFO does not.
        return "\n".join(lines) + "\n"
    lines += ["", "[project]", f'name = "{name}"', f'version = "{version}"']
    if requires_python:
        lines.append(f"requires-python = {json.dumps(requires_python)}")
    lines.append(f"dependencies = {json.dumps(list(requires))}")
    if scripts:
        lines += ["", "[project.scripts]", *(f'"{command}" = "{reference}"' for command, reference in scripts.items())]
    return "\n".join(lines) + "\n"


def _setup_py(
    name: str, version: str, requires: Sequence[str], requires_python: str, scripts: Mapping[str, str]
) -> str:
    told = {
        "name": name,
        "version": version,
        "install_requires": list(requires),
        "python_requires": requires_python or None,
        "package_dir": {"": "src"},
        "entry_points": {"console_scripts": [f"{command} = {reference}" for command, reference in scripts.items()]},
    }
    return f"from setuptools import find_packages, setup\n\nsetup(packages=find_packages('src'), **{told!r})\n"
