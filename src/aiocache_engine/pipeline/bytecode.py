"""Bytecode once: what an archive lacks is compiled for an interpreter, kept beside the archive, and linked ever after.

Compiling goes on in the background from the moment an archive is there, while others are still on their way. It never
fails an installation: where it is impossible, the wheel is installed without, and those who asked for more are told.
Bytecode is protected by the lease on its archive; only publishing needs a hold.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial

from aiocache_engine.errors import CacheEngineError
from aiocache_engine.hints import TYPE_CHECKING, Self
from aiocache_engine.model.bytecode import BytecodeManifest, BytecodeTotals, CompiledDirectory
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.manifest import Manifest
from aiocache_engine.model.names import digest
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.find import Ready
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.report import Reporter
from aiocache_engine.store.archives import TREE, Archive
from aiocache_engine.store.bytecode import (
    Bytecode,
    bytecode_path,
    module_suffix,
    publish_bytecode,
    read_bytecode,
    write_bytecode_manifest,
)
from aiocache_engine.store.work import Work
from aiocache_engine.system.lock import Hold
from aiocache_engine.system.process import me

if TYPE_CHECKING:
    from concurrent.futures import Future

    from aiocache_engine.python.compiler import Compiler, Module

_JOB_MODULES = 100
_JOB_BYTES = 2_000_000
_SPARE_BYTES = 1 << 20  #: that the bytecode of an archive may have beyond what its sources promise
_WAIT_SECONDS = 0.1  #: between two looks at whether the caller gave up
_HOLD_SECONDS = 0.005  #: after so long in one hold the rest is published in another
_MODULE_SCHEMES = frozenset({"purelib", "platlib"})


@value
class _UnderWay:
    """An archive that is being compiled."""

    archive: Archive
    manifest: Manifest
    staged: str  #: what becomes the directory of its bytecode
    sources: tuple[tuple[str, int], ...]
    jobs: tuple[Future[list[Module | None]], ...]  #: their results, put together, are those of the sources


class Bytecoder:
    """Gives bytecode for the archives that one work has leased, and makes what is missing. Close it.

    `begin` may be called from any thread, at any time; everything else from one at a time.
    """

    def __init__(self, work: Work, interpreter: Interpreter, reporter: Reporter) -> None:
        self._work = work
        self._interpreter = interpreter
        self._reporter = reporter
        self._digest = bytecode_digest(interpreter)
        self._mutex = threading.Lock()  #: for every change of what stands below
        self._compiler: Compiler | None = None
        self._known: dict[str, Bytecode | None] = {}  #: by archive id; None: there is none, and it was tried
        self._under_way: dict[str, _UnderWay] = {}  #: by archive id
        self._is_distrustful = self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, ready: Ready) -> None:
        """Look whether a leased archive has bytecode, and start compiling it if not, without waiting."""
        archive, manifest = ready.archive, ready.manifest
        with self._mutex:
            if self._is_closed or archive.id in self._known or archive.id in self._under_way:
                return
            try:
                self._known[archive.id] = found = self._read(archive)
                sources = () if found is not None else tuple(_sources(manifest))
                if sources and self._interpreter.cache_tag and not self._work.cache.is_read_only:
                    self._under_way[archive.id] = self._start(archive, manifest, sources)
                    del self._known[archive.id]
            except (CacheEngineError, OSError) as error:
                self._known[archive.id] = None
                self._tell(manifest, error)

    def bring(self, wheels: Sequence[Ready]) -> Steps[dict[str, Bytecode]]:
        """Give the bytecode of leased archives, by archive id, once it is there."""
        yield Outside(partial(self._begin_all, wheels))
        compiled: list[_UnderWay] = []
        while self._under_way:
            compiled += yield Outside(self._wait)
        while compiled:
            yield InHold(LockMode.SHARED, partial(self._publish, compiled))
        ids = [each.archive.id for each in wheels]
        return {archive_id: found for archive_id in ids if (found := self._known.get(archive_id)) is not None}

    def _begin_all(self, wheels: Sequence[Ready]) -> None:
        for each in wheels:
            self.begin(each)

    def distrust(self) -> None:
        """Forget what is known, and look at every file from now on: one was missing."""
        with self._mutex:
            self._known.clear()
            self._is_distrustful = True

    def close(self) -> None:
        """End what is still under way."""
        with self._mutex:
            self._is_closed = True
            compiler, self._compiler = self._compiler, None
        if compiler is not None:
            compiler.close()

    def _read(self, archive: Archive) -> Bytecode | None:
        path = bytecode_path(self._work.cache, archive.id, self._digest)
        return read_bytecode(path, archive, me().boot_id, checks=self._is_distrustful)

    def _start(self, archive: Archive, manifest: Manifest, sources: tuple[tuple[str, int], ...]) -> _UnderWay:
        from aiocache_engine.python.compiler import CompileJob, Compiler  # noqa: PLC0415 - only where one is needed

        if self._compiler is None:
            self._compiler = Compiler(self._interpreter)
        staged = self._work.new_staging()
        into = f"{staged}/{TREE}"
        os.mkdir(into, 0o755)
        suffix = module_suffix(self._interpreter.cache_tag)
        parts = list(_parts(sources))
        jobs = [
            self._compiler.submit(
                CompileJob(archive.tree, into, suffix, part, room_bytes=_room_bytes(part) + _SPARE_BYTES // len(parts))
            )
            for part in parts
        ]
        return _UnderWay(archive, manifest, staged, sources, tuple(jobs))

    def _wait(self) -> list[_UnderWay]:
        """Wait a moment; give what is compiled now, its manifest written."""
        from concurrent.futures import wait  # noqa: PLC0415 - the compiler has imported it

        with self._mutex:
            under_way = list(self._under_way.values())
        wait([job for each in under_way for job in each.jobs], timeout=_WAIT_SECONDS)
        compiled = []
        for each in under_way:
            if not all(job.done() for job in each.jobs):
                continue
            with self._mutex:  # at once, or `begin` would compile it again in between
                del self._under_way[each.archive.id]
                self._known[each.archive.id] = None
            if self._describe(each):
                compiled.append(each)
        return compiled

    def _describe(self, compiled: _UnderWay) -> bool:
        """Write the manifest of what was compiled; False if that was not possible."""
        from concurrent.futures import CancelledError  # noqa: PLC0415 - as above

        from aiocache_engine.python.compiler import CompilerError  # noqa: PLC0415 - as above

        try:
            modules = [module for job in compiled.jobs for module in job.result()]
            write_bytecode_manifest(compiled.staged, _manifest(compiled, modules, self._interpreter))
        except (CompilerError, CancelledError, OSError) as error:
            self._tell(compiled.manifest, error)
            return False
        return True

    def _publish(self, compiled: list[_UnderWay], hold: Hold) -> None:
        """Publish what was compiled, and take it out of the list, as far as it can be done in one short hold."""
        while compiled and time.monotonic() - hold.acquired_at < _HOLD_SECONDS:
            each = compiled.pop()
            try:
                publish_bytecode(
                    hold,
                    self._work.cache,
                    each.staged,
                    each.archive,
                    self._digest,
                    boot_id=me().boot_id,
                    replaces=self._is_distrustful,
                )
                found = self._read(each.archive)
                with self._mutex:
                    self._known[each.archive.id] = found
            except OSError as error:
                self._tell(each.manifest, error)

    def _tell(self, manifest: Manifest, error: BaseException) -> None:
        totals = manifest.totals
        self._reporter.uncompiled(f"{totals.project} {totals.version}", str(error))


def bytecode_digest(interpreter: Interpreter) -> str:
    """Name the interpreters that can use each other's bytecode (32 hexadecimal digits); unoptimised is meant."""
    return digest("bytecode", interpreter.implementation, interpreter.cache_tag, interpreter.magic, "0")


