"""What an index's page says, in either of its two forms: JSON (PEP 691, 700) or HTML (PEP 503).

Both give the same files, with what PEP 592, 629, 658 and 714 add. The page is hostile until shown otherwise: a file
with a name that fits no grammar, another project's name, a malformed hash or a URL that must not be followed is left
out; what else is malformed counts as not said. A page that is no page at all (a login form with status 200) is an
`IndexResponseError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

import msgspec
from packaging.utils import canonicalize_version
from packaging.version import InvalidVersion, Version

from aiocache_engine.errors import IndexResponseError, InvalidNameError
from aiocache_engine.hints import Any
from aiocache_engine.index.html_tags import Tag, read_tags
from aiocache_engine.index.urls import file_name_of, joined, shown, without_credentials
from aiocache_engine.model.index import IndexFile
from aiocache_engine.model.names import project_name, safe_segment, sha256_hex, wheel_name

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

_JSON = re.compile(r"application/(?:vnd\.pypi\.simple\.(?:v1|latest)\+)?json", re.ASCII)
_HTML = frozenset({"application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html", "text/html"})
_SDIST_SUFFIXES = (".tar.gz", ".zip")
_HEADINGS = frozenset({"title", "h1"})
_LISTING = re.compile(r"links for|simple index|index of|directory listing", re.IGNORECASE)
_PROMISES = ("data-core-metadata", "data-dist-info-metadata")
_ATTRIBUTES = frozenset({"href", "name", "content", "data-requires-python", "data-yanked", *_PROMISES})


_INDISPENSABLE: dict[str, Any] = {"filename": str, "url": str, "hashes": dict[str, str]}


class _File(msgspec.Struct, rename="kebab"):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    requires_python: str | None = None
    size: int | None = None
    yanked: bool | str = False
    core_metadata: bool | dict[str, str] | None = None
    data_dist_info_metadata: bool | dict[str, str] | None = None


class _Meta(msgspec.Struct, rename="kebab"):
    api_version: str = "1.0"


class _Page(msgspec.Struct):
    files: list[msgspec.Raw]
    meta: _Meta = msgspec.field(default_factory=_Meta)


def parse_page(content: bytes, *, content_type: str, url: str) -> list[IndexFile]:
    """Read the files that a page lists, of whatever project.

    Args:
        content: the page.
        content_type: as the server names it; it decides between JSON and HTML.
        url: where it came from; relative links belong to it.

    Raises:
        IndexResponseError: it is no page of an index, or of a major version that is not known (PEP 629).
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if _JSON.fullmatch(media_type):
        return _parse_json(content, url)
    if media_type in _HTML:
        return _parse_html(content, url)
    raise IndexResponseError(shown(url), f"it sends {media_type or 'no content type'!r} instead of an index page")


def by_version(files: Iterable[IndexFile], project: str) -> dict[str, list[IndexFile]]:
    """Group a project's files by canonical version; files of other projects and unknown grammar are left out."""
    groups: dict[str, list[IndexFile]] = {}
    canonical: dict[str, str | None] = {}  # the wheels of one release share the spelling of its version
    seen: set[str] = set()
    for file in files:
        version = _version_text(file.filename, project)
        if version is None or file.filename in seen:
            continue
        if version not in canonical:
            canonical[version] = _canonical(version)
        if (key := canonical[version]) is not None:
            seen.add(file.filename)
            groups.setdefault(key, []).append(file)
    return groups


def _version_text(filename: str, project: str) -> str | None:
    try:
        if filename.endswith(".whl"):
            wheel = wheel_name(filename)
            return wheel.version if wheel.project == project else None
        safe_segment(filename)
    except InvalidNameError:
        return None
    suffix = next((suffix for suffix in _SDIST_SUFFIXES if filename.endswith(suffix)), None)
    if suffix is None:
        return None
    stem = filename.removesuffix(suffix)
    # Older sdists have dashes in the project's name, so the border is where the name fits.
    for place in (match.start() for match in re.finditer("-", stem)):
        if _is_project(stem[:place], project) and _canonical(stem[place + 1 :]):
            return stem[place + 1 :]
    return None


def _is_project(text: str, project: str) -> bool:
    try:
        return project_name(text) == project
    except InvalidNameError:
        return False


def _canonical(version: str) -> str | None:
    try:
        return canonicalize_version(Version(version))
    except InvalidVersion:
        return None


def _parse_json(content: bytes, url: str) -> list[IndexFile]:
    try:
        page = msgspec.json.decode(content, type=_Page)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise IndexResponseError(shown(url), f"its JSON is no index page: {error}") from error
    _check_version(page.meta.api_version, url)
    decode = msgspec.json.Decoder(_File).decode
    files = []
    for raw in page.files:
        try:
            entry = decode(raw)
        except (msgspec.MsgspecError, RecursionError):
            readable = _readable_part(raw)
            if readable is None:
                continue
            entry = readable
        metadata = entry.core_metadata if entry.core_metadata is not None else entry.data_dist_info_metadata
        yanked = entry.yanked if isinstance(entry.yanked, str) else ("" if entry.yanked else None)
        file = _file(
            page_url=url,
            link=entry.url,
            filename=entry.filename,
            sha256=entry.hashes.get("sha256"),
            size_bytes=entry.size,
            requires_python=entry.requires_python,
            yanked=yanked,
            metadata=metadata.get("sha256", "") if isinstance(metadata, dict) else ("" if metadata else None),
        )
        if file:
            files.append(file)
    return files


