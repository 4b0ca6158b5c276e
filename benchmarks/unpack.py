"""How long unpacking takes, against the floor and against uv: `python benchmarks/unpack.py DIRECTORY_OF_WHEELS…`.

The floor is what no checked unpacking can undercut: the packed bytes are in memory already, two threads inflate them
and write the files, and nothing is checked. uv is timed by what it says of its phase "Prepared". Rounds go A B C, C B A
and so on; the figures are medians within one run and mean little as absolute times. Quiet machine, fresh directories.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiocache_engine.model.names import wheel_name
from aiocache_engine.pipeline.wheels.unpack import unpack
from aiocache_engine.pipeline.wheels.zip_directory import data_start, read_directory
from aiocache_engine.pipeline.wheels.zip_members import zlib
from aiocache_engine.system.pair import share

CHUNK = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", type=Path, help="where to unpack (default: the temporary directory)")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}; medians of {options.rounds} rounds; 'across': one wheel per thread")
    print(f"{'set':12} {'wheels':>6} {'files':>6} {'MB':>5} {'floor ms':>9}", end=" | ")
    print(f"times the floor: {'ours':>5} {'across':>6} {'uv':>5} | {'best/uv':>7}")
    scratch = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        for directory in options.directories:
            print(measured(directory, scratch, options.rounds), flush=True)
    finally:
        shutil.rmtree(scratch)


def measured(directory: Path, scratch: Path, rounds: int) -> str:
    wheels = sorted(directory.glob("*.whl"), key=lambda wheel: -wheel.stat().st_size)
    for wheel in wheels:
        wheel.read_bytes()  # into the page cache
    prepared = [floor_jobs(wheel) for wheel in wheels]
    runs: dict[str, Callable[[Path], float]] = {
        "floor": lambda tree: timed(lambda: floor(prepared, tree)),
        "ours": lambda tree: timed(lambda: ours(wheels, tree)),
        "across": lambda tree: timed(lambda: across(wheels, tree)),
        "uv": lambda tree: uv(wheels, tree),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for number in range(rounds):
        for name in order:
            tree = scratch / f"{directory.name}-{name}-{number}"
            tree.mkdir()
            os.sync()
            seconds[name].append(runs[name](tree))
        order.reverse()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    files = [job for jobs in prepared for job in jobs]
    megabytes = sum(job[4] for job in files) // 10**6
    floor_seconds = median["floor"]
    ratios = " ".join(f"{median[name] / floor_seconds:6.2f}" for name in ("ours", "across", "uv"))
    best = min(median["ours"], median["across"]) / median["uv"]
    counts = f"{directory.name:12} {len(wheels):6} {len(files):6} {megabytes:5} {floor_seconds * 1000:9.0f}"
    return f"{counts} | {'':16} {ratios} | {best:7.2f}"


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ours(wheels: list[Path], tree: Path) -> None:
    for wheel in wheels:
        unpack(str(wheel), str(tree / wheel.name), name=wheel_name(wheel.name), sha256="0" * 64, boot_id="", threads=2)


def across(wheels: list[Path], tree: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(
                unpack,
                str(wheel),
                str(tree / wheel.name),
                name=wheel_name(wheel.name),
                sha256="0" * 64,
                boot_id="",
                threads=1,
            )
            for wheel in wheels
        ]:
            done.result()


def uv(wheels: list[Path], tree: Path) -> float:
    command = [
        "uv",
        "pip",
        "install",
        "--offline",
        "--no-index",
        "--no-deps",
        "--no-config",
        "--python",
        sys.executable,
    ]
    command += ["--cache-dir", str(tree / "cache"), "--target", str(tree / "target"), *map(str, wheels)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    amount, unit = re.search(r"Prepared \d+ packages? in ([\d.]+)(ms|s)", said).groups()
    return float(amount) / (1000 if unit == "ms" else 1)


def floor_jobs(wheel: Path) -> list[tuple[str, str, bytes, int, int]]:
    """Everything about every file, in memory: directory, name, packed bytes, method, size."""
    jobs = []
    content = wheel.read_bytes()
    with wheel.open("rb") as file:
        members = read_directory(file.fileno())
    for member in members:
        if not member.is_directory:
            extent = content[member.offset : member.end]
            start = data_start(member, extent)
            directory, _, name = f"{wheel.name}/{member.name}".rpartition("/")
            jobs.append(
                (directory, name, extent[start : start + member.packed_bytes], member.method, member.size_bytes)
            )
    return jobs


def floor(prepared: list[list[tuple[str, str, bytes, int, int]]], tree: Path) -> None:
    files = sorted((job for jobs in prepared for job in jobs), key=lambda job: job[0])
    for directory in sorted({job[0] for job in files}):
        os.makedirs(tree / directory, exist_ok=True)
    share([files[start : start + CHUNK] for start in range(0, len(files), CHUNK)], lambda chunk: write(tree, chunk))


def write(tree: Path, chunk: list[tuple[str, str, bytes, int, int]]) -> None:
    current, dir_fd = "", -1
    for directory, name, packed, method, size in chunk:
        if directory != current:
            if dir_fd >= 0:
                os.close(dir_fd)
            current, dir_fd = directory, os.open(tree / directory, os.O_RDONLY | os.O_DIRECTORY)
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=dir_fd)
        os.write(fd, zlib.decompress(packed, -15, size) if method else packed)
        os.close(fd)
    os.close(dir_fd)


if __name__ == "__main__":
    main()
