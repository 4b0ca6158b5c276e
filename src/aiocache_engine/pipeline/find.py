"""Find what is wanted in the cache alone: the whole of a warm call, and the start of any other.

Written as steps. The first holds read the generations and the stored pages, then wheels are chosen with no lock held,
then further holds look the chosen files up and lease them (rules 14-16). What needs the network is left to others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

from aiocache_engine.errors import DamagedEntryError, NoMatchingWheelError
from aiocache_engine.index.local import is_local, local_validator, read_local_page, usable_page
from aiocache_engine.index.urls import direct_file, shown, told_subdirectory
from aiocache_engine.model.index import Index, IndexFile, IndexSettings, IndexStrategy
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.manifest import Manifest
from aiocache_engine.model.names import digest, file_name, is_sdist
from aiocache_engine.model.page import PageError, StoredPage, load_page
from aiocache_engine.model.records import FileKey, Pointer
from aiocache_engine.model.requirement import Refusal, Wanted
from aiocache_engine.model.value import replace, value
from aiocache_engine.pipeline.pages import Contents, read_pages
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.python.interpreter import identity_of
from aiocache_engine.store.archives import Archive, open_manifest
from aiocache_engine.store.layout import BUILT
from aiocache_engine.store.work import Found, Work
from aiocache_engine.system.lock import Hold
from aiocache_engine.system.process import me

_HOLD_SECONDS = 0.005  #: after so long in one hold the rest is read in another


@value
class Choice:
    """One file of one index that fits what is wanted."""

    wanted: Wanted
    index: Index
    file: IndexFile
    built: str = ""  #: digest by which the wheel built of an sdist is remembered; "": it is not, or this is a wheel
    subdirectory: str = ""  #: of an sdist, where the project lies in it; "": at its top

    @property
    def is_sdist(self) -> bool:
        """Tell whether a wheel is to be built of it first."""
        return is_sdist(self.file.filename)

    @property
    def is_findable(self) -> bool:
        """Tell whether a wheel of it may be in the cache under a name that can be told beforehand."""
        return bool(self.built) or not self.is_sdist

    @property
    def is_wheel_here(self) -> bool:
        """Tell whether it is a wheel on this machine, which can be looked into where it is."""
        return is_local(self.file.url) and not self.is_sdist

    @property
    def sha256(self) -> str | None:
        """Its hash, if it is known. One that the requirement pins counts like one on the page."""
        only = next(iter(self.wanted.sha256s)) if len(self.wanted.sha256s) == 1 else None
        return self.file.sha256 or only

    @property
    def key(self) -> FileKey:
        """What the pointer of the wheel is found by; of an sdist only if it is remembered what was built of it."""
        if self.is_sdist:
            return FileKey(self.wanted.project, BUILT, self.built, None)
        return FileKey(self.wanted.project, self.index.digest, self.file.filename, self.sha256)


def choice_of(wanted: Wanted, index: Index, file: IndexFile, chooser: WheelChooser) -> Choice:
    """Make a choice; what is built of one sdist for one interpreter with the same settings is the same."""
    choice = Choice(wanted, index, file)
    if choice.is_sdist and wanted.url is not None:
        choice = replace(choice, subdirectory=told_subdirectory(wanted.url))
    if not choice.is_sdist or chooser.build_settings is None:
        return choice
    content = choice.sha256 or (local_validator(file) if is_local(file.url) else None)
    if content is None:
        return choice
    where = "" if choice.sha256 else file.url
    identity = identity_of(chooser.interpreter.base_executable)
    within = (f"#{choice.subdirectory}",) if choice.subdirectory else ()
    return replace(choice, built=digest("built", content, where, identity, *chooser.build_settings, *within))


@value
class Ready:
    """One wanted wheel, unpacked, leased and checked."""

    wanted: Wanted
    choice: Choice
    archive: Archive
    pointer: Pointer
    manifest: Manifest
    origin: str  #: "cache", "index", "built" or "overlay"


@value
class Damaged:
    """An archive that lost or changed a file."""

    archive: Archive
    error: DamagedEntryError


@value
class Missing:
    """One wanted wheel that the cache cannot give."""

    wanted: Wanted
    choice: Choice | None = None  #: None: an index has to be asked first
    stale: Ready | None = None  #: what was found, where only the index can tell whether it is still the file it has
    damaged: Damaged | None = None  #: what was found, where it cannot be used


@value
class Lookup:
    """Everything that was wanted, in its order."""

    results: tuple[Ready | Missing, ...]

    def ready(self) -> list[Ready]:
        """What the cache gave."""
        return [result for result in self.results if isinstance(result, Ready)]

    def missing(self) -> list[Missing]:
        """What it could not give."""
        return [result for result in self.results if isinstance(result, Missing)]


class Finder:
    """Finds wheels for one piece of work, one interpreter and one set of indexes."""

    def __init__(
        self, work: Work, settings: IndexSettings, chooser: WheelChooser, *, is_offline: bool, refreshes: bool = False
    ) -> None:
        self.work = work
        self.settings = settings
        self.chooser = chooser
        self._is_offline = is_offline
        self._refreshes = refreshes
        self._pages: Contents = {}
        self._refused: set[str] = set()

    def find_all(self, wanted: Sequence[Wanted]) -> Steps[Lookup]:
        """Look everything up that is wanted.

        Raises:
            NoMatchingWheelError: a page that may be believed has no wheel that fits; several in an ExceptionGroup.
        """
        digests = [index.digest for index in self.settings.indexes]
        by_project = {each.project: digests if each.url is None else [] for each in wanted}
        self._pages |= yield from read_pages(self.work, by_project)
        choices: list[Choice | None] = yield Outside(partial(self._choose_all, wanted))
        found = iter((yield from look_up(self.work, [choice for choice in choices if choice is not None])))
        results: tuple[Ready | Missing, ...] = yield Outside(
            lambda: tuple(
                Missing(each) if choice is None else self._open(choice, next(found))
                for each, choice in zip(wanted, choices, strict=True)
            )
        )
        return Lookup(results)

    def find(self, choices: Sequence[Choice]) -> Steps[Lookup]:
        """Look files up that were chosen already."""
        found = yield from look_up(self.work, choices)
        results: tuple[Ready | Missing, ...] = yield Outside(
            lambda: tuple(self._open(*each) for each in zip(choices, found, strict=True))
        )
        return Lookup(results)

    def stored_page(self, project: str, index: Index) -> StoredPage | None:
        """Give the page that was stored for a project on an index when `find_all` read it; None: none, or damaged."""
        content = self._pages.get((project, index.digest))
        try:
            return None if content is None else load_page(content)
        except PageError:
            return None

    def asks_again(self, project: str) -> bool:
        """Tell whether the index is to be asked even if its stored page is fresh."""
        return self._refreshes or project in self._refused

    def choice_among(self, wanted: Wanted, pages: Sequence[tuple[Index, StoredPage]]) -> Choice | Refusal:
        """Choose among the files of these pages."""
        by_file = {id(file): (index, file) for index, page in pages for file in _files(page, wanted)}
        files = [file for _, file in by_file.values()]
        chosen = self.chooser.choose(wanted, files) if files else Refusal("there is no such version")
        if isinstance(chosen, Refusal):
            return self.chooser.hopeless(wanted) or Refusal(f"{chosen.reason} ({self._where(wanted, pages)})")
        return choice_of(wanted, *by_file[id(chosen)], self.chooser)

    def is_settled(self, wanted: Wanted, pages: Sequence[tuple[Index, StoredPage]]) -> bool:
        """Tell whether no further index is to be asked, once these have answered.

        The first index that knows a project is the only one that counts, so that nobody can slip a file of the same
        name in from another. A hash leaves nothing to slip in: what is pinned by one is looked for everywhere.
        """
        if not pages or self.settings.strategy is IndexStrategy.BEST_MATCH:
            return False
        return not wanted.sha256s or isinstance(self.choice_among(wanted, pages), Choice)

    def _where(self, wanted: Wanted, pages: Sequence[tuple[Index, StoredPage]]) -> str:
        """Say where was looked, and how to look elsewhere if there is anywhere else."""
        where = f"on {', '.join(shown(index.url) for index, _ in pages)}"
        asked = [index for index, _ in pages]
        are_all_asked = self.settings.strategy is IndexStrategy.BEST_MATCH or bool(wanted.sha256s)
        if are_all_asked or asked[-1:] == list(self.settings.indexes[-1:]):
            return where
        return f"{where}, the first index that knows it; --index-strategy best-match asks all"

    def direct_choice(self, wanted: Wanted) -> Choice:
        """Give the file that a requirement names by URL or path.

        Raises:
            NoMatchingWheelError: the wheel is for another platform or Python, or the sdist must not be built.
        """
        index, file, _ = direct_file(wanted.url or "")
        refusal = self.chooser.check(file_name(file.filename, wanted.project))
        if refusal is not None:
            raise NoMatchingWheelError(wanted.text, refusal.reason)
        return choice_of(wanted, index, file, self.chooser)

    def _choose_all(self, wanted: Sequence[Wanted]) -> list[Choice | None]:
        choices: list[Choice | None] = []
        refused: list[NoMatchingWheelError] = []
        for each in wanted:
            try:
                choices.append(self._choose(each))
            except NoMatchingWheelError as error:
                refused.append(error)
        if refused:
            raise refused[0] if len(refused) == 1 else ExceptionGroup("some wheels cannot be had", refused)
        return choices

    def _choose(self, wanted: Wanted) -> Choice | None:
        """Choose from what is stored; None: an index has to be asked."""
        if wanted.url is not None:
            return self.direct_choice(wanted)
        pages = self._usable_pages(wanted)
        if not pages:
            return None
        chosen = self.choice_among(wanted, pages)
        if isinstance(chosen, Choice):
            return chosen
        if self._is_offline or all(index.is_overlay or is_local(index.url) for index in self.settings.indexes):
            raise NoMatchingWheelError(wanted.text, chosen.reason)
        self._refused.add(wanted.project)  # the stored page may be a little behind: ask before saying no
        return None

    def _usable_pages(self, wanted: Wanted) -> list[tuple[Index, StoredPage]]:
        """Give the pages that may be chosen from without asking anybody; empty if there is not all that is needed."""
        now = time.time()
        pages: list[tuple[Index, StoredPage]] = []
        for index in self.settings.indexes:
            stored = self.stored_page(wanted.project, index)
            if index.is_overlay:
                pass  # the names were read just now
            elif is_local(index.url):
                stored = read_local_page(wanted.project, index, stored=stored, now=now)
            elif stored is None or not usable_page(stored, now=now, offline=self._is_offline, refresh=self._refreshes):
                if self._is_offline and stored is None:
                    continue
                return []
            if stored is not None and stored.lines:
                pages.append((index, stored))
                if self.is_settled(wanted, pages):
                    break
        return pages

    def _open(self, choice: Choice, found: Found | None) -> Ready | Missing:
        stated = frozenset() if choice.is_sdist else choice.wanted.sha256s  # of an sdist, and it is part of its key
        if found is None or (stated and found.pointer.sha256 not in stated):
            return Missing(choice.wanted, choice)
        try:
            manifest = open_manifest(found.archive, me().boot_id)
        except DamagedEntryError as error:
            return Missing(choice.wanted, choice, damaged=Damaged(found.archive, error))
        ready = Ready(choice.wanted, choice, found.archive, found.pointer, manifest, _origin(choice))
        return ready if self._is_current(choice, found.pointer) else Missing(choice.wanted, choice, stale=ready)

    def _is_current(self, choice: Choice, pointer: Pointer) -> bool:
        """Tell whether the bytes are still those that the index has, as far as can be told without asking it."""
        if choice.is_sdist or choice.key.sha256 is not None:
            return True
        if is_local(choice.file.url):
            return local_validator(choice.file) == pointer.etag
        return self._is_offline


def _origin(choice: Choice) -> str:
    return "overlay" if choice.index.is_overlay else "cache"


def look_up(work: Work, choices: Sequence[Choice]) -> Steps[list[Found | None]]:
    """Look files up and lease what is there, in as many short holds as it takes (rules 14, 15).

    Of an sdist the wheel that was built of it is looked up.
    """
    queue = deque(choices)
    found: list[Found | None] = []

    def read(hold: Hold) -> None:
        while queue and (time.monotonic() - hold.acquired_at) < _HOLD_SECONDS:
            part = [queue.popleft() for _ in range(min(16, len(queue)))]
            work.begin(hold, [choice.wanted.project for choice in part])
            there = iter(work.find(hold, [choice.key for choice in part if choice.is_findable]))
            found.extend(next(there) if choice.is_findable else None for choice in part)

    while queue:
        yield InHold(LockMode.SHARED, read)
    return found


def _files(page: StoredPage, wanted: Wanted) -> Iterator[IndexFile]:
    if wanted.pinned is None:
        for _, file in page.all_files():
            yield file
        return
    yield from page.files_of(wanted.pinned)
    # `==1.0` also names 1.0 with any local version (PEP 440).
    local = f"{wanted.pinned}+"
    if local.encode() in page.lines:
        for version in page.versions():
            if version.startswith(local):
                yield from page.files_of(version)
