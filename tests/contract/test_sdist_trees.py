"""Right sdists unpack to the tree that they were made of, whoever packed them."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocache_engine.model.names import wheel_name
from aiocache_engine.pipeline.builds.unpack import unpack_sdist
from aiocache_engine.pipeline.wheels.unpack import unpack
from aiocache_engine.testing.sdists import Backend, make_sdist, sdist_stem, tar_gz_bytes
from aiocache_engine.testing.zips import STORED, ZipEntry, zip_bytes

TOP = "demo-1.0"
EARLIEST = 315_619_200

# Short names from few letters meet each other; long ones need every extension that the formats have.
PART = st.one_of(
    st.text(alphabet="ab", min_size=1, max_size=2),
    st.sampled_from(["n" * 101, "\xe9\N{SNOWMAN}", "with space", "-", "..x", "x..", "tr\\ange: *?", "m" * 250]),
)
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)
FILE = st.tuples(
    st.binary(max_size=30) | st.integers(0, 3).map(lambda count: b"x" * (511 + count) * 1000),
    st.booleans(),
    st.integers(0, 1_700_000_000) | st.floats(0, 1.7e9),
)
FILES = st.dictionaries(PATH, FILE, min_size=1, max_size=6)


def without_clashes(files):
    """Leave out what is in the way of another: a file where a directory is needed."""
    return {path: file for path, file in files.items() if not any(other.startswith(f"{path}/") for other in files)}


def tree(root):
    """Content, executable bit and time of change by path; target of links."""
    found = {}
    for directory, directories, names in os.walk(root):
        for name in directories + names:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[path.relative_to(root).as_posix()] = os.readlink(path)
            elif stat.S_ISREG(mode):
                told = path.read_bytes(), bool(mode & 0o111), int(path.stat().st_mtime)
                found[path.relative_to(root).as_posix()] = told
    return found


def unpacked(content, directory, filename=f"{TOP}.tar.gz"):
    """Unpack into a new directory of the one given; give the root."""
    sdist = Path(directory, filename)
    sdist.write_bytes(content)
    into = Path(directory, "into")
    into.mkdir()
    with sdist.open("rb") as file:
        return Path(unpack_sdist(file.fileno(), filename, str(into)))


@settings(max_examples=60)
@given(
    files=FILES.map(without_clashes),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    begin=st.sampled_from(["", "./", ".//./"]),
    has_directories=st.booleans(),
    cut=st.integers(0, 9999),
)
def test_what_tarfile_packs_comes_out_again(files, form, begin, has_directories, cut):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=form, encoding="utf-8") as archive:
        directories = {str(parent) for path in files for parent in Path(TOP, path).parents} - {"."}
        for path in [begin or ".", *sorted(directories)] if has_directories else ():
            info = tarfile.TarInfo(path if path == begin else f"{begin}{path}/")
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for path, (content, is_executable, modified_at) in files.items():
            info = tarfile.TarInfo(f"{begin}{TOP}/{path}")
            info.size, info.mtime, info.mode = len(content), modified_at, 0o755 if is_executable else 0o644
            archive.addfile(info, io.BytesIO(content))
    whole = tar.getvalue()
    packed = gzip.compress(whole[:cut], 1) + gzip.compress(whole[cut:], 1)
    with tempfile.TemporaryDirectory() as directory:
        root = unpacked(packed, directory)
        assert root.name == TOP
        assert {
            path: (content, is_executable, max(int(modified_at), EARLIEST))
            for path, (content, is_executable, modified_at) in files.items()
        } == tree(root)


# The rules for zip files know no such parts.
ZIP_PART = PART.filter(lambda part: part not in {"tr\\ange: *?", "x.."})
ZIP_FILES = st.dictionaries(st.lists(ZIP_PART, min_size=1, max_size=4).map("/".join), FILE, min_size=1, max_size=6)


@settings(max_examples=30)
@given(files=ZIP_FILES.map(without_clashes), method=st.sampled_from([STORED, 8]))
def test_what_is_packed_as_zip_comes_out_again(files, method):
    entries = [ZipEntry(f"{TOP}/", mode=0o040755)] + [
        ZipEntry(f"{TOP}/{path}", content, mode=0o100755 if is_executable else 0o100644, method=method)
        for path, (content, is_executable, _) in files.items()
    ]
    with tempfile.TemporaryDirectory() as directory:
        root = unpacked(zip_bytes(entries), directory, f"{TOP}.zip")
        assert {path: told[:2] for path, told in files.items()} == {path: told[:2] for path, told in tree(root).items()}


def test_links_inside_come_out_again_and_hard_links_share_their_bytes(tmp_path):
    links = {
        "lib/libx.so": "libx.so.1",
        "lib/libx.so.1": "libx.so.1.2",
        "doc": "lib/../lib/deep",
        "lib/deep/up": "../..",
        "lib/deep/self": ".",
        "dangling": "lib/not-there",
    }
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        for path, target in links.items():  # before what they lead to
            info = tarfile.TarInfo(f"{TOP}/{path}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        info = tarfile.TarInfo(f"{TOP}/lib/libx.so.1.2")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"elf"))
        info = tarfile.TarInfo(f"{TOP}/lib/deep/same")
        info.type, info.linkname = tarfile.LNKTYPE, f"./{TOP}/lib/libx.so.1.2"
        archive.addfile(info)
    root = unpacked(tar.getvalue(), tmp_path)
    assert links == {path: told for path, told in tree(root).items() if isinstance(told, str)}
    assert (root / "lib" / "libx.so").read_bytes() == b"elf"
    assert (root / "lib" / "deep" / "same").samefile(root / "lib" / "libx.so.1.2")


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "pax", "posix"])
@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar here")
def test_what_the_tar_program_packs_comes_out_again(tmp_path, form):
    source = tmp_path / "source" / TOP
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "script").write_text("#!/bin/sh\n")
    (source / "deep" / "er" / "script").chmod(0o755)
    (source / "link").symlink_to("deep/er")
    (source / "same").hardlink_to(source / "deep" / "er" / "script")
    if form != "v7":
        (source / ("d" * 90) / ("e" * 90)).mkdir(parents=True)
        (source / ("d" * 90) / ("e" * 90) / "file").write_text("x")
    packing = ["tar", "--create", "--gzip", f"--format={form}", "--file", str(tmp_path / "x.tar.gz"), f"./{TOP}"]
    if subprocess.run(packing, cwd=source.parent, capture_output=True, check=False).returncode:
        pytest.skip(f"this tar does not know the format {form}")
    root = unpacked((tmp_path / "x.tar.gz").read_bytes(), tmp_path)
    assert tree(source) == tree(root)


def test_times_that_no_zip_file_can_tell_or_that_are_still_to_come_are_moved_to_such_as_are_fine(tmp_path):
    times = {"negative": -5, "zero": 0, "right": 1_500_000_000.25, "future": 1e11}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        for name, modified_at in times.items():
            info = tarfile.TarInfo(f"{TOP}/{name}")
            info.mtime = modified_at
            archive.addfile(info)
    now = os.stat(tmp_path).st_mtime
    root = unpacked(tar.getvalue(), tmp_path)
    found = {name: (root / name).stat().st_mtime for name in times}
    assert found["negative"] == found["zero"] == EARLIEST
    assert found["right"] == 1_500_000_000.25
    assert abs(found["future"] - now) < 3600


def test_the_file_need_not_be_read_from_where_its_descriptor_stands(tmp_path):
    sdist = tmp_path / f"{TOP}.tar.gz"
    sdist.write_bytes(tar_gz_bytes({f"{TOP}/file": b"content"}))
    (tmp_path / "into").mkdir()
    with sdist.open("rb", buffering=0) as file:
        file.seek(5)
        root = unpack_sdist(file.fileno(), sdist.name, str(tmp_path / "into"))
        assert file.tell() == 5
    assert Path(root, "file").read_bytes() == b"content"


BUILD = """
import json, os, sys
sys.path.insert(0, "backend")
import tiny_backend
out = {"requires": tiny_backend.get_requires_for_build_wheel()}
for name in ("first", "second"):
    os.mkdir(os.path.join(sys.argv[1], name))
    out[name] = tiny_backend.build_wheel(os.path.join(sys.argv[1], name))
