"""What every resolver promises, held over the one in use and over resolvelib."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import resolvelib
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from aiocache_engine.errors import ResolutionLimitError
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.resolution.nab import NabResolver
from aiocache_engine.policy.admission import Admission, Learned
from aiocache_engine.policy.explain import Facts, explain
from aiocache_engine.policy.resolution import Catalog, Conflict, Demand, Pin, Problem, Resolution, Resolver
from catalogs import TableCatalog, problem, wanted

Table = Mapping[str, Mapping[str, list[str]]]
URL = "https://example.org/b-1-py3-none-any.whl"


class LibResolver:
    """The same by resolvelib: the way out, and the proof that the protocol is no one's own."""

    def resolve(self, problem: Problem, catalog: Catalog) -> Resolution | Conflict:
        known = Learned()
        while True:
            provider = _LibProvider(problem, catalog, known)
            resolver: Any = resolvelib.Resolver(provider, resolvelib.BaseReporter())
            roots = [(Demand(each.project, each.extras, each.specifier, each.url), each) for each in problem.roots]
            try:
                result = resolver.resolve([part for demand, origin in roots for part in _split(demand, origin)], 5000)
            except resolvelib.ResolutionImpossible as error:
                if provider.admission.has_more_to_try():
                    continue
                return explain(provider.facts(error.causes), problem, catalog)
            pins = result.mapping
            return Resolution(
                tuple(
                    Pin(name, pins[name, ""][1], tuple(sorted(e for p, e in pins if p == name and e)))
                    for name in sorted(p for p, e in pins if not e)
                )
            )


def _split(demand: Demand, origin: Any) -> list[Any]:
    """One requirement for the project and each of its extras."""
    return [(demand, extra, origin) for extra in (*sorted(demand.extras), "")]


class _LibProvider(resolvelib.AbstractProvider):
    def __init__(self, problem: Problem, catalog: Catalog, known: Learned) -> None:
        self.problem, self.catalog = problem, catalog
        self.admission = Admission(problem, catalog, known)
        self.urls: dict[str, str] = {}
        for each in (*problem.roots, *problem.constraints):
            if each.url:
                self.urls.setdefault(each.project, each.url)

    def identify(self, requirement_or_candidate: Any) -> Any:
        first, second = requirement_or_candidate[:2]
        return (first.project, second) if isinstance(first, Demand) else first

    def get_preference(self, identifier: Any, *_: Any, **__: Any) -> Any:
        return identifier

    def find_matches(self, identifier: Any, requirements: Any, incompatibilities: Any) -> Any:
        project = identifier[0]
        wanted = list(requirements[identifier])
        excluded = {candidate[1] for candidate in incompatibilities[identifier]}

        def is_in(version: Version) -> bool:
            return version not in excluded and all(self._fits(each, version) for each in wanted)

        def matches() -> Iterator[Any]:
            seen: set[Version] = set()
            while version := self.admission.pick(project, lambda v: v not in seen and is_in(v)):
                seen.add(version)
                yield identifier, version

        return matches

    def is_satisfied_by(self, requirement: Any, candidate: Any) -> bool:
        return self._fits(requirement, candidate[1])

    def get_dependencies(self, candidate: Any) -> Any:
        (project, extra), version = candidate
        demands = self.catalog.demands(project, version, extra)
        self.admission.learned.hear(demands)
        found = [part for demand in demands for part in _split(demand, (project, extra, version))]
        if extra:
            found.append((Demand(project, frozenset(), f"=={version}", self.urls.get(project)), "", None))
        return found

    def facts(self, causes: Any) -> Facts:
        facts = Facts()
        for cause in causes:
            demand, _, origin = cause.requirement
            if isinstance(origin, tuple):
                facts.depends[*origin, demand] = None
            elif origin is not None and origin not in facts.asked:
                facts.asked.append(origin)
        facts.constrained.update(each.project for each in self.problem.constraints)
        for cause in causes:
            facts.lacking.append((cause.requirement[0].project, lambda v, c=cause: self._fits(c.requirement, v)))
        return facts

    def _fits(self, requirement: Any, version: Version) -> bool:
        demand = requirement[0]
        limits = [each for each in self.problem.constraints if each.project == demand.project]
        urls = [demand.url, *(each.url for each in limits if not each.is_locked)]
        if any(url is not None and url != self.urls.get(demand.project) for url in urls):
            return False
        specifiers = [demand.specifier, *(each.specifier for each in limits)]
        return all(SpecifierSet(each).contains(version, prereleases=True) for each in specifiers)


