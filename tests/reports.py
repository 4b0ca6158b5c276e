"""What the tests of the reports share: the stage on which each is acted out, with packages that are built or real.

Every verb is the real command in a process of its own, as in the reports. What is said of bytes is compared with the
disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.testing.wheels import build_wheel
from commands import Aioc

BODY_BYTES = 6_000_000  #: of each built wheel: what a directory or a note takes is far less than a percent of it
REAL_INDEX = "the index that pip asks by default"


@dataclass(frozen=True)
class Cast:
    """The packages with which a report is acted out."""

    tool: str  #: has a command of its name, which tells its version
    part: str  #: what the tool cannot do without
    plain: str  #: depends on nothing
    versions: tuple[str, str]  #: of the plain one, old and new


BUILT = Cast("grinder", "stone", "bulk", ("1.0", "2.0"))
REAL = Cast("flask", "click", "numpy", ("2.2.6", "2.3.5"))


def build_cast(directory: Path) -> None:
    """Write the wheels of the built cast."""
    main = "import stone\ndef main():\n    print('grinder 1.0 on', stone.NAME)\n"
    commands = {"console_scripts": {"grinder": "grinder:main"}}
    body = os.urandom(BODY_BYTES)
    tool = {"grinder/__init__.py": main, "grinder/body.bin": body}
    part = {"stone/__init__.py": "NAME = 'granite'\n", "stone/body.bin": body}
    build_wheel(directory, "grinder", "1.0", files=tool, entry_points=commands, requires=["stone"])
    build_wheel(directory, "stone", "1.0", files=part)
    for version in BUILT.versions:
        files = {"bulk/__init__.py": f"__version__ = {version!r}\n", "bulk/body.bin": os.urandom(BODY_BYTES)}
        build_wheel(directory, "bulk", version, files=files)


class Stage:
    """A cache dir, packages to act with, and places for environments."""

    def __init__(self, home: Path, cast: Cast, index_url: str | None) -> None:
        self.home = home
        self.cast = cast
        self.index_url = index_url
        self.aioc = self.command("cache")
        self.cache_dir = self.aioc.cache_dir

    def command(self, cache: str) -> Aioc:
        """Give the command on a cache dir of this name."""
        aioc = Aioc(self.home, self.index_url or REAL_INDEX)
        aioc.cache_dir = self.home / cache
        aioc.environ["AIOC_CACHE_DIR"] = str(aioc.cache_dir)
        if self.index_url is None:
            del aioc.environ["AIOC_INDEX_URL"]
            aioc.environ |= {name: os.environ[name] for name in ("PIP_CERT", "SSL_CERT_FILE") if name in os.environ}
        return aioc

    def __call__(self, *words: str) -> Any:
        """Run a command that must succeed; gives the document that it prints."""
        ran = self.aioc(*words, "--json")
        assert ran.code == 0, ran.err
        return ran.document

    def run_tool(self) -> tuple[int, str]:
        """Run the tool, as the report does; gives its code and all that it prints."""
        version = ("--version",) if self.cast is REAL else ()
        ran = self.aioc("run", self.cast.tool, *version)
        return ran.code, ran.out + ran.err

    def start_tool(self, code: str, requirement: str = "") -> subprocess.Popen[str]:
        """Start Python in the environment of the tool, or of something else, and wait until it says that it works."""
        process = subprocess.Popen(
            self.aioc.words("run", "--from", requirement or self.cast.tool, "python", "-c", code),
            cwd=self.home,
            env=self.aioc.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        return process

    def corrupt(self, project: str) -> None:
        """Spoil a module of every cached environment that there is, in place."""
        modules = list(self.cache_dir.glob(f"environments-v1/*/env/lib/*/site-packages/{project}/__init__.py"))
        assert modules
        for module in modules:
            module.write_text(f"raise SystemExit('the old {project} is corrupt')\n")

    def install(self, environment: str, *words: str) -> Path:
        self("install", *words, "--venv", environment)
        return self.home / environment

    def entries(self, *words: str) -> list[dict[str, Any]]:
        """List archives and environments."""
        entries: list[dict[str, Any]] = self("ls", *words)["entries"]
        return entries

    def shown(self, path: Path) -> str:
        """Give a path as the outputs of the commands have it here."""
        return self.aioc.steady(str(path))

    def allocated(self) -> int:
        """Tell what the disk has for the cache dir and all environments together, each inode once."""
        return allocated(self.home)


def allocated(directory: Path) -> int:
    """Tell what the disk has for a directory and all below it, each inode once."""
    inodes = {status.st_ino: status.st_blocks for status in map(os.lstat, directory.rglob("*"))}
    return 512 * sum(inodes.values())


def freed(removal: Any) -> int:
    said: int = removal["summary"]["bytes_freed"]
    return said


def assert_within_a_percent(said: int, gone: int) -> None:
    assert abs(said - gone) <= max(gone, said) / 100, f"{said} were said, {gone} went"


def objects(removal: Any, what: str = "removed") -> list[str]:
    """Give the projects of the archives, and the tools of the environments, that went or stayed."""
    return sorted(
        each["project"] or f"environment of {each['tool']}"
        for each in removal[what]
        if each["kind"] in ("archive", "environment")
    )


def uv() -> str:
    """Give the path of uv, or skip the test."""
    found = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.defpath]))
    if found is None:
        pytest.skip("uv is not here; the extra `test` brings it")
    return found
