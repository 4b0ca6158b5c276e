"""What tests of the store and the collector share: a cache dir, wheels beside it, and engines on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiocache_engine.config import Config
from aiocache_engine.engine import CacheEngine
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.manifest import Directory, Manifest, Totals, dump_manifest
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.records import FileKey, Holder, Pointer
from aiocache_engine.model.removal import Removal
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.inputs.requirements import parse_clean_target
from aiocache_engine.pipeline.steps import Conductor, Steps
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.store.archives import write_description
from aiocache_engine.store.cache_dir import CacheDir, open_cache_dir
from aiocache_engine.store.work import Work
from aiocache_engine.system.lock import Hold
from aiocache_engine.testing.wheels import build_wheel

EMPTY_SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HOLDER = Holder(1, 0.0, "host", "machine", "boot", None, "a test", 0.0)


class Place:
    """A cache dir, a directory of wheels that serves as the only index, and places for environments."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / "cache"
        self.wheels = root / "wheels"
        self.wheels.mkdir(exist_ok=True)

    def wheel(self, name: str = "tiny", version: str = "1.0", **what: Any) -> Path:
        return build_wheel(self.wheels, name, version, **what)

    def config(self, **options: Any) -> Config:
        return Config(**{"index_url": self.wheels.as_uri(), "find_links": (str(self.wheels),), **options})

    def engine(self, **options: Any) -> CacheEngine:
        return CacheEngine(self.cache, config=self.config(**options), environ={"PATH": os.environ["PATH"]})

    async def fetch(self, *requirements: str) -> tuple[str, ...]:
        async with self.engine() as engine:
            report = await engine.fetch(requirements, python=sys.executable)
        return tuple(each.archive_id for each in report.fetched)

    async def install(
        self, environment: str, *requirements: str, mode: LinkMode = LinkMode.HARDLINK, **how: Any
    ) -> Path:
        root = self.root / environment
        async with self.engine() as engine:
            await engine.install(requirements, target=TargetChoice(venv=str(root)), link_mode=mode, **how)
        return root

    async def clean(self, *names: str) -> Removal:
        async with self.engine() as engine:
            return await engine.clean(names)

    async def prune(self) -> Removal:
        async with self.engine() as engine:
            return await engine.prune()

    def archives(self) -> set[str]:
        return set(os.listdir(self.cache / "archives-v1"))

    def names(self) -> set[str]:
        """Every name there is, relative to the bucket."""
        bucket = self.cache / "projects-v1"
        return {str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file() and path.name != "page"}

    def opened(self) -> CacheDir:
        return open_cache_dir(str(self.cache))


def in_hold(cache: CacheDir, mode: LockMode, work: Callable[[Hold], Any]) -> Any:
    with cache.lock.hold_now(mode, timeout_seconds=10) as hold:
        return work(hold)


def perform(cache: CacheDir, steps: Steps[Any]) -> Any:
    return Conductor(cache.lock, timeout_seconds=10).perform(steps)


def _whole(cache: CacheDir, remove: Callable[[Collector], Steps[Removal]]) -> Steps[Removal]:
    """Remove, and end as every command does."""
    removal = yield from remove(Collector(cache))
    yield from Collector(cache).free_condemned()
    return removal


def prune_now(cache: CacheDir) -> Removal:
    removal: Removal = perform(cache, _whole(cache, Collector.prune))
    return removal


def clean_now(cache: CacheDir, *names: str) -> Removal:
    targets = tuple(parse_clean_target(name) for name in names)
    removal: Removal = perform(cache, _whole(cache, lambda collector: collector.clean(targets)))
    return removal


def begun(cache: CacheDir, project: str = "tiny") -> Work:
    """Begin a work on a project: it has a lease, and has read the generations."""
    work = Work(cache, HOLDER)
    in_hold(cache, LockMode.SHARED, lambda hold: work.begin(hold, [project]))
    return work


def key(project: str = "tiny", version: str = "1.0", *, index: str = "0" * 32, sha256: str | None = None) -> FileKey:
    return FileKey(project, index, f"{project}-{version}-py3-none-any.whl", sha256)


def pointer(project: str = "tiny", version: str = "1.0", *, sha256: str = "a" * 64, archive_id: str = "") -> Pointer:
    return Pointer(archive_id, project, version, f"{project}-{version}-py3-none-any.whl", sha256, "", "")


def staged(work: Work, project: str = "tiny", version: str = "1.0", sha256: str = "a" * 64) -> str:
    """Stage an archive of one empty file."""
    path = work.new_staging()
    os.mkdir(f"{path}/tree")
    Path(path, "tree", "empty.py").touch(0o644)
    totals = Totals(project, version, f"{project}-{version}-py3-none-any.whl", sha256, 1, 0, "boot")
    tree = Directory("", ("empty.py",), (0,), (EMPTY_SHA,))
    manifest = Manifest(
        totals, (tree,), frozenset(), root_is_purelib=True, dist_info="", data="", record="", entry_points=""
    )
    write_description(path, dump_manifest(manifest), "boot")
    return path


@contextmanager
def process(
    script: str, *arguments: object, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a Python script that says what it did line by line, and kill it at the end."""
    program = subprocess.Popen(
        [sys.executable, "-c", script, *(str(argument) for argument in arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **(environ or {})},
    )
    try:
        yield program
    finally:
        program.send_signal(signal.SIGCONT)
        program.kill()
        program.communicate()


def said(program: subprocess.Popen[str]) -> Any:
    """Wait for the next line that a process says, as JSON."""
    assert program.stdout is not None
    return json.loads(program.stdout.readline())


def tell(program: subprocess.Popen[str], line: str = "") -> None:
    assert program.stdin is not None
    program.stdin.write(f"{line}\n")
    program.stdin.flush()
