"""Which versions of a project may be taken, in which order: what every resolver asks before it chooses.

Pre-releases (PEP 440): taken like any other version if a requirement of the user names one, else only where no other
version is in range; so does uv. Yanked versions (PEP 592): only where a requirement names exactly that one, the user's
or another distribution's.

What other distributions pin shows itself only while the search goes on. Searching therefore begins without it, and if
that fails, begins once more with what was learned (`Learned`): so no answer depends on the order of the search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from aiocache_engine.model.requirement import Wanted
from aiocache_engine.policy.resolution import Catalog, Demand, Problem

_PATIENCE = 4  #: so many versions are tried before more are announced, and then twice as many as were tried
_LONG_PATIENCE = 8  #: so many are tried before also those are announced that are not in range yet


@dataclass(slots=True)
class Learned:
    """The versions that distributions pin, yanked ones among them. Grows from one search to the next."""

    pins: set[tuple[str, Version]] = field(default_factory=set)

    def hear(self, demands: Iterable[Demand]) -> None:
        """Take note of what requirements name."""
        for demand in demands:
            if "==" in demand.specifier:
                self.pins |= {(demand.project, version) for version in _naming(demand.specifier)[0]}


class Admission:
    """Decides for one search."""

    def __init__(self, problem: Problem, catalog: Catalog, known: Learned) -> None:
        """Keep what the decisions rest on.

        Args:
            problem: what the user asked for.
            catalog: what there is.
            known: what earlier searches learned. What this one learns goes into `learned`.
        """
        self._catalog = catalog
        self._takes_pre_releases = problem.takes_pre_releases
        self._known = known
        self.learned = Learned()
        self.passed_over: set[tuple[str, Version]] = set()  #: would have been in range, and were not taken
        self._tried: dict[str, set[Version]] = {}  #: which versions of each project were looked at so far
        self._announced: dict[str, set[Version]] = {}  #: which were announced
        self._named: dict[str, list[Wanted]] = {}
        for each in (*problem.roots, *problem.constraints):
            self._named.setdefault(each.project, []).append(each)

    def pick(
        self, project: str, is_in: Callable[[Version], bool], *, preferred: Version | None = None
    ) -> Version | None:
        """Give the best version of those that are in range; None: there is none."""
        if preferred is not None and is_in(preferred):
            return preferred
        there = self._catalog.preferred(project)
        if there is not None and is_in(there) and self._catalog.flaw(project, there) is None:
            return there
        last_resort: list[Version] = []
        for version in self._catalog.versions(project):
            if not is_in(version):
                continue
            rank = self._rank(project, version)
            if rank is None:
                self.passed_over.add((project, version))
            elif rank:
                last_resort.append(version)
            elif self._is_usable(project, version, is_in):
                return version
        return next((version for version in last_resort if self._is_usable(project, version, is_in)), None)

    def _look_ahead(self, project: str, version: Version, is_in: Callable[[Version], bool]) -> None:
        """Announce more and more versions of a project that does not stay with its first few."""
        tried = self._tried.setdefault(project, set())
        tried.add(version)
        announced = self._announced.setdefault(project, set())
        if len(tried) < _PATIENCE or version in announced:
            return
        rank, count = self._rank(project, version), 2 * len(tried)
        older = [each for each in self._catalog.versions(project) if each <= version]
        next_ones = list(islice((each for each in older if is_in(each) and self._rank(project, each) == rank), count))
        if len(tried) >= _LONG_PATIENCE:  # another project lowers its demands step by step: its next range is likely
            beyond = (each for each in older if each not in announced and self._rank(project, each) == rank)
            next_ones = list(islice(dict.fromkeys(chain(next_ones, beyond)), count))
        announced.update(next_ones)
        self._catalog.expect_versions(project, next_ones)

    def has_more_to_try(self) -> bool:
        """Tell whether a search that failed passed over what it later learned may be taken; then `known` says so."""
        news = self.passed_over & (self.learned.pins - self._known.pins)
        self._known.pins |= self.learned.pins
        return bool(news)

    def _is_usable(self, project: str, version: Version, is_in: Callable[[Version], bool]) -> bool:
        if self._catalog.refusal(project, version) is not None:
            return False
        self._look_ahead(project, version, is_in)
        return self._catalog.flaw(project, version) is None

    def _rank(self, project: str, version: Version) -> int | None:
        """Give 0 for what may be taken, 1 for what may be taken as a last resort, None for what may not."""
        if self._catalog.is_yanked(project, version) and not self._is_pinned(project, version):
            return None
        return int(version.is_prerelease and not self._user_takes_pre_releases(project))

    def _is_pinned(self, project: str, version: Version) -> bool:
        return (project, version) in self._known.pins or any(
            each.url is not None or version in _naming(each.specifier)[0] for each in self._named.get(project, ())
        )

    def _user_takes_pre_releases(self, project: str) -> bool:
        return self._takes_pre_releases or any(
            each.url is not None or _naming(each.specifier)[1] for each in self._named.get(project, ())
        )


@lru_cache(maxsize=4096)
def _naming(specifier: str) -> tuple[Sequence[Version], bool]:
    """Give the versions that a specifier set names exactly, and whether it names a pre-release."""
    pinned: list[Version] = []
    has_pre_release = False
    for each in SpecifierSet(specifier):
        try:
            version = Version(each.version.removesuffix(".*"))
        except InvalidVersion:  # `===` takes anything
            continue
        has_pre_release |= version.is_prerelease and each.operator != "!="
        if each.operator in ("==", "===") and not each.version.endswith(".*"):
            pinned.append(version)
    return tuple(pinned), has_pre_release
