"""A collector on a cache that people or crashes damaged: it keeps what might be used, says so, and is never stuck."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocache_engine.store.documents import _checksum, _dump, decode, encode
from aiocache_engine.system.disk import replace_bytes
from caches import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.wheel()
    return place


def whole(**body: object) -> bytes:
    """Encode a document of any format, its checksum right."""
    return _dump({**body, "checksum": _checksum(body)}) + b"\n"


async def registered(place: Place) -> Path:
    """Register an environment, and let nothing but its record keep what it was installed from."""
    await place.install("env", "tiny")
    [record] = (place.cache / "referrers").iterdir()
    return record


async def releases(place: Place) -> list[list[str]]:
    """Clean, and prune; gives what would release what both kept."""
    removals = [await place.clean("tiny"), await place.prune()]
    return [[reason.release for kept in each.kept for reason in kept.reasons] for each in removals]


def damaged(content: bytes, how: str) -> bytes:
    document = decode(content)
    assert document is not None
    document.pop("format")
    changes: dict[str, dict[str, object]] = {
        "archives of a wrong type": {"archives": 5},
        "an archive that is no id": {"archives": {"../x": "copy"}},
        "a path that is none": {"path": "/a\0b"},
        "a path of a wrong type": {"path": 5},
        "the id of another": {"id": "0" * 32},
        "a relative site directory": {"site_directories": ["lib"]},
    }
    if how in changes:
        return encode({**document, **changes[how]})
    if how == "a field too few":
        document.pop("stamp")
        return encode(document)
    return {"empty": b"", "cut": content[:-9], "deep": b"[" * 100_000, "flipped": content.replace(b"a", b"b")}[how]


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "cut",
        "deep",
        "flipped",
        "a field too few",
        "archives of a wrong type",
        "an archive that is no id",
        "a path that is none",
        "a path of a wrong type",
        "the id of another",
        "a relative site directory",
    ],
)
async def test_a_damaged_record_of_an_environment_keeps_everything_and_says_which_file_to_remove(
    place: Place, how: str
) -> None:
    record = await registered(place)
    record.write_bytes(damaged(record.read_bytes(), how))
    for each in await releases(place):
        assert len(each) == 1
        assert f"rm {record}, if " in each[0]
        assert "damaged" in each[0]
    record.unlink()
    await place.clean("tiny")
    assert place.archives() == set()


async def test_a_record_of_a_newer_release_keeps_everything_and_says_so(place: Place) -> None:
    record = await registered(place)
    record.write_bytes(whole(format=2, anything=[]))
    for each in await releases(place):
        assert len(each) == 1
        assert "newer" in each[0]


def plant(path: Path) -> None:
    """Put a directory with something in it where a file should be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "something").write_text("x")


@pytest.mark.parametrize(
    ("where", "command"),
    [
        ("condemned/" + "1" * 32 + "-x", "prune"),
        (".locks/keys/" + "1" * 32, "prune"),
        ("generations/projects/tiny", "clean tiny"),
        ("generations/projects/tiny", "clean tiny==1.0"),
        ("generations/projects/tiny", "clean"),
        ("generations/global", "clean"),
    ],
)
async def test_a_directory_in_the_place_of_a_file_of_the_collector_goes_with_the_next_command(
    place: Place, where: str, command: str
) -> None:
    await place.fetch("tiny")
    plant(place.cache / where)
    name, *arguments = command.split()
    await (place.prune() if name == "prune" else place.clean(*arguments))
    assert not (place.cache / where).is_dir()
    assert list((place.cache / "trash").iterdir()) == []
    await place.fetch("tiny")
    await place.clean("tiny")
    assert place.archives() == set()


@pytest.mark.parametrize("command", ["fetch", "clean"])
async def test_a_directory_in_the_place_of_a_stamp_stops_neither_a_look_up_nor_a_clean(
    place: Place, command: str
) -> None:
    [archive] = await place.fetch("tiny")
    stamp = place.cache / "archives-v1" / archive / "used"
    plant(stamp)
    if command == "fetch":
        assert await place.fetch("tiny") == (archive,)
        assert stamp.is_file()
    await place.clean("tiny")
    assert place.archives() == set()
    assert list((place.cache / "trash").iterdir()) == []


async def test_what_stands_in_the_place_of_a_page_is_named_when_it_cannot_be_replaced(place: Place) -> None:
    plant(place.root / "record")
    with pytest.raises(IsADirectoryError) as caught:
        replace_bytes(str(place.root / "record"), b"", by_way_of=str(place.root / "temporary"))
    assert caught.value.filename == str(place.root / "record")
    assert not (place.root / "temporary").exists()
