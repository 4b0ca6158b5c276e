"""Which sdists are taken, and by what the wheels built of them are found again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.errors import UnsatisfiableError, UsageError
from aiocache_engine.model.index import IndexStrategy
from aiocache_engine.testing.invariants import assert_sound
from aiocache_engine.testing.sdists import make_project, make_sdist, project_files, read_trace
from caches import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    make_sdist(place.wheels, "one", "2.0", trace=tmp_path / "trace")
    place.wheel("one", "1.0")
    yield place
    assert_sound(place.cache)


def calls(place: Place) -> list[str]:
    return [each["hook"] for each in read_trace(place.root / "trace")]


async def fetch(place: Place, *requirements: str, rules: dict[str, Any] | None = None, **config: Any) -> list[str]:
    """Fetch; give versions, and where each came from."""
    async with place.engine(**config) as engine:
        report = await engine.fetch(requirements or ["one"], python=sys.executable, **(rules or {}))
    return [f"{each.version} {each.origin}" for each in report.fetched]


async def test_the_newest_version_is_built_unless_that_is_ruled_out(place: Place) -> None:
    assert await fetch(place, rules={"no_build": True}) == ["1.0 index"]
    assert await fetch(place) == ["2.0 built"]
    assert await fetch(place, "one<2") == ["1.0 cache"]
    with pytest.raises(UnsatisfiableError, match=r"only as wheels, one-1\.0-py3"):
        await fetch(place, "one<2", rules={"no_binary": ["One"]})
    with pytest.raises(UsageError, match="leave one of them out"):
        await fetch(place, rules={"no_binary": ["one"], "no_build": True})


async def test_what_was_built_with_other_indexes_is_found_by_what_it_was_built_with_and_then_at_once(
    place: Place,
) -> None:
    assert await fetch(place) == ["2.0 built"]
    once = calls(place)
    assert await fetch(place, index_strategy=IndexStrategy.BEST_MATCH) == ["2.0 cache"]
    twice = calls(place)
    assert (len(twice) > len(once), twice.count("build_wheel")) == (True, 1)
    assert await fetch(place, index_strategy=IndexStrategy.BEST_MATCH) == ["2.0 cache"]
    assert calls(place) == twice


async def test_a_clean_takes_what_was_built_by_all_its_names(place: Place) -> None:
    await fetch(place)
    await fetch(place, index_strategy=IndexStrategy.BEST_MATCH)
    await place.clean("one==2.0")
    assert await fetch(place, index_strategy=IndexStrategy.BEST_MATCH) == ["2.0 built"]
    await place.clean("one")
    assert await fetch(place) == ["2.0 built"]


async def test_an_environment_follows_the_same_rules_and_is_another_for_other_rules(place: Place) -> None:
    async with place.engine() as engine:
        versions = {}
        for name, rules in (("plain", {}), ("no_build", {"no_build": True}), ("no_binary", {"no_binary": ["one"]})):
            async with engine.environment("one", **rules) as environment:
                versions[name] = environment.versions["one"]
    assert versions == {"plain": "2.0", "no_build": "1.0", "no_binary": "2.0"}


async def test_a_project_in_a_directory_of_an_sdist_is_built_there_and_is_another_than_the_one_at_its_top(
    place: Place,
) -> None:
    inner = project_files("mono", "1.0", files={"src/inner.py": ""}, metadata_version="")
    other = project_files("part", "0.3", metadata_version="")
    files = {f"packages/a b/{name}": content for name, content in inner.items()}
    files |= {f"other/{name}": content for name, content in other.items()}
    path = make_sdist(place.root, "mono", "1.0", files=files)
    within = f"{path}#egg=mono&subdirectory=packages/a%20b"
    environment = await place.install("environment", within)
    (modules,) = environment.glob("lib/python*/site-packages")
    assert (modules / "inner.py").is_file()
    assert '"subdirectory":"packages/a b"' in (modules / "mono-1.0.dist-info/direct_url.json").read_text()
    assert await fetch(place, str(path)) == ["1.0 built"]
    assert await fetch(place, within) == ["1.0 cache"]
    async with place.engine() as engine:
        other = f"{path}#subdirectory=other"
        report = await engine.build([within, f"{path}#subdirectory=none", other], wheel_dir=place.root / "dist")
        named = f"{other}&filename=part-0.3.tar.gz"
        renamed = await engine.build([named], wheel_dir=place.root / "dist")
    assert [(each.project, each.origin) for each in report.built] == [("mono", "cache")]
    absent, foreign = report.failed
    assert absent.message.startswith("mono-1.0.tar.gz#subdirectory=none could not be built: there is no directory none")
    assert foreign.message.startswith(
        "mono-1.0.tar.gz#subdirectory=other could not be built: its build backend made part"
    )
    assert [(each.project, each.version) for each in renamed.built] == [("part", "0.3")]


async def test_one_source_in_several_spellings_is_built_once_and_a_directory_is_hinted_at_where_its_name_is_not_known(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path / "mine", "mine", "1.0", trace=tmp_path / "trace")
    (tmp_path / "link").symlink_to("wheels")
    monkeypatch.chdir(tmp_path)
    directory = ["./mine/", "mine/", Path("mine"), tmp_path / "mine"]
    files = ["wheels/one-2.0.tar.gz", "link/one-2.0.tar.gz", f"one @ file://{tmp_path}/wheels/one-2.0.tar.gz"]
    async with place.engine() as engine:
        report = await engine.build([*directory, *files, "mine"], wheel_dir="dist")
    sources = [str(tmp_path / "mine"), "wheels/one-2.0.tar.gz"]
    assert [each.source for each in report.built] == sources
    assert calls(place).count("build_wheel") == len(sources)
    (failed,) = report.failed
    assert failed.source == "mine"
    assert failed.message.endswith("; write ./mine/ for the directory of this name")
