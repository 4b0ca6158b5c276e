r"""A project's page as it is kept in the cache: quick to open, and to be asked for one version alone.

Three parts, each ended by a newline: the SHA-256 of everything after it; one JSON object about the page; then one
line per version, `<canonical version>\t<JSON array of files>`. A pinned requirement decodes its own line and no
other. Damage of any kind is a `PageError`, which callers treat as a page that is not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from aiocache_engine.model.index import IndexFile
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.value import replace, value

_FORMAT = 1


class PageError(ValueError):
    """The stored bytes are no page: damaged, cut, or of another format."""


@value
class StoredPage:
    """What one index said about one project, and for how long that may be believed."""

    project: str  #: normalized
    index_digest: str
    url: str  #: what was asked for; without user name, password and query; "" where the project is unknown there
    validated_at: float  #: seconds since the epoch when the index last confirmed it
    fresh_until: float  #: seconds since the epoch; 0 where the index must be asked every time
    headers: Mapping[str, str]  #: of the response: what HTTP caching needs (validators, freshness, Vary); lower case
    is_storable: bool  #: False where the index forbids keeping it (`no-store`): use it, do not write it
    lines: bytes  #: one per version, as the module says

    def versions(self) -> list[str]:
        """Give the canonical version of every file, each once, in the order of the page."""
        return [line.partition(b"\t")[0].decode() for line in self.lines.splitlines()]

    def files_of(self, version: str) -> list[IndexFile]:
        """Give the files of one version, written as `packaging.utils.canonicalize_version` writes it."""
        key = version.encode() + b"\t"
        start = 0
        if not self.lines.startswith(key):
            start = self.lines.find(b"\n" + key) + 1
            if not start:
                return []
        return _decode(self.lines[start + len(key) : self.lines.index(b"\n", start)])

    def all_files(self) -> Iterator[tuple[str, IndexFile]]:
        """Give every file with its canonical version."""
        for line in self.lines.splitlines():
            version, _, files = line.partition(b"\t")
            for file in _decode(files):
                yield version.decode(), file

    def confirmed(self, *, validated_at: float, fresh_until: float, headers: Mapping[str, str]) -> StoredPage:
        """Give the same page after the index said that it has not changed."""
        return replace(self, validated_at=validated_at, fresh_until=fresh_until, headers=headers)

    def dump(self) -> bytes:
        """Write the page as bytes; what its URLs hold of secrets is not written."""
        if b"?" in self.lines and any("?" in file.url for _, file in self.all_files()):
            return self._without_queries().dump()
        about = {
            "format": _FORMAT,
            "project": self.project,
            "index": self.index_digest,
            "url": self.url,
            "validated_at": self.validated_at,
            "fresh_until": self.fresh_until,
            "headers": dict(self.headers),
        }
        rest = dump(about) + b"\n" + self.lines
        return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest

    def _without_queries(self) -> StoredPage:
        """Give what may be kept of a page whose files have signatures or tokens in their URLs.

        Enough to choose from where the files are in the cache; whoever needs the files asks the index for the page.
        """
        groups: dict[str, list[IndexFile]] = {}
        for version, file in self.all_files():
            groups.setdefault(version, []).append(replace(file, url=file.url.partition("?")[0]))
        return replace(self, fresh_until=0.0, headers={}, lines=encode_lines(groups))


def load_page(content: bytes) -> StoredPage:
    """Read a page back.

    Raises:
        PageError: it is damaged, or of a format that this release does not know.
    """
    checksum, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        raise PageError("the checksum does not fit")
    head, _, lines = rest.partition(b"\n")
    try:
        about = load(head)
        is_known = about["format"] == _FORMAT
    except (KeyError, TypeError, ValueError) as error:
        raise PageError("the first line is malformed") from error
    if not is_known:
        raise PageError(f"format {about['format']!r} is unknown")
    try:
        return StoredPage(
            project=about["project"],
            index_digest=about["index"],
            url=about["url"],
            validated_at=about["validated_at"],
            fresh_until=about["fresh_until"],
            headers=about["headers"],
            is_storable=True,
            lines=lines,
        )
    except (KeyError, TypeError) as error:
        raise PageError("the first line is malformed") from error


def encode_lines(files: Mapping[str, Sequence[IndexFile]]) -> bytes:
    """Write files, grouped by canonical version, as the lines of a page."""
    return b"".join(
        version.encode() + b"\t" + dump([_row(file) for file in group]) + b"\n" for version, group in files.items()
    )


def _row(file: IndexFile) -> list[str | int | None]:
    return [
        file.filename,
        file.url,
        file.sha256,
        file.size_bytes,
        file.requires_python,
        file.yanked,
        file.metadata_sha256,
    ]


def _decode(array: bytes) -> list[IndexFile]:
    try:
        return [IndexFile(*row) for row in load(array)]
    except (TypeError, ValueError) as error:
        raise PageError("a line is malformed") from error
