"""What tests of installing share: real wheels, unpacked, and real environments made by our own writer."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.model.manifest import dump_manifest, load_manifest
from aiocache_engine.model.names import new_object_id, wheel_name
from aiocache_engine.model.python import Interpreter, LinkMode, Target
from aiocache_engine.pipeline.linking.install import (
    InstallOutcome,
    ReadyWheel,
    apply_install,
    prepare_install,
    recover,
)
from aiocache_engine.pipeline.wheels.unpack import unpack
from aiocache_engine.python.installed import read_installed
from aiocache_engine.python.interpreter import probe
from aiocache_engine.python.target import TargetChoice, choose_target, make_target
from aiocache_engine.testing.wheels import build_wheel

_running: list[Interpreter] = []


def running() -> Interpreter:
    """Describe the interpreter of the tests, once."""
    if not _running:
        _running.append(probe(sys.executable))
    return _running[0]


def prober(executable: str) -> Interpreter:
    return running() if executable == sys.executable else probe(executable)


def ready(
    cache: Path,
    name: str,
    version: str = "1.0",
    *,
    requested: bool = True,
    direct_url: str | None = None,
    origin: str = "index",
    **wheel: Any,
) -> ReadyWheel:
    """Build a wheel and unpack it as an archive of a cache."""
    cache.mkdir(exist_ok=True)
    wheels = cache / "wheels"
    wheels.mkdir(exist_ok=True)
    path = build_wheel(wheels, name, version, **wheel)
    archive_id = new_object_id()
    tree = cache / archive_id / "tree"
    tree.parent.mkdir()
    manifest = unpack(str(path), str(tree), name=wheel_name(path.name), sha256="0" * 64, boot_id="boot")
    return ReadyWheel(
        archive_id=archive_id,
        tree=str(tree),
        # As a cache gives it: without the hashes, which only verification reads.
        manifest=load_manifest(dump_manifest(manifest)),
        requested=requested,
        direct_url=direct_url,
        origin=origin,
    )


def environment(root: Path) -> Target:
    return make_target(choose_target(TargetChoice(venv=str(root)), {}, str(root.parent)), prober)


def install(
    target: Target, *wheels: ReadyWheel, reinstall: bool = False, link_mode: LinkMode = LinkMode.AUTO
) -> InstallOutcome:
    recover(target)
    installed = read_installed(target.site_directories())
    return apply_install(prepare_install(target, wheels, installed, reinstall=reinstall, link_mode=link_mode))


def snapshot(root: Path | str, *, without: tuple[str, ...] = ()) -> dict[str, tuple[str, bytes | str]]:
    """Everything below a directory: kind, executable bit, and content or destination, by relative path."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for directory, directories, files in os.walk(root):
        directories[:] = [name for name in directories if name not in without]
        for name in directories + files:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                found[relative] = ("link", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[relative] = ("directory", "")
            else:
                kind = "executable" if status.st_mode & 0o100 else "file"
                found[relative] = (kind, Path(path).read_bytes())
    return found


def run(*command: str | Path, environ: Mapping[str, str] | None = None, check: bool = True) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=None if environ is None else dict(environ),
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def other_python(version: str) -> str:
    """Give the path of an installed interpreter of a version, or skip the test."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
        return sys.executable
    if (pyenv := shutil.which("pyenv")) is not None:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
        for path in sorted(Path(root, "versions").glob(f"{version}.*/bin/python")):
            return str(path)
    if (found := shutil.which(f"python{version}")) is not None:
        return os.path.realpath(found)
    pytest.skip(f"no Python {version} was found here")
