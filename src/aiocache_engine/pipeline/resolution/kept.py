"""The catalog of a target that has something already: what is installed is a candidate, from its own metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from packaging.version import Version

from aiocache_engine.errors import OfflineError, ProjectNotFoundError
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.resolution.catalog import IndexCatalog
from aiocache_engine.pipeline.resolution.metadata import MetadataError, check_requirements, demands_of
from aiocache_engine.pipeline.standing import Standing
from aiocache_engine.policy.resolution import Demand


class KeepingCatalog:
    """What can be chosen, and what is there. `IndexCatalog` answers for all that is not installed."""

    def __init__(self, catalog: IndexCatalog, standing: Standing, markers: Mapping[str, str]) -> None:
        self._catalog = catalog
        self._standing = standing
        self._markers = markers
        self._versions: dict[str, Sequence[Version]] = {}

    def preferred(self, project: str) -> Version | None:
        """Give the installed version of a project, if it may stay; None: there is none that may."""
        if self._catalog.is_direct(project) or self._standing.metadata(project) is None:
            return None
        return self._standing.version(project)

    def versions(self, project: str) -> Sequence[Version]:
        """Give every version, newest first, the installed one among them."""
        if project not in self._versions:
            self._versions[project] = self._all(project)
        return self._versions[project]

    def is_yanked(self, project: str, version: Version) -> bool:
        """Tell whether its maker took the version back; nobody takes back what is installed."""
        return version != self.preferred(project) and self._catalog.is_yanked(project, version)

    def refusal(self, project: str, version: Version) -> str | None:
        """Say why no file of a version can be taken."""
        return None if version == self.preferred(project) else self._catalog.refusal(project, version)

    def flaw(self, project: str, version: Version) -> str | None:
        """Say why a version cannot be used after all."""
        metadata = self._standing.metadata(project)
        if version != self.preferred(project) or metadata is None:
            return self._catalog.flaw(project, version)
        try:
            check_requirements(metadata, self._markers)
        except MetadataError as error:
            return str(error)
        return None

    def demands(self, project: str, version: Version, extra: str) -> Sequence[Demand]:
        """Give what a version, or one extra of it, depends on."""
        metadata = self._standing.metadata(project)
        if version != self.preferred(project) or metadata is None:
            return self._catalog.demands(project, version, extra)
        return demands_of(metadata, extra, self._markers)

    def expect(self, demands: Iterable[Demand]) -> None:
        """Pass on what is about to be asked for."""
        self._catalog.expect(demands)

    def expect_versions(self, project: str, versions: Sequence[Version]) -> None:
        """Pass on what is about to be tried."""
        self._catalog.expect_versions(project, [each for each in versions if each != self.preferred(project)])

    def choice(self, project: str, version: Version) -> Choice:
        """Give the file that stands for a version that was pinned and is not kept."""
        return self._catalog.choice(project, version)

    def requires(self, project: str, version: Version) -> frozenset[str]:
        """Give what the metadata of a version that is not kept says of its requirements."""
        return self._catalog.requires(project, version)

    def has_extra(self, project: str, version: Version, extra: str) -> bool:
        """Tell whether a version that was read has such an extra."""
        metadata = self._standing.metadata(project)
        if version != self.preferred(project) or metadata is None:
            return self._catalog.has_extra(project, version, extra)
        return extra in metadata.extras

    def _all(self, project: str) -> Sequence[Version]:
        there = self.preferred(project)
        try:
            known = self._catalog.versions(project)
        except (ProjectNotFoundError, OfflineError):
            if there is None:
                raise
            return (there,)
        return known if there is None or there in known else sorted((*known, there), reverse=True)