print(json.dumps(out))
"""


def test_the_backend_of_made_sdists_builds_a_right_wheel_of_the_same_bytes_each_time(tmp_path):
    sdist = make_sdist(
        tmp_path, "Demo-Project", "1.0", requires=["other>=1"], scripts={"demo": "demo_project:main"}, form=".tar.gz"
    )
    root = unpacked(sdist.read_bytes(), tmp_path, sdist.name)
    assert root.name == sdist_stem("Demo-Project", "1.0") == "demo_project-1.0"
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=root, check=True, capture_output=True)
    first, second = tmp_path / "first", tmp_path / "second"
    [filename] = os.listdir(first)
    assert (first / filename).read_bytes() == (second / filename).read_bytes()
    manifest = unpack(
        str(first / filename), str(tmp_path / "tree"), name=wheel_name(filename), sha256="0" * 64, boot_id=""
    )
    assert manifest.totals.project == "demo-project"
    assert "demo = demo_project:main" in manifest.entry_points
    metadata = (tmp_path / "tree" / manifest.dist_info / "METADATA").read_text()
    assert "Requires-Dist: other>=1\n" in metadata


@pytest.mark.parametrize("form", [".tar.gz", ".zip"])
@pytest.mark.parametrize("backend", Backend)
def test_made_sdists_can_be_unpacked(tmp_path, form, backend):
    sdist = make_sdist(tmp_path, "demo", "1.0", backend=backend, form=form, files={"data/x": b"x"})
    root = unpacked(sdist.read_bytes(), tmp_path, sdist.name)
    assert (root / "data" / "x").read_bytes() == b"x"