@pytest.fixture(params=[NabResolver, LibResolver])
def resolver(request: pytest.FixtureRequest) -> Resolver:
    return request.param()


Solve = Callable[..., dict[str, str]]


@pytest.fixture
def solve(resolver: Resolver) -> Solve:
    def solve(table: Table, *roots: str, constraints: tuple[str, ...] = (), pre: bool = False, **how: Any) -> Any:
        answer = resolver.resolve(problem(*roots, constraints=constraints, pre=pre), TableCatalog(table, **how))
        assert isinstance(answer, Resolution), answer
        return {pin.project: str(pin.version) for pin in answer.pins}

    return solve


def test_the_newest_versions_that_suit_everybody_are_taken(solve: Solve) -> None:
    table = {"a": {"1": ["c<2"], "2": ["c"]}, "b": {"1": ["c<3"]}, "c": {"1": [], "2": [], "3": []}}
    assert solve(table, "a", "b") == {"a": "2", "b": "1", "c": "2"}


def test_what_does_not_suit_is_given_up_for_an_older_version(solve: Solve) -> None:
    table = {"a": {"1": ["c<2"], "2": ["c>=2"]}, "b": {"1": ["c<2"]}, "c": {"1": [], "2": []}}
    assert solve(table, "a", "b") == {"a": "1", "b": "1", "c": "1"}


def test_what_only_an_abandoned_version_needs_is_not_in_the_answer(solve: Solve) -> None:
    table = {"a": {"1": [], "2": ["gone>=9", "other"]}, "gone": {"1": []}, "other": {"1": []}}
    assert solve(table, "a") == {"a": "1"}


def test_extras_bring_their_own_dependencies_at_the_same_version(resolver: Resolver) -> None:
    table = {"a": {"1": ["b; extra == 'x'"], "2": ["b>9; extra == 'x'"]}, "b": {"1": []}}
    answer = resolver.resolve(problem("a[x]"), TableCatalog(table))
    assert answer == Resolution((Pin("a", Version("1"), ("x",)), Pin("b", Version("1"), ())))


def test_an_extra_may_be_made_of_other_extras_of_the_same_project(resolver: Resolver) -> None:
    table = {
        "a": {"1": ["b; extra == 'x'", "c; extra == 'y'", "a[x,y]; extra == 'all'"]},
        "b": {"1": []},
        "c": {"1": []},
    }
    answer = resolver.resolve(problem("a[all]"), TableCatalog(table))
    assert isinstance(answer, Resolution)
    assert [(pin.project, pin.extras) for pin in answer.pins] == [("a", ("all", "x", "y")), ("b", ()), ("c", ())]


def test_an_extra_asked_for_late_does_not_change_the_version(solve: Solve) -> None:
    table = {
        "a": {"1": ["d[x]"]},
        "d": {"1": [], "2": ["e; extra == 'x'"], "3": []},
        "e": {"1": []},
        "f": {"1": ["d<3"]},
    }
    assert solve(table, "d", "a", "f") == {"a": "1", "d": "2", "e": "1", "f": "1"}


def test_rings_of_dependencies_are_no_obstacle(solve: Solve) -> None:
    assert solve({"a": {"1": ["b"]}, "b": {"1": ["a>=1"]}}, "a") == {"a": "1", "b": "1"}


def test_a_constraint_limits_and_brings_nothing(solve: Solve) -> None:
    table = {"a": {"1": ["b"]}, "b": {"1": [], "2": []}, "c": {"1": []}}
    assert solve(table, "a", constraints=("b<2", "c==1")) == {"a": "1", "b": "1"}


def test_pre_releases_are_taken_where_the_user_names_one(solve: Solve) -> None:
    table = {"a": {"1": [], "2rc1": []}}
    assert solve(table, "a") == {"a": "1"}
    assert solve(table, "a>=2rc1") == {"a": "2rc1"}
    assert solve(table, "a>=1.0b0") == {"a": "2rc1"}
    assert solve(table, "a", pre=True) == {"a": "2rc1"}


def test_pre_releases_are_taken_where_nothing_else_is_in_range(solve: Solve) -> None:
    assert solve({"a": {"1": [], "2rc1": [], "2rc2": []}}, "a>1") == {"a": "2rc2"}
    assert solve({"a": {"2rc1": []}}, "a") == {"a": "2rc1"}


