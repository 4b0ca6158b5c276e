"""What a target has already, and which requests that satisfies: what nobody needs to look for.

The caller holds the environment lock. Nothing is taken for installed where it stands twice, or where an installation
was interrupted. What another tool installed counts like what this one did.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.model.outcome import Named
from aiocache_engine.model.python import InstalledDistribution, Target
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.python.installed import JOURNAL, names_itself, read_installed, read_installed_metadata

if TYPE_CHECKING:
    from packaging.version import Version

    from aiocache_engine.pipeline.resolution.metadata import CoreMetadata
    from aiocache_engine.policy.resolution import Problem


class Standing:
    """The one distribution of each project that a target has."""

    def __init__(self, distributions: Iterable[InstalledDistribution] = ()) -> None:
        by_project: dict[str, list[InstalledDistribution]] = {}
        for each in distributions:
            by_project.setdefault(each.project, []).append(each)
        self._there = {project: found[0] for project, found in by_project.items() if len(found) == 1}
        self._metadata: dict[str, CoreMetadata | None] = {}

    def version(self, project: str) -> Version | None:
        """Give the version of a project that is there; None: none, or one that cannot be told."""
        from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - most targets are empty

        there = self._there.get(project)
        try:
            return None if there is None else Version(there.version.replace("_", "-"))
        except InvalidVersion:
            return None

    def metadata(self, project: str) -> CoreMetadata | None:
        """Give what the distribution of a project says of itself; None where it cannot be read."""
        if project not in self._metadata:
            self._metadata[project] = self._read(project)
        return self._metadata[project]

    def named(self, wanted: Sequence[Wanted]) -> tuple[Named, ...]:
        """Give what of this is there already, its dependencies left aside."""
        found = []
        for each in wanted:
            is_told_by_version = each.url is None or (each.is_locked and each.pinned is not None)
            version = self.version(each.project) if is_told_by_version else None
            if version is None or not _contains(each.specifier, version):
                continue
            if names_itself(self._there[each.project]):
                found.append(Named(each.project, self._there[each.project].version))
        return tuple(found)

    def closure(self, problem: Problem, markers: Mapping[str, str]) -> tuple[Named, ...] | None:
        """Give all that a problem asks for, dependencies followed, if all of it is there already; else None."""
        from aiocache_engine.pipeline.resolution.metadata import MetadataError, demands_of  # noqa: PLC0415 - as above

        limits: dict[str, str] = {each.project: "" for each in problem.constraints}
        for each in problem.constraints:
            limits[each.project] = ",".join(filter(None, (limits[each.project], each.specifier)))
        direct = {each.project for each in problem.constraints if each.url is not None}
        queue = [(each.project, each.extras, each.specifier, each.url) for each in problem.roots]
        followed: set[tuple[str, str]] = set()
        while queue:
            project, extras, specifier, url = queue.pop()
            version = self.version(project) if url is None and project not in direct else None
            if version is None or not _contains(specifier, version) or not _contains(limits.get(project, ""), version):
                return None
            metadata = self.metadata(project)
            if metadata is None:
                return None
            for extra in {"", *extras}:
                if (project, extra) not in followed:
                    followed.add((project, extra))
                    try:
                        demands = demands_of(metadata, extra, markers)
                    except MetadataError:
                        return None
                    queue += [(each.project, each.extras, each.specifier, each.url) for each in demands]
        projects = sorted({project for project, _ in followed})
        return tuple(Named(project, self._there[project].version) for project in projects)

    def _read(self, project: str) -> CoreMetadata | None:
        from aiocache_engine.pipeline.resolution.metadata import MetadataError, parse_metadata  # noqa: PLC0415 - as above

        there = self._there.get(project)
        content = None if there is None else read_installed_metadata(there)
        try:
            metadata = None if content is None else parse_metadata(content)
        except MetadataError:
            return None
        return metadata if metadata is not None and metadata.project == project else None


def read_standing(target: Target, *, counts: bool) -> Standing:
    """Look at what a target has; nothing where it does not count, or where an installation was interrupted."""
    if not counts or os.path.lexists(os.path.join(target.root, JOURNAL)):
        return Standing()
    return Standing(read_installed(target.site_directories()))


def without(satisfied: Sequence[Named], wanted: Sequence[Wanted]) -> tuple[Wanted, ...]:
    """Leave out of what is wanted what is there already."""
    projects = {each.project for each in satisfied}
    return tuple(each for each in wanted if each.project not in projects)


def _contains(specifier: str, version: Version) -> bool:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - as above

    return not specifier or SpecifierSet(specifier).contains(version, prereleases=True)