def _manifest(compiled: _UnderWay, modules: Sequence[Module | None], interpreter: Interpreter) -> BytecodeManifest:
    directories: dict[str, list[tuple[str, Module]]] = {}
    for (path, _), module in zip(compiled.sources, modules, strict=True):
        if module is not None:
            directory, _, name = path.rpartition("/")
            directories.setdefault(directory, []).append((name, module))
    made = [module for module in modules if module is not None]
    return BytecodeManifest(
        totals=BytecodeTotals(
            archive_id=compiled.archive.id,
            implementation=interpreter.implementation,
            cache_tag=interpreter.cache_tag,
            magic=interpreter.magic,
            executable=interpreter.base_executable,
            file_count=len(made),
            size_bytes=sum(module.size_bytes for module in made),
            skipped_count=len(modules) - len(made),
        ),
        directories=tuple(
            CompiledDirectory(
                path=directory,
                names=tuple(name for name, _ in part),
                sizes=tuple(module.size_bytes for _, module in part),
                times=tuple(module.changed_at for _, module in part),
                sha256=tuple(module.sha256 for _, module in part),
            )
            for directory, part in directories.items()
        ),
        boot_id=me().boot_id,
    )


def _sources(manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Give path and size of every module that is installed where modules are imported from."""
    for directory in manifest.directories:
        top, _, rest = directory.path.partition("/")
        is_data = top == manifest.data != ""
        if top == manifest.dist_info or (is_data and rest.partition("/")[0] not in _MODULE_SCHEMES):
            continue
        place = f"{directory.path}/" if directory.path else ""
        for name, size_bytes in zip(directory.names, directory.sizes, strict=True):
            if name.endswith(".py") and name != ".py":
                yield place + name, size_bytes


def _parts(sources: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """Cut the modules of an archive into jobs, so that several processes share a big one."""
    part: list[tuple[str, int]] = []
    room = _JOB_BYTES
    for source in sources:
        part.append(source)
        room -= source[1]
        if len(part) >= _JOB_MODULES or room <= 0:
            yield part
            part, room = [], _JOB_BYTES
    if part:
        yield part


def _room_bytes(part: Sequence[tuple[str, int]]) -> int:
    """Tell how much bytecode may come of some modules: far more than of any real ones, and no bomb."""
    return sum(1024 + 20 * size_bytes for _, size_bytes in part)
