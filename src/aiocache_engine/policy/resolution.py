"""What resolving means, in plain values: what is asked for, what there is to choose from, and what came of it.

A `Resolver` finds for every project that is needed one version that suits all who need it. It knows nothing of indexes,
files or the network: a `Catalog` tells it which versions there are and what they depend on. Both are seams: the same
contract tests hold over every resolver, and a catalog may read the cache, ask an index, or be a table in a test.
Follows PEP 440 and PEP 508.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.version import Version

from aiocache_engine.hints import Protocol
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import value
from aiocache_engine.redaction import redacted


@value
class Demand:
    """One requirement of a distribution on another, which applies to the target interpreter."""

    project: str  #: normalized
    extras: frozenset[str]  #: normalized
    specifier: str  #: PEP 440 specifier set, "" where any version will do
    url: str | None  #: where the one file that is meant lies, instead of an index

    def __str__(self) -> str:
        """Write it as a person would."""
        return named(self.project, self.extras) + (f" @ {redacted(self.url)}" if self.url else self.specifier)


@value
class Problem:
    """Everything that is asked for."""

    roots: tuple[Wanted, ...]  #: what has to be there; a project may be named several times
    constraints: tuple[Wanted, ...] = ()  #: what has to hold for a project, should it be needed
    takes_pre_releases: bool = False  #: all pre-releases count like any other version
    requires_hashes: bool = False  #: what has no hash is refused


@value
class Pin:
    """One project of the answer."""

    project: str  #: normalized
    version: Version
    extras: tuple[str, ...]  #: that somebody asked for, sorted


@value
class Resolution:
    """One version of every project that is needed, by name."""

    pins: tuple[Pin, ...]


@value
class Conflict:
    """Why there is no answer."""

    lines: tuple[str, ...]  #: for a person; the first says it all, the others what may help


class Catalog(Protocol):
    """Tells what there is to choose from. What it said once it says again: a resolver may ask twice.

    Any of its methods may raise; a resolver lets that through as it is.
    """

    def versions(self, project: str) -> Sequence[Version]:
        """Give every version that there are files of, newest first; empty where nobody knows the project."""

    def preferred(self, project: str) -> Version | None:
        """Give the version that is taken before any other, where it suits everybody; None: the newest is."""

    def is_yanked(self, project: str, version: Version) -> bool:
        """Tell whether its maker took the version back (PEP 592)."""

    def refusal(self, project: str, version: Version) -> str | None:
        """Say why no file of this version can be taken, from what the index says of it; None: one can."""

    def flaw(self, project: str, version: Version) -> str | None:
        """Say why the version cannot be used after all, now that its metadata is read; None: it can."""

    def demands(self, project: str, version: Version, extra: str) -> Sequence[Demand]:
        """Give what a version depends on, or ("" is none) what one of its extras adds. `flaw` found nothing."""

    def expect(self, demands: Iterable[Demand]) -> None:
        """Hear what is about to be asked for: a catalog that has to fetch begins now."""

    def expect_versions(self, project: str, versions: Sequence[Version]) -> None:
        """Hear that one version after the other will be tried, these next."""


class Resolver(Protocol):
    """Finds versions that suit everybody."""

    def resolve(self, problem: Problem, catalog: Catalog) -> Resolution | Conflict:
        """Give the newest versions that suit everybody, always the same for the same catalog; or why there are none."""


def named(project: str, extras: Iterable[str]) -> str:
    """Write a project with its extras."""
    listed = ",".join(sorted(extras))
    return f"{project}[{listed}]" if listed else project
