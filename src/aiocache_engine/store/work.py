"""One piece of work on the cache: what it read first, what it uses, what it adds (rules 14-20).

A work is one engine call. It has one lease, and of each project the generation that it read at its first look-up. All
methods that touch names need a hold of the shared lock, and do only a few small reads, writes and renames in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO

from aiocache_engine.errors import CacheReplacedError, ReadOnlyCacheError
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import new_object_id
from aiocache_engine.model.records import EnvironmentPointer, FileKey, Holder, Pointer
from aiocache_engine.model.value import replace, value
from aiocache_engine.store import generations
from aiocache_engine.store.archives import Archive, is_present, set_linked, write_stamp
from aiocache_engine.store.cache_dir import GONE, CacheDir
from aiocache_engine.store.documents import make_directory, read_document
from aiocache_engine.store.environments import (
    CachedEnvironment,
    FoundEnvironment,
    PublishedEnvironment,
    encode_environment_pointer,
    read_environment_pointer,
)
from aiocache_engine.store.generations import Generation
from aiocache_engine.store.leases import Lease
from aiocache_engine.store.names import encode_pointer, read_pointer
from aiocache_engine.store.notes import write_note
from aiocache_engine.system.disk import replace_bytes, write_bytes
from aiocache_engine.system.lock import Hold

_LARGE_PAGE_BYTES = 1_000_000  #: reading so much in a hold takes less than a millisecond


@value
class Found:
    """What a look-up found: the archive, and the name that led to it."""

    archive: Archive
    pointer: Pointer


@value
class Published:
    """What a publication led to."""

    archive: Archive
    is_adopted: bool  #: another work had published the same wheel; what was staged is not needed
    is_named: bool  #: False: a clean came between, so only this work can use the archive


class Work:
    """One engine call on one cache dir. Close it when nothing looked up or published in it is used any more."""

    def __init__(self, cache: CacheDir, holder: Holder) -> None:
        self.cache = cache
        self._holder = holder
        self._lease: Lease | None = None
        self._generations: dict[str, Generation] = {}
        self._staging_used = False

    @property
    def lease(self) -> Lease | None:
        """The lease; None before the first look-up, and in a read-only cache."""
        return self._lease

    def begin(self, hold: Hold, projects: Sequence[str]) -> None:
        """Take the lease, and read the generations of projects about to be looked up for the first time."""
        hold.require(LockMode.SHARED)
        layout = self.cache.layout
        if self._lease is None and not self.cache.is_read_only:
            self.cache.ensure_ours(hold)
            self._lease = Lease.birth(hold, layout.leases, self._holder)
        unread = [project for project in projects if project not in self._generations]
        if not unread:
            return
        everything = generations.read_value(f"{layout.generations}/global")
        for project in unread:
            value = generations.read_value(layout.generation(project))
            self._generations[project] = Generation(everything, value)

    def read_page(self, hold: Hold, project: str, index: str) -> bytes | FileIO | None:
        """Give the stored page of a project on an index; None where there is none. `begin` came before.

        A large one is opened only, to be read and closed after the hold: a page is replaced by a rename, so what is
        open stays as it is.
        """
        hold.require(LockMode.SHARED)
        path = self.cache.layout.page(project, index)
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if status.st_size <= _LARGE_PAGE_BYTES or not stat.S_ISREG(status.st_mode):
            return read_document(path)
        return FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))

    def stage_page(self, content: bytes) -> str:
        """Write a page where `write_page` takes it from; it dies with this work's lease. Needs no hold."""
        path = f"{self._own_staging()}/{os.urandom(8).hex()}.page"
        try:
            write_bytes(path, content)
        except FileNotFoundError as error:
            raise CacheReplacedError(self.cache.root, GONE) from error
        return path

    def write_page(self, hold: Hold, project: str, index: str, staged: str) -> bool:
        """Make a staged page the stored one, unless the project was cleaned since this work began."""
        hold.require(LockMode.SHARED)
        if not self._allows(project, None):
            return False
        self.cache.ensure_ours(hold)
        path = self.cache.layout.page(project, index)
        make_directory(os.path.dirname(path))
        os.replace(staged, path)
        return True

    def find(self, hold: Hold, keys: Sequence[FileKey]) -> list[Found | None]:
        """Look files up and lease what is there, in this hold (rule 15). None is a miss. `begin` came before."""
        hold.require(LockMode.SHARED)
        found = [self._read(key) for key in keys]
        self._use(hold, [each.archive.path for each, _ in found if each is not None])
        if self._lease is not None:
            for key, (each, by_hash) in zip(keys, found, strict=True):
                if each is not None and by_hash:
                    self._write_pointer(key, each.pointer)
        return [each for each, _ in found]

    def keep(self, hold: Hold, archive_ids: Sequence[str]) -> None:
        """Lease archives that are known by id, as far as they are there."""
        hold.require(LockMode.SHARED)
        self._use(hold, [each for each in map(self.cache.layout.archive, archive_ids) if is_present(each)])

    def _use(self, hold: Hold, paths: Sequence[str]) -> None:
        """Put objects that are there on the lease, then stamp each (rules 1 and 15); without a lease do nothing."""
        if self._lease is None or not paths:
            return
        self.cache.ensure_ours(hold)
        self._lease.add(hold, [os.path.basename(path) for path in paths])
        for path in paths:
            write_stamp(path)

    def _read(self, key: FileKey) -> tuple[Found | None, bool]:
        """Read pointer or hash name of a file, and whether it was the hash name."""
        layout = self.cache.layout
        pointer = read_pointer(layout.pointer(key.project, key.index, key.filename))
        if pointer is not None and key.sha256 in (None, pointer.sha256) and (found := self._present(pointer)):
            return found, False
        if key.sha256 is None:
            return None, False
        pointer = read_pointer(layout.hash_name(key.project, key.sha256))
        if pointer is None or pointer.sha256 != key.sha256:
            return None, False
        return self._present(pointer), True

    def _present(self, pointer: Pointer) -> Found | None:
        path = self.cache.layout.archive(pointer.archive_id)
        return Found(Archive(pointer.archive_id, path), pointer) if is_present(path) else None

    def _write_pointer(self, key: FileKey, pointer: Pointer) -> None:
        """Write this index's pointer after a hit by hash name, if the generations allow it."""
        if self._allows(key.project, pointer.version):
            path = self.cache.layout.pointer(key.project, key.index, key.filename)
            with self._prepared_names([path], encode_pointer(pointer)) as names:
                self._put_names(names)

    def new_staging(self) -> str:
        """Make a private directory that dies with this work's lease (rule 18). Needs no hold."""
        path = f"{self._own_staging()}/{os.urandom(8).hex()}"
        try:
            os.mkdir(path, 0o755)
        except FileNotFoundError as error:
            raise CacheReplacedError(self.cache.root, GONE) from error
        return path

    def _own_staging(self) -> str:
        """Give the directory that is swept when the lease ends."""
        if self._lease is None:
            raise ReadOnlyCacheError(self.cache.root, "the cache dir is read-only, and this is not in it yet")
        mine = f"{self.cache.layout.staging}/{self._lease.id}"
        if not self._staging_used:
            with suppress(FileExistsError, FileNotFoundError):  # whoever writes to it learns that the cache is gone
                os.mkdir(mine, 0o700)
            self._staging_used = True
        return mine

    def publish(self, hold: Hold, staged: str, key: FileKey, pointer: Pointer) -> Published:
        """Make a staged archive visible, or adopt the one that another work published meanwhile (rules 19, 20).

        Args:
            hold: the shared lock.
            staged: a directory from `new_staging` with tree, manifest and stamp, and nothing else.
            key: the file that it is.
            pointer: what the names shall say; its archive id is filled in here.
        """
        hold.require(LockMode.SHARED)
        self.cache.ensure_ours(hold)
        lease = self._lease
        if lease is None:
            raise ReadOnlyCacheError(self.cache.root, "nothing can be published without a lease")
        layout = self.cache.layout
        adopted = self._adoptable(pointer)
        archive_id = adopted.id if adopted is not None else new_object_id()
        archive = Archive(archive_id, layout.archive(archive_id))
        lease.add(hold, [archive_id])
        if not self._allows(key.project, pointer.version):
            if adopted is None:
                os.rename(staged, archive.path)
            else:
                write_stamp(archive.path)
            write_note(layout.condemned, archive_id)
            return Published(archive, adopted is not None, is_named=False)
        paths = [layout.pointer(key.project, key.index, key.filename)]
        if adopted is None:
            paths.insert(0, layout.hash_name(key.project, pointer.sha256))
        with self._prepared_names(paths, encode_pointer(replace(pointer, archive_id=archive_id))) as names:
            if adopted is None:
                os.rename(staged, archive.path)
            else:
                write_stamp(archive.path)
            self._put_names(names)
        return Published(archive, adopted is not None, is_named=True)

    def find_environment(self, hold: Hold, tool: str, digest: str) -> FoundEnvironment | None:
        """Look a tool's environment up and lease it with everything in it, in this hold (rules 15, 27).

        `begin` came before. None is a miss: no name, or one of the objects is not there.
        """
        hold.require(LockMode.SHARED)
        layout = self.cache.layout
        pointer = read_environment_pointer(layout.tool_pointer(tool, digest))
        if pointer is None:
            return None
        environment = CachedEnvironment(pointer.environment_id, layout.environment(pointer.environment_id))
        paths = [environment.path, *(layout.archive(each.archive_id) for each in pointer.members)]
        if not all(map(is_present, paths)):
            return None
        self._use(hold, paths)
        return FoundEnvironment(environment, pointer)

    def publish_environment(
        self, hold: Hold, staged: str, environment_id: str, pointer: EnvironmentPointer, *, is_named: bool
    ) -> PublishedEnvironment:
        """Make a staged environment visible, and name it unless something in it was cleaned (rules 19, 20, 24).

        Args:
            hold: the shared lock.
            staged: a directory from `new_staging` with env, manifest and stamp, and nothing else.
            environment_id: the fresh id that everything in it was made for.
            pointer: what its name shall say. The generations of its members were read by `begin`.
            is_named: False for an environment that is for this work alone.
        """
        hold.require(LockMode.SHARED)
        self.cache.ensure_ours(hold)
        if self._lease is None:
            raise ReadOnlyCacheError(self.cache.root, "nothing can be published without a lease")
        layout = self.cache.layout
        environment = CachedEnvironment(environment_id, layout.environment(environment_id))
        self._lease.add(hold, [environment_id, *(each.archive_id for each in pointer.members)])
        allowed = (self._allows(m.project, m.version, is_tool=m.project == pointer.tool) for m in pointer.members)
        if not (is_named and all(allowed)):
            os.rename(staged, environment.path)
            write_note(layout.condemned, environment_id)
            return PublishedEnvironment(environment, is_named=False)
        path = layout.tool_pointer(pointer.tool, pointer.digest)
        with self._prepared_names([path], encode_environment_pointer(pointer)) as names:
            for each in pointer.members:
                with suppress(FileNotFoundError):  # only people and damage take what a lease covers
                    set_linked(layout.archive(each.archive_id))
            os.rename(staged, environment.path)
            self._put_names(names)
        return PublishedEnvironment(environment, is_named=True)

    def _adoptable(self, pointer: Pointer) -> Archive | None:
        """Give the archive that the wheel's hash names already."""
        present = read_pointer(self.cache.layout.hash_name(pointer.project, pointer.sha256))
        found = None if present is None else self._present(present)
        return None if found is None else found.archive

    @contextmanager
    def _prepared_names(self, paths: Sequence[str], content: bytes) -> Iterator[list[tuple[str, str]]]:
        """Write names beside nothing, each to be renamed inside; so a full disk refuses before anything is visible."""
        names = [(self.cache.temporary(), path) for path in paths]
        try:
            for temporary, path in names:
                make_directory(os.path.dirname(path))
                write_bytes(temporary, content)
            yield names
        except BaseException:
            for temporary, _ in names:
                with suppress(OSError):  # renamed already, or never written; the next prune takes what cannot go now
                    os.unlink(temporary)
            raise

    def _put_names(self, names: Sequence[tuple[str, str]]) -> None:
        for temporary, path in names:
            try:
                os.replace(temporary, path)
            except IsADirectoryError:  # which none of us made: a damaged name; who published meanwhile loses a name
                from aiocache_engine.store.trash import to_trash  # noqa: PLC0415 - hardly ever needed

                to_trash(self.cache.layout, path, kind="pointer", entry_id="directory")
                os.replace(temporary, path)

    def _allows(self, project: str, version: str | None, *, is_tool: bool = False) -> bool:
        begun = self._generations[project]
        layout = self.cache.layout
        return generations.allows(
            f"{layout.generations}/global", begun.everything, version=version, project=project
        ) and generations.allows(layout.generation(project), begun.project, version=version, is_tool=is_tool)

    def staging_directory(self) -> str | None:
        """Give the directory in staging that this work filled; None where it made none."""
        return (
            f"{self.cache.layout.staging}/{self._lease.id}" if self._lease is not None and self._staging_used else None
        )

    def end(self) -> None:
        """End the lease. What was looked up or published may go from now on."""
        if self._lease is not None:
            self._lease.end()

    def read_metadata(self, hold: Hold, project: str, index: str, filename: str) -> bytes | None:
        """Give the stored metadata of a wheel on an index; None where there is none. `begin` came before."""
        hold.require(LockMode.SHARED)
        return read_document(self.cache.layout.metadata(project, index, filename))

    def write_metadata(
        self, hold: Hold, project: str, index: str, filename: str, *, version: str, content: bytes
    ) -> bool:
        """Store a wheel's metadata, unless its version was cleaned since this work began (rules 14, 20)."""
        hold.require(LockMode.SHARED)
        if self.cache.is_read_only or not self._allows(project, version):
            return False
        self.cache.ensure_ours(hold)
        path = self.cache.layout.metadata(project, index, filename)
        make_directory(os.path.dirname(path))
        replace_bytes(path, content, by_way_of=self.cache.temporary())
        return True