def test_a_stable_version_is_preferred_to_a_pre_release_that_only_a_dependency_names(solve: Solve) -> None:
    table = {"a": {"1": ["b>=1rc1"]}, "b": {"1": [], "2rc1": []}}
    assert solve(table, "a") == {"a": "1", "b": "1"}


def test_a_yanked_version_is_taken_only_where_it_is_pinned(solve: Solve) -> None:
    table = {"a": {"1": [], "2": []}, "b": {"1": ["a==2"]}}
    assert solve(table, "a", yanked=["a==2"]) == {"a": "1"}
    assert solve(table, "a==2", yanked=["a==2"]) == {"a": "2"}
    assert solve(table, "a", "b", yanked=["a==2"]) == {"a": "2", "b": "1"}


def test_what_is_preferred_is_taken_where_it_suits_everybody_and_is_no_obstacle_elsewhere(solve: Solve) -> None:
    table = {
        "loose": {"1.0": ["lib"]},
        "strict": {"1.0": ["lib>=2"]},
        "lib": {"3.0": [], "2.0": [], "1.5b1": [], "1.0": []},
    }

    def chosen(root: str, there: str, **what: Any) -> str:
        return solve(table, root, preferred={"lib": there}, **what)["lib"]

    assert chosen("loose", "1.0") == "1.0"
    assert chosen("loose", "1.5b1") == "1.5b1"
    assert chosen("loose", "2.0", yanked=["lib==2.0"]) == "2.0"
    assert chosen("loose", "2.0", flawed={"lib==2.0": "its metadata is damaged"}) == "3.0"
    assert chosen("strict", "1.0") == "3.0"


def test_versions_without_a_file_or_with_unusable_metadata_are_passed_over(solve: Solve) -> None:
    table = {"a": {"1": [], "2": [], "3": []}}
    assert solve(table, "a", refused={"a==3": "no wheel"}, flawed={"a==2": "broken"}) == {"a": "1"}


def test_pinning_one_version_takes_its_local_versions_as_well(solve: Solve) -> None:
    assert solve({"a": {"1.0": [], "1.0+cpu": [], "1.1": []}}, "a==1.0") == {"a": "1.0+cpu"}


def test_a_version_may_be_meant_to_the_letter(solve: Solve) -> None:
    table: Table = {"a": {"1.0": [], "1.0+cpu": [], "1.1": []}, "b": {"1": ["a===1.0"]}}
    assert solve(table, "a===1.0") == {"a": "1.0"}
    assert solve(table, "a===1.0+CPU") == {"a": "1.0+cpu"}
    assert solve(table, "b") == {"a": "1.0", "b": "1"}


def test_only_the_user_may_send_anybody_to_a_url(resolver: Resolver) -> None:
    table = {"a": {"1": ["b @ https://example.org/b-1-py3-none-any.whl"]}, "b": {"1": []}}
    assert isinstance(resolver.resolve(problem("a"), TableCatalog(table)), Conflict)
    roots = ("a", "b @ https://example.org/b-1-py3-none-any.whl")
    assert isinstance(resolver.resolve(problem(*roots), TableCatalog(table)), Resolution)


@pytest.mark.parametrize(
    ("roots", "constraints"),
    [
        ((f"b @ {URL}",), (f"b @ {URL}?other",)),
        (("a", f"b @ {URL}"), (f"b @ {URL}?other",)),
        (("a",), (f"b @ {URL}", f"b @ {URL}?other")),
    ],
)
def test_a_url_that_a_constraint_names_excludes_any_other(
    resolver: Resolver, roots: tuple[str, ...], constraints: tuple[str, ...]
) -> None:
    catalog = TableCatalog({"a": {"1": ["b"]}, "b": {"1": []}})
    asked = problem(*roots, constraints=constraints)
    assert isinstance(resolver.resolve(asked, catalog), Conflict)
    same = Problem(asked.roots, tuple(replace(each, url=URL) for each in asked.constraints))
    assert isinstance(resolver.resolve(same, catalog), Resolution)
    locked = Problem(asked.roots, tuple(replace(each, is_locked=True) for each in asked.constraints))
    assert isinstance(resolver.resolve(locked, catalog), Resolution)


def test_the_answer_is_always_the_same(resolver: Resolver) -> None:
    dice = random.Random(7)
    names = [f"p{number}" for number in range(14)]
    table: dict[str, dict[str, list[str]]] = {}
    for number, name in enumerate(names):
        table[name] = {
            str(version): [
                f"{other}>={dice.randint(1, 3)}" for other in dice.sample(names[number:], 2) if other != name
            ]
            if number < 12
            else []
            for version in range(1, 6)
        }
    first = resolver.resolve(problem("p0", "p1"), TableCatalog(table))
    assert isinstance(first, Resolution)
    for _ in range(3):
        shuffled = {name: dict(dice.sample(list(table[name].items()), len(table[name]))) for name in reversed(names)}
        assert resolver.resolve(problem("p0", "p1"), TableCatalog(shuffled)) == first


