"""Each hostile sdist is refused with its name and a reason, quickly, and nothing outside its directory is touched."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from aiocache_engine.errors import InvalidSdistError
from aiocache_engine.pipeline.builds.unpack import unpack_sdist
from aiocache_engine.pipeline.threads import StoppedError
from aiocache_engine.pipeline.wheels.zip_directory import UnpackLimits
from aiocache_engine.testing.zips import ZipEntry, zip_bytes

pytestmark = pytest.mark.each_python  # tarfile differs by release

FILENAME = "demo-1.0.tar.gz"
MIB = 1024 * 1024
SOURCE = b"[build-system]\nrequires = []\n"


def member(name, content=b"", **fields):
    """A tar member and its content."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, told in fields.items():
        setattr(info, key, told)
    return info, content


def directory(name, **fields):
    return member(name, type=tarfile.DIRTYPE, **fields)


def symlink(name, target):
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name, target):
    return member(name, type=tarfile.LNKTYPE, linkname=target)


RIGHT = member("demo-1.0/pyproject.toml", SOURCE)


def tar_bytes(*members, form=tarfile.PAX_FORMAT):
    """A tar file of what may be as wrong as `tarfile` writes it."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return tar.getvalue()


def packed(*members, form=tarfile.PAX_FORMAT):
    return gzip.compress(tar_bytes(*members, form=form), mtime=0)


def header(name=b"demo-1.0/file", *, size=b"%011o\0" % 0, kind=b"0", magic=b"ustar\x0000", prefix=b"", **fields):
    """A raw header, its checksum right."""
    block = struct.pack(
        "100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12s",
        name, fields.get("mode", b"0000644\0"), b"0000000\0", b"0000000\0", size, fields.get("mtime", b"%011o\0" % 0),
        b" " * 8, kind, fields.get("target", b""), magic, b"", b"", b"", b"", prefix, b"",
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content):
    return content + bytes(-len(content) % 512)


def raw(*blocks):
    """A packed tar of raw blocks, behind a member that is right."""
    return gzip.compress(tar_bytes(RIGHT).rstrip(b"\0") + bytes(-len(SOURCE) % 512) + b"".join(blocks) + bytes(1024))


FILE = header()


def extended(kind, content, following=FILE):
    """A header that tells of the one behind it."""
    return raw(header(b"extended", kind=kind, size=b"%011o\0" % len(content)), padded(content), following)


def pax(**records):
    """An extended header with what it tells."""
    lines = b""
    for key, told in records.items():
        line = b" " + key.replace("__", ".").encode() + b"=" + told + b"\n"
        length = len(line) + len(str(len(line)))
        length = len(line) + len(str(length))
        lines += str(length).encode() + line
    return extended(b"x", lines)


def listing(root):
    """What is there, links not followed; reading it changes nothing of this."""
    found = {}
    for around, directories, files in os.walk(root):
        for name in directories + files:
            state = os.lstat(path := os.path.join(around, name))
            found[path] = (state.st_mode, state.st_size, state.st_mtime_ns, state.st_ino, state.st_nlink)
    return found


@pytest.fixture
def world(tmp_path):
    """A directory to unpack into amid things that must not change."""
    for place in ("decoy", "staging", "staging/decoy"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "file").write_text("mine")
    (tmp_path / "evil").write_text("mine")
    (tmp_path / "staging" / "tree").mkdir()
    return tmp_path


def unpacked(world, content, *, filename=FILENAME, **options):
    sdist = world / filename
    sdist.write_bytes(content)
    with sdist.open("rb") as file:
        return Path(unpack_sdist(file.fileno(), filename, str(world / "staging" / "tree"), **options))


def refusal(world, content, *, filename=FILENAME, **options):
    """Unpack what must be refused; give the message."""
    tree = str(world / "staging" / "tree")
    (world / filename).write_bytes(content)
    before = listing(world)
    with pytest.raises(InvalidSdistError) as caught:
        unpacked(world, content, filename=filename, **options)
    after = listing(world)
    # The sdist was written anew; of the directory itself the times change.
    for path in (str(world / filename), tree):
        del before[path], after[path]
    assert before == {path: state for path, state in after.items() if not path.startswith(tree)}
    assert caught.value.file == filename
    assert str(caught.value).startswith(filename)
    for around, directories, files in os.walk(tree):
        for name in directories + files:
            mode = os.lstat(os.path.join(around, name)).st_mode
            assert stat.S_ISREG(mode) or stat.S_ISDIR(mode)  # no link, device or fifo was ever made
            assert not mode & 0o7022
    return str(caught.value)


def test_the_sdist_that_all_hostile_ones_are_made_from_is_right(world):
    root = unpacked(world, packed(RIGHT))
    assert root == world / "staging" / "tree" / "demo-1.0"
    assert (root / "pyproject.toml").read_bytes() == SOURCE
    assert raw(header(b"demo-1.0/more")) != packed(RIGHT)


def test_the_raw_headers_that_hostile_ones_are_made_from_are_right(world):
    root = unpacked(world, raw(header(b"demo-1.0/more", size=b"%011o\0" % 3), padded(b"yes")))
    assert (root / "more").read_bytes() == b"yes"


def test_the_old_format_tells_directories_by_a_slash_and_the_new_one_by_their_type(world):
    assert (unpacked(world, raw(header(b"demo-1.0/old/", kind=b"\0", magic=b""))) / "old").is_dir()
    shutil.rmtree(world / "staging" / "tree" / "demo-1.0")
    assert "name of a directory" in refusal(world, raw(header(b"demo-1.0/new/", kind=b"0")))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/evil", "safe relative"),
        ("//evil", "safe relative"),
        ("../evil", "safe relative"),
        ("demo-1.0/../../evil", "safe relative"),
        ("demo-1.0/../demo-1.0/file", "safe relative"),
        ("demo-1.0/..", "safe relative"),
        ("..", "safe relative"),
        ("", "name of a directory"),
        (".", "name of a directory"),
        ("./", "name of a directory"),
        ("demo-1.0/new\nline", "safe relative"),
        ("demo-1.0/bell\a", "safe relative"),
        ("demo-1.0/delete\x7f", "safe relative"),
        ("demo-1.0/next\x85", "safe relative"),
        ("demo-1.0/file/", "name of a directory"),
        ("demo-1.0/file/.", "name of a directory"),
        ("demo-1.0/" + "n" * 256, "too long"),
        ("demo-1.0/" + "\N{SNOWMAN}" * 86, "too long"),
        ("demo-1.0" + ("/" + "n" * 250) * 9, "too long"),
        ("demo-1.0" + "/d" * 64, "deeper"),
    ],
)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_name_that_is_no_safe_relative_path_is_refused(world, name, reason, form):
    assert reason in refusal(world, packed(RIGHT, member(name, b"theirs"), form=form))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(pax(path=b"demo-1.0/fi\0le"), "safe relative", id="NUL by pax"),
        pytest.param(pax(path=b"demo-1.0/\xff"), "not UTF-8", id="not UTF-8 by pax"),
        pytest.param(pax(path=b"demo-1.0/\xed\xb3\xbf"), "not UTF-8", id="a surrogate by pax"),
        pytest.param(pax(path=b"../evil"), "safe relative", id="outside by pax"),
        pytest.param(raw(header(b"demo-1.0/\xff")), "not UTF-8", id="not UTF-8"),
        pytest.param(raw(header(b"demo-1.0/\xed\xb3\xbf")), "not UTF-8", id="a surrogate"),
        pytest.param(raw(header(b"evil", prefix=b"..")), "safe relative", id="outside by prefix"),
        pytest.param(raw(header(b"evil", prefix=b"/")), "safe relative", id="absolute by prefix"),
        pytest.param(extended(b"L", b"/evil\0"), "safe relative", id="absolute by GNU's long name"),
        pytest.param(extended(b"L", b"demo-1.0/\xff\0"), "not UTF-8", id="not UTF-8 by GNU's long name"),
    ],
)
def test_a_long_name_is_no_way_round_the_rules_for_names(world, content, reason):
    assert reason in refusal(world, content)


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "/",
        "",
        "..",
        "../",
        "../decoy",
        "../../decoy/file",
        "./../../decoy/file",
        "missing/../../../decoy",
        "../demo-1.0/pyproject.toml",
        "pyproject.toml/../../../decoy",
        "bell\a",
        "x/" * 1025,
    ],
)
@pytest.mark.parametrize("place", ["demo-1.0/link", "demo-1.0/deep/link"])
def test_a_symbolic_link_that_leads_out_is_refused(world, target, place):
    if place == "demo-1.0/deep/link" and target.startswith(".."):
        target = f"../{target}"
    reason = refusal(world, packed(RIGHT, symlink(place, target)))
    assert "leads out" in reason or "no safe relative path" in reason


LONG_PARTS = "/".join(["d" * 247] * 7)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        pytest.param(
            [symlink("demo-1.0/link", "."), member("demo-1.0/link/file", b"theirs")], "and a symbolic link", id="below"
        ),
        pytest.param(
            [symlink("demo-1.0/link", "."), directory("demo-1.0/link/")], "and a symbolic link", id="a directory there"
        ),
        pytest.param(
            [symlink("demo-1.0/link", "file"), member("demo-1.0/link", b"theirs")], "occurs twice", id="in its place"
        ),
        pytest.param(
            [directory("demo-1.0/link"), symlink("demo-1.0/link", "..")], "occurs twice", id="in place of a directory"
        ),
        pytest.param(
            [member("demo-1.0/link", b"ours"), symlink("demo-1.0/link", "x")], "occurs twice", id="in place of a file"
        ),
        pytest.param(
            [symlink("demo-1.0/LINK", "."), member("demo-1.0/link/file", b"theirs")], "and a symbolic link", id="case"
        ),
        # What looks as if it led inside by its text, and leads outside by what the first link is.
        pytest.param(
            [
                directory("demo-1.0/a/b/c"),
                symlink("demo-1.0/a/b/c/up", "../../.."),
                symlink("demo-1.0/out", "a/b/c/up/../../decoy"),
            ],
            "through another",
            id="through a link upwards",
        ),
        pytest.param(
            [symlink("demo-1.0/here", "."), symlink("demo-1.0/out", "here/../file")], "through another", id="here"
        ),
        pytest.param(
            [symlink("demo-1.0/out", "HERE/../file"), symlink("demo-1.0/here", ".")], "through another", id="later"
        ),
        pytest.param(
            [symlink("demo-1.0/a", "b/"), symlink("demo-1.0/b", "a/.")], "through another", id="a ring of links"
        ),
        # The chain of links with names so long that realpath gave up on it and let the last of them lead outside.
        pytest.param(
            [
                member(f"demo-1.0/{LONG_PARTS}/file"),
                *(symlink(f"demo-1.0/{'/'.join('abcdefg'[:depth])}", "d" * 247) for depth in range(1, 8)),
                symlink(f"demo-1.0/{'/'.join('abcdefg')}/last", "../" * 8),
                symlink("demo-1.0/escape", "a/b/c/d/e/f/g/last/../../decoy"),
                hard_link("demo-1.0/read", "demo-1.0/escape/file"),
            ],
            "and a symbolic link",
            id="longer than paths may be",
        ),
        pytest.param(
            [member(f"demo-1.0/{LONG_PARTS}/file"), symlink("demo-1.0/l", f"{LONG_PARTS}/" + "../" * 9)],
            "leads out",
            id="down a long way and up a longer one",
        ),
        pytest.param([symlink("demo-1.0", "../decoy")], "occurs twice", id="in place of the top directory"),
    ],
)
def test_links_that_only_together_lead_out_or_hide_another_are_refused(world, members, reason):
    assert reason in refusal(world, packed(RIGHT, *members))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        pytest.param([hard_link("demo-1.0/link", "/etc/passwd")], "safe relative", id="absolute"),
        pytest.param([hard_link("demo-1.0/link", "../decoy/file")], "safe relative", id="upwards"),
        pytest.param(
            [hard_link("demo-1.0/link", "demo-1.0/later"), member("demo-1.0/later")], "comes later", id="later"
        ),
        pytest.param([hard_link("demo-1.0/link", "pyproject.toml")], "no file of this", id="relative to the link"),
        pytest.param([hard_link("demo-1.0/link", "demo-1.0")], "no file of this", id="to a directory"),
        pytest.param([hard_link("demo-1.0/link", "demo-1.0/link")], "no file of this", id="to itself"),
        pytest.param(
            [symlink("demo-1.0/s", "pyproject.toml"), hard_link("demo-1.0/link", "demo-1.0/s")],
            "no file of this",
            id="to a symbolic link",
        ),
        pytest.param([hard_link("demo-1.0/pyproject.toml", "demo-1.0/pyproject.toml")], "occurs twice", id="onto it"),
        pytest.param([hard_link("../evil", "demo-1.0/pyproject.toml")], "safe relative", id="made outside"),
    ],
)
def test_a_hard_link_to_what_was_not_unpacked_before_is_refused(world, members, reason):
    assert reason in refusal(world, packed(RIGHT, *members))


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"7", b"S", b"D", b"M", b"V", b"X", b"Z"])
def test_what_is_no_file_directory_or_link_is_refused(world, kind):
    assert "no file, directory or link" in refusal(world, raw(header(b"demo-1.0/thing", kind=kind)))


@pytest.mark.parametrize(
    "content",
    [
        pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__name=b"evil"),
        pax(GNU__sparse__map=b"0,1"),
        pax(GNU__sparse__size=b"1000000000000"),
        pax(SCHILY__realsize=b"1000000000000"),
    ],
)
def test_a_sparse_file_is_refused(world, content):
    assert "sparse" in refusal(world, content)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (member("demo-1.0/a"), member("demo-1.0/a"), "occurs twice"),
        (member("demo-1.0/a"), member("demo-1.0/./a"), "occurs twice"),
        (member("demo-1.0/a"), member("demo-1.0//a"), "occurs twice"),
        (member("demo-1.0/README"), member("demo-1.0/readme"), "occurs twice"),
        (member("demo-1.0/stra\N{LATIN SMALL LETTER SHARP S}e"), member("demo-1.0/STRASSE"), "occurs twice"),
        (member("demo-1.0/e\N{COMBINING ACUTE ACCENT}"), member("demo-1.0/\xe9"), "occurs twice"),
        (member("demo-1.0/D/a"), member("demo-1.0/d/b"), "two directories"),
        (directory("demo-1.0/D"), directory("demo-1.0/d"), "two directories"),
        (member("demo-1.0/a"), member("demo-1.0/a/b"), "a directory and a file"),
        (member("demo-1.0/a"), directory("demo-1.0/A"), "a directory and a file"),
        (member("demo-1.0/a/b"), member("demo-1.0/a"), "occurs twice"),
        (member("DEMO-1.0/a"), member("demo-1.0/b"), "two directories"),
    ],
)
def test_two_members_of_names_that_some_file_system_takes_for_one_are_refused(world, first, second, reason):
    others = [] if first[0].name.startswith("DEMO") else [RIGHT]
    assert reason in refusal(world, packed(*others, first, second))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([], "found nothing"),
        ([directory(".")], "found nothing"),
        ([member("pyproject.toml")], "found pyproject.toml"),
        ([member("demo-1.0")], "found demo-1.0"),
        ([RIGHT, member("setup.py")], "found demo-1.0, setup.py"),
        ([RIGHT, directory("empty")], "found demo-1.0, empty"),
        ([RIGHT, symlink("link", "demo-1.0")], "found demo-1.0, link"),
        ([symlink("link", "demo-1.0")], "found link"),
        ([*(member(f"{letter}/file") for letter in "abcdef")], "found a, b, c, …"),
    ],
)
def test_what_has_not_exactly_one_top_directory_is_refused(world, members, reason):
    assert reason in refusal(world, packed(*members))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(raw(header(size=b"\xff" * 12)), "number", id="a negative size"),
        pytest.param(raw(header(size=b"\xff" * 11 + b"\x00")), "number", id="a negative size of one block"),
        pytest.param(raw(header(size=b"\x80" + b"\xff" * 11)), "more than the", id="a size beyond everything"),
        pytest.param(raw(header(size=b"-0000000001\0")), "number", id="a minus"),
        pytest.param(raw(header(size=b"0x000000010\0")), "number", id="a hexadecimal number"),
        pytest.param(raw(header(size=b"0000_000010\0")), "number", id="an underscore"),
        pytest.param(raw(header(size=b"00000000008\0")), "number", id="a digit that is not octal"),
        pytest.param(raw(header(size=b"%011o\0" % 2048)), "cut short", id="content that is missing"),
        pytest.param(raw(header(kind=b"5", size=b"%011o\0" % 512), bytes(512)), "has content", id="in a directory"),
        pytest.param(
            raw(header(kind=b"2", target=b"x", size=b"%011o\0" % 512), bytes(512)), "has content", id="in a link"
        ),
        pytest.param(pax(size=b"-512"), "size is malformed", id="a negative size by pax"),
        pytest.param(pax(size=b"1" * 30), "size is malformed", id="a size of many digits by pax"),
        pytest.param(pax(size=b"10000000000000"), "more than the", id="a size beyond everything by pax"),
        pytest.param(pax(mtime=b"soon"), "time is malformed", id="a time that is none"),
        pytest.param(raw(header()[:148] + b"0000000\0" + header()[156:]), "checksum", id="a wrong checksum"),
        pytest.param(raw(header(magic=b"ustar\x0001")), "different ways", id="an unknown format"),
        pytest.param(raw(header(magic=b"ustar  \0", prefix=b"..")), "different ways", id="a prefix in GNU's format"),
        pytest.param(raw(header(magic=b"", prefix=b"..")), "different ways", id="a prefix in the old format"),
        pytest.param(extended(b"x", b"no record"), "malformed", id="a pax header that is none"),
        pytest.param(extended(b"x", b"99999999 path=x\n"), "malformed", id="a pax record that is too long"),
        pytest.param(extended(b"x", b"0 path=x\n"), "malformed", id="a pax record of no length"),
        pytest.param(extended(b"x", b"3 path=x\n"), "malformed", id="a pax record that ends too early"),
        pytest.param(extended(b"x", b"9 path=x"), "malformed", id="a pax record without an end"),
        pytest.param(extended(b"x", b"5 =x\n"), "malformed", id="a pax record without a key"),
        pytest.param(extended(b"x", b"11 path=ab\n" * 2), "told twice", id="two names by pax"),
        pytest.param(
            extended(b"x", b"11 path=ab\n", padded(header(b"l", kind=b"L", size=b"%011o\0" % 3)) + padded(b"cd\0")),
            "told twice",
            id="names by pax and by GNU",
        ),
        pytest.param(extended(b"g", b"11 path=ab\n"), "for all of its members", id="a name for all"),
        pytest.param(extended(b"g", b"9 size=0\n"), "for all of its members", id="a size for all"),
        pytest.param(extended(b"x", b"11 path=ab\n", b""), "is missing", id="a name for nothing"),
        pytest.param(raw(b"\0" * 512, header()), "follows its end", id="members behind the end"),
        pytest.param(raw(b"x" * 512), "no tar file", id="a block that is no header"),
        pytest.param(raw(b"short"), "checksum", id="garbage in place of the end"),
    ],
)
def test_headers_that_two_readers_could_understand_differently_are_refused(world, content, reason):
    assert reason in refusal(world, content)


GOOD = packed(RIGHT)
EMPTY = gzip.compress(b"", mtime=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "no gzip file", id="nothing"),
        pytest.param(b"<html>please log in</html>" * 9, "no gzip file", id="a login page"),
        pytest.param(tar_bytes(RIGHT), "no gzip file", id="a tar that is not packed"),
        pytest.param(GOOD[:5], "cut short", id="a part of the header"),
        pytest.param(GOOD[: len(GOOD) // 2], "cut short", id="half of it missing"),
        pytest.param(GOOD[:-1], "cut short", id="the last byte missing"),
        pytest.param(GOOD[:-8], "cut short", id="the checksum missing"),
        pytest.param(GOOD[:-8] + bytes([GOOD[-8] ^ 1]) + GOOD[-7:], "damaged", id="a wrong CRC"),
        pytest.param(GOOD[:-4] + bytes([GOOD[-4] ^ 1]) + GOOD[-3:], "damaged", id="a wrong length"),
        pytest.param(GOOD + b"garbage", "damaged", id="garbage behind it"),
        pytest.param(GOOD + b"\0\0\0xx", "damaged", id="garbage behind zeros"),
        pytest.param(GOOD + b"\x1f", "cut short", id="the beginning of another"),
        pytest.param(GOOD + GOOD, "follows its end", id="two archives in a row"),
        pytest.param(GOOD + gzip.compress(b"x"), "follows its end", id="a byte in a second member"),
        pytest.param(gzip.compress(b"x" * 100), "cut short", id="less than a block"),
        pytest.param(gzip.compress(tar_bytes(RIGHT)[:600]), "cut short", id="a tar cut within content"),
    ],
)
def test_a_packed_file_that_is_damaged_or_followed_by_something_is_refused(world, content, reason):
    assert reason in refusal(world, content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(gzip.compress(tar_bytes(RIGHT)[:700]) + gzip.compress(tar_bytes(RIGHT)[700:]), id="two members"),
        pytest.param(GOOD + EMPTY, id="an empty member at the end"),
        pytest.param(EMPTY + GOOD, id="an empty member in front"),
        pytest.param(GOOD + bytes(5000), id="zeros behind it"),
        pytest.param(gzip.compress(tar_bytes(RIGHT)[:1024]), id="no end"),
        pytest.param(gzip.compress(tar_bytes(RIGHT)[:-100]), id="fewer zeros than usual"),
        pytest.param(gzip.compress(tar_bytes(RIGHT) + bytes(MIB)), id="more zeros than usual"),
    ],
)
def test_several_gzip_members_and_zeros_behind_are_one_content_as_all_readers_take_them(world, content):
    assert (unpacked(world, content) / "pyproject.toml").read_bytes() == SOURCE


def zeros(*sizes):
    """A right tar of files of zeros, packed."""
    pack = zlib.compressobj(1, wbits=31)
    parts = [pack.compress(tar_bytes(RIGHT)[:1024])]
    for number, size in enumerate(sizes):
        parts.append(pack.compress(header(b"demo-1.0/zeros-%d" % number, size=b"%011o\0" % size)))
        parts += [pack.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join([*parts, pack.compress(bytes(1024)), pack.flush()])


BOMB = zeros(80 * MIB)


@pytest.mark.parametrize(
    ("content", "limits", "reason"),
    [
        pytest.param(BOMB, {}, "more than the 67108864 bytes", id="a big file"),
        pytest.param(GOOD, {"total_bytes": 1024}, "more than the 1024 bytes", id="more than is allowed"),
        pytest.param(
            gzip.compress(tar_bytes(RIGHT) + bytes(80 * MIB)), {}, "more than the 67108864 bytes", id="behind the end"
        ),
        pytest.param(
            gzip.compress(b"".join(padded(header(b"demo-1.0/%d" % number)) for number in range(300))),
            {"entry_count": 200},
            "more than the 200 entries",
            id="many entries",
        ),
        pytest.param(
            raw(*(header(b"g", kind=b"g") for _ in range(300))),
            {"entry_count": 200},
            "more than the 200 entries",
            id="many headers of no member",
        ),
        pytest.param(EMPTY * 300, {"entry_count": 200}, "more than the 200 gzip members", id="many gzip members"),
        pytest.param(
            extended(b"x", bytes(2 * MIB)), {}, "the header of a member has 2097152 bytes", id="a big pax header"
        ),
        pytest.param(extended(b"L", b"n" * 2 * MIB), {}, "the header of a member has 2097152 bytes", id="a big name"),
        pytest.param(packed(RIGHT, member("demo-1.0/a/b/c")), {"depth": 3}, "deeper than the 3", id="deep"),
    ],
)
def test_a_bomb_is_refused(world, content, limits, reason):
    assert reason in refusal(world, content, limits=UnpackLimits(**limits))


def test_a_big_file_that_is_announced_is_refused_before_any_of_it_is_written(world):
    refusal(world, BOMB)
    sizes = [path.stat().st_size for path in (world / "staging" / "tree").rglob("*") if path.is_file()]
    assert sizes == [len(SOURCE)]


UNPACK = """
import os, resource, sys, tempfile
from aiocache_engine.errors import InvalidSdistError
from aiocache_engine.pipeline.builds.unpack import unpack_sdist
for name in sys.argv[1:]:
    try:
        unpack_sdist(os.open(name, os.O_RDONLY), name, tempfile.mkdtemp(dir="."))
        print("unpacked")
    except InvalidSdistError:
        print("refused")
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
# The peak of this program alone: getrusage would count the parent's memory before exec.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_big_sdists_and_bombs_take_little_memory_and_time(world):
    many_members = zeros(*[MIB] * 80)
    many_streams = GOOD + EMPTY * 200_000
    names = []
    for number, content in enumerate((zeros(60 * MIB), BOMB, many_members, many_streams)):
        names.append(f"{number}-1.0.tar.gz")
        (world / names[-1]).write_bytes(content)
    command = [sys.executable, "-c", UNPACK, *names]
    done = subprocess.run(command, cwd=world, capture_output=True, text=True, check=True)
    *said, user_seconds, peak_kib = done.stdout.split()
    assert said == ["unpacked", "refused", "refused", "refused"]
    assert int(peak_kib) < 64 * 1024
    assert float(user_seconds) < 4  # of the processor, for all of them: whoever else is busy does not count


