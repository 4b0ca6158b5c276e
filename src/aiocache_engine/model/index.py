"""What an index tells of a project, independent of how it said it (PEP 503, 592, 629, 658, 691, 700, 714)."""

from __future__ import annotations

import enum

from aiocache_engine.model.value import field, value


class IndexKind(enum.Enum):
    """What a location of distributions is."""

    SIMPLE = "simple"  #: a simple repository: one page per project (PEP 503, 691)
    FIND_LINKS = "find-links"  #: one page or directory with links to files of any project
    DIRECT = "direct"  #: one file, named by URL or path in the requirement itself
    OVERLAY = "overlay"  #: wheels added to this cache by hand


class IndexStrategy(enum.Enum):
    """Which indexes are asked for a project."""

    FIRST_INDEX = "first-index"  #: the first that knows the project (guards against dependency confusion)
    BEST_MATCH = "best-match"  #: all of them; the best file wins


@value
class Index:
    """One place where distributions come from."""

    kind: IndexKind
    url: str  #: without user name and password; the digest of it names the index in the cache
    digest: str  #: 32 hexadecimal digits; of an overlay "overlay/" and its name

    @property
    def is_overlay(self) -> bool:
        """Tell whether it is part of this cache: its pages are the names in it, and there is nobody to ask."""
        return self.kind is IndexKind.OVERLAY


def overlay_index(name: str) -> Index:
    """Give an overlay as the index that it is."""
    return Index(IndexKind.OVERLAY, f"overlay {name}", f"overlay/{name}")


@value
class IndexFile:
    """One file as a page lists it."""

    filename: str
    url: str  #: absolute, without user name and password
    sha256: str | None  #: hexadecimal
    size_bytes: int | None
    requires_python: str | None  #: PEP 440 specifier set
    yanked: str | None  #: the reason ("" where none was given); None: not yanked (PEP 592)
    metadata_sha256: str | None  #: PEP 658/714: "" where metadata is served without a hash; None: it is not served


@value
class UrlCredentials:
    """The user name and password that stood in the URL of an index. Never written anywhere."""

    url: str  #: of the index, without them
    user: str = field(repr=False)
    password: str | None = field(repr=False)  #: None: only the user is known; netrc or a keyring may know the rest


@value
class IndexSettings:
    """Where to look, in which order, and how to get there."""

    indexes: tuple[Index, ...]  #: in the order in which they are asked
    strategy: IndexStrategy
    trusted_hosts: tuple[str, ...]  #: "host" or "host:port" whose certificates are not checked
    ca_bundle: str | None  #: path of a PEM file or directory
    client_cert: str | None  #: path of a PEM file
    proxy: str | None = field(repr=False)  #: may hold a password
    timeout_seconds: float  #: for one read
    retries: int
    keyring_provider: str  #: pip's word: "auto", "disabled", "import" or "subprocess"
    credentials: tuple[UrlCredentials, ...] = field(default=(), repr=False)
