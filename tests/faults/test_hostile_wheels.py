"""Each hostile wheel is refused with its name and a reason, and nothing outside its tree is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from aiocache_engine.errors import InvalidWheelError
from aiocache_engine.model.names import wheel_name
from aiocache_engine.model.record import hash_field
from aiocache_engine.pipeline.wheels import unpack as unpack_module
from aiocache_engine.pipeline.wheels import zip_members
from aiocache_engine.pipeline.wheels.unpack import UnpackLimits, unpack
from aiocache_engine.testing.wheels import replaced, wheel_entries, with_record
from aiocache_engine.testing.zips import STORED, ZipEntry, deflated, end64_records, zip_bytes

pytestmark = pytest.mark.each_python  # zlib and the file system as this version gives them

FILENAME = "demo-1.0-py3-none-any.whl"
DIST_INFO = "demo-1.0.dist-info"
INIT = "demo/__init__.py"
CONTENT = b"__version__ = '1.0'\n"
PACKED = deflated(CONTENT)
MIB = 1024 * 1024


def demo(*more, **options):
    """Entries of a right wheel, with more of them."""
    return with_record([*wheel_entries("demo", "1.0", **options), *more], DIST_INFO)


def listing(root):
    """What is there, links not followed; reading it changes nothing of this."""
    found = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            state = os.lstat(path := os.path.join(directory, name))
            found[path] = (state.st_mode, state.st_size, state.st_mtime_ns, state.st_ino)
    return found


@pytest.fixture
def world(tmp_path):
    """A directory for the tree amid things that must not change."""
    (tmp_path / "decoy").mkdir()
    (tmp_path / "decoy" / "file").write_text("mine")
    (tmp_path / "evil").write_text("mine")
    (tmp_path / "staging").mkdir()
    return tmp_path


@pytest.fixture(params=["isal", "zlib"])
def inflater(request, monkeypatch):
    """Inflate with isal, and as on machines that have none."""
    monkeypatch.setattr(zip_members, "zlib", zlib if request.param == "zlib" else pytest.importorskip("isal.isal_zlib"))


def refusal(world: Path, content: bytes, *, filename: str = FILENAME, limits: UnpackLimits | None = None) -> str:
    """Unpack what must be refused; give the message."""
    wheel = world / filename
    wheel.write_bytes(content)
    tree = world / "staging" / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    before = listing(world)
    with pytest.raises(InvalidWheelError) as caught:
        unpack(
            str(wheel),
            str(tree),
            name=wheel_name(filename),
            sha256="0" * 64,
            boot_id="",
            limits=limits or UnpackLimits(),
        )
    after = {path: state for path, state in listing(world).items() if not path.startswith(str(tree))}
    # The tree is made in staging, which changes the time of that directory alone.
    del before[str(tree.parent)], after[str(tree.parent)]
    assert before == after
    assert caught.value.file == filename
    assert str(caught.value).startswith(filename)
    return str(caught.value)


def accepted(world: Path, content: bytes, *, filename: str = FILENAME):
    wheel = world / filename
    wheel.write_bytes(content)
    return unpack(str(wheel), str(world / "tree"), name=wheel_name(filename), sha256="0" * 64, boot_id="")


def test_the_wheel_that_all_hostile_ones_are_made_from_is_right(world):
    accepted(world, zip_bytes(demo()))
    assert (world / "tree" / INIT).read_text() == "__version__ = '1.0'\n"


RIGHT = zip_bytes(demo())
HAS_END_RECORD_IN_COMMENT = zip_bytes(demo(), comment=zip_bytes([ZipEntry("other", b"x")]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "no zip file", id="nothing"),
        pytest.param(b"<html>please log in</html>" * 9, "no zip file", id="a login page"),
        pytest.param(RIGHT[:-1], "cut short", id="the last byte missing"),
        pytest.param(RIGHT[: len(RIGHT) // 2], "cut short", id="half of it missing"),
        pytest.param(RIGHT + b"x", "follows", id="a byte behind the end"),
        pytest.param(RIGHT + RIGHT, "is not where", id="two zips in a row"),
        pytest.param(b"#!/bin/sh\n" + RIGHT, "is not where", id="a prefix"),
        pytest.param(zip_bytes(demo(), prefix=b"#!/bin/sh\n"), "before its first", id="a prefix that offsets know"),
        pytest.param(zip_bytes(demo(), comment=b"hello"), "follows its end", id="a comment"),
        pytest.param(zip_bytes(demo(), end={"comment_bytes": 5}), "follows its end", id="a comment that is missing"),
        pytest.param(HAS_END_RECORD_IN_COMMENT, "is not where", id="a second end record in the comment"),
        pytest.param(zip_bytes(demo(), before_directory=b"gap"), "fill their place", id="a gap before the directory"),
        pytest.param(zip_bytes(demo(), before_end=b"gap"), "is not where", id="a gap behind the directory"),
        pytest.param(zip_bytes(demo(), end={"entry_count": 3, "disk_count": 3}), "more than", id="an entry untold"),
        pytest.param(zip_bytes(demo(), end={"entry_count": 9, "disk_count": 9}), "fewer", id="an entry too many told"),
        pytest.param(zip_bytes(demo(), end={"disk_count": 1}), "split", id="a part of a split archive"),
        pytest.param(zip_bytes(demo(), end={"disk": 1}), "split", id="another disk"),
        pytest.param(zip_bytes(demo(), end={"directory_offset": 5}), "is not where", id="a directory elsewhere"),
        pytest.param(zip_bytes(demo(), end={"directory_offset": 0xFFFFFFFF}), "is not where", id="zip64 untold"),
        pytest.param(zip_bytes([]), "exactly one .dist-info", id="no entry"),
        pytest.param(zip_bytes([], prefix=b"some bytes"), "before its first", id="no entry but bytes"),
        pytest.param(zip_bytes(demo())[:-22] + b"PK\x05\x05" + RIGHT[-18:], "no zip file", id="no end record"),
    ],
)
def test_a_file_that_two_readers_could_understand_differently_is_refused(world, content, reason):
    assert reason in refusal(world, content)


def broken(**changes):
    """The right wheel, with fields of one entry told otherwise."""
    return zip_bytes(replaced(demo(), INIT, **changes))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(broken(local={"name": b"demo/__main__.py"}), "another name", id="name"),
        pytest.param(broken(local={"method": 0}), "flags or method", id="method"),
        pytest.param(broken(local={"flags": 2}), "flags or method", id="flags"),
        pytest.param(broken(local={"crc32": 1}), "size or CRC", id="CRC"),
        pytest.param(broken(local={"packed_bytes": 1}), "size or CRC", id="packed size"),
        pytest.param(broken(local={"size_bytes": 1}), "size or CRC", id="size"),
        pytest.param(broken(local={"size_bytes": 0, "packed_bytes": 0, "crc32": 0}), "size or CRC", id="no size"),
        pytest.param(broken(central={"offset": 1}), "before its first", id="offset of the first"),
        pytest.param(
            zip_bytes(replaced(demo(), f"{DIST_INFO}/WHEEL", central={"offset": 0})), "overlaps", id="shared bytes"
        ),
        pytest.param(
            zip_bytes(replaced(demo(), f"{DIST_INFO}/WHEEL", central={"offset": 7})), "overlaps", id="overlap"
        ),
        pytest.param(broken(descriptor=b"gap", flags=0), "fill their place", id="bytes behind it"),
        pytest.param(broken(local_extra=b"\1\0\4\0abcd"), "zip64", id="a malformed zip64 field"),
        pytest.param(
            broken(local_extra=struct.pack("<HHQQ", 1, 16, 1, 1)), "disagree", id="a lying zip64 field"
        ),
        pytest.param(
            broken(local={"size_bytes": 7}, local_extra=struct.pack("<HHQQ", 1, 16, len(CONTENT), len(PACKED))),
            "disagree",
            id="a size that zip64 contradicts",
        ),
        pytest.param(broken(local_extra=b"\1"), "extra fields", id="a torn extra field"),
        pytest.param(broken(local_extra=struct.pack("<HH", 0x7075, 0)), "second name", id="a second name"),
    ],
)  # fmt: skip
def test_a_local_header_that_disagrees_with_the_directory_is_refused(world, content, reason):
    assert reason in refusal(world, content)


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(broken(flags=1), "encrypted", id="encrypted"),
        pytest.param(broken(flags=0x40), "encrypted", id="strongly encrypted"),
        pytest.param(broken(flags=0x20), "encrypted", id="patched"),
        pytest.param(broken(flags=0x2000), "encrypted", id="masked"),
        pytest.param(broken(central={"version_needed": 63}), "packed in a way", id="of a newer format"),
        pytest.param(broken(method=12, packed=b"x"), "packed in a way", id="bzip2"),
        pytest.param(broken(method=14, packed=b"x"), "packed in a way", id="lzma"),
        pytest.param(broken(method=93, packed=b"x"), "packed in a way", id="zstandard"),
        pytest.param(broken(method=STORED, packed=b"x"), "two sizes", id="stored with two sizes"),
        pytest.param(broken(packed=b"\xff" * 20), "damaged", id="no deflate stream"),
        pytest.param(broken(packed=deflated(b"x" * 19)), "promises", id="one byte less than told"),
        pytest.param(broken(packed=deflated(b"x" * 21)), "promises", id="one byte more than told"),
        pytest.param(broken(packed=deflated(b"x" * 20)), "promises", id="other bytes"),
        pytest.param(
            broken(packed=deflated(b"__version__ = '1.0'\n") + b"x"), "promises", id="bytes behind the stream"
        ),
        pytest.param(broken(packed=deflated(b"__version__ = '1.0'\n")[:-1]), "promises", id="a torn stream"),
        pytest.param(broken(local={"crc32": 5}, central={"crc32": 5}), "promises", id="a wrong CRC"),
        pytest.param(broken(central={"disk": 1}), "split", id="another disk"),
        pytest.param(broken(central_extra=struct.pack("<HHQ", 1, 8, 5)), "zip64", id="zip64 where none is needed"),
        pytest.param(broken(central={"size_bytes": 0xFFFFFFFF}), "claims", id="zip64 needed and missing"),
        pytest.param(broken(central={"packed_bytes": 0xFFFFFFFF}), "overlaps", id="zip64 of the packed size missing"),
        pytest.param(
            broken(central={"offset": 0xFFFFFFFF}, central_extra=struct.pack("<HHI", 1, 4, 0)), "zip64", id="zip64 cut"
        ),
        pytest.param(broken(central_extra=struct.pack("<HH", 1, 0) * 2), "extra fields", id="zip64 twice"),
        pytest.param(broken(central_extra=struct.pack("<HH", 0x7075, 0)), "second name", id="a second name"),
    ],
)
def test_an_entry_that_is_not_what_it_says_is_refused(world, content, reason):
    assert reason in refusal(world, content)


@pytest.mark.parametrize("signature", [b"", b"PK\x07\x08"])
@pytest.mark.parametrize("form", ["<3I", "<I2Q"])
@pytest.mark.parametrize("local", [{}, {"crc32": 0, "packed_bytes": 0, "size_bytes": 0}])
def test_a_data_descriptor_that_is_true_is_accepted_and_one_that_lies_is_refused(world, signature, form, local):
    true = signature + struct.pack(form, zlib.crc32(CONTENT), len(PACKED), len(CONTENT))
    lie = signature + struct.pack(form, zlib.crc32(CONTENT), len(PACKED), len(CONTENT) + 1)
    for wrong in (lie, true[:-1], true + b"x", b""):
        assert "descriptor" in refusal(world, broken(descriptor=wrong, local=local))
    accepted(world, broken(descriptor=true, local=local))
    assert (world / "tree" / INIT).read_bytes() == CONTENT


def test_a_stored_entry_whose_header_does_not_tell_its_size_is_refused(world):
    unknown = {"crc32": 0, "packed_bytes": 0, "size_bytes": 0}
    descriptor = struct.pack("<3I", zlib.crc32(CONTENT), len(CONTENT), len(CONTENT))
    assert "size or CRC" in refusal(world, broken(method=STORED, descriptor=descriptor, local=unknown))
    accepted(world, broken(method=STORED, descriptor=descriptor))


def with_end64(**lies: int) -> bytes:
    told = {"entry_count": 4, "directory_bytes": 0, "directory_offset": 0}
    plain = zip_bytes(demo())
    told["directory_bytes"], told["directory_offset"] = struct.unpack_from("<2I", plain, len(plain) - 10)
    return zip_bytes(demo(), before_end=end64_records(**(told | lies)), end={"directory_offset": 0xFFFFFFFF})


def test_a_zip64_end_record_that_agrees_is_accepted(world):
    accepted(world, with_end64())


@pytest.mark.parametrize("lies", [{"entry_count": 3}, {"directory_bytes": 1}, {"directory_offset": 1}])
def test_a_zip64_end_record_that_disagrees_is_refused(world, lies):
    refusal(world, with_end64(**lies))


def test_an_end_record_that_its_zip64_record_contradicts_is_refused(world):
    content = bytearray(with_end64())
    content[-14:-10] = struct.pack("<2H", 3, 3)
    assert "two end records disagree" in refusal(world, bytes(content))


def test_a_zip64_locator_that_leads_elsewhere_is_refused(world):
    content = bytearray(with_end64())
    locator = content.rindex(b"PK\x06\x07")
    content[locator + 8] ^= 1
    assert "malformed" in refusal(world, bytes(content))


@pytest.mark.parametrize(
    "name",
    [
        "/evil", "//evil", "../evil", "demo/../../evil", "demo/..", "..", ".", "./evil", "demo/./evil", "demo//evil",
        "demo\\evil", "..\\evil", "C:evil", "C:/evil", "demo/x:stream", "demo/x.py\0.txt", "demo/x\n.py", "demo/\x7f",
        "demo/\x85", "demo/x.", "demo./x", "demo/x ", "demo /x", "demo/...", "", "/",
        "demo/" + "x" * 256, "demo/" + "é" * 128,
        "/".join("d" * 70),
    ],
)  # fmt: skip
def test_a_name_that_is_no_safe_relative_path_is_refused(world, name):
    message = refusal(world, zip_bytes([*demo(), ZipEntry(name, b"x")]))
    assert "name" in message or "deeper" in message


@pytest.mark.parametrize(
    ("name", "flags"),
    [(b"demo/\xff.py", 0x800), (b"demo/\xc3\xa9.py", 0), (b"demo/\x82.py", 0), (b"demo/\xed\xa0\x80.py", 0x800)],
)
def test_a_name_that_is_not_utf8_or_not_said_to_be_is_refused(world, name, flags):
    assert "UTF-8" in refusal(world, zip_bytes([*demo(), ZipEntry(name, b"x", flags=flags)]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("demo/x.py", "demo/x.py"),
        ("demo/x.py", "demo/X.py"),
        ("demo/é.py", "demo/e\N{COMBINING ACUTE ACCENT}.py"),
        ("demo/straße", "demo/STRASSE"),
        ("demo/a/x", "demo/A/y"),
        ("demo/a", "demo/a/b"),
        ("demo/A", "demo/a/b"),
        ("demo/a/", "demo/A"),
    ],
)
def test_two_names_that_some_file_system_takes_for_one_are_refused(world, first, second):
    content = zip_bytes(demo(ZipEntry(first), ZipEntry(second)))
    assert "name" in (message := refusal(world, content)) or "a file and a directory" in message


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param("demo/x", stat.S_IFLNK | 0o777, id="symlink"),
        pytest.param("demo/x", stat.S_IFCHR | 0o666, id="character device"),
        pytest.param("demo/x", stat.S_IFBLK | 0o666, id="block device"),
        pytest.param("demo/x", stat.S_IFIFO | 0o666, id="pipe"),
        pytest.param("demo/x", stat.S_IFSOCK | 0o666, id="socket"),
        pytest.param("demo/x", stat.S_IFDIR | 0o755, id="directory without its slash"),
        pytest.param("demo/x/", stat.S_IFREG | 0o644, id="file with a slash"),
        pytest.param("demo/x/", stat.S_IFLNK | 0o644, id="symlink with a slash"),
    ],
)
def test_what_is_neither_file_nor_directory_is_refused(world, name, mode):
    content = b"" if name.endswith("/") else b"/etc/passwd"
    refusal(world, zip_bytes(demo(ZipEntry(name, content, mode=mode, method=STORED))))


def test_a_directory_with_content_is_refused(world):
    assert "directory" in refusal(world, zip_bytes(demo(ZipEntry("demo/x/", b"content", mode=stat.S_IFDIR | 0o755))))


def test_a_dos_directory_without_its_slash_is_refused(world):
    assert "disguise" in refusal(world, zip_bytes(demo(ZipEntry("demo/x", central={"attributes": 0x10}))))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (UnpackLimits(total_bytes=20 * MIB), "claims to unpack"),
        (UnpackLimits(ratio_from_bytes=20 * MIB), "times its size"),
        (UnpackLimits(entry_count=4), "entries"),
        (UnpackLimits(directory_bytes=100), "entries"),
        (UnpackLimits(depth=1), "deeper"),
    ],
)
def test_a_wheel_that_claims_more_than_the_limits_is_refused_before_anything_is_written(world, limits, reason):
    bomb = zip_bytes(demo(ZipEntry("demo/zeros", b"\0" * 21 * MIB)))
    started = time.process_time()
    assert reason in refusal(world, bomb, limits=limits)
    assert time.process_time() - started < 1
    assert not (world / "staging" / "tree").exists()


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("claimed", [10, 9 * MIB])
def test_a_bomb_that_claims_to_be_small_is_not_inflated_further_than_it_claims(world, claimed):
    lie = {"size_bytes": claimed}
    bomb = ZipEntry("demo/zeros", b"\0" * 100 * MIB, local=lie, central=lie)
    told = demo(replace(bomb, content=b"\0" * claimed, local={}, central={}))
    content = zip_bytes([bomb if entry.name == bomb.name else entry for entry in told])
    started = time.process_time()
    assert "promises" in refusal(world, content)
    assert time.process_time() - started < 1
    written = [path.stat().st_size for path in (world / "staging").rglob("zeros")]
    assert sum(written) <= claimed + MIB


def test_modes_keep_only_the_executable_bit_and_obey_the_umask(world):
    entries = demo(
        ZipEntry("demo/suid", b"x", mode=0o106777),
        ZipEntry("demo/open", b"x", mode=0o100666),
        ZipEntry("demo/secret", b"x", mode=0o100000),
        ZipEntry("demo/half", b"x", mode=0o100010),
        ZipEntry("demo/d/", mode=0o40777),
        ZipEntry("demo/d/x", b"x", mode=0),
    )
    old = os.umask(0)
    try:
        manifest = accepted(world, zip_bytes(entries))
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (world / "tree" / "demo").rglob("*")}
        os.umask(0o077)
        os.rename(world / "tree", world / "first")
        accepted(world, zip_bytes(entries))
        strict = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (world / "tree" / "demo").rglob("*")}
    finally:
        os.umask(old)
    files = {"suid": 0o755, "open": 0o644, "secret": 0o644, "half": 0o755, "x": 0o644, "__init__.py": 0o644}
    assert modes == files | {"d": 0o755}
    assert strict == {name: mode & 0o700 for name, mode in modes.items()}
    assert manifest.executables == {"demo/suid", "demo/half"}


def with_record_text(change):
    entries = demo()
    record = next(entry for entry in entries if entry.name == f"{DIST_INFO}/RECORD").content.decode()
    return zip_bytes(replaced(entries, f"{DIST_INFO}/RECORD", content=change(record).encode()))


def without_hash(record):
    first, *others = record.splitlines(keepends=True)
    return "".join([first.split(",")[0] + ",,\n", *others])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda r: r.split("\n", 1)[1], "not listed in RECORD", id="a row missing"),
        pytest.param(lambda r: r + "demo/ghost.py,sha256=x,1\n", "not there", id="a row too many"),
        pytest.param(lambda r: r + "../evil,sha256=x,1\n", "not there", id="a row that leads outside"),
        pytest.param(lambda r: r.split("\n", 1)[0] + "\n" + r, "twice", id="a row twice"),
        pytest.param(without_hash, "no hash", id="no hash"),
        pytest.param(lambda r: r.replace("sha256=", "md5=", 1), "no hash", id="a weak hash"),
        pytest.param(lambda r: r.replace(",20\n", ",21\n", 1), "another size", id="another size"),
        pytest.param(lambda r: r.replace("sha256=", "sha256=AAAA", 1), "no hash", id="no digest"),
        pytest.param(lambda r: r + "one,two\n", "fields", id="a malformed row"),
    ],
)
def test_a_record_that_is_not_the_list_of_the_files_is_refused(world, change, reason):
    assert reason in refusal(world, with_record_text(change))


@pytest.mark.parametrize("size_bytes", [20, 9 * MIB], ids=["small", "big"])
@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
def test_bytes_other_than_those_that_record_promises_are_refused(world, size_bytes, method):
    entries = demo(ZipEntry("demo/data", b"x" * size_bytes, method=method))
    content = zip_bytes(replaced(entries, "demo/data", content=b"y" * size_bytes))
    assert "hash is not the one" in refusal(world, content)


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("size_bytes", [20, 9 * MIB], ids=["small", "big"])
@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
def test_bytes_other_than_those_that_the_directory_promises_are_refused(world, size_bytes, method):
    entries = demo(ZipEntry("demo/data", b"x" * size_bytes, method=method))
    other = b"y" * size_bytes
    content = zip_bytes(replaced(entries, "demo/data", packed=deflated(other) if method else other))
    assert "promises" in refusal(world, content)


BIG = b"some text\n" * MIB
PACKED_BIG = deflated(BIG)


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize(
    ("packed", "descriptor"),
    [
        pytest.param(PACKED_BIG + b"x", None, id="a byte behind the stream"),
        pytest.param(PACKED_BIG + b"x" * MIB, None, id="much behind the stream"),
        pytest.param(PACKED_BIG[:-1], None, id="a torn stream"),
        pytest.param(deflated(BIG + b"x"), None, id="one byte more than told"),
        pytest.param(deflated(BIG[:-1]), None, id="one byte less than told"),
        pytest.param(PACKED_BIG, b"PK\x07\x08" + bytes(12), id="a lying descriptor"),
        pytest.param(PACKED_BIG, b"x" * 2000, id="bytes for a descriptor"),
    ],
)
def test_a_big_entry_that_is_not_what_it_says_is_refused(world, packed, descriptor):
    refusal(world, zip_bytes(demo(ZipEntry("demo/big", BIG, packed=packed, descriptor=descriptor))))


def test_bytes_behind_a_stream_that_ends_with_a_read_are_refused(world, inflater):
    content = b"y" * (10 * MIB - 5 * 160)
    blocks = [content[start : start + 65_535] for start in range(0, len(content), 65_535)]
    headers = [struct.pack("<B2H", 0, len(block), len(block) ^ 0xFFFF) for block in blocks[:-1]]
    headers.append(struct.pack("<B2H", 1, len(blocks[-1]), len(blocks[-1]) ^ 0xFFFF))
    stream = b"".join(header + block for header, block in zip(headers, blocks, strict=True))
    assert len(stream) % MIB == 0
    assert "promises" in refusal(world, zip_bytes(demo(ZipEntry("demo/big", content, packed=stream + b"x"))))
    accepted(world, zip_bytes(demo(ZipEntry("demo/big", content, packed=stream))))


@pytest.mark.parametrize("size_bytes", [20, 9 * MIB], ids=["small", "big"])
@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_better_hashes_than_sha256_are_verified(world, algorithm, size_bytes):
    content = b"x" * size_bytes
    entries = demo(ZipEntry("demo/data", content))
    record = next(entry for entry in entries if entry.name == f"{DIST_INFO}/RECORD").content.decode()
    sha256 = hash_field("sha256", hashlib.sha256(content).digest())

    def recorded(digest):
        text = record.replace(sha256, hash_field(algorithm, digest))
        return zip_bytes(replaced(entries, f"{DIST_INFO}/RECORD", content=text.encode()))

    wrong = hashlib.new(algorithm, b"y").digest()
    assert "hash is not the one" in refusal(world, recorded(wrong))
    accepted(world, recorded(hashlib.new(algorithm, content).digest()))


def test_signatures_are_neither_asked_for_in_record_nor_unpacked(world):
    entries = [*demo(), ZipEntry(f"{DIST_INFO}/RECORD.jws", b"{}"), ZipEntry(f"{DIST_INFO}/RECORD.p7s", b"x")]
    manifest = accepted(world, zip_bytes(entries))
    assert sorted(os.listdir(world / "tree" / DIST_INFO)) == ["METADATA", "WHEEL"]
    assert "RECORD" not in manifest.record


@pytest.mark.parametrize("size_bytes", [2, 9 * MIB], ids=["small", "big"])
def test_a_damaged_signature_is_refused_though_it_is_not_unpacked(world, size_bytes):
    entries = [*demo(), ZipEntry(f"{DIST_INFO}/RECORD.jws", b"x" * size_bytes, packed=b"\xff")]
    assert "damaged" in refusal(world, zip_bytes(entries))


def with_text(base, text):
    """The right wheel with another text of one of its own files, properly recorded."""
    return zip_bytes(with_record(replaced(demo(), f"{DIST_INFO}/{base}", content=text.encode()), DIST_INFO))


def without(base):
    return zip_bytes([entry for entry in demo() if entry.name != f"{DIST_INFO}/{base}"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(with_text("METADATA", "Name: other\nVersion: 1.0\n"), "other 1.0", id="another name"),
        pytest.param(with_text("METADATA", "Name: demo\nVersion: 1.1\n"), "demo 1.1", id="another version"),
        pytest.param(with_text("METADATA", "Name: demo\nVersion: x\n"), "demo x", id="no version"),
        pytest.param(with_text("METADATA", "Name: demo\n\nVersion: 1.0\n"), "one Version", id="version in the body"),
        pytest.param(with_text("METADATA", "Name: demo\nname: x\nVersion: 1.0\n"), "one Name", id="two names"),
        pytest.param(with_text("WHEEL", "Wheel-Version: 2.0\nRoot-Is-Purelib: true\n"), "not 1.x", id="a new format"),
        pytest.param(with_text("WHEEL", "Root-Is-Purelib: true\n"), "not 1.x", id="no format"),
        pytest.param(with_text("WHEEL", "Wheel-Version: 1.0\n"), "Root-Is-Purelib", id="no root"),
        pytest.param(with_text("METADATA", "Name: demo\n" * 4 * MIB), "too big", id="endless METADATA"),
        pytest.param(without("METADATA"), "missing", id="no METADATA"),
        pytest.param(without("WHEEL"), "missing", id="no WHEEL"),
        pytest.param(without("RECORD"), "missing", id="no RECORD"),
        pytest.param(zip_bytes(demo(ZipEntry("other-1.dist-info/x"))), "exactly one", id="two .dist-info"),
        pytest.param(zip_bytes(wheel_entries("other", "1.0")), "another distribution", id="another .dist-info"),
        pytest.param(
            zip_bytes(wheel_entries("demo", "1.1")), "another distribution", id="another version's .dist-info"
        ),
    ],
)
def test_a_wheel_that_does_not_say_one_thing_everywhere_is_refused(world, content, reason):
    assert reason in refusal(world, content)


def test_two_data_directories_are_refused(world):
    two = [ZipEntry("demo-1.0.data/data/x", b"x"), ZipEntry("demo-1.0.0.data/data/y", b"y")]
    assert "two .data directories" in refusal(world, zip_bytes(demo(*two)))


def test_a_folded_line_of_metadata_is_no_field_of_its_own(world):
    accepted(world, with_text("METADATA", "Name: demo\nVersion: 1.0\nSummary: see\n Name: of another\n"))


def test_a_version_may_be_spelled_in_two_ways(world):
    manifest = accepted(world, zip_bytes(wheel_entries("Demo.x", "1.0")), filename="demo_x-1.0.0-py3-none-any.whl")
    assert (manifest.totals.project, manifest.totals.version) == ("demo-x", "1.0")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("demo-1.0.data/evil/x", "scheme"),
        ("demo-1.0.data/x", "scheme"),
        ("demo-1.0.data/scripts", "scheme"),
        ("other-1.0.data/data/x", "another distribution"),
        ("demo-1.0.data/purelib/other-1.0.dist-info/METADATA", "another distribution"),
        ("demo-1.0.data/data/pyvenv.cfg", "environment's own"),
        ("demo-1.0.data/scripts/python", "interpreter"),
        ("demo-1.0.data/scripts/.hidden", "cannot be the name"),
        ("demo-1.0.data/data/bin/python3.11", "interpreter"),
    ],
)
def test_a_file_in_data_that_has_no_place_of_its_own_is_refused(world, path, reason):
    assert reason in refusal(world, zip_bytes(demo(ZipEntry(path, b"x"))))


@pytest.mark.parametrize("line", ["../evil = demo:main", "python = demo:main", "x = demo:__import__('os')"])
def test_a_script_that_must_not_be_made_is_refused(world, line):
    refusal(world, zip_bytes(demo(entry_points=f"[console_scripts]\n{line}\n")))


def test_a_wheel_that_shrinks_while_being_read_is_refused(world, monkeypatch):
    read = unpack_module.read_directory

    def read_and_cut(fd, limits):
        members = read(fd, limits)
        os.truncate(world / FILENAME, 40)
        return members

    monkeypatch.setattr(unpack_module, "read_directory", read_and_cut)
    wheel = world / FILENAME
    wheel.write_bytes(RIGHT)
    with pytest.raises(InvalidWheelError):
        unpack(str(wheel), str(world / "tree"), name=wheel_name(FILENAME), sha256="0" * 64, boot_id="")
