"""Generations: a work publishes only what no clean since its beginning has cleaned (rules 5, 14, 20, 36)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocache_engine.store.generations import LINES_KEPT, NONE, Cleaned, allows, bump, read_value, version_matches


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "generations" / "projects" / "tiny")


def clean(path: str, specifier: str | None = None) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    bump(path, Cleaned(specifier), by_way_of=f"{path}.fresh")


def test_where_nothing_was_ever_cleaned_everything_is_allowed(file: str) -> None:
    assert read_value(file) == NONE
    assert allows(file, NONE, version="1.0")
    assert allows(file, NONE, version=None)


def test_the_first_bump_says_none_first_so_that_work_on_other_versions_goes_on(file: str) -> None:
    begun = read_value(file)
    clean(file, "==2.0")
    assert json.loads(Path(file).read_text().splitlines()[0])["value"] == NONE
    assert allows(file, begun, version="1.0")
    assert not allows(file, begun, version="2.0")
    assert not allows(file, begun, version=None)


def test_a_clean_of_the_whole_project_refuses_every_version(file: str) -> None:
    begun = read_value(file)
    clean(file)
    assert not allows(file, begun, version="1.0")
    assert allows(file, read_value(file), version="1.0")


def test_a_version_cleaned_and_then_another_stays_refused(file: str) -> None:
    begun = read_value(file)
    clean(file, "==1.0")
    clean(file, "==2.0")
    assert not allows(file, begun, version="1.0")
    assert not allows(file, begun, version="2.0")
    assert allows(file, begun, version="3.0")


def test_a_clean_by_a_pattern_refuses_only_what_fits_it(file: str) -> None:
    begun = read_value(file)
    Path(file).parent.mkdir(parents=True)
    bump(file, Cleaned(projects="ti*"), by_way_of=f"{file}.fresh")
    for version in ("1.0", None):
        assert not allows(file, begun, version=version, project="tiny")
        assert allows(file, begun, version=version, project="big")
    assert allows(file, read_value(file), version="1.0", project="tiny")


def test_a_clean_of_a_tool_refuses_its_environments_alone(file: str) -> None:
    begun = read_value(file)
    Path(file).parent.mkdir(parents=True)
    bump(file, Cleaned(is_tools=True), by_way_of=f"{file}.fresh")
    assert allows(file, begun, version="1.0")
    assert allows(file, begun, version=None)
    assert not allows(file, begun, version="1.0", is_tool=True)
    clean(file, "==2.0")
    assert not allows(file, begun, version="1.0", is_tool=True)
    assert not allows(file, begun, version="2.0")


def test_an_older_release_takes_a_line_of_another_kind_for_one_that_refuses_more(file: str) -> None:
    Path(file).parent.mkdir(parents=True)
    for cleaned in (Cleaned(projects="ti*"), Cleaned(is_tools=True)):
        bump(file, cleaned, by_way_of=f"{file}.fresh")
        assert json.loads(Path(file).read_text().splitlines()[-1])["specifier"] is None


def test_a_file_keeps_its_last_256_lines_and_what_is_older_allows_nothing(file: str) -> None:
    old = read_value(file)
    clean(file, "==9")
    second = read_value(file)
    for _ in range(LINES_KEPT - 2):
        clean(file, "==9")
    assert len(Path(file).read_text().splitlines()) == LINES_KEPT
    assert allows(file, old, version="1.0")
    clean(file, "==9")
    assert len(Path(file).read_text().splitlines()) == LINES_KEPT
    assert not allows(file, old, version="1.0")
    assert allows(file, second, version="1.0")
    clean(file, "==9")
    assert not allows(file, second, version="1.0")


def test_values_are_never_used_twice(file: str) -> None:
    values = set()
    for _ in range(50):
        clean(file)
        values.add(read_value(file))
    assert len(values) == 50


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b'["list"]\n',
        b'{"value": 1}\n',
        b'{"value": 5, "specifier": null}\n',
        b'{"value": "x", "specifier": 5}\n',
        b"[" * 100_000,
        b"\xff\xfe\n",
    ],
)
def test_a_damaged_file_refuses_what_began_before_and_heals_with_the_next_bump(file: str, damage: bytes) -> None:
    clean(file)
    before = read_value(file)
    Path(file).write_bytes(damage)
    assert not allows(file, before, version="1.0")
    assert allows(file, read_value(file), version="1.0")
    begun = read_value(file)
    clean(file, "==5")
    assert not allows(file, begun, version="1.0")
    assert allows(file, read_value(file), version="1.0")


def test_a_link_in_the_place_of_the_file_is_replaced_and_what_it_leads_to_stays(file: str, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("mine")
    Path(file).parent.mkdir(parents=True)
    os.symlink(theirs, file)
    assert read_value(file) == NONE
    clean(file)
    assert not os.path.islink(file)
    assert theirs.read_text() == "mine"


def test_the_directory_is_made_again_where_a_dead_clean_left_none(tmp_path: Path) -> None:
    path = str(tmp_path / "gone" / "tiny")
    bump(path, Cleaned(), by_way_of=str(tmp_path / "fresh"))
    assert read_value(path) != NONE


def test_an_odd_version_is_in_no_specifier_set() -> None:
    assert not version_matches("<2", "not-a-version")
    assert not Cleaned("<2").matches("not-a-version")
    assert Cleaned().matches("not-a-version")


def test_pre_releases_are_cleaned_by_a_specifier_that_spans_them() -> None:
    assert version_matches("<2", "2.0a1") is False
    assert version_matches("<2", "1.5rc1")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([None, "==1", "==2", "<3", ">=2"]), max_size=12),
    st.integers(0, 12),
    st.sampled_from("123"),
)
def test_allowed_is_exactly_what_no_later_clean_matches(
    tmp_path_factory: pytest.TempPathFactory, cleans: list[str | None], begins_after: int, version: str
) -> None:
    path = str(tmp_path_factory.mktemp("generations") / "tiny")
    begun = read_value(path)
    for number, specifier in enumerate(cleans):
        clean(path, specifier)
        if number + 1 == begins_after:
            begun = read_value(path)
    since = cleans[begins_after:] if begins_after <= len(cleans) else cleans
    expected = not any(s is None or version_matches(s, version) for s in since)
    assert allows(path, begun, version=version) == expected
