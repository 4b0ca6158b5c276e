"""A version of more digits than Python reads is as any other that is not the right one, wherever it stands."""

from __future__ import annotations

import pytest
from packaging.version import InvalidVersion, Version

from aiocache_engine.errors import BuildError, InvalidWheelError
from aiocache_engine.model.names import sdist_name, wheel_name
from aiocache_engine.pipeline.builds.metadata import check_metadata, is_version_of
from aiocache_engine.pipeline.inputs.pep440 import read_version
from aiocache_engine.pipeline.wheels.contents import find_layout, read_metadata

WHEEL = wheel_name("tiny-1.0-py3-none-any.whl")
SDIST = sdist_name("tiny-1.0.tar.gz")
ENDLESS = ["1" * 4301, "1" * 641, f"1.0+{'1' * 5000}", f"1!{'1' * 5000}", "1." * 100_000 + "0", "x" * 5000]


@pytest.mark.parametrize("text", ENDLESS)
def test_a_version_without_end_is_malformed(text: str) -> None:
    with pytest.raises(InvalidVersion):
        read_version(text)


@pytest.mark.parametrize("text", ["1.0", "v1.0-1", "1" * 640])
def test_any_other_version_is_read_as_packaging_reads_it(text: str) -> None:
    assert read_version(text) == Version(text)


@pytest.mark.parametrize("text", ENDLESS)
def test_metadata_of_a_version_without_end_is_that_of_another_wheel(text: str) -> None:
    with pytest.raises(InvalidWheelError, match=r"it is for tiny .*…") as caught:
        read_metadata(f"Name: tiny\nVersion: {text}\n".encode(), "tiny-1.0.dist-info/METADATA", WHEEL)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ENDLESS)
def test_metadata_of_a_version_without_end_is_not_that_of_an_sdist(text: str) -> None:
    with pytest.raises(BuildError, match=r"its metadata is for tiny .*…, and its file name says") as caught:
        check_metadata(f"Name: tiny\nVersion: {text}\n".encode(), SDIST, SDIST.filename)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ENDLESS)
def test_nothing_is_built_into_a_wheel_of_a_version_without_end(text: str) -> None:
    assert not is_version_of(text, "1.0")
    assert not is_version_of("1.0", text)


def test_a_directory_of_a_version_without_end_belongs_to_another_wheel() -> None:
    with pytest.raises(InvalidWheelError, match="it belongs to another distribution"):
        find_layout([f"tiny-{'1' * 5000}.dist-info/METADATA"], WHEEL)
