"""Resolving from the cache alone: no event loop, no network. What lacks is told by its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache

from aiocache_engine.hints import TYPE_CHECKING, Any
from aiocache_engine.index.local import local_path, local_validator
from aiocache_engine.model.index import Index
from aiocache_engine.model.page import StoredPage
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.resolution.shelf import Pages, Shelf
from aiocache_engine.pipeline.resolution.wheel_metadata import metadata_in_file
from aiocache_engine.pipeline.steps import Steps
from aiocache_engine.policy.resolution import Demand
from aiocache_engine.system.disk import translated

if TYPE_CHECKING:
    from aiocache_engine.pipeline.resolution.catalog import IndexCatalog

_REMEMBERED_BYTES = 65_536  #: of the metadata of one wheel
_AHEAD = 32  #: so many files' metadata are read in one hold


class LacksError(Exception):
    """The cache cannot answer; somebody has to be asked."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not in the cache")
        self.what = what


class StoredSource:
    """Pages and metadata of the cache, and of this machine's own files."""

    def __init__(self, shelf: Shelf, perform: Callable[[Steps[Any]], Any]) -> None:
        """Read in the caller's thread.

        Args:
            shelf: what the cache holds.
            perform: performs steps (`Conductor.perform`).
        """
        self._shelf = shelf
        self._perform = perform
        self._catalog: IndexCatalog | None = None
        self._expected: dict[str, Demand] = {}
        self._metadata: dict[tuple[str, str], bytes | None] = {}

    def serve(self, catalog: IndexCatalog) -> None:
        """Know whom to ask for hashes and likely choices."""
        self._catalog = catalog

    def pages(self, project: str) -> Sequence[tuple[Index, StoredPage]]:
        """Give the pages of a project.

        Raises:
            LacksError: an index has to be asked.
        """
        if not self._shelf.has_read(project):
            self._perform(self._shelf.read([project, *self._expected]))
        pages = self._usable(project)
        if pages is None:
            raise LacksError(f"the page of {project}")
        return pages

    def metadata(self, choice: Choice) -> bytes:
        """Give the metadata of a file.

        Raises:
            LacksError: it has to be fetched.
        """
        if choice.is_wheel_here:
            return read_local_metadata(choice)
        key = (choice.index.digest, choice.file.filename)
        if key not in self._metadata:
            self._read_ahead(choice)
        content = self._metadata[key]
        if content is None:
            raise LacksError(f"the metadata of {choice.file.filename}")
        return content

    def expect(self, demands: Sequence[Demand]) -> None:
        """Remember what to read along with the next that is read."""
        for demand in demands:
            self._expected.setdefault(demand.project, demand)

    def expect_files(self, choices: Sequence[Choice]) -> None:
        """Read what is about to be asked for in one hold."""
        self._read_all(choices)

    def _usable(self, project: str) -> Pages | None:
        sha256s = self._catalog.sha256s(project) if self._catalog else frozenset()
        return self._shelf.usable_pages(project, sha256s)

    def _read_ahead(self, choice: Choice) -> None:
        """Read the metadata of a file, and of those that will be asked for next, in one hold."""
        choices = {(choice.index.digest, choice.file.filename): choice}
        for project, demand in list(self._expected.items()):
            if len(choices) >= _AHEAD:
                break
            likely = self._likely(project, demand)
            del self._expected[project]
            if likely is not None and not likely.is_wheel_here:
                choices.setdefault((likely.index.digest, likely.file.filename), likely)
        self._read_all(list(choices.values()))

    def _read_all(self, choices: Sequence[Choice]) -> None:
        keyed = {(each.index.digest, each.file.filename): each for each in choices if not each.is_wheel_here}
        new = {key: each for key, each in keyed.items() if key not in self._metadata}
        contents = self._perform(self._shelf.read_metadata(list(new.values())))
        self._metadata.update(zip(new, contents, strict=True))

    def _likely(self, project: str, demand: Demand) -> Choice | None:
        if self._catalog is None or self._catalog.is_direct(project):
            return None
        if not self._shelf.has_read(project):
            self._perform(self._shelf.read(list(self._expected)))
        pages = self._usable(project)
        return self._catalog.foresee(project, pages, demand.specifier) if pages else None


def read_local_metadata(choice: Choice) -> bytes:
    """Read the metadata out of a wheel on this machine; of one that did not change since, it may be remembered.

    Raises:
        InvalidWheelError: it is no wheel.
        DiskError: it cannot be read.
    """
    path, filename = local_path(choice.file.url), choice.file.filename
    with translated(path):
        remembered = _short_metadata(path, filename, local_validator(choice.file))
        return _metadata(path, filename) if remembered is None else remembered


@lru_cache(maxsize=128)
def _short_metadata(path: str, filename: str, validator: str | None) -> bytes | None:  # noqa: ARG001 - tells them apart
    """Read metadata that may be remembered; None: they are too long, and an engine lives long."""
    content = _metadata(path, filename)
    return content if len(content) <= _REMEMBERED_BYTES else None


def _metadata(path: str, filename: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return metadata_in_file(fd, filename)
    finally:
        os.close(fd)
