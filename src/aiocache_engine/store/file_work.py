"""A work as far as it stores plain files: pages, metadata, sdists, logs. The lease and the generations are here, too.

What leads to archives and environments is the business of `aiocache_engine.store.work`, which is a work as a whole.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO

from aiocache_engine.errors import CacheReplacedError, ReadOnlyCacheError
from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import FileKey, Holder
from aiocache_engine.store import generations
from aiocache_engine.store.cache_dir import GONE, CacheDir
from aiocache_engine.store.documents import ABSENT, read_document
from aiocache_engine.store.generations import Generation
from aiocache_engine.store.leases import Lease
from aiocache_engine.system.descent import make_directory, place_of, rename
from aiocache_engine.system.disk import open_plain, replace_bytes, write_in_place
from aiocache_engine.system.lock import Hold

if TYPE_CHECKING:
    from aiocache_engine.store.shares import Share

_LARGE_PAGE_BYTES = 1_000_000  #: reading so much in a hold takes less than a millisecond


class FileWork:
    """One engine call on one cache dir, without what it looks up or publishes by names."""

    def __init__(self, cache: CacheDir, holder: Holder, shares: Sequence[Share] = ()) -> None:
        """Begin; nothing is touched yet.

        Args:
            cache: the cache dir.
            holder: who is to be told of, while the lease lasts.
            shares: of the pipeline leases that hold what is looked up or published, too.
        """
        self.cache = cache
        self._holder = holder
        self._shares = tuple(shares)
        self._lease: Lease | None = None
        self._generations: dict[str, Generation] = {}
        self._staging_used = False

    @property
    def lease(self) -> Lease | None:
        """The lease; None before the first look-up, and in a read-only cache."""
        return self._lease

    @property
    def is_in_pipeline(self) -> bool:
        """Tell whether somebody else keeps what this looks up or publishes, for as long as a pipeline runs."""
        return any(share.is_alive() for share in self._shares)

    def _lease_objects(self, hold: Hold, object_ids: Sequence[str], shares: Sequence[Share]) -> None:
        """Put objects on the lease, then on those of pipelines (rule 13); without a lease do nothing."""
        if self._lease is None:
            return
        self._lease.add(hold, object_ids)
        for share in shares:
            share.add(hold, object_ids)

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
        try:
            return FileIO(open_plain(path))
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return None

    def stage_page(self, content: bytes) -> str:
        """Write a page where `write_page` takes it from; it dies with this work's lease. Needs no hold."""
        path = f"{self._own_staging()}/{os.urandom(8).hex()}.page"
        try:
            write_in_place(path, content)
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
        make_directory(os.path.dirname(path), self.cache.root)
        rename(staged, path, self.cache.root)
        return True

    def new_staging(self) -> str:
        """Make a private directory that dies with this work's lease (rule 18). Needs no hold."""
        path = f"{self._own_staging()}/{os.urandom(8).hex()}"
        try:
            with place_of(path) as fd:
                os.mkdir(os.path.basename(path), 0o755, dir_fd=fd)
        except FileNotFoundError as error:
            raise CacheReplacedError(self.cache.root, GONE) from error
        return path

    def _own_staging(self) -> str:
        """Give the directory that is swept when the lease ends."""
        if self._lease is None:
            raise ReadOnlyCacheError(self.cache.root, "the cache dir is read-only, and this is not in it yet")
        mine = f"{self.cache.layout.staging}/{self._lease.id}"
        if not self._staging_used:
            # Whoever writes to it learns that the cache is gone.
            with suppress(FileExistsError, FileNotFoundError), place_of(mine) as fd:
                os.mkdir(self._lease.id, 0o700, dir_fd=fd)
            self._staging_used = True
        return mine

    def staging_directory(self) -> str | None:
        """Give the directory in staging that this work filled; None where it made none."""
        return (
            f"{self.cache.layout.staging}/{self._lease.id}" if self._lease is not None and self._staging_used else None
        )

    def end(self) -> None:
        """End the lease. What was looked up or published may go from now on."""
        if self._lease is not None:
            self._lease.end()

    def _allows(
        self, project: str, version: str | None, *, is_tool: bool = False, is_environment: bool = False
    ) -> bool:
        begun = self._generations[project]
        layout = self.cache.layout
        return generations.allows(
            f"{layout.generations}/global",
            begun.everything,
            version=version,
            project=project,
            is_environment=is_environment,
        ) and generations.allows(
            layout.generation(project),
            begun.project,
            version=version,
            is_tool=is_tool,
            is_environment=is_environment,
        )

    def _put_names(self, names: Sequence[tuple[str, str]]) -> None:
        for temporary, path in names:
            try:
                rename(temporary, path, self.cache.root)
            except IsADirectoryError:  # which none of us made: a damaged name; who published meanwhile loses a name
                from aiocache_engine.store.trash import to_trash  # noqa: PLC0415 - hardly ever needed

                to_trash(self.cache.layout, path, kind="pointer", entry_id="directory")
                rename(temporary, path, self.cache.root)

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
        make_directory(os.path.dirname(path), self.cache.root)
        replace_bytes(path, content, by_way_of=self.cache.temporary(), root=self.cache.root)
        return True

    def find_source(self, hold: Hold, key: FileKey) -> int | None:
        """Give an open descriptor of a stored sdist; None where there is none. `begin` came before.

        It is the caller's to close, and stays readable whatever is cleaned. The file counts as used now. Its hash is
        not checked.
        """
        hold.require(LockMode.SHARED)
        path = self.cache.layout.source(key.project, key.index, key.filename)
        try:
            with place_of(path, self.cache.root) as place_fd:
                fd = open_plain(key.filename, dir_fd=place_fd)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise
        if not self.cache.is_read_only:
            os.utime(fd)
        return fd

    def write_source(self, hold: Hold, key: FileKey, staged: str, version: str) -> bool:
        """Move a downloaded sdist from staging to where it is found, unless its version was cleaned since (rule 20)."""
        return self._move_in(
            hold, key.project, version, staged, self.cache.layout.source(key.project, key.index, key.filename)
        )

    def write_build_log(self, hold: Hold, key: FileKey, staged: str, version: str) -> bool:
        """Move the log of a build from staging to `Layout.build_log`, unless its version was cleaned since."""
        return self._move_in(hold, key.project, version, staged, self.cache.layout.build_log(key.project, key.filename))

    def _move_in(self, hold: Hold, project: str, version: str, staged: str, path: str) -> bool:
        hold.require(LockMode.SHARED)
        if not self._allows(project, version):
            return False
        self.cache.ensure_ours(hold)
        make_directory(os.path.dirname(path), self.cache.root)
        self._put_names([(staged, path)])
        return True
