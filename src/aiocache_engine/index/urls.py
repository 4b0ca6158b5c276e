"""URLs of indexes and files: one spelling each, and no user name or password left in what is kept or shown."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from aiocache_engine.config import absolute
from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.index import Index, IndexFile, IndexKind, UrlCredentials
from aiocache_engine.model.names import digest, safe_segment, sha256_hex
from aiocache_engine.redaction import redacted

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = "filename"  #: in the fragment of a direct URL
_SUBDIRECTORY = "subdirectory"  #: as above; where in an sdist the project lies
#: Promises that others check; only sha256 is checked here.
_OTHER_HASHES = ("sha512", "sha384", "sha224", "sha1", "md5")
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1", re.ASCII)


def shown(url: str) -> str:
    """Give a URL as messages name it: no credentials, no query (it may hold a signature), no fragment."""
    return redacted(url).partition("#")[0].partition("?")[0]


def _parts_of(url: str) -> SplitResult:
    """Take a URL apart.

    Raises:
        ValueError: it is malformed. The reason does not quote it, for what is taken for a port may be a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        reason = "it is malformed; write / : @ [ ] in a user name or password as %2F %3A %40 %5B %5D"
        raise ValueError(reason) from None
    return parts


def origin_of(url: str) -> tuple[str, str, int]:
    """Give scheme, host and port: what credentials belong to.

    Raises:
        ValueError: the URL is malformed.
    """
    parts = _parts_of(url)
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine over its own loopback."""
    return _LOOPBACK.fullmatch(urlsplit(url).hostname or "") is not None


def without_credentials(url: str) -> tuple[str, UrlCredentials | None]:
    """Take user name and password out of a URL, and write its scheme, host and port in their one spelling.

    Raises:
        ValueError: the URL is malformed.
    """
    parts = _parts_of(url)
    host = (parts.hostname or "").lower()
    netloc = f"[{host}]" if ":" in host else host
    if parts.port and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        netloc += f":{parts.port}"
    if parts.scheme == "file":
        netloc = ""  # `path_of_url` refuses any but this machine
    clean = urlunsplit(SplitResult(parts.scheme.lower(), netloc, parts.path, parts.query, parts.fragment))
    if not parts.username:
        return clean, None
    password = None if parts.password is None else unquote(parts.password)
    return clean, UrlCredentials(url=clean, user=unquote(parts.username), password=password)


def url_of_path(path: str) -> str:
    """Give the `file:` URL of a path; a relative one belongs to the current directory."""
    return "file://" + quote(absolute(path))


def path_of_url(url: str) -> str:
    """Give the path that a `file:` URL leads to; that of `file:wheels` is relative.

    Raises:
        ValueError: it names another machine.
    """
    parts = _parts_of(url)
    host = parts.netloc.rpartition("@")[2]
    if host.lower() not in {"", "localhost"}:
        raise ValueError(f"it names the host {host!r}, and files are read on this machine alone; write file:///PATH")
    return unquote(parts.path)


def index_of(location: str, kind: IndexKind) -> tuple[Index, UrlCredentials | None]:
    """Make an index of what a user wrote: a URL, or the path of a directory or page.

    Raises:
        ValueError: it is neither.
    """
    if kind is IndexKind.SIMPLE and _is_path(location) and not os.path.exists(os.path.expanduser(location)):
        raise ValueError("it is neither a URL nor an existing directory")
    url, credentials = without_credentials(_absolute(location))
    url = url.partition("#")[0]
    scheme, host, _ = origin_of(url)
    if scheme not in {"http", "https", "file"}:
        raise ValueError(f"the scheme {scheme!r} is not among http, https and file")
    if scheme != "file" and not host:
        raise ValueError("it names no host")
    if kind is IndexKind.SIMPLE:
        path, mark, query = url.partition("?")
        url = path.rstrip("/") + mark + query
    if credentials:
        credentials = UrlCredentials(url=url, user=credentials.user, password=credentials.password)
    return Index(kind=kind, url=url, digest=digest(kind.value, url)), credentials


def direct_file(location: str) -> tuple[Index, IndexFile, UrlCredentials | None]:
    """Make a file of a direct URL or path in a requirement; its fragment may promise a sha256, and tell its name.

    Raises:
        InvalidNameError: no safe file name, or no usable URL.
    """
    try:
        clean, credentials = without_credentials(_absolute(location))
        scheme, host, _ = origin_of(clean)
    except ValueError as error:
        raise InvalidNameError("URL", shown(location), str(error)) from error
    if scheme not in {"http", "https", "file"} or (scheme != "file" and not host):
        raise InvalidNameError("URL", shown(location), "http, https and file are understood")
    url, _, fragment = clean.partition("#")
    promised = _promised(fragment)
    filename = safe_segment(promised.get(_NAME) or file_name_of(url))
    file = IndexFile(
        filename=filename,
        url=url,
        sha256=sha256_hex(promised["sha256"]) if "sha256" in promised else None,
        size_bytes=None,
        requires_python=None,
        yanked=None,
        metadata_sha256=None,
    )
    index = Index(kind=IndexKind.DIRECT, url=url, digest=digest(IndexKind.DIRECT.value, url))
    return index, file, credentials


def called(location: str, filename: str) -> str:
    """Give a direct URL or path with the name of its file, where it does not end in that: see `direct_file`.

    Raises:
        ValueError: the URL is malformed.
    """
    url = url_of_path(location) if _is_path(location) else location
    if file_name_of(url) == filename:
        return location
    return f"{url}{'&' if '#' in url else '#'}{_NAME}={filename}"


def told_file_name(url: str) -> str | None:
    """Give the file name in a URL's fragment; None: there is none."""
    return _promised(url.partition("#")[2]).get(_NAME)