@pytest.mark.parametrize("seed", range(60))
def test_answers_are_right_and_refusals_are_true(resolver: Resolver, seed: int) -> None:
    """Against every combination there is, for small tables."""
    dice = random.Random(seed)
    names = ["a", "b", "c", "d"]
    table = {
        name: {
            str(version): [
                f"{other}{dice.choice(['>=', '<', '==', '!='])}{dice.randint(1, 3)}"
                for other in names
                if other > name and dice.random() < 0.6
            ]
            for version in range(1, 4)
        }
        for name in names
    }
    answer = resolver.resolve(problem("a", "b"), TableCatalog(table))
    if isinstance(answer, Resolution):
        assert _holds(table, {pin.project: str(pin.version) for pin in answer.pins})
    else:
        assert not any(_holds(table, chosen) for chosen in _all_choices(table))


def _holds(table: Table, chosen: Mapping[str, str]) -> bool:
    if not {"a", "b"} <= set(chosen):
        return False
    demands = [wanted(text) for name, version in chosen.items() for text in table[name][version]]
    return all(d.project in chosen and chosen[d.project] in SpecifierSet(d.specifier) for d in demands)


def _all_choices(table: Table) -> Iterator[dict[str, str]]:
    def walk(names: list[str]) -> Iterator[dict[str, str]]:
        if not names:
            yield {}
            return
        for rest in walk(names[1:]):
            yield rest
            for version in table[names[0]]:
                yield {names[0]: version, **rest}

    return walk(list(table))


