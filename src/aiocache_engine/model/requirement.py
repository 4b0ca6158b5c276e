"""What somebody asked for, after parsing: one project, and which of its wheels may be taken."""

from __future__ import annotations

from aiocache_engine.model.value import field, value
from aiocache_engine.redaction import redacted


@value
class Wanted:
    """One requirement that applies to the target interpreter."""

    text: str  #: as it was written, for messages: without the secrets of its URL
    project: str  #: normalized
    specifier: str  #: PEP 440 specifier set, "" where any version will do
    pinned: str | None  #: canonical version, where the specifier set names exactly one with ==
    sha256s: frozenset[str]  #: one of these must fit; empty: any will do
    url: str | None = field(repr=False)  #: a direct URL, secrets and all, or the path of a wheel, instead of an index
    extras: frozenset[str] = frozenset()  #: normalized
    origin: str = ""  #: the file and line it was read from; "" where somebody typed it
    is_locked: bool = False  #: a lock file chose this file: its URL says where it can be had, not what it is

    def __post_init__(self) -> None:
        """Take the secrets out of what is shown."""
        object.__setattr__(self, "text", redacted(self.text))


@value
class Refusal:
    """Why no file of a project can be taken."""

    reason: str  #: what is wrong, and where there is something to do, what
