"""Says in words why no versions suit everybody, from the facts that prove it.

A proof that a machine finds goes version by version; a person wants to know who asks for what. So the facts are put
together by who asks whom, from the user downwards, and versions are named as ranges wherever they are neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import field, value
from aiocache_engine.policy.choose import newest_of
from aiocache_engine.policy.resolution import Catalog, Conflict, Demand, Problem, named
from aiocache_engine.policy.span import Universe
from aiocache_engine.redaction import redacted

_LINE = 3  #: so many facts fit into one line
_NONE_FOR = " only, none "  #: after the tags of the wheels of one version
_AS_SOURCE = "it is there only as source"  #: before the name of its file
_YANKED = "yanked"
_SHOWN = 3  #: so many reasons or versions are listed, the others counted


@value
class Facts:
    """What a proof rests on."""

    asked: list[Wanted] = field(default_factory=list)
    constrained: set[str] = field(default_factory=set)  #: projects whose constraint took part
    depends: dict[tuple[str, str, Version, Demand], None] = field(default_factory=dict)  #: who, extra, version, on what
    lacking: list[tuple[str, Callable[[Version], bool]]] = field(default_factory=list)  #: no version to take in there

    def demands_on(self, project: str, problem: Problem) -> list[tuple[str, str]]:
        """Give text and specifier of everything that is demanded of a project."""
        found = {str(demand): demand.specifier for _, _, _, demand in self.depends if demand.project == project}
        found |= {_asked(each): each.specifier for each in self.asked if each.project == project}
        if project in self.constrained:
            found |= {_asked(each): each.specifier for each in problem.constraints if each.project == project}
        return list(found.items())


def explain(facts: Facts, problem: Problem, catalog: Catalog) -> Conflict:
    """Write the facts down for a person."""
    writer = _Writer(facts, problem, catalog)
    clauses = [*writer.dependencies(), *writer.constraints(), *writer.lacks()]
    asked = _listed([_asked(each) for each in facts.asked])
    verdict = f"you ask for {asked}" if asked else ""
    is_alone = len(clauses) < 2 and len(facts.asked) < 2  # noqa: PLR2004 - one wish, and one thing in its way
    end = "this cannot be had" if is_alone else "there are no versions that suit everybody"
    if len(clauses) + bool(asked) <= _LINE:
        parts = [*clauses, *([verdict] if verdict else [])]
        return Conflict((f"Because {' and '.join(parts)}, {end}.", *writer.hints))
    lines = [f"Because {clauses[0]},", *(f"    and {clause}," for clause in clauses[1:])]
    lines.append(f"    and {verdict}, {end}." if verdict else f"{end}.")
    return Conflict(("\n".join(lines), *writer.hints))


class _Writer:
    """Writes the clauses of one explanation."""

    def __init__(self, facts: Facts, problem: Problem, catalog: Catalog) -> None:
        self._facts = facts
        self._problem = problem
        self._catalog = catalog
        self._universes: dict[str, Universe] = {}
        self.hints: list[str] = []

    def dependencies(self) -> list[str]:
        """Write who depends on what, those first that the user asked for."""
        groups: dict[tuple[str, str], dict[str, list[Version]]] = {}
        for project, extra, version, demand in self._facts.depends:
            by_text = groups.setdefault((named(project, [extra] if extra else []), demand.project), {})
            by_text.setdefault(str(demand), []).append(version)
        clauses: list[str] = []
        for subject, target in self._from_the_top(list(groups)):
            clauses += self._statements(subject, target, groups[subject, target])
        return clauses

    def constraints(self) -> list[str]:
        """Write the constraints that took part."""
        return [
            f"a constraint says {_asked(each)}"
            for each in self._problem.constraints
            if each.project in self._facts.constrained
        ]

    def lacks(self) -> list[str]:
        """Write what is not there at all."""
        clauses: dict[str, None] = {}
        named = {each.project: None for each in self._facts.asked} | {
            demand.project: None for _, _, _, demand in self._facts.depends
        }
        for project in named:
            clauses[self._absence(project)] = None
        for project, is_in in self._facts.lacking:
            clause = self._lack(project, is_in)
            if clause:
                clauses[clause] = None
        return [clause for clause in clauses if clause]

    def _absence(self, project: str) -> str:
        """Say that there is nothing at all of what somebody asks for."""
        known = self._catalog.versions(project)
        if not known:
            return f"no index knows {project}"
        for text, specifier in self._facts.demands_on(project, self._problem):
            if not self._inside(project, specifier):
                return f"there is no {text} (the newest is {self._newest(project, specifier)})"
        return ""

    def _newest(self, project: str, specifier: str) -> Version:
        """Give the newest version that could have been meant."""
        known = self._catalog.versions(project)
        counts = bool(self._problem.takes_pre_releases or SpecifierSet(specifier).prereleases)
        kept = [version for version in known if not self._catalog.is_yanked(project, version)]
        return newest_of(kept, takes_pre_releases=counts) or known[0]

    def _from_the_top(self, arrows: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Order who depends on whom so that each is known before it depends on something."""
        depth = {each.project: 0 for each in self._facts.asked}
        for _ in arrows:
            for subject, target in arrows:
                above = depth.get(subject.partition("[")[0])
                if above is not None:
                    depth[target] = min(depth.get(target, above + 1), above + 1)
        return sorted(arrows, key=lambda arrow: depth.get(arrow[0].partition("[")[0], len(arrows)))

    def _statements(self, subject: str, target: str, by_text: dict[str, list[Version]]) -> list[str]:
        project = subject.partition("[")[0]
        texts = sorted(by_text, key=lambda text: max(by_text[text]), reverse=True)
        told = texts if len(texts) <= _SHOWN else texts[:1]
        statements = [f"{self._depends(project, subject, by_text[text])} on {text}" for text in told]
        if len(told) < len(texts):
            others = [version for text in texts[1:] for version in by_text[text]]
            statements.append(
                f"{self._depends(project, subject, others)} on other versions of {target} that do not fit either"
            )
        return statements

    def _depends(self, project: str, subject: str, versions: Sequence[Version]) -> str:
        """Write that a set of versions depends on something: they are named together, or one by one."""
        span = self._span(project, subject, versions)
        if span:
            return f"{span} depends"
        shown = [f"{subject}=={version}" for version in sorted(versions, reverse=True)]
        return f"{_listed(shown[:_SHOWN], others=len(shown) - _SHOWN)} depend"

    def _span(self, project: str, subject: str, versions: Sequence[Version]) -> str | None:
        """Write a set of versions as it was asked for, or as a range; None: it is neither."""
        meant = set(versions)
        known = [v for v in self._catalog.versions(project) if v in meant or self._may_be_taken(project, v)]
        if meant.issuperset(known):
            return subject if len(known) == 1 and self._is_pinned(project) else self._all(project, subject, known)
        for text, specifier in self._facts.demands_on(project, self._problem):
            if specifier and self._inside(project, specifier).intersection(known) == meant:
                return f"{subject}{specifier}" if "[" in subject else text
        if len(meant) == 1:
            return f"{subject}=={versions[0]}"
        places = [place for place, version in enumerate(known) if version in meant]
        newest, oldest = known[places[0]], known[places[-1]]
        if len(places) == places[-1] - places[0] + 1:
            if not places[0]:
                return f"{subject}>={oldest}"
            return f"{subject}<={newest}" if places[-1] == len(known) - 1 else f"{subject}>={oldest},<={newest}"
        return None

    def _inside(self, project: str, specifier: str) -> set[Version]:
        """Give the versions that a specifier set allows."""
        if project not in self._universes:
            self._universes[project] = Universe(self._catalog.versions(project))
        universe = self._universes[project]
        return {version for version, place in universe.places.items() if place in universe.span(specifier)}

    def _all(self, project: str, subject: str, known: Sequence[Version]) -> str:
        if len(known) == 1:
            return f"{subject}=={known[0]}"
        return f"every version of {subject}" if self._catalog.versions(project) else subject

    def _is_pinned(self, project: str) -> bool:
        return any(each.project == project and each.url for each in self._facts.asked)

    def _may_be_taken(self, project: str, version: Version) -> bool:
        if version.is_prerelease or self._catalog.is_yanked(project, version):
            return False
        return self._catalog.refusal(project, version) is None

    def _lack(self, project: str, is_in: Callable[[Version], bool]) -> str:
        known = self._catalog.versions(project)
        inside = [version for version in known if is_in(version)]
        if not inside:
            demands = self._facts.demands_on(project, self._problem)
            together = ",".join(specifier for _, specifier in demands if specifier)
            is_told = not 1 < len(demands) <= _SHOWN or self._inside(project, together)
            if is_told or self._absence(project):
                return ""
            return f"no version of {project} is among all of {_listed([text for text, _ in demands])}"
        if any(subject == project for subject, _, _, _ in self._facts.depends):
            # Others of it were tried: nobody would have had the yanked ones.
            inside = [version for version in inside if not self._catalog.is_yanked(project, version)]
        by_reason: dict[str, list[Version]] = {}
        reasons: dict[str, str] = {}  #: by what they have in common
        for version in sorted(inside, reverse=True):
            reason = self._reason(project, version)
            common = _common(reason)
            reasons.setdefault(common, reason)
            by_reason.setdefault(common, []).append(version)
        return " and ".join(
            f"{_counted(project, versions)} cannot be taken ({reasons[common]})"
            for common, versions in list(by_reason.items())[:_SHOWN]
            if common
        )

    def _reason(self, project: str, version: Version) -> str:
        refusal = self._catalog.refusal(project, version)
        if refusal is not None:
            return refusal
        if self._catalog.is_yanked(project, version):
            self._hint(f"A yanked version is taken only where it is asked for exactly: {project}=={version}.")
            return _YANKED
        if version.is_prerelease:
            self._hint(f"Pre-releases are taken only where one is named: {project}>={version}, for example.")
            return "a pre-release"
        return self._catalog.flaw(project, version) or ""

    def _hint(self, text: str) -> None:
        if text not in self.hints and len(self.hints) < _SHOWN:
            self.hints.append(text)


def _common(reason: str) -> str:
    """Give what a reason has in common with the same one of other versions, whose files have other names."""
    return _AS_SOURCE if reason.startswith(_AS_SOURCE) else reason.partition(_NONE_FOR)[2] or reason


def _asked(wanted: Wanted) -> str:
    where = f" ({wanted.origin})" if wanted.origin else ""
    what = f" @ {redacted(wanted.url)}" if wanted.url else wanted.specifier
    return f"{named(wanted.project, wanted.extras)}{what}{where}"


def _counted(project: str, versions: Sequence[Version]) -> str:
    rest = len(versions) - 1
    if not rest:
        return f"{project}=={versions[0]}"
    return f"{project}=={versions[0]} and {rest} older version{'s' if rest > 1 else ''} of it"


def _listed(words: Iterable[str], *, others: int = 0) -> str:
    shown = list(words)
    if others > 0:
        shown.append(f"{others} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""
