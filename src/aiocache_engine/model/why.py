"""Why something is still in the cache, or why it will not be much longer: question and answer, as values."""

from __future__ import annotations

from aiocache_engine.model.removal import KeepReason, RemovalReason, StoredSdist
from aiocache_engine.model.snapshot import SeenObject
from aiocache_engine.model.value import value


@value(kw_only=True)
class Question:
    """Which entries are asked about: those that anything here names."""

    project: str | None = None  #: normalized; archives of it, and cached environments with it in them
    specifier: str | None = None  #: PEP 440 specifier set, of the project's versions; None: all
    named: frozenset[str] = frozenset()  #: ids that names of these versions lead to: a damaged manifest tells nothing
    object_id: str | None = None
    tool: str | None = None  #: whose cached environments
    #: absolute, several ways to write one: of an environment outside, something in it, or an sdist
    paths: tuple[str, ...] = ()


@value
class StoredPages:
    """All that is stored for a project of which no archive or sdist is there: pages of indexes, metadata of wheels."""

    project: str
    size_bytes: int  #: logical

    kind = "page"
    version = None
    id = None
    tool = None


@value
class Explanation:
    """What keeps one entry, or why the next prune takes it."""

    object: SeenObject | StoredSdist | StoredPages  #: pages only where a project is asked about that has nothing else
    reasons: tuple[KeepReason, ...]  #: empty exactly where a prune takes it
    removal: RemovalReason | None  #: why it does; None: it stays