OF_ALL_KINDS = padded(
    tar_bytes(
        directory("demo-1.0/d"),
        symlink("demo-1.0/s", "d/.."),
        RIGHT,
        hard_link("demo-1.0/h", "demo-1.0/pyproject.toml"),
        member("demo-1.0/" + "n" * 120, b"long", pax_headers={"mtime": "1.5", "comment": "none"}),
    ).rstrip(b"\0")
) + padded(tar_bytes(member("demo-1.0/" + "g" * 120, b"long"), form=tarfile.GNU_FORMAT).rstrip(b"\0"))


def test_what_is_damaged_next_is_right(world):
    assert len(list(unpacked(world, gzip.compress(OF_ALL_KINDS)).iterdir())) == 6


@hypothesis.settings(max_examples=120)
@hypothesis.given(st.data())
def test_any_damage_to_headers_is_refused_or_harmless(data):
    """Checksums are put right, so that all that a header can say is met."""
    tar = bytearray(OF_ALL_KINDS)
    for _ in range(data.draw(st.integers(1, 3))):
        start = 512 * data.draw(st.integers(0, len(tar) // 512 - 1))
        # Most of a block is zeros; the fields that mean something begin at these places.
        at = start + data.draw(st.sampled_from([0, 8, 9, 100, 124, 134, 136, 156, 157, 257, 262, 263, 345]))
        new = data.draw(
            st.sampled_from([b"/", b".", b"..", b"../", b"\0", b"\x80", b"\xff", b"0", b"2", b"x", b"L", b"S"])
        )
        tar[at : at + len(new)] = new
        block = bytes(tar[start : start + 148]) + b" " * 8 + bytes(tar[start + 156 : start + 512])
        tar[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "decoy").write_text("mine")
        (Path(place) / "staging" / "tree").mkdir(parents=True)
        with contextlib.suppress(InvalidSdistError):
            unpacked(Path(place), gzip.compress(tar, 1))
        assert {"decoy", "staging", FILENAME} == set(os.listdir(place))
        assert os.listdir(Path(place) / "staging") == ["tree"]
        assert (Path(place) / "decoy").read_text() == "mine"
        for path in listing(place):
            assert os.path.realpath(path).startswith(f"{os.path.realpath(place)}/")


@pytest.mark.parametrize("mode", [0o7777, 0o4755, 0o2755, 0o666, 0o777, 0o000, 0o200])
def test_of_modes_only_the_executable_bit_is_kept(world, mode):
    before = os.umask(0)
    try:
        root = unpacked(world, packed(directory("demo-1.0", mode=mode), RIGHT, member("demo-1.0/file", b"", mode=mode)))
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "file").stat().st_mode) == (0o755 if mode & 0o111 else 0o644)
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    assert (root / "file").stat().st_uid == os.geteuid()