def told_subdirectory(url: str) -> str:
    """Give the one spelling of the path below the top of an sdist that a URL's fragment names; "": none.

    Raises:
        InvalidNameError: it is no safe relative path.
    """
    told = unquote(_promised(url.partition("#")[2]).get(_SUBDIRECTORY, ""))
    parts = [part for part in told.split("/") if part not in ("", ".")]
    if told.startswith("/") or ".." in parts or not told.isprintable():
        raise InvalidNameError("sub-directory", told, "a relative path below the top of the sdist is expected")
    return "/".join(parts)


def told_other_hash(url: str) -> str | None:
    """Give the algorithm of a hash in a URL's fragment where it comes without a sha256, and would not be checked."""
    promised = _promised(url.partition("#")[2])
    return None if "sha256" in promised else next((each for each in _OTHER_HASHES if each in promised), None)


def _promised(fragment: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in fragment.split("&"))


def _is_path(location: str) -> bool:
    return "://" not in location and not location.startswith("file:")


def _absolute(location: str) -> str:
    """Turn paths and `file:` URLs, relative ones too, into the one spelling of a `file:` URL; leave others alone.

    Raises:
        ValueError: it names another machine, or is malformed.
    """
    if _is_path(location):
        return url_of_path(os.path.expanduser(location))
    if not location.lower().startswith("file:"):
        return location
    url, mark, fragment = location.partition("#")
    return url_of_path(path_of_url(url)) + mark + fragment


def file_name_of(url: str) -> str:
    """Give the file name in a URL's path.

    Raises:
        ValueError: the URL is malformed.
    """
    return unquote(_parts_of(url).path.rpartition("/")[2])


def page_url(index: Index, project: str) -> str:
    """Give the URL of a project's page (PEP 503), or of the one page of a find-links location."""
    if index.kind is not IndexKind.SIMPLE:
        return index.url
    base, mark, query = index.url.partition("?")
    return f"{base}/{project}/{mark}{query}"


def joined(base: str, reference: str) -> str:
    """Resolve a reference against the URL of the page it stands on.

    Raises:
        ValueError: the result is malformed.
    """
    return urljoin(base, reference)
