"""Read and store pages of indexes, as steps: a large one never lengthens a hold (rules 14, 20)."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from io import FileIO

from aiocache_engine.errors import OfflineError, ProjectNotFoundError
from aiocache_engine.index.urls import shown
from aiocache_engine.model.index import Index, IndexFile
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.page import PageError, StoredPage, encode_lines, load_page
from aiocache_engine.model.records import Pointer
from aiocache_engine.pipeline.steps import InHold, Outside, Steps
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.layout import OVERLAY
from aiocache_engine.store.overlays import read_overlay
from aiocache_engine.store.work import Work
from aiocache_engine.system.descent import remove_file
from aiocache_engine.system.lock import Hold

_UNKNOWN_FOR_SECONDS = 600.0  #: how long an index is believed that does not know a project
_UNKNOWN = ""  #: as the URL of a page: there is none
_HOLD_SECONDS = 0.005  #: after so long in one hold the rest is read in another

Contents = dict[tuple[str, str], bytes | None]


def read_pages(work: Work, wanted: Mapping[str, Sequence[str]]) -> Steps[Contents]:
    """Read generations and stored pages, in as many short holds as it takes.

    The page of an overlay is made of the names in it.

    Args:
        work: what reads them.
        wanted: project -> digests of the indexes whose pages of it are read.

    Returns:
        (project, digest) -> the page; None where there is none.
    """
    queue = deque(wanted.items())
    contents: Contents = {}
    large: dict[tuple[str, str], FileIO] = {}
    added: dict[tuple[str, str], list[Pointer]] = {}

    def read(hold: Hold) -> None:
        while queue and (time.monotonic() - hold.acquired_at) < _HOLD_SECONDS:
            project, digests = queue.popleft()
            work.begin(hold, [project])
            for digest in digests:
                which = project, digest
                if digest.startswith(OVERLAY):
                    added[which] = read_overlay(hold, work.cache.layout, project, digest.removeprefix(OVERLAY))
                elif isinstance(page := work.read_page(hold, project, digest), FileIO):
                    large[which] = page
                else:
                    contents[which] = page

    try:
        while queue:
            yield InHold(LockMode.SHARED, read)
            if large:
                yield Outside(partial(_read_large, large, contents))
    finally:
        for file in large.values():
            file.close()
    contents |= {which: _overlay_page(*which, pointers) for which, pointers in added.items()}
    return contents


def _read_large(files: dict[tuple[str, str], FileIO], contents: Contents) -> None:
    while files:
        which, file = files.popitem()
        with file:
            contents[which] = file.readall()


def _overlay_page(project: str, digest: str, pointers: Sequence[Pointer]) -> bytes | None:
    if not pointers:
        return None
    from packaging.utils import canonicalize_version  # noqa: PLC0415 - most calls name no overlay

    groups: dict[str, list[IndexFile]] = {}
    for each in pointers:
        file = IndexFile(each.filename, each.filename, each.sha256, None, None, None, None)
        groups.setdefault(canonicalize_version(each.version), []).append(file)
    return StoredPage(
        project=project,
        index_digest=digest,
        url=digest,
        validated_at=0.0,
        fresh_until=0.0,
        headers={},
        is_storable=False,
        lines=encode_lines(groups),
    ).dump()


def store_page(work: Work, page: StoredPage) -> Steps[bool]:
    """Store a page, unless its project was cleaned since the work began, or the cache is read-only."""
    if work.cache.is_read_only:
        return False
    staged: str = yield Outside(lambda: work.stage_page(page.dump()))
    is_stored: bool = yield InHold(
        LockMode.SHARED, lambda hold: work.write_page(hold, page.project, page.index_digest, staged)
    )
    if not is_stored:
        yield Outside(partial(remove_file, staged))
    return is_stored


async def ask_indexes(
    indexes: Sequence[Index],
    ask: Callable[[Index], Awaitable[StoredPage | None]],
    is_settled: Callable[[list[tuple[Index, StoredPage]]], bool],
    *,
    what: str,
) -> list[tuple[Index, StoredPage]]:
    """Ask one index after the other for its page of a project, until no further one counts; empty: nobody knows it.

    Args:
        indexes: in the order in which they are asked.
        ask: gives the page of one index; None: the project is unknown there.
        is_settled: tells whether the pages so far leave no further index to ask, as the strategy says.
        what: what is looked for, for messages.

    Raises:
        OfflineError: no page was had, and an index is out of reach.
    """
    pages: list[tuple[Index, StoredPage]] = []
    out_of_reach: OfflineError | None = None
    for index in indexes:
        try:
            page = await ask(index)
        except OfflineError as error:
            out_of_reach = error
            continue
        if page is None or not page.lines:
            continue
        pages.append((index, page))
        if is_settled(pages):
            break
    if not pages and out_of_reach is not None:
        raise OfflineError(what) from out_of_reach
    return pages


def not_found(cache: CacheDir, project: str, indexes: Sequence[Index]) -> ProjectNotFoundError:
    """Make the error for a project that nobody knows; names that the cache knows wheels of may be what was meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - only where something went wrong

    useless = tuple(shown(index.url) for index in indexes if not index.is_overlay and _has_page(cache, project, index))
    known: list[str] = []
    with suppress(OSError):
        known = os.listdir(cache.layout.projects)
    near = get_close_matches(project, [name for name in known if name != project], n=9, cutoff=0.75)
    with_wheels = tuple(name for name in near if os.path.isdir(cache.layout.hash_names(name)))
    asked = tuple(shown(index.url) for index in indexes)
    return ProjectNotFoundError(project, asked, near_names=with_wheels[:3], useless_pages=useless)


def _has_page(cache: CacheDir, project: str, index: Index) -> bool:
    """Tell whether an index had a page of the project when it was asked, as far as the cache remembers."""
    try:
        with open(cache.layout.page(project, index.digest), "rb") as file:
            return load_page(file.read()).url != _UNKNOWN
    except (OSError, PageError):
        return False


def unknown_page(project: str, index: Index) -> StoredPage:
    """Give the page that remembers for a while that an index does not know a project."""
    now = time.time()
    return StoredPage(
        project=project,
        index_digest=index.digest,
        url=_UNKNOWN,
        validated_at=now,
        fresh_until=now + _UNKNOWN_FOR_SECONDS,
        headers={},
        is_storable=True,
        lines=b"",
    )
