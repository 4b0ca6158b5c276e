"""The resolver in use: PubGrub, by nab-resolver (docs/decisions/0012). The one file that knows that package.

A project is a node, and each of its extras another one that is tied to the same version. Nodes are decided in the
order of uv: direct URLs, then what is pinned, then what keeps conflicting, then as they were met, the user's own first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from nab_resolver.errors import ResolutionError, ResolutionTerminatedError
from nab_resolver.resolver import BaseProvider
from nab_resolver.resolver import Resolver as PubGrub
from nab_resolver.types import Incompatibility, IncompatibilityCause, RootRequirement
from packaging.version import Version

from aiocache_engine.errors import ResolutionLimitError
from aiocache_engine.hints import Any
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.policy.admission import Admission, Learned
from aiocache_engine.policy.explain import Facts, explain
from aiocache_engine.policy.resolution import Catalog, Conflict, Demand, Pin, Problem, Resolution
from aiocache_engine.policy.span import Span, Universe

_STEPS = 200_000
_CONFLICTS = 5  #: after so many a node is decided earlier, or later where it is the culprit


class Node(NamedTuple):
    """What the solver decides on: a project, or one extra of it."""

    project: str
    extra: str  #: "" is the project itself

    def __str__(self) -> str:
        return f"{self.project}[{self.extra}]" if self.extra else self.project


class NabResolver:
    """Finds versions by PubGrub, in bounded time."""

    def __init__(self, *, limit_seconds: float = 120.0) -> None:
        self._limit_seconds = limit_seconds  #: of computing; waiting for an index does not count

    def resolve(self, problem: Problem, catalog: Catalog) -> Resolution | Conflict:
        """Give versions that suit everybody, or why there are none.

        Raises:
            ResolutionLimitError: neither was found within the limit.
        """
        known = Learned()
        until = time.thread_time() + self._limit_seconds
        while True:
            provider = _Provider(problem, catalog, known, until)
            try:
                return provider.solve()
            except ResolutionTerminatedError as error:
                raise ResolutionLimitError(f"after {_STEPS:,} steps") from error
            except ResolutionError as error:
                if provider.admission.has_more_to_try():
                    continue
                return explain(provider.facts(error.incompatibility), problem, catalog)


class _Provider(BaseProvider[Node, int]):
    """Answers the solver's questions about one problem."""

    def __init__(self, problem: Problem, catalog: Catalog, known: Learned, until: float) -> None:
        self._problem = problem
        self._catalog = catalog
        self._until = until
        self.admission = Admission(problem, catalog, known)
        self._urls: dict[str, str] = {}  #: of each project the first that is named; another one excludes it
        for each in (*problem.roots, *problem.constraints):
            if each.url:
                self._urls.setdefault(each.project, each.url)
        self._order: dict[Node, int] = {}  #: when each node was first met
        self._universes: dict[str, Universe] = {}
        self._chosen: dict[str, Version] = {}  #: the last choice of each project
        self._dependencies: dict[tuple[Node, int], dict[Node, Span]] = {}
        self._demands: dict[tuple[Node, int, Node], list[Demand]] = {}

    def solve(self) -> Resolution:
        """Run the solver."""
        self._catalog.expect(
            Demand(each.project, each.extras, each.specifier, each.url) for each in self._problem.roots
        )
        roots: list[RootRequirement[Node, int]] = []
        for wanted in self._problem.roots:
            demand = Demand(wanted.project, wanted.extras, wanted.specifier, wanted.url)
            roots += [RootRequirement(node, span, wanted) for node, span in self._spans(demand).items()]
        solver: PubGrub[Node, int] = PubGrub(self, max_iterations=_STEPS, range_type=Span, root_version=0)
        pins = solver.resolve(roots, _Constraints(self._constraint_span, self._problem.constraints))
        extras: dict[str, list[str]] = {node.project: [] for node in pins}
        for node in pins:
            if node.extra:
                extras[node.project].append(node.extra)
        return Resolution(
            tuple(
                Pin(node.project, self._universe(node.project).versions[place], tuple(sorted(extras[node.project])))
                for node, place in sorted(pins.items())
                if not node.extra
            )
        )

    def choose_version(self, package: Node, version_range: Any) -> int | None:
        """Pick the best version of a node in a range."""
        if time.thread_time() > self._until:
            raise ResolutionLimitError("in the time allowed")
        preferred = self._chosen.get(package.project) if package.extra else None
        version = self.admission.pick(
            package.project, self._member_test(package.project, version_range), preferred=preferred
        )
        if version is None:
            return None
        self._chosen[package.project] = version
        return self._universe(package.project).places[version]

    def has_satisfying_version(self, package: Node, version_range: Any) -> bool:
        """Tell whether there is a version in a range, constraints aside."""
        return self.admission.pick(package.project, self._member_test(package.project, version_range)) is not None

    def get_dependencies(self, package: Node, version: int) -> Mapping[Node, Span]:
        """Give what a version of a node depends on."""
        key = (package, version)
        if key not in self._dependencies:
            self._dependencies[key] = self._read_dependencies(package, version)
        return self._dependencies[key]

    def prioritize(
        self,
        package: Node,
        version_range: Any,
        conflict_counts: Mapping[Node, int],
        culprit_counts: Mapping[Node, int] | None = None,
    ) -> tuple[int, int]:
        """Give the place of a node among the undecided; the lowest comes first."""
        order = self._order.setdefault(package, len(self._order))
        if package.project in self._urls:
            return 0, order
        if not version_range.bits & (version_range.bits - 1):
            return 1, order
        if conflict_counts.get(package, 0) >= _CONFLICTS:
            return 2, order
        if culprit_counts and culprit_counts.get(package, 0) >= _CONFLICTS:
            return 3, order
        return 4, order

    def widen_decision(self, package: Node, version: int) -> Span | None:  # noqa: ARG002 - as the solver asks
        """Let clauses speak of single versions: there is nothing between two places."""
        return None

    def facts(self, proof: Incompatibility[Any, Any] | None) -> Facts:
        """Collect what a proof rests on."""
        facts = Facts()
        for clause in proof.walk() if proof is not None else ():
            if clause.cause is IncompatibilityCause.ROOT and clause.origin not in facts.asked:
                facts.asked.append(clause.origin)
                continue
            if not clause.terms or not isinstance(node := clause.terms[0].package, Node):
                continue
            span: Any = clause.terms[0].constraint
            if clause.cause is IncompatibilityCause.CONSTRAINT:
                facts.constrained.add(node.project)
            elif clause.cause is IncompatibilityCause.NO_VERSIONS:
                facts.lacking.append((node.project, self._member_test(node.project, span)))
            elif clause.cause is IncompatibilityCause.DEPENDENCY:
                self._collect(clause, facts)
        facts.asked.sort(key=self._problem.roots.index)
        return facts

    def _collect(self, clause: Incompatibility[Any, Any], facts: Facts) -> None:
        """Collect the demands behind a dependency clause; it may stand for several versions."""
        parent = clause.terms[0]
        target = clause.terms[-1].package
        versions = self._universe(parent.package.project).versions if isinstance(parent.package, Node) else ()
        for place, version in enumerate(versions):
            if place in parent.constraint:
                for demand in self._demands.get((parent.package, place, target), ()):
                    facts.depends[parent.package.project, parent.package.extra, version, demand] = None

    def _read_dependencies(self, package: Node, place: int) -> dict[Node, Span]:
        version = self._universe(package.project).versions[place]
        demands = self._catalog.demands(package.project, version, package.extra)
        self._catalog.expect(demands)
        self.admission.learned.hear(demands)
        found: dict[Node, Span] = {}
        if package.extra:
            found[Node(package.project, "")] = Span.singleton(place)
        for demand in demands:
            for node, span in self._spans(demand).items():
                found[node] = found[node] & span if node in found else span
                self._demands.setdefault((package, place, node), []).append(demand)
                self._order.setdefault(node, len(self._order))
        return found

    def _spans(self, demand: Demand) -> dict[Node, Span]:
        """Give what a demand leaves of each node it names."""
        span = self._allowed(demand)
        return {Node(demand.project, extra): span for extra in (*sorted(demand.extras), "")}

    def _universe(self, project: str) -> Universe:
        if project not in self._universes:
            self._universes[project] = Universe(self._catalog.versions(project))
        return self._universes[project]

    def _member_test(self, project: str, span: Span) -> Callable[[Version], bool]:
        places = self._universe(project).places
        return lambda version: places[version] in span

    def _constraint_span(self, project: str) -> Span:
        span = Span.full()
        for each in self._problem.constraints:
            if each.project == project:
                # Another place of a locked file is no contradiction: its version and hash say what it is.
                span &= self._universe(project).span(each.specifier) if each.is_locked else self._allowed(each)
        return span

    def _allowed(self, named: Demand | Wanted) -> Span:
        """Give what is left of a project by who names it."""
        if named.url is not None and named.url != self._urls.get(named.project):
            return Span.empty()  # only the user may send anybody to a URL, and to one only
        return self._universe(named.project).span(named.specifier)


class _Constraints(Mapping[Node, Span]):
    """Constraints of projects, which hold for the nodes of their extras as well."""

    def __init__(self, span: Callable[[str], Span], constraints: Sequence[Wanted]) -> None:
        self._span = span
        self._projects = dict.fromkeys(each.project for each in constraints)

    def __getitem__(self, node: Node) -> Span:
        if node.project not in self._projects:
            raise KeyError(node)
        return self._span(node.project)

    def __iter__(self) -> Iterator[Node]:
        return (Node(project, "") for project in self._projects)

    def __len__(self) -> int:
        return len(self._projects)
