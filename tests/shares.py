"""What each of several Pythons runs of the tests, when they share those that show the same on any of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: Beginnings of paths below this folder: what stands there hangs on no version of Python unless it is marked
#: `each_python`, and it costs processes or many examples.
FOR_ANY_PYTHON = ("cli/", "faults/", "process/", "unit/test_policy_", "test_")


@dataclass(frozen=True)
class Share:
    """The part of what any Python may do that this one does; all parts together are everything."""

    number: int  #: from 0
    of: int

    def has(self, name: str) -> bool:
        """Tell whether a test is in it. One of many parameters is spread over all; a new test moves no other."""
        return zlib.crc32(name.encode()) % self.of == self.number

    def part(self, points: range) -> range:
        """Give those points of a sweep that are struck here, spread over all of it."""
        return points[self.number :: self.of]


def read_share(text: str) -> Share:
    """Read `2/3`, the second of three parts."""
    number, of = (int(part) for part in text.split("/"))
    if not 1 <= number <= of:
        raise ValueError(text)
    return Share(number - 1, of)


def hangs_on_python(item: pytest.Item) -> bool:
    """Tell whether a test could show something else on another version, so that each runs it."""
    file = item.path.relative_to(TESTS).as_posix()
    return not file.startswith(FOR_ANY_PYTHON) or item.get_closest_marker("each_python") is not None