def _readable_part(raw: msgspec.Raw) -> _File | None:
    """Read an entry that is malformed somewhere; None: it is so where nothing can be left out."""
    try:
        said = {"hashes": msgspec.Raw(b"{}"), **msgspec.json.decode(raw, type=dict[str, msgspec.Raw])}
        values = {name: msgspec.json.decode(said[name], type=kind) for name, kind in _INDISPENSABLE.items()}
    except (msgspec.MsgspecError, RecursionError, KeyError):
        return None
    for field in msgspec.structs.fields(_File):
        if field.name not in values and field.encode_name in said:
            with suppress(msgspec.MsgspecError, RecursionError):
                values[field.name] = msgspec.json.decode(said[field.encode_name], type=field.type)
    return _File(**values)


def _parse_html(content: bytes, url: str) -> list[IndexFile]:
    reader = _PageReader(content.decode("utf-8", "replace"), url)
    for tag in read_tags(reader.page, _ATTRIBUTES):
        reader.take(tag)
    if reader.api_version is not None:
        _check_version(reader.api_version, url)
    if not reader.files and reader.api_version is None and not reader.is_listing:
        raise IndexResponseError(shown(url), "a web page without a single file came; is a login needed there?")
    return reader.files


class _PageReader:
    """Collects what matters: files, the base, the repository version, and whether it calls itself a listing."""

    def __init__(self, page: str, url: str) -> None:
        self.page = page
        self.files: list[IndexFile] = []
        self.api_version: str | None = None
        self.is_listing = False
        self._url = self._base = url
        self._has_links = False
        self._heading = ""  #: the name of the one that the next text stands in
        self._text_start = 0

    def take(self, tag: Tag) -> None:
        """Take the next tag of the page."""
        if self._heading and _LISTING.search(self.page, self._text_start, tag.start):
            self.is_listing = True
        self._text_start = tag.end
        if tag.name in _HEADINGS or tag.name == f"/{self._heading}":
            self._heading = tag.name if tag.name in _HEADINGS else ""
        elif tag.name == "a":
            self._has_links = True
            if file := _linked_file(self._base, self._url, tag.attributes):
                self.files.append(file)
        elif tag.name == "base" and not self._has_links and (href := tag.attributes.get("href")):
            self._base = _joined(self._base, href) or self._base
        elif tag.name == "meta" and tag.attributes.get("name") == "pypi:repository-version":
            self.api_version = tag.attributes.get("content") or "1.0"


def _linked_file(base: str, page_url: str, attributes: dict[str, str | None]) -> IndexFile | None:
    target, _, fragment = (_joined(base, attributes.get("href") or "") or "").partition("#")
    if not target:
        return None
    hashes = dict(part.partition("=")[::2] for part in fragment.split("&"))
    promise = next((each for each in _PROMISES if each in attributes), "")
    metadata = attributes.get(promise)
    promised = (metadata or "").partition("sha256=")[2] if promise and metadata != "false" else None
    return _file(
        page_url=page_url,
        link=target,
        filename=file_name_of(target),
        sha256=hashes.get("sha256"),
        size_bytes=None,
        requires_python=attributes.get("data-requires-python"),
        yanked=(attributes["data-yanked"] or "") if "data-yanked" in attributes else None,
        metadata=promised,
    )


def _file(
    *,
    page_url: str,
    link: str,
    filename: str,
    sha256: str | None,
    size_bytes: int | None,
    requires_python: str | None,
    yanked: str | None,
    metadata: str | None,
) -> IndexFile | None:
    """Make a file of what a page says, or None where that must not be used."""
    if not filename.endswith((".whl", *_SDIST_SUFFIXES)):
        return None
    try:
        absolute, _ = without_credentials(joined(page_url, link).partition("#")[0])
        hexadecimal = sha256_hex(sha256) if sha256 else None
    except (ValueError, InvalidNameError):
        return None
    try:
        metadata_sha256 = sha256_hex(metadata) if metadata else metadata
    except InvalidNameError:
        metadata_sha256 = None
    if not _may_follow(page_url, absolute, has_hash=hexadecimal is not None):
        return None
    return IndexFile(
        filename=filename,
        url=absolute,
        sha256=hexadecimal,
        size_bytes=size_bytes if size_bytes is None or size_bytes >= 0 else None,
        requires_python=requires_python or None,
        yanked=yanked,
        metadata_sha256=metadata_sha256,
    )


def _may_follow(page_url: str, link: str, *, has_hash: bool) -> bool:
    """Tell whether a page may point there: never from the net into this machine's files, nor off TLS unprotected."""
    source, target = page_url.partition(":")[0], link.partition(":")[0]
    if target == "file":
        return source == "file"
    if target == "http":
        return source != "https" or has_hash
    return target == "https"


def _joined(base: str, reference: str) -> str | None:
    try:
        url = joined(base, reference)
        file_name_of(url)  # which refuses what `joined` lets pass, a port that is no number for one
    except ValueError:
        return None
    return url


def _check_version(text: str, url: str) -> None:
    if text.partition(".")[0] != "1":
        raise IndexResponseError(shown(url), f"the index speaks version {text[:20]} of the protocol, 1 is understood")
