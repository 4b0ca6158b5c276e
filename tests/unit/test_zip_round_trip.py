"""Whatever a builder packs is unpacked to the same bytes, and damage never passes for content."""

from __future__ import annotations

import io
import itertools
import os
import random
import shutil
import tempfile
import unicodedata
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.errors import InvalidWheelError
from aiocache_engine.model.names import wheel_name
from aiocache_engine.pipeline.wheels.unpack import StoppedError, unpack
from aiocache_engine.testing.wheels import wheel_entries, with_record
from aiocache_engine.testing.zips import DEFLATED, STORED, ZipEntry, deflated, zip_bytes

FILENAME = "demo-1.0-py3-none-any.whl"
DIST_INFO = "demo-1.0.dist-info"

PARTS = (
    st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\/:."), min_size=1, max_size=12)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: text and len(text.encode()) < 200)
)
CONTENTS = st.binary(max_size=400) | st.integers(0, 40).map(lambda count: b"some line\n" * count**2)


def folded(text):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


@st.composite
def entries(draw):
    """Entries of a right wheel: files in a few directories, packed and described in every way that is allowed."""
    made = []
    for number, part in enumerate(draw(st.lists(PARTS, max_size=6, unique_by=folded))):
        content = draw(CONTENTS)
        method = draw(st.sampled_from([STORED, DEFLATED]))
        packed_bytes = len(deflated(content)) if method == DEFLATED else len(content)
        told = [zlib.crc32(content), packed_bytes, len(content)]
        descriptor = draw(st.sampled_from([None, b"", b"PK\x07\x08"]))
        if descriptor is not None:
            descriptor += b"".join(value.to_bytes(4, "little") for value in told)
        directory = draw(st.sampled_from(["demo/", "demo/sub/", f"demo/{number}/deep/er/", ""]))
        made.append(
            ZipEntry(
                f"{directory}file {part}",
                content,
                mode=draw(st.sampled_from([0o100644, 0o100755, 0o100600])),
                method=method,
                descriptor=descriptor,
                local={"crc32": 0, "packed_bytes": 0, "size_bytes": 0} if descriptor and method == DEFLATED else {},
            )
        )
    if draw(st.booleans()):
        made.append(ZipEntry("demo/empty/", mode=0o40755, method=STORED))
    return with_record(draw(st.permutations([*wheel_entries("demo", "1.0"), *made])), DIST_INFO)


@contextmanager
def unpacked(content, *, threads=1):
    """Unpack the bytes; give manifest, and content and executable bit by path."""
    directory = tempfile.mkdtemp()
    try:
        wheel = Path(directory, FILENAME)
        wheel.write_bytes(content)
        tree = Path(directory, "tree")
        name = wheel_name(FILENAME)
        manifest = unpack(str(wheel), str(tree), name=name, sha256="0" * 64, boot_id="boot", threads=threads)
        yield manifest, files_of(tree)
    finally:
        shutil.rmtree(directory)


def files_of(tree):
    found = {}
    for directory, _, names in os.walk(tree):
        for name in names:
            path = Path(directory, name)
            found[path.relative_to(tree).as_posix()] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


@given(entries())
def test_what_is_packed_is_unpacked(packed):
    expected = {
        entry.name: (entry.content, bool(entry.mode & 0o100))
        for entry in packed
        if not entry.name.endswith(("/", "/RECORD"))
    }
    with unpacked(zip_bytes(packed)) as (manifest, files):
        assert expected == files
        assert {path for path, (_, is_executable) in expected.items() if is_executable} == manifest.executables
        listed = {
            f"{directory.path}/{name}".lstrip("/"): size
            for directory in manifest.directories
            for name, size in zip(directory.names, directory.sizes, strict=True)
        }
        assert {path: len(content) for path, (content, _) in expected.items()} == listed
        met = set()
        for directory in manifest.directories:
            assert directory.path == "" or directory.path.rpartition("/")[0] in met
            met.add(directory.path)


@given(entries())
def test_two_threads_do_what_one_does(packed):
    with unpacked(zip_bytes(packed)) as one, unpacked(zip_bytes(packed), threads=2) as two:
        assert one == two


SMALL = zip_bytes(wheel_entries("demo", "1.0", files={"demo.py": "x = 1\n" * 9, "demo.bin": bytes(range(40))}))


def outcome(content):
    """None if the wheel is refused, its files' bytes otherwise."""
    try:
        with unpacked(content) as (_, files):
            return {path: content for path, (content, _) in files.items()}
    except InvalidWheelError:
        return None


def test_any_changed_byte_is_refused_or_changes_no_content():
    right = outcome(SMALL)
    rng = random.Random(20)
    refused = 0
    for position in range(len(SMALL)):
        for flip in (1, 0xFF, rng.randrange(1, 256)):
            damaged = bytearray(SMALL)
            damaged[position] ^= flip
            files = outcome(bytes(damaged))
            assert files in (None, right), f"byte {position} xor {flip}"
            refused += files is None
    assert refused > 2 * len(SMALL)


def test_any_cut_is_refused():
    assert {outcome(SMALL[:length]) is None for length in range(len(SMALL))} == {True}


@given(st.data())
def test_what_is_accepted_means_the_same_to_the_standard_library(data):
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(SMALL) - 1))] = data.draw(st.integers(0, 255))
    files = outcome(bytes(damaged))
    if files is None:
        return
    with zipfile.ZipFile(io.BytesIO(bytes(damaged))) as archive:
        theirs = {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}
    assert theirs == files


def test_with_one_thread_no_other_is_started(monkeypatch):
    def refuse(*_):
        pytest.fail("a thread was started")

    content = zip_bytes(wheel_entries("demo", "1.0", files={f"{n}.bin": random.randbytes(10**6) for n in range(4)}))
    monkeypatch.setattr("threading.Thread.start", refuse)
    with unpacked(content) as (manifest, _):
        assert manifest.totals.file_count == 6


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("more", [{"file_count": 200}, {"files": {"big": bytes(20_000_000)}}], ids=["many", "big"])
def test_unpacking_that_is_called_off_ends_at_the_next_member_or_piece(tmp_path, threads, more):
    wheel = tmp_path / FILENAME
    wheel.write_bytes(zip_bytes(wheel_entries("demo", "1.0", **more)))
    asked = itertools.count(1)
    with pytest.raises(StoppedError):
        unpack(
            str(wheel),
            str(tmp_path / "tree"),
            name=wheel_name(FILENAME),
            sha256="0" * 64,
            boot_id="",
            threads=threads,
            is_stopped=lambda: next(asked) > 5,
        )
    written = files_of(tmp_path / "tree")
    assert len(written) <= 5 + threads  # each thread had opened one more
    assert sum(len(content) for content, _ in written.values()) < 10_000_000
