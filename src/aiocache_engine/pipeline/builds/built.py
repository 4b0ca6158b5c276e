"""Wheels that were built here: checked, unpacked, published and found again, each with the wheel file itself beside it.

The backend's file is copied first: what is checked is what is kept, whatever became of the original.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial

from aiocache_engine.errors import BuildError, DamagedEntryError, InvalidNameError, InvalidWheelError
from aiocache_engine.model.manifest import Manifest, dump_manifest
from aiocache_engine.model.names import SdistName, WheelName, wheel_name
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.records import FileKey, Pointer
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.find import Choice, Ready
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.publish import discard_damaged, opened, publish_sound
from aiocache_engine.pipeline.steps import Conductor, in_shared_hold
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.pipeline.wheels.unpack import check_directory, unpack
from aiocache_engine.store.archives import TREE, WHEEL_FILE, open_manifest, write_description
from aiocache_engine.store.work import Found, Work
from aiocache_engine.system.disk import open_plain, translated
from aiocache_engine.system.lock import Hold
from aiocache_engine.system.process import me

_PIECE_BYTES = 1024 * 1024

Take = Callable[[str, str], object]  #: gets the path of a wheel file and the name that it shall have, in a thread


@value
class StagedWheel:
    """A wheel that is right, copied and unpacked into staging, and that nobody sees yet."""

    staged: str
    name: WheelName
    sha256: str
    manifest: Manifest

    @property
    def file(self) -> str:
        """The path of the wheel file."""
        return f"{self.staged}/{WHEEL_FILE}"


class BuiltWheels:
    """The built wheels of one engine call."""

    def __init__(self, kit: Kit, work: Work, conductor: Conductor) -> None:
        self._kit = kit
        self._work = work
        self._conductor = conductor

    async def find(
        self, choice: Choice, key: FileKey, *, also: Sequence[FileKey] = (), take: Take | None = None
    ) -> Ready | None:
        """Look a built wheel up and lease it; None where there is none that can be used.

        Args:
            choice: what was built.
            key: what it is found by.
            also: what it is to be found by from now on, too.
            take: gets the wheel file, too; one without is of no use then.
        """

        def find(hold: Hold) -> Found | None:
            self._work.begin(hold, [key.project])
            found = self._work.find(hold, [key])[0]
            if found is not None:
                for other in also:
                    self._work.name_too(hold, other, found.pointer)
            return found

        found = await self._conductor.conduct(in_shared_hold(find))
        if found is None:
            return None
        try:
            manifest = await in_thread(partial(open_manifest, found.archive, me().boot_id))
        except DamagedEntryError as error:
            self._kit.reporter.warns(f"{error}; it is built again")
            await self._conductor.conduct(discard_damaged(self._work.cache, key.project, found.archive.id))
            return None
        if take is not None and not await in_thread(partial(_taken, take, found)):
            return None
        return Ready(choice.wanted, choice, found.archive, found.pointer, manifest, "cache")

    async def stage(self, wheel: str, what: str) -> StagedWheel:
        """Copy, check and unpack what a backend made.

        Raises:
            BuildError: it is no right wheel.
        """
        name = _name_of(wheel, what)
        staged = await in_thread(self._work.new_staging)
        stopping = threading.Event()
        return await in_thread(partial(_stage, wheel, staged, name, what, stopping.is_set), on_cancel=stopping.set)

    async def publish(self, choice: Choice, wheel: StagedWheel, keys: Sequence[FileKey]) -> Ready:
        """Publish a wheel under these names; what was adopted instead passes its first-use check (rule 19)."""
        pointer = Pointer(
            archive_id="",
            project=wheel.name.project,
            version=wheel.name.version,
            filename=wheel.name.filename,
            sha256=wheel.sha256,
            etag="",
            last_modified="",
        )
        publish = partial(self._work.publish, staged=wheel.staged, key=keys[0], pointer=pointer, also=keys[1:])
        check = partial(opened, choice, pointer, "built")
        steps = publish_sound(self._work.cache, self._kit.reporter, pointer.project, publish, check)
        return await self._conductor.conduct(steps)


def check_is_of(wheel: WheelName, sdist: SdistName, interpreter: Interpreter, what: str) -> None:
    """Check that a wheel is one of what it was built of, and can be used where it was built.

    Raises:
        BuildError: it is not.
    """
    from aiocache_engine.pipeline.builds.metadata import is_version_of  # noqa: PLC0415 - packaging takes its time

    if wheel.project != sdist.project or not is_version_of(wheel.version, sdist.version):
        raise BuildError(what, f"its build backend made {wheel.filename}, a wheel of something else")
    if not set(interpreter.tags).intersection(wheel.tags()):
        raise BuildError(what, f"its build backend made {wheel.filename}, which is not for this interpreter")


def _name_of(wheel: str, what: str) -> WheelName:
    try:
        return wheel_name(os.path.basename(wheel))
    except InvalidNameError as error:
        raise BuildError(what, f"its build backend gave a wheel a wrong name: {error}") from error


def _stage(wheel: str, staged: str, name: WheelName, what: str, is_stopped: Callable[[], bool]) -> StagedWheel:
    boot_id = me().boot_id
    with translated(staged):
        copy = f"{staged}/{WHEEL_FILE}"
        try:
            check_directory(wheel, name)  # a file of holes would fill the disk
            sha256 = copied(wheel, copy)
            manifest = unpack(
                copy, f"{staged}/{TREE}", name=name, sha256=sha256, boot_id=boot_id, is_stopped=is_stopped
            )
        except InvalidWheelError as error:
            raise BuildError(what, f"its build backend made a wheel that is none: {error}") from error
        write_description(staged, dump_manifest(manifest), boot_id)
    return StagedWheel(staged, name, sha256, manifest)


def copied(source: str, target: str) -> str:
    """Copy a regular file to a new one; give its SHA-256.

    Raises:
        OSError: it is none, or the target is there or cannot be written.
    """
    hashed = hashlib.sha256()
    with open(open_plain(source), "rb") as file, open(target, "xb") as copy:
        while piece := file.read(_PIECE_BYTES):
            hashed.update(piece)
            copy.write(piece)
    return hashed.hexdigest()


def _taken(take: Take, found: Found) -> bool:
    """Hand on the wheel file of an archive; False: it has none, since it was not built here."""
    path = f"{found.archive.path}/{WHEEL_FILE}"
    if not os.path.isfile(path):
        return False
    take(path, found.pointer.filename)
    return True
