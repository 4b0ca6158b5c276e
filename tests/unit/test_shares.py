"""The parts that several Pythons run are together everything, and nothing is run twice."""

from __future__ import annotations

import pytest

from shares import Share, read_share

THREE = [read_share(f"{number}/3") for number in (1, 2, 3)]
NAMES = [f"tests/cli/test_x.py::test_y[{number}]" for number in range(300)]


def test_each_test_is_in_one_part_and_no_part_is_small() -> None:
    parts = [{name for name in NAMES if share.has(name)} for share in THREE]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    assert min(len(part) for part in parts) > 70


def test_each_point_of_a_sweep_is_in_one_part_and_each_part_goes_through_all_of_it() -> None:
    whole = range(5, 200, 7)
    parts = [share.part(whole) for share in THREE]
    assert sorted(point for part in parts for point in part) == list(whole)
    assert all(part[0] <= 19 and part[-1] >= 187 - 7 for part in parts)


def test_without_others_everything_is_ours() -> None:
    alone = read_share("1/1")
    assert all(alone.has(name) for name in NAMES)
    assert alone.part(range(9)) == range(9)


def test_a_share_is_a_part_and_the_number_of_parts() -> None:
    assert read_share("3/3") == Share(2, 3)


@pytest.mark.parametrize("text", ["0/3", "4/3", "-1/3", "3", "1/2/3", "a/b", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parser of options tells which option it was
        read_share(text)
