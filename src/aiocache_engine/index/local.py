"""What can be said about pages and files without a network: whether a stored page will do, and `file:` locations.

Plain functions, so that a warm command asks them without an event loop and without an HTTP library. `file:` indexes,
find-links directories and single files have no freshness: each is looked at on every use, which costs one `stat`.
"""

from __future__ import annotations

import os
import re

from aiocache_engine.errors import IndexResponseError
from aiocache_engine.model.index import Index, IndexFile, IndexKind
from aiocache_engine.model.page import StoredPage, encode_lines
from aiocache_engine.system import disk

_SEPARATORS = re.compile(r"[-_.]+")
_LONGEST_PAGE_BYTES = 100_000_000


def usable_page(stored: StoredPage, *, now: float, offline: bool, refresh: bool) -> bool:
    """Tell whether a stored page may be used without asking its index again.

    Offline, any page will do. A clock that stands before the page's own time is not believed.
    """
    if is_local(stored.url):
        return False
    if offline:
        return True
    return not refresh and stored.validated_at <= now < stored.fresh_until


def is_local(url: str) -> bool:
    """Tell whether a location is on this machine's file system."""
    return url.startswith("file:")


def read_local_page(project: str, index: Index, *, stored: StoredPage | None, now: float) -> StoredPage | None:
    """Look at a `file:` index, a find-links directory or a local page; None: the project is unknown there.

    The page given back is `stored` itself if nothing changed since.

    Raises:
        IndexResponseError: there is a page, and it cannot be read as one.
    """
    root = _path(index.url)
    path = os.path.join(root, project, "index.html") if index.kind is IndexKind.SIMPLE else root
    try:
        status = os.stat(path)
    except OSError:
        return None
    validator = _validator(status)
    if stored and stored.headers.get("etag") == validator and stored.project == project:
        return stored
    is_directory = os.path.isdir(path)
    lines = _lines(project, path, index, is_directory=is_directory)
    if not lines and index.kind is IndexKind.FIND_LINKS:
        return None
    return StoredPage(
        project=project,
        index_digest=index.digest,
        url=index.url,
        validated_at=now,
        fresh_until=0.0,
        headers={"etag": validator},
        is_storable=True,
        lines=lines,
    )


def has_local_location(index: Index) -> bool:
    """Tell whether there is anything at all at a `file:` location."""
    return os.path.exists(_path(index.url))


def local_validator(file: IndexFile) -> str | None:
    """Give what changes when a local file changes; None if it is gone."""
    try:
        return _validator(os.stat(_path(file.url)))
    except OSError:
        return None


def local_path(url: str) -> str:
    """Give the path that a `file:` URL leads to."""
    return _path(url)


def _lines(project: str, path: str, index: Index, *, is_directory: bool) -> bytes:
    # Only for a page that is new or changed: packaging and msgspec cost 30 ms.
    from aiocache_engine.index.page_parser import by_version, parse_page  # noqa: PLC0415

    if is_directory:
        names = [name for name in os.listdir(path) if _SEPARATORS.sub("-", name).lower().startswith(f"{project}-")]
        files = [_listed(os.path.join(path, name)) for name in sorted(names)]
    else:
        if os.path.getsize(path) > _LONGEST_PAGE_BYTES:
            raise IndexResponseError(path, f"it is larger than {_LONGEST_PAGE_BYTES:,} bytes")
        with disk.translated(path):
            content = disk.read_bytes(os.path.realpath(path)) or b""
        base = index.url if index.kind is IndexKind.FIND_LINKS else f"{index.url}/{project}/"
        files = parse_page(content, content_type="text/html", url=base)
    return encode_lines(by_version(files, project))


def _listed(path: str) -> IndexFile:
    from aiocache_engine.index.urls import url_of_path  # noqa: PLC0415 - imports urllib

    return IndexFile(
        filename=os.path.basename(path),
        url=url_of_path(path),
        sha256=None,
        # A file can be replaced without its directory changing, so nothing else about it is kept here.
        size_bytes=None,
        requires_python=None,
        yanked=None,
        metadata_sha256=None,
    )


def _validator(status: os.stat_result) -> str:
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'


def _path(url: str) -> str:
    path = url.removeprefix("file://")
    if "%" not in path:
        return path
    from urllib.parse import unquote  # noqa: PLC0415 - rarely needed, costs 5 ms

    return unquote(path)
