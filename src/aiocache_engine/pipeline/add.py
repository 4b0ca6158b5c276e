"""Add wheels that were built elsewhere to an overlay: read, unpack, publish (rules 18, 19, 21).

Written as steps. All of them are read before the first is published, so that of several wheels with a bad one among
them none is added. Their files are only read, and copied never: one that changes meanwhile is refused.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from aiocache_engine.errors import CacheEngineError, InvalidWheelError, UsageError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.manifest import dump_manifest
from aiocache_engine.model.names import WheelName, overlay_name, wheel_name
from aiocache_engine.model.outcome import Added, AddReport
from aiocache_engine.model.records import FileKey, Pointer
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.publish import publish_sound
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.pipeline.wheels.unpack import unpack
from aiocache_engine.store.archives import TREE, check_sizes, open_manifest, write_description
from aiocache_engine.store.layout import OVERLAY
from aiocache_engine.store.work import Published, Work
from aiocache_engine.system.disk import translated
from aiocache_engine.system.process import me

DEFAULT_OVERLAY = "default"  #: where wheels are added that are not told where to


@value
class _Read:
    """One wheel that was read and unpacked, and that nobody sees yet."""

    path: str  #: of the wheel, as it was named
    staged: str
    key: FileKey
    pointer: Pointer


def add_wheels(kit: Kit, work: Work, wheels: Sequence[str], overlay: str) -> Steps[AddReport]:
    """Publish wheels in an overlay, in the place of those of the same file name; gives what was added.

    Raises:
        UsageError: no wheel is named, one is no file here, two that differ have one file name, or the name of the
            overlay may not be one.
        InvalidWheelError: a wheel is malformed or hostile. Several failures come in an ExceptionGroup.
        DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused.
    """
    started_at = time.monotonic()
    overlay_name(overlay)
    if not wheels:
        raise UsageError("nothing to add: name the wheels")
    kit.cache.ensure_writable()
    yield InHold(LockMode.SHARED, lambda hold: work.begin(hold, []))
    read: list[_Read] = []
    failures: list[CacheEngineError] = []
    stopping = threading.Event()
    for path in wheels:
        try:
            reading = partial(_read, work, path, overlay, is_stopped=stopping.is_set)
            each: _Read = yield Outside(reading, stopping.set)
            _check_alone(each, read)
            read.append(each)
        except CacheEngineError as error:  # the others are looked at too: all that is wrong is told at once
            failures.append(error)
    if failures:
        raise failures[0] if len(failures) == 1 else ExceptionGroup("no wheel was added", failures)
    added: list[Added] = []
    for each in read:
        added += [(yield from _publish(kit, work, each, overlay))]
    return AddReport(overlay, tuple(added), time.monotonic() - started_at)


def _read(work: Work, path: str, overlay: str, *, is_stopped: Callable[[], bool]) -> _Read:
    """Hash a wheel and unpack it into staging."""
    name = _name_of(path)
    staged = work.new_staging()
    with translated(path):
        before = _validator(path)
        sha256 = _sha256_of(path)
        boot_id = me().boot_id
        tree = f"{staged}/{TREE}"
        manifest = unpack(path, tree, name=name, sha256=sha256, boot_id=boot_id, is_stopped=is_stopped)
        if _validator(path) != before:
            raise InvalidWheelError(name.filename, "it changed while it was read; add it when it is complete")
    with translated(staged):
        write_description(staged, dump_manifest(manifest), boot_id)
    key = FileKey(name.project, f"{OVERLAY}{overlay}", name.filename, sha256)
    pointer = Pointer("", name.project, name.version, name.filename, sha256, "", "")
    return _Read(path, staged, key, pointer)


def _check_alone(read: _Read, before: Sequence[_Read]) -> None:
    """Refuse one of two wheels that would take each other's place.

    Raises:
        UsageError: another one of this file name has other contents.
    """
    for other in before:
        if other.key.filename == read.key.filename and other.pointer.sha256 != read.pointer.sha256:
            raise UsageError(f"{other.path} and {read.path} have one file name and are not the same; add one of them")


def _publish(kit: Kit, work: Work, read: _Read, overlay: str) -> Steps[Added]:
    """Publish what was read; what was adopted instead has to be whole (rule 19)."""
    publish = partial(work.add_to_overlay, staged=read.staged, key=read.key, pointer=read.pointer)
    archive_id = yield from publish_sound(kit.cache, kit.reporter, read.pointer.project, publish, _checked)
    return Added(
        project=read.pointer.project,
        version=read.pointer.version,
        archive_id=archive_id,
        filename=read.pointer.filename,
        overlay=overlay,
        path=read.path,
    )


def _checked(published: Published) -> str:
    """Look whether what was adopted is whole, to the last file; give the id of what was published."""
    if published.is_adopted:
        check_sizes(published.archive, open_manifest(published.archive, me().boot_id))
    return published.archive.id


def _name_of(path: str) -> WheelName:
    """Give the name of a wheel that is to be added.

    Raises:
        UsageError: it is no wheel on this machine.
    """
    if "://" in path:
        raise UsageError(f"{path}: only wheels on this machine are added; download it first, or install it by its URL")
    if os.path.isdir(path):
        raise UsageError(f"{path} is a directory; name the wheels in it: {os.path.join(path, '*.whl')}")
    if not os.path.isfile(path):
        raise UsageError(f"{path}: {'it is no regular file' if os.path.lexists(path) else 'there is no such file'}")
    return wheel_name(os.path.basename(path))


def _sha256_of(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _validator(path: str) -> tuple[int, int, int, int]:
    """Give what changes when a file changes."""
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
