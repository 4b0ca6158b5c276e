"""What the cache holds of pages and metadata, read and written in short holds (rules 14, 16, 20)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence

from aiocache_engine.errors import DamagedEntryError, ProjectNotFoundError
from aiocache_engine.index.local import is_local, read_local_page, usable_page
from aiocache_engine.model.index import Index, IndexSettings, IndexStrategy
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.page import PageError, StoredPage, load_page
from aiocache_engine.pipeline.find import Choice, look_up
from aiocache_engine.pipeline.pages import not_found, read_pages, store_page
from aiocache_engine.pipeline.resolution.metadata import seal, unseal, without_body
from aiocache_engine.pipeline.steps import InHold, Outside, Steps, in_shared_hold
from aiocache_engine.store.archives import open_manifest
from aiocache_engine.store.work import Found, Work
from aiocache_engine.system.disk import read_bytes
from aiocache_engine.system.lock import Hold
from aiocache_engine.system.process import me

_HOLD_SECONDS = 0.005  #: after so long in one hold the rest is read in another

Pages = list[tuple[Index, StoredPage]]


class Shelf:
    """Stored pages and metadata, for one piece of work and one set of indexes."""

    def __init__(self, work: Work, settings: IndexSettings, *, is_offline: bool, refreshes: bool) -> None:
        self._work = work
        self.settings = settings
        self.is_offline = is_offline
        self.refreshes = refreshes
        self.took_stored: set[str] = set()  #: projects of which a stored page was used, and no index asked
        self._read: dict[str, dict[str, bytes | None]] = {}

    def not_found(self, project: str) -> ProjectNotFoundError:
        """Make the error for a project that nobody knows."""
        return not_found(self._work.cache, project, self.settings.indexes)

    def refreshing(self) -> Shelf:
        """Give one that believes no stored page."""
        return Shelf(self._work, self.settings, is_offline=self.is_offline, refreshes=True)

    def read(self, projects: Iterable[str]) -> Steps[None]:
        """Read generations and stored pages, in as many short holds as it takes."""
        unread = [project for project in dict.fromkeys(projects) if project not in self._read]
        digests = [index.digest for index in self.settings.indexes]
        pages = yield from read_pages(self._work, dict.fromkeys(unread, digests))
        for project in unread:
            self._read[project] = {digest: pages[project, digest] for digest in digests}

    def has_read(self, project: str) -> bool:
        """Tell whether the stored pages of a project were read."""
        return project in self._read

    def page(self, project: str, index: Index) -> StoredPage | None:
        """Give a stored page; None: there is none, or it is damaged. `read` came before."""
        content = self._read[project][index.digest]
        try:
            return None if content is None else load_page(content)
        except PageError:
            return None

    def usable_pages(self, project: str, sha256s: frozenset[str]) -> Pages | None:
        """Give the pages that count, if they may be used without asking anybody; None: an index has to be asked."""
        now = time.time()
        pages: Pages = []
        for index in self.settings.indexes:
            stored = self.page(project, index)
            if index.is_overlay:
                pass  # the names were read just now
            elif is_local(index.url):
                stored = read_local_page(project, index, stored=stored, now=now)
            elif stored is None or not usable_page(stored, now=now, offline=self.is_offline, refresh=self.refreshes):
                return None
            elif not self.is_offline:
                self.took_stored.add(project)
            if stored is not None and stored.lines:
                pages.append((index, stored))
                if self.is_settled(pages, sha256s):
                    break
        return pages

    def is_settled(self, pages: Pages, sha256s: frozenset[str]) -> bool:
        """Tell whether no further index is to be asked (docs/decisions/0009)."""
        if not pages or self.settings.strategy is IndexStrategy.BEST_MATCH:
            return False
        return not sha256s or any(file.sha256 in sha256s for _, page in pages for _, file in page.all_files())

    def write_page(self, page: StoredPage) -> Steps[bool]:
        """Store a page, unless its project was cleaned meanwhile."""
        return store_page(self._work, page)

    def read_metadata(self, choices: Sequence[Choice]) -> Steps[list[bytes | None]]:
        """Give the metadata of files, stored alone or in their unpacked wheels; None where neither is of that file."""
        queue = deque(choices)
        stored: list[bytes | None] = []

        def read(hold: Hold) -> None:
            while queue and (time.monotonic() - hold.acquired_at) < _HOLD_SECONDS:
                choice = queue.popleft()
                project = choice.wanted.project
                self._work.begin(hold, [project])
                if choice.index.is_overlay:
                    stored.append(None)
                    continue
                stored.append(self._work.read_metadata(hold, project, choice.index.digest, choice.file.filename))

        while queue:
            yield InHold(LockMode.SHARED, read)
        contents = [
            unseal(content, identity) if (identity := _identity(choice)) else None
            for choice, content in zip(choices, stored, strict=True)
        ]
        lacking = [
            place
            for place, choice in enumerate(choices)
            if contents[place] is None and (choice.file.sha256 or choice.built)
        ]
        found = yield from look_up(self._work, [choices[place] for place in lacking])
        unpacked: list[bytes | None] = yield Outside(lambda: [_metadata_in(each) for each in found])
        for place, content in zip(lacking, unpacked, strict=True):
            contents[place] = content
        return contents

    def write_metadata(self, choice: Choice, content: bytes) -> Steps[bool]:
        """Store the fields of the metadata of a file whose hash is known, unless its version was cleaned meanwhile."""
        identity, wanted = _identity(choice), choice.wanted
        if identity is None:
            return _nothing()
        sealed = seal(without_body(content), identity)
        version = wanted.pinned or ""
        return in_shared_hold(
            lambda hold: self._work.write_metadata(
                hold, wanted.project, choice.index.digest, choice.file.filename, version=version, content=sealed
            )
        )


def _identity(choice: Choice) -> str | None:
    """Give what tells a file from another of the same name; None: nothing does, so nothing of it is kept."""
    if choice.index.is_overlay:  # its metadata is read where it is unpacked
        return None
    if choice.is_sdist:  # what a build says may be true for one interpreter alone
        return choice.built or None
    return choice.file.sha256 or choice.file.metadata_sha256 or None


def _metadata_in(found: Found | None) -> bytes | None:
    """Read the metadata of an unpacked wheel, which is leased."""
    if found is None:
        return None
    try:
        manifest = open_manifest(found.archive, me().boot_id)
    except DamagedEntryError:  # it is fetched again, should it be wanted
        return None
    return read_bytes(f"{found.archive.tree}/{manifest.dist_info}/METADATA")


def _nothing() -> Steps[bool]:
    yield from ()
    return False