IMPOSSIBLE: list[tuple[Table, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [
    (
        {"a": {"1": ["b<2"]}, "c": {"1": ["b>=2"]}, "b": {"1": [], "2": []}},
        ("a", "c"),
        (),
        ("a==1 depends on b<2", "c==1 depends on b>=2", "you ask for a and c"),
    ),
    ({"a": {"1": [], "2": []}}, ("a>=3",), (), ("there is no a>=3", "newest is 2")),
    ({}, ("a",), (), ("no index knows a",)),
    ({"a": {"1": ["b"]}}, ("a",), (), ("no index knows b", "a==1 depends on b")),
    (
        {"a": {"1": ["b"]}, "b": {"1": ["c"]}, "c": {"1": ["d==2"]}, "d": {"1": []}},
        ("a",),
        (),
        ("a==1 depends on b", "b==1 depends on c", "c==1 depends on d==2", "there is no d==2"),
    ),
    (
        {"a": {"1": ["b>=2"]}, "b": {"1": [], "2": []}},
        ("a",),
        ("b<2",),
        ("a==1 depends on b>=2", "a constraint says b<2"),
    ),
    ({"a": {"1": ["b>9; extra == 'x'"]}, "b": {"1": []}}, ("a[x]",), (), ("a[x]==1 depends on b>9",)),
    ({"a": {"1": [], "2": []}}, ("a<2", "a>=2"), (), ("you ask for a<2 and a>=2",)),
    (
        {"a": {"1": ["b==1"], "2": ["b==1"], "3": ["b==1"]}, "b": {"1": [], "2": []}},
        ("a", "b==2"),
        (),
        ("every version of a depends on b==1", "you ask for a and b==2"),
    ),
    (
        {"a": {"1": ["b @ https://example.org/b-1-py3-none-any.whl"]}, "b": {"1": []}},
        ("a",),
        (),
        ("a==1 depends on b @ https",),
    ),
]


@pytest.mark.parametrize("case", range(len(IMPOSSIBLE)))
def test_an_impossible_combination_is_explained_by_who_asks_for_what(resolver: Resolver, case: int) -> None:
    table, roots, constraints, words = IMPOSSIBLE[case]
    answer = resolver.resolve(problem(*roots, constraints=constraints), TableCatalog(table))
    assert isinstance(answer, Conflict)
    if isinstance(resolver, NabResolver):  # resolvelib tells its last conflict alone
        for word in words:
            assert word in answer.lines[0]
        assert answer.lines[0].startswith("Because ")


def test_a_hopeless_search_ends_in_bounded_time() -> None:
    versions = [str(number) for number in range(1, 301)]
    table = {
        "a": {v: [f"b=={v}"] for v in versions},
        "b": {v: [f"c=={v}", "z>=2"] for v in versions},
        "c": {v: [f"a=={v}"] for v in versions},
        "z": {"1": []},
    }
    started = time.monotonic()
    answer = NabResolver().resolve(problem("a"), TableCatalog(table))
    assert isinstance(answer, Conflict)
    assert "there is no z>=2" in answer.lines[0]
    assert time.monotonic() - started < 20


def test_versions_that_are_tried_one_after_the_other_are_announced_in_a_few_batches() -> None:
    """Finished ones first, then the pre-releases, which are tried only where all of those failed."""
    versions = [f"{number}{suffix}" for number in range(1, 41) for suffix in ("", ".dev1", ".dev2")]
    catalog = TableCatalog({"a": {version: ["gone"] for version in versions}})
    assert isinstance(NabResolver().resolve(problem("a"), catalog), Conflict)
    announced = {each for batch in catalog.expected for each in batch}
    assert len(set(catalog.read)) == len(versions)
    assert len(set(catalog.read) - announced) < 5
    assert len(catalog.expected) < 8
    finished = [all("dev" not in each for each in batch) for batch in catalog.expected]
    assert finished == sorted(finished, reverse=True)


def test_versions_that_come_into_range_one_by_one_are_announced_before_they_do() -> None:
    """As those of botocore, each of which some boto3 lowers its demand to."""
    numbers = range(1, 61)
    table = {"a": {str(n): [f"b>={n}"] for n in numbers}, "b": {str(n): ["gone"] for n in numbers}}
    catalog = TableCatalog(table)
    assert isinstance(NabResolver().resolve(problem("a"), catalog), Conflict)
    announced = {each for batch in catalog.expected for each in batch}
    assert len({each for each in catalog.read if each.startswith("b")} - announced) <= 8
    assert len([batch for batch in catalog.expected if any(each.startswith("b") for each in batch)]) < 12


def test_what_is_right_at_once_is_not_announced_with_all_that_is_older() -> None:
    catalog = TableCatalog({"a": {str(number): [] for number in range(1, 100)}})
    NabResolver().resolve(problem("a"), catalog)
    assert not catalog.expected


def test_a_search_that_takes_too_long_ends_in_an_error_that_says_so() -> None:
    with pytest.raises(ResolutionLimitError, match="in the time allowed"):
        NabResolver(limit_seconds=0).resolve(problem("a"), TableCatalog({"a": {"1": []}}))


def test_the_explanation_says_what_cannot_be_taken_and_what_may_help() -> None:
    catalog = TableCatalog(
        {"a": {"1": [], "2": []}}, refused={"a==2": "it is there only as source, a-2.tar.gz"}, yanked=["a==1"]
    )
    answer = NabResolver().resolve(problem("a"), catalog)
    assert isinstance(answer, Conflict)
    assert answer.lines == (
        (
            "Because a==2 cannot be taken (it is there only as source, a-2.tar.gz)"
            " and a==1 cannot be taken (yanked) and you ask for a, this cannot be had."
        ),
        "A yanked version is taken only where it is asked for exactly: a==1.",
    )


def test_of_several_versions_is_spoken_in_the_plural() -> None:
    table = {"a": {"1": ["b<1"], "2": ["c<1"], "3": ["b<1"]}, "b": {"1": []}, "c": {"1": []}}
    answer = NabResolver().resolve(problem("a"), TableCatalog(table))
    assert isinstance(answer, Conflict)
    assert "a==3 and a==1 depend on b<1" in answer.lines[0]
    assert "a==2 depends on c<1" in answer.lines[0]


@pytest.mark.parametrize(
    ("root", "versions", "newest"),
    [
        ("a==99", ["1.0", "1.1", "2.0.dev6"], "1.1"),
        ("a>=99rc1", ["1.0", "2.0.dev6"], "2.0.dev6"),
        ("a==99", ["1.0rc1", "2.0.dev6"], "2.0.dev6"),
        ("a==99", ["1.0", "1.2"], "1.0"),
    ],
)
def test_the_newest_version_that_is_told_is_one_that_would_be_taken(
    root: str, versions: list[str], newest: str
) -> None:
    answer = NabResolver().resolve(problem(root), TableCatalog({"a": {v: [] for v in versions}}, yanked=["a==1.2"]))
    assert isinstance(answer, Conflict)
    assert f"(the newest is {newest})" in answer.lines[0]
