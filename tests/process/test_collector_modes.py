"""What an environment that cannot be read keeps: each archive by the way in which it was linked."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocache_engine.model.python import LinkMode
from caches import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel("alpha")
    place.wheel("beta")
    return place


async def test_a_clean_keeps_what_an_unplugged_environment_links_to_by_symlink_whatever_was_installed_last(
    place: Place,
) -> None:
    (place.root / "mount" / "disk").mkdir(parents=True)
    await place.install("mount/disk/environment", "alpha", mode=LinkMode.SYMLINK)
    environment = await place.install("mount/disk/environment", "beta", mode=LinkMode.COPY)
    marker = next(environment.glob("lib/*/site-packages/beta-*.dist-info/aioc.json"))
    marker.write_text(marker.read_text().replace('"format": 1', '"format": 2'))

    removal = await place.clean("alpha")

    assert [kept.object.project for kept in removal.kept] == ["alpha"]
    module = next(environment.glob("lib/*/site-packages/alpha/__init__.py"))
    assert module.is_symlink()
    assert module.read_bytes() is not None
