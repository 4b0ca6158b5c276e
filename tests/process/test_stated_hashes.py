"""Every hash and URL that is stated for a project holds, whoever states it and however its file is named."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.engine import CacheEngine
from aiocache_engine.errors import HashMismatchError, UnsatisfiableError
from aiocache_engine.model.outcome import Named
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.testing.index_server import IndexServer
from caches import Place

WHEEL = "six-1.0-py3-none-any.whl"
OTHERS = {"bad": "a" * 64, "worse": "b" * 64}


class Shop:
    """An index with six, and app that needs it; `{url}`, `{path}` and `{good}` stand for the wheel of six."""

    def __init__(self, root: Path) -> None:
        self.place = Place(root)
        self.path = self.place.wheel("six", "1.0")
        self.copy = root / "copy" / WHEEL
        self.copy.parent.mkdir()
        self.copy.write_bytes(self.path.read_bytes())
        self.place.wheel("app", "1.0", requires=["six"])
        self.server = IndexServer(self.place.wheels)
        self.words = {"path": str(self.path), "copy": self.copy.as_uri(), **OTHERS}
        self.words["good"] = hashlib.sha256(self.path.read_bytes()).hexdigest()

    def told(self, *texts: str) -> list[str]:
        return [text.format(url=self.server.file_url(WHEEL), **self.words) for text in texts]

    def engine(self) -> CacheEngine:
        return self.place.engine(index_url=self.server.index_url, find_links=())

    async def fetch(self, *roots: str, constraints: tuple[str, ...] = (), **how: Any) -> list[str]:
        limits = self.told(*constraints)
        async with self.engine() as engine:
            report = await engine.fetch(self.told(*roots), constraints=limits, python=sys.executable, **how)
        return sorted(each.project for each in report.fetched)


@contextmanager
def refused(*kinds: type[Exception], saying: str = WHEEL) -> Iterator[None]:
    """Expect this error, alone or in the group of the downloads."""
    try:
        yield
    except Exception as caught:
        error = caught
        while isinstance(error, ExceptionGroup):
            (error,) = error.exceptions
        if not isinstance(error, kinds):
            raise
        assert saying in str(error)
    else:
        pytest.fail("nothing was refused")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    with shop.server:
        yield shop


@pytest.mark.parametrize("dependencies", [True, False])
@pytest.mark.parametrize("root", ["six @ {url}", "{path}"])
@pytest.mark.parametrize("is_cached", [True, False])
async def test_where_hashes_are_required_the_one_of_a_constraint_holds_for_a_direct_file(
    shop: Shop, root: str, *, dependencies: bool, is_cached: bool
) -> None:
    how = {"dependencies": dependencies, "require_hashes": True}
    if is_cached:
        await shop.fetch(root)
    with refused(HashMismatchError):
        await shop.fetch(root, constraints=("six==1.0 --hash=sha256:{bad}",), **how)
    assert await shop.fetch(root, constraints=("six==1.0 --hash=sha256:{good}",), **how) == ["six"]


@pytest.mark.parametrize(
    ("roots", "constraints"),
    [
        (("six @ {url}",), ("six==1.0 --hash=sha256:{bad}",)),
        (("six @ {url}",), ("six==1.0 --hash=sha256:{bad} --hash=sha256:{worse}",)),
        (("six @ {url}#sha256={good}",), ("six --hash=sha256:{bad}",)),
        (("six @ {url} --hash=sha256:{good}", "six==1.0 --hash=sha256:{bad}"), ()),
        (("app",), ("six @ {url}", "six --hash=sha256:{bad}")),
    ],
)
async def test_every_hash_that_is_stated_holds_for_a_direct_file(
    shop: Shop, roots: tuple[str, ...], constraints: tuple[str, ...]
) -> None:
    with refused(HashMismatchError, UnsatisfiableError, saying="six"):
        await shop.fetch(*roots, constraints=constraints)
    right = [tuple(text.replace("{bad}", "{good}") for text in each) for each in (roots, constraints)]
    assert "six" in await shop.fetch(*right[0], constraints=right[1])


async def test_a_hash_among_the_additions_holds_for_a_tool_that_is_named_by_url(shop: Shop) -> None:
    tool, addition = shop.told("six @ {url}", "six==1.0 --hash=sha256:{bad}")
    async with shop.engine() as engine:
        with refused(HashMismatchError):
            async with engine.environment(tool, additions=[addition]):
                pass


@pytest.mark.parametrize(
    ("roots", "constraints"),
    [
        (("six",), ("six --hash=sha256:{bad}", "six --hash=sha256:{worse}")),
        (("app",), ("six --hash=sha256:{bad}", "six --hash=sha256:{worse}")),
        (("six==1.0 --hash=sha256:{bad}", "six==1.0 --hash=sha256:{worse}"), ()),
        (("six @ {url}",), ("six --hash=sha256:{good}", "six --hash=sha256:{worse}")),
        (("six @ {url}#sha256={good}",), ("six --hash=sha256:{bad}",)),
    ],
)
async def test_hashes_that_exclude_each_other_leave_no_file_to_take(
    shop: Shop, roots: tuple[str, ...], constraints: tuple[str, ...]
) -> None:
    with pytest.raises(UnsatisfiableError, match=r"six==1\.0 cannot be taken \(the hashes given .* exclude each other"):
        await shop.fetch(*roots, constraints=constraints)


async def test_hashes_that_exclude_each_other_matter_only_where_the_project_is_needed(shop: Shop) -> None:
    shop.place.wheel("alone", "1.0")
    limits = ("six --hash=sha256:{bad}", "six --hash=sha256:{worse}")
    assert await shop.fetch("alone", constraints=limits) == ["alone"]


@pytest.mark.parametrize(
    ("roots", "constraints"),
    [
        (("six @ {url}",), ("six @ {copy}",)),
        (("six",), ("six @ {url}", "six @ {copy}")),
        (("app",), ("six @ {url}", "six @ {copy}")),
        (("six @ {url}", "six @ {copy}"), ()),
    ],
)
async def test_two_urls_of_one_project_exclude_each_other(
    shop: Shop, roots: tuple[str, ...], constraints: tuple[str, ...]
) -> None:
    with pytest.raises(UnsatisfiableError) as caught:
        await shop.fetch(*roots, constraints=constraints)
    url, copy = shop.told("six @ {url}", "six @ {copy}")
    assert url in str(caught.value)
    assert copy in str(caught.value)


async def test_a_url_that_is_stated_twice_is_taken(shop: Shop) -> None:
    assert await shop.fetch("six @ {url}", constraints=("six @ {url}", "six>=1")) == ["six"]
    assert await shop.fetch("app", constraints=("six @ {copy}", "six @ {copy}")) == ["app", "six"]


async def test_what_is_there_already_is_not_what_a_constraint_names_by_url(shop: Shop) -> None:
    target = TargetChoice(venv=str(shop.place.root / "env"))
    async with shop.engine() as engine:
        await engine.install(["six"], target=target)
        assert (await engine.install(["six"], target=target)).unchanged == (Named("six", "1.0"),)
        with pytest.raises(UnsatisfiableError):
            await engine.install(["six"], constraints=shop.told("six @ {url}", "six @ {copy}"), target=target)
