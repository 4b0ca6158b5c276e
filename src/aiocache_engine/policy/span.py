"""Sets of a project's versions as the solver calculates with them: one bit for each version that there is.

A version is its place in the list of all, oldest first, so a set is a number and set algebra is one machine operation.
The specifiers of PEP 440 are intervals of that list (`!=` is what an interval leaves), found by bisection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version


class Relation(NamedTuple):
    """How one set lies to another."""

    is_subset: bool
    is_disjoint: bool


class Span:
    """An immutable set of places."""

    __slots__ = ("bits",)

    def __init__(self, bits: int) -> None:
        self.bits = bits  #: bit n is set where place n is a member; a negative number has all places but a few

    @classmethod
    def empty(cls) -> Span:
        """Give the set without members."""
        return cls(0)

    @classmethod
    def full(cls) -> Span:
        """Give the set of everything, whatever there may be."""
        return cls(-1)

    @classmethod
    def singleton(cls, version: int) -> Span:
        """Give the set of one place."""
        return cls(1 << version)

    @property
    def is_empty(self) -> bool:
        """Tell whether there are no members."""
        return not self.bits

    def __contains__(self, version: int) -> bool:
        return bool(self.bits >> version & 1)

    def __and__(self, other: object) -> Span:
        return Span(self.bits & other.bits) if isinstance(other, Span) else NotImplemented

    def __or__(self, other: object) -> Span:
        return Span(self.bits | other.bits) if isinstance(other, Span) else NotImplemented

    def __sub__(self, other: object) -> Span:
        return Span(self.bits & ~other.bits) if isinstance(other, Span) else NotImplemented

    def __invert__(self) -> Span:
        return Span(~self.bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Span) and self.bits == other.bits

    def __hash__(self) -> int:
        return hash(self.bits)

    def is_subset(self, other: Span) -> bool:
        """Tell whether all members are the other's as well."""
        return not self.bits & ~other.bits

    def is_superset(self, other: Span) -> bool:
        """Tell whether all of the other's members are members."""
        return not other.bits & ~self.bits

    def is_disjoint(self, other: Span) -> bool:
        """Tell whether there are no common members."""
        return not self.bits & other.bits

    def relation(self, other: Span) -> Relation:
        """Tell both at once."""
        common = self.bits & other.bits
        return Relation(common == self.bits, not common)


class Universe:
    """All versions of one project."""

    def __init__(self, newest_first: Sequence[Version]) -> None:
        self.versions = list(reversed(newest_first))  #: by place
        self.places = {version: place for place, version in enumerate(self.versions)}
        self._spans: dict[str, Span] = {"": Span.full()}

    def span(self, specifier: str) -> Span:
        """Give the versions that a specifier set allows, pre-releases included."""
        if specifier not in self._spans:
            bits = -1
            for each in SpecifierSet(specifier):
                start, end = self._interval(each)
                inside = (1 << end) - (1 << start)
                bits &= ~inside if each.operator == "!=" else inside
            self._spans[specifier] = Span(bits)
        return self._spans[specifier]

    def _interval(self, specifier: Specifier) -> tuple[int, int]:
        """Give start and end of what a specifier names: what it allows, or with `!=` what it excludes."""
        count = len(self.versions)
        operator, text = specifier.operator, specifier.version
        if operator in {"<", "<="}:
            return 0, self._turn(specifier, 0, to=False)
        if operator in {">", ">="}:
            return self._turn(specifier, 0, to=True), count
        if operator == "~=":
            start = bisect_left(self.versions, Version(text))
            return start, self._turn(specifier, start, to=False)
        try:
            is_prefix = text.endswith(".*")
            start = bisect_left(self.versions, Version(f"{text[:-2]}.dev0" if is_prefix else text))
        except InvalidVersion:
            return 0, 0
        if operator == "===":  # nothing but the one that is spelled so
            known = self.versions[start : start + 1]
            return start, start + sum(specifier.contains(each, prereleases=True) for each in known)
        return start, self._turn(Specifier(f"=={text}"), start, to=False)

    def _turn(self, specifier: Specifier, start: int, *, to: bool) -> int:
        """Give the first place from `start` where a specifier says `to`; it changes its mind once."""
        return bisect_left(
            self.versions,
            True,
            lo=start,
            key=lambda version: specifier.contains(version, prereleases=True) is to,
        )
