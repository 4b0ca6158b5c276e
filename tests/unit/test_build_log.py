"""The log of a build keeps what a person needs, within its limit, and no secret of a URL."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocache_engine.pipeline.builds.log import BuildLog

LIMIT = b"\n[the rest is left out: the log has reached its limit]\n"


def written(path: Path, *pieces: bytes, most_bytes: int = 1000) -> tuple[str, ...]:
    with BuildLog(str(path), most_bytes=most_bytes) as log:
        for piece in pieces:
            log.write(piece)
        log.finish()
        return log.last_lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_it_is_readable_by_its_owner_alone(path: Path) -> None:
    written(path, b"a\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_goes_on_where_an_earlier_one_ended(path: Path) -> None:
    written(path, b"a\n")
    assert written(path, b"b\n") == ("b",)
    assert path.read_bytes() == b"a\nb\n"


def test_a_last_line_without_an_end_gets_one(path: Path) -> None:
    assert written(path, b"a\nb", b"c") == ("a", "bc")
    assert path.read_bytes() == b"a\nbc\n"


def test_a_secret_is_left_out_however_the_pieces_cut_it(path: Path) -> None:
    assert written(path, b"see https://user:hun", b"ter2@127.0.0.1/x\n") == ("see https://***@127.0.0.1/x",)
    assert path.read_bytes() == b"see https://***@127.0.0.1/x\n"


def test_a_secret_is_left_out_of_a_line_that_is_too_long_to_wait_for_its_end(path: Path) -> None:
    written(path, b"x " * 32_000 + b"https://user:hun", b"y" * 2000, b"ter2@127.0.0.1/x\n", most_bytes=100_000)
    assert path.read_bytes() == b"x " * 32_000 + b"https://***@127.0.0.1/x\n"


def test_bytes_that_are_no_text_are_kept_as_they_are(path: Path) -> None:
    assert written(path, b"\xff\x00\xc3(\r\n") == ("\N{REPLACEMENT CHARACTER}" * 3 + "(",)
    assert path.read_bytes() == b"\xff\x00\xc3(\r\n"


def test_it_ends_at_its_limit_and_the_last_lines_go_on(path: Path) -> None:
    assert written(path, b"one\n", b"two\n", b"three\n", most_bytes=6) == ("one", "two", "three")
    assert path.read_bytes() == b"one\ntw" + LIMIT


def test_the_limit_is_that_of_the_file_and_not_of_a_call(path: Path) -> None:
    written(path, b"one\n", most_bytes=4)
    assert written(path, b"two\n", most_bytes=4) == ("two",)
    assert path.read_bytes() == b"one\n" + LIMIT


def test_the_last_lines_are_twenty_that_say_something(path: Path) -> None:
    lines = [b"%d\n\n" % number for number in range(100)]
    expected = tuple(str(number) for number in range(80, 100))
    assert written(path, *lines) == expected
    assert written(path, b"\n".join(lines).replace(b"\n\n", b"\n")) == expected


def test_a_last_line_is_no_longer_than_a_person_reads(path: Path) -> None:
    (line,) = written(path, b"x" * 10_000, most_bytes=100_000)
    assert line == "x" * 400


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("other"), os.mkfifo, Path.mkdir])
def test_what_a_build_put_in_its_place_is_not_written(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(OSError, match=str(path)):
        BuildLog(str(path))
