"""One piece of work on the cache: what it read first, what it uses, what it adds (rules 14-20).

A work is one engine call. It has one lease, and of each project the generation that it read at its first look-up. All
methods that touch names need a hold of the shared lock, and do only a few small reads, writes and renames in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from aiocache_engine.errors import ReadOnlyCacheError
from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.names import new_object_id
from aiocache_engine.model.records import EnvironmentPointer, FileKey, Pointer
from aiocache_engine.model.value import replace, value
from aiocache_engine.store.archives import Archive, is_present, set_linked, write_stamps
from aiocache_engine.store.environments import (
    CachedEnvironment,
    FoundEnvironment,
    PublishedEnvironment,
    encode_environment_pointer,
    read_environment_pointer,
)
from aiocache_engine.store.file_work import FileWork
from aiocache_engine.store.layout import OVERLAY
from aiocache_engine.store.names import encode_pointer, read_pointer
from aiocache_engine.store.notes import write_note
from aiocache_engine.system.descent import make_directory, remove_file, rename
from aiocache_engine.system.disk import put_new, write_in_place
from aiocache_engine.system.lock import Hold

if TYPE_CHECKING:
    from aiocache_engine.store.shares import Share


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


class Work(FileWork):
    """One engine call on one cache dir. Close it when nothing looked up or published in it is used any more."""

    def find(self, hold: Hold, keys: Sequence[FileKey]) -> list[Found | None]:
        """Look files up and lease what is there, in this hold (rule 15). None is a miss. `begin` came before."""
        hold.require(LockMode.SHARED)
        found = [self._read(key) for key in keys]
        self._use(hold, [each.archive.path for each, _ in found if each is not None], self._shares)
        if self._lease is not None:
            for key, (each, by_hash) in zip(keys, found, strict=True):
                if each is not None and by_hash:
                    self.name_too(hold, key, each.pointer)
        return [each for each, _ in found]

    def keep(self, hold: Hold, archive_ids: Sequence[str]) -> None:
        """Lease archives that are known by id, as far as they are there; no pipeline that this is part of does."""
        hold.require(LockMode.SHARED)
        self._use(hold, [each for each in map(self.cache.layout.archive, archive_ids) if is_present(each)])

    def _use(self, hold: Hold, paths: Sequence[str], shares: Sequence[Share] = ()) -> None:
        """Put objects that are there on the lease, then stamp each (rules 1 and 15); without a lease do nothing."""
        if self._lease is None or not paths:
            return
        self.cache.ensure_ours(hold)
        self._lease_objects(hold, [os.path.basename(path) for path in paths], shares)
        write_stamps(paths)

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

    def name_too(self, hold: Hold, key: FileKey, pointer: Pointer) -> None:
        """Give another name to what was found in this hold, if the generations allow it."""
        hold.require(LockMode.SHARED)
        if key.index.startswith(OVERLAY):  # it holds what was added to it, and nothing else
            return
        if self._allows(key.project, pointer.version):
            path = self.cache.layout.pointer(key.project, key.index, key.filename)
            with self._prepared_names([path], encode_pointer(pointer)) as names:
                self._put_missing_names(names, pointer)

    def publish(
        self, hold: Hold, staged: str, key: FileKey, pointer: Pointer, *, also: Sequence[FileKey] = ()
    ) -> Published:
        """Make a staged archive visible, or adopt the one that another work published meanwhile (rules 19, 20).

        Args:
            hold: the shared lock.
            staged: a directory from `new_staging` with tree, manifest and stamp, and nothing else.
            key: the file that it is.
            pointer: what the names shall say; its archive id is filled in here.
            also: of the same project, what else it shall be found by.
        """
        hold.require(LockMode.SHARED)
        self.cache.ensure_ours(hold)
        if self._lease is None:
            raise ReadOnlyCacheError(self.cache.root, "nothing can be published without a lease")
        layout = self.cache.layout
        adopted = self._adoptable(pointer)
        archive_id = adopted.id if adopted is not None else new_object_id()
        archive = Archive(archive_id, layout.archive(archive_id))
        self._lease_objects(hold, [archive_id], self._shares)
        if not self._allows(key.project, pointer.version):
            if adopted is None:
                rename(staged, archive.path, layout.root)
            else:
                write_stamps([archive.path])
            write_note(layout.condemned, archive_id)
            return Published(archive, adopted is not None, is_named=False)
        paths = [layout.pointer(each.project, each.index, each.filename) for each in (key, *also)]
        if adopted is None:
            paths.insert(0, layout.hash_name(key.project, pointer.sha256))
        named = replace(pointer, archive_id=archive_id)
        with self._prepared_names(paths, encode_pointer(named)) as names:
            if adopted is None:
                rename(staged, archive.path, layout.root)
            else:
                write_stamps([archive.path])
            if key.index.startswith(OVERLAY):  # what is added takes the place of what was
                self._put_names(names)
            else:
                self._put_missing_names(names, named)
        return Published(archive, adopted is not None, is_named=True)

    def add_to_overlay(self, hold: Hold, staged: str, key: FileKey, pointer: Pointer) -> Published:
        """Publish a staged archive in an overlay, whatever was cleaned meanwhile, in the place of one of the same file.

        It counts as begun in this hold, since it takes nothing from the cache (rule 21). Arguments as for `publish`.
        """
        hold.require(LockMode.SHARED)
        self._generations.pop(key.project, None)
        self.begin(hold, [key.project])
        layout = self.cache.layout
        replaced = read_pointer(layout.pointer(key.project, key.index, key.filename))
        published = self.publish(hold, staged, key, pointer)
        # After the rename: who reads the note finds it true (rule 33).
        if replaced is not None and replaced.archive_id != published.archive.id and self._present(replaced):
            write_note(layout.condemned, replaced.archive_id)
        return published

    def find_environment(self, hold: Hold, tool: str, digest: str) -> FoundEnvironment | None:
        """Look an environment up and lease it with everything in it, in this hold (rules 15, 27).

        `begin` came before. None is a miss: no name, or one of the objects is not there.

        Args:
            hold: the shared lock.
            tool: which tool it is of; "": it is for builds.
            digest: of all that was asked for; for builds, of all that is in it.
        """
        hold.require(LockMode.SHARED)
        layout = self.cache.layout
        pointer = read_environment_pointer(layout.environment_pointer(tool, digest))
        if pointer is None:
            return None
        environment = CachedEnvironment(pointer.environment_id, layout.environment(pointer.environment_id))
        paths = [environment.path, *(layout.archive(each.archive_id) for each in pointer.members)]
        if not all(map(is_present, paths)):
            return None
        self._use(hold, paths, self._shares)
        return FoundEnvironment(environment, pointer)

    def publish_environment(
        self, hold: Hold, staged: str, environment_id: str, pointer: EnvironmentPointer, *, is_named: bool
    ) -> PublishedEnvironment:
        """Make a staged environment visible, and name it unless something in it was cleaned (rules 19, 20, 24).

        One for builds does not count as a use that made its archives linked: they are the cache's own then.

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
        self._lease_objects(hold, [environment_id, *(each.archive_id for each in pointer.members)], self._shares)
        allowed = (
            self._allows(each.project, each.version, is_tool=each.project == pointer.tool, is_environment=True)
            for each in pointer.members
        )
        if not (is_named and all(allowed)):
            rename(staged, environment.path, layout.root)
            write_note(layout.condemned, environment_id)
            return PublishedEnvironment(environment, is_named=False)
        path = layout.environment_pointer(pointer.tool, pointer.digest)
        with self._prepared_names([path], encode_environment_pointer(pointer)) as names:
            for each in pointer.members if pointer.tool and not self.is_in_pipeline else ():
                with suppress(FileNotFoundError):  # only people and damage take what a lease covers
                    set_linked(layout.archive(each.archive_id))
            rename(staged, environment.path, layout.root)
            self._put_names(names)
        return PublishedEnvironment(environment, is_named=True)

    def _adoptable(self, pointer: Pointer) -> Archive | None:
        """Give the archive that the wheel's hash names already."""
        present = read_pointer(self.cache.layout.hash_name(pointer.project, pointer.sha256))
        found = None if present is None else self._present(present)
        return None if found is None else found.archive

    def _put_missing_names(self, names: Sequence[tuple[str, str]], pointer: Pointer) -> None:
        """Put names into place, but leave one that leads to another archive of this wheel: that one may be pinned."""
        for temporary, path in names:
            if put_new(temporary, path, self.cache.root):
                continue
            standing = read_pointer(path)
            is_another = standing is not None and standing.archive_id != pointer.archive_id
            if standing is not None and is_another and standing.sha256 == pointer.sha256 and self._present(standing):
                remove_file(temporary)
            else:
                self._put_names([(temporary, path)])

    @contextmanager
    def _prepared_names(self, paths: Sequence[str], content: bytes) -> Iterator[list[tuple[str, str]]]:
        """Write names beside nothing, each to be renamed inside; so a full disk refuses before anything is visible."""
        names = [(self.cache.temporary(), path) for path in paths]
        try:
            for temporary, path in names:
                make_directory(os.path.dirname(path), self.cache.root)
                write_in_place(temporary, content)
            yield names
        except BaseException:
            for temporary, _ in names:
                with suppress(OSError):  # the next prune takes what cannot go now
                    remove_file(temporary)
            raise
