"""A catalog that is a table, for tests of resolvers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from aiocache_engine.model.requirement import Wanted
from aiocache_engine.policy.resolution import Demand, Problem


class TableCatalog:
    """Projects, their versions, and what each depends on: `{"a": {"1.0": ["b>=2", "c; extra == 'x'"]}}`."""

    def __init__(
        self,
        table: Mapping[str, Mapping[str, Sequence[str]]],
        *,
        yanked: Iterable[str] = (),
        refused: Mapping[str, str] | None = None,
        flawed: Mapping[str, str] | None = None,
        preferred: Mapping[str, str] | None = None,
    ) -> None:
        self.table = {name: {Version(v): list(r) for v, r in versions.items()} for name, versions in table.items()}
        self.yanked = set(yanked)  #: "a==1.0"
        self.refused = refused or {}
        self.flawed = flawed or {}
        self.there = {name: Version(version) for name, version in (preferred or {}).items()}
        self.read: list[str] = []  #: whose demands were asked for
        self.expected: list[list[str]] = []  #: what was announced, each time

    def versions(self, project: str) -> Sequence[Version]:
        return sorted(self.table.get(project, {}), reverse=True)

    def preferred(self, project: str) -> Version | None:
        return self.there.get(project)

    def is_yanked(self, project: str, version: Version) -> bool:
        return f"{project}=={version}" in self.yanked

    def refusal(self, project: str, version: Version) -> str | None:
        return self.refused.get(f"{project}=={version}")

    def flaw(self, project: str, version: Version) -> str | None:
        return self.flawed.get(f"{project}=={version}")

    def demands(self, project: str, version: Version, extra: str) -> Sequence[Demand]:
        self.read.append(f"{project}=={version}")
        found = []
        for text in self.table[project][version]:
            requirement = Requirement(text)
            marker = requirement.marker
            applies = not extra if marker is None else marker.evaluate({"extra": extra})
            if applies:
                found.append(
                    Demand(
                        canonicalize_name(requirement.name),
                        frozenset(canonicalize_name(each) for each in requirement.extras),
                        str(requirement.specifier),
                        requirement.url,
                    )
                )
        return found

    def expect(self, demands: Iterable[Demand]) -> None:
        pass

    def expect_versions(self, project: str, versions: Sequence[Version]) -> None:
        self.expected.append([f"{project}=={version}" for version in versions])


def wanted(text: str) -> Wanted:
    requirement = Requirement(text)
    return Wanted(
        text,
        canonicalize_name(requirement.name),
        str(requirement.specifier),
        None,
        frozenset(),
        requirement.url,
        frozenset(canonicalize_name(each) for each in requirement.extras),
    )


def problem(*roots: str, constraints: Sequence[str] = (), pre: bool = False) -> Problem:
    return Problem(
        tuple(wanted(each) for each in roots), tuple(wanted(each) for each in constraints), takes_pre_releases=pre
    )