def test_the_umask_is_honoured(world):
    before = os.umask(0o077)
    try:
        root = unpacked(world, packed(RIGHT, member("demo-1.0/file", b"", mode=0o777)))
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "file").stat().st_mode) == 0o700
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_an_unpacking_that_is_stopped_ends_within_a_piece(world):
    asked = []

    def is_stopped():
        asked.append(True)
        return len(asked) > 3

    with pytest.raises(StoppedError):
        unpacked(world, packed(RIGHT, member("demo-1.0/big", os.urandom(4 * MIB))), is_stopped=is_stopped)
    assert (world / "staging" / "tree" / "demo-1.0" / "big").stat().st_size < 2 * MIB


ZIP = "demo-1.0.zip"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        pytest.param([ZipEntry("/evil", b"x")], "safe relative", id="absolute"),
        pytest.param([ZipEntry("../evil", b"x")], "safe relative", id="upwards"),
        pytest.param([ZipEntry("demo-1.0/../../evil", b"x")], "safe relative", id="upwards further in"),
        pytest.param([ZipEntry("demo-1.0\\evil", b"x")], "safe relative", id="a backslash"),
        pytest.param([ZipEntry(b"demo-1.0/a\0b", b"x")], "safe relative", id="NUL"),
        pytest.param([ZipEntry(b"demo-1.0/\xff", b"x")], "not UTF-8", id="not UTF-8"),
        pytest.param([ZipEntry("demo-1.0/link", b"/etc", mode=0o120777)], "a link", id="a symbolic link"),
        pytest.param([ZipEntry("demo-1.0/fifo", mode=0o010644)], "a link", id="a fifo"),
        pytest.param([ZipEntry("demo-1.0/device", mode=0o020644)], "a link", id="a device"),
        pytest.param([ZipEntry("demo-1.0/a"), ZipEntry("demo-1.0/A")], "occurs twice", id="case"),
        pytest.param([ZipEntry("demo-1.0/a"), ZipEntry("demo-1.0/a/b")], "a file and a directory", id="both"),
        pytest.param([ZipEntry("demo-1.0/d/", mode=0o040755, local={"crc32": 1})], "disagree", id="a directory"),
        pytest.param([ZipEntry("other/a")], "found demo-1.0, other", id="two top directories"),
        pytest.param([ZipEntry("demo-1.0/a", b"x", local={"crc32": 1})], "disagree", id="disagreement"),
        pytest.param([ZipEntry("demo-1.0/a", bytes(80 * MIB))], "times its size", id="a bomb"),
        pytest.param(
            [ZipEntry("demo-1.0/a", bytes(MIB), central={"size_bytes": 9}, local={"size_bytes": 9})],
            "not those that",
            id="a bomb that lies",
        ),
    ],
)
def test_zip_sdists_get_the_rules_for_zip_files(world, entries, reason):
    content = zip_bytes([ZipEntry("demo-1.0/pyproject.toml", SOURCE), *entries])
    assert reason in refusal(world, content, filename=ZIP)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no zip file"),
        (GOOD, "no zip file"),
        (zip_bytes([]), "found nothing"),
        (zip_bytes([ZipEntry("demo-1.0/a", b"x")]) + b"x", "follows its end"),
        (zip_bytes([ZipEntry("demo-1.0/a", b"x")], prefix=b"#!/bin/sh\n"), "before its first"),
    ],
)
def test_a_zip_sdist_that_is_none_or_has_more_around_it_is_refused(world, content, reason):
    assert reason in refusal(world, content, filename=ZIP)


def test_nothing_is_written_through_a_link_that_somebody_puts_into_the_directory_meanwhile(world):
    tree = world / "staging" / "tree"
    asked = []

    def is_stopped():
        # As soon as the package is there, it is put aside and a link to somewhere else into its place.
        if (tree / "demo-1.0" / "demo").is_dir() and not asked:
            asked.append(True)
            (tree / "demo-1.0" / "demo").rename(tree / "aside")
            (tree / "demo-1.0" / "demo").symlink_to(world / "decoy")
        return False

    members = [directory("demo-1.0/demo"), RIGHT, member("demo-1.0/demo/evil", b"theirs")]
    before = listing(world / "decoy")
    with pytest.raises(Exception, match="symbolic link"):
        unpacked(world, packed(*members), is_stopped=is_stopped)
    assert asked
    assert before == listing(world / "decoy")
    shutil.rmtree(tree)
