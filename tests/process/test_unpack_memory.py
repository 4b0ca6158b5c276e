"""The biggest wheels need no more memory than small ones."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from aiocache_engine.testing.wheels import wheel_entries, with_record
from aiocache_engine.testing.zips import STORED, ZipEntry, zip_bytes

MIB = 1024 * 1024
FILENAME = "demo-1.0-py3-none-any.whl"
UNPACK = """
import sys
from aiocache_engine.errors import InvalidWheelError
from aiocache_engine.model.names import wheel_name
from aiocache_engine.pipeline.wheels.unpack import unpack
try:
    name = wheel_name("demo-1.0-py3-none-any.whl")
    manifest = unpack(sys.argv[1], sys.argv[2], name=name, sha256="0" * 64, boot_id="")
    print(manifest.totals.size_bytes)
except InvalidWheelError as error:
    print(error.reason)
# The peak of this program alone: getrusage would count the parent's memory before exec.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def unpack_elsewhere(tmp_path, entries):
    """Unpack in a process of its own; give what it said, and its peak memory in MiB."""
    wheel = tmp_path / FILENAME
    wheel.write_bytes(zip_bytes(entries))
    command = [sys.executable, "-c", UNPACK, str(wheel), str(tmp_path / "tree")]
    said, peak_kib = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return said, int(peak_kib) / 1024


def test_big_members_are_unpacked_in_little_memory(tmp_path):
    block = random.Random(1).randbytes(MIB)
    entries = wheel_entries("demo", "1.0")
    entries += [ZipEntry(f"demo/stored{n}", block * 70, method=STORED) for n in range(2)]
    entries += [ZipEntry(f"demo/deflated{n}", b"".join(block[n:][:9000] * 2 for n in range(3000))) for n in range(2)]
    entries += [ZipEntry(f"demo/medium{n}", block[n:] * 7) for n in range(2)]
    said, peak_mib = unpack_elsewhere(tmp_path, with_record(entries, "demo-1.0.dist-info"))
    assert int(said) > 250 * MIB
    assert peak_mib < 100


@pytest.mark.parametrize("claimed", [10, 9 * MIB], ids=["small", "big"])
def test_a_bomb_that_claims_to_be_small_takes_no_more_memory_than_it_claims(tmp_path, claimed):
    told = ZipEntry("demo/zeros", b"\0" * claimed)
    lie = {"size_bytes": claimed}
    bomb = ZipEntry("demo/zeros", b"\0" * 200 * MIB, local=lie, central=lie)
    entries = with_record([*wheel_entries("demo", "1.0"), told], "demo-1.0.dist-info")
    said, peak_mib = unpack_elsewhere(tmp_path, [bomb if entry is told else entry for entry in entries])
    assert "promises" in said
    assert peak_mib < 60


def test_a_directory_full_of_entries_is_refused_at_once_and_in_little_memory(tmp_path):
    entries = [ZipEntry(f"{n:06}", method=STORED) for n in range(200_000)]
    started = time.monotonic()
    said, peak_mib = unpack_elsewhere(tmp_path, entries)
    assert "200000 entries" in said
    assert peak_mib < 60
    assert time.monotonic() - started < 30  # making the file takes most of it
