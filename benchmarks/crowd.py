"""What a crowd costs a prune: `python benchmarks/crowd.py [--crowd 1000] [--rounds 5]`.

So many environments are registered, and so many leases are held by a living process; beside them one archive goes. The
time of whole commands and their longest exclusive hold, alone and in the crowd.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Referrer
from aiocache_engine.python.environment import write_environment_id
from aiocache_engine.python.installed import marker
from aiocache_engine.store.archives import set_linked
from aiocache_engine.store.cache_dir import open_cache_dir
from aiocache_engine.store.referrers import fresh_stamp, register
from aiocache_engine.system.process import me
from aiocache_engine.testing.wheels import build_wheel

AIOC = [sys.executable, "-m", "aiocache_engine"]
HOLDER = """
import resource, sys
from aiocache_engine.config import Config
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.records import Holder
from aiocache_engine.store.cache_dir import open_cache_dir
from aiocache_engine.store.leases import Lease
count = int(sys.argv[2])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, max(count + 100, most)))
cache = open_cache_dir(sys.argv[1])
holder = Holder(1, 0.0, "host", "machine", "boot", None, "a crowd", 0.0)
with cache.lock.hold_now(LockMode.SHARED) as hold:
    for _ in range(count):
        Lease.birth(hold, cache.layout.leases, holder).add(hold, sys.argv[3:])
print("held", flush=True)
sys.stdin.readline()
"""


def settle(cache_dir: Path, root: Path, archive_ids: list[str], count: int) -> list[Path]:
    """Make environments that use these archives as far as a prune can tell, and register them; they share a site."""
    cache, here, referrers = open_cache_dir(str(cache_dir)), me(), []
    for archive_id in archive_ids:
        (info := root / f"site/{archive_id}-1.0.dist-info").mkdir(parents=True, exist_ok=True)
        (info / "aioc.json").write_bytes(marker(archive_id, "hardlink"))
    for number in range(count):
        (environment := root / f"environment-{number}").mkdir()
        status = environment.stat()
        referrer = Referrer(
            id=write_environment_id(str(environment)),
            path=str(environment),
            site_directories=(str(root / "site"),),
            device=status.st_dev,
            inode=status.st_ino,
            machine_id=here.machine_id,
            mount_namespace=here.mount_namespace,
            archives=dict.fromkeys(archive_ids, "hardlink"),
            stamp=fresh_stamp(),
            registered_at=time.time(),
        )
        referrers.append(referrer)
    with cache.lock.hold_now(LockMode.SHARED) as hold:
        for referrer in referrers:
            register(hold, cache, referrer, links=True)
    return [Path(each.path) for each in referrers]


@contextmanager
def leases(cache_dir: Path, archive_ids: list[str], count: int):
    """Have another process hold so many leases on these archives for as long as the block lasts."""
    words = [sys.executable, "-c", HOLDER, str(cache_dir), str(count), *archive_ids]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate()


def aioc(cache: Path, *words: str) -> dict:
    command = [*AIOC, *words, "--json", "--cache-dir", str(cache), "--find-links", str(cache.parent / "wheels")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def prunes(cache: Path, rounds: int) -> tuple[float, float]:
    """Prune with one archive to go each time; the median seconds of the command, and of its longest hold."""
    took, held = [], []
    for _ in range(rounds):
        (going,) = aioc(cache, "fetch", "--no-deps", "going")["fetched"]
        set_linked(str(cache / "archives-v1" / going["archive"]))
        started = time.perf_counter()
        removal = aioc(cache, "prune")
        took.append(time.perf_counter() - started)
        held.append(removal["longest_hold_seconds"])
        assert [each["id"] for each in removal["removed"] if each["kind"] == "archive"] == [going["archive"]]
    return statistics.median(took), statistics.median(held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crowd", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aioc-crowd-") as directory:
        root = Path(directory)
        cache = root / "cache"
        (root / "wheels").mkdir()
        os.environ["AIOC_INDEX_URL"] = (root / "wheels").as_uri()
        for name in ("staying", "going"):
            build_wheel(root / "wheels", name, "1.0", files={f"{name}/__init__.py": "", f"{name}/a.py": "x = 1\n"})
        (staying,) = [each["archive"] for each in aioc(cache, "fetch", "--no-deps", "staying")["fetched"]]
        for count in (0, options.crowd):
            settle(cache, root, [staying], count)
            with leases(cache, [staying], count):
                took, held = prunes(cache, options.rounds)
            print(f"{count:5} environments and leases: prune {took:.3f} s, longest hold {held * 1000:.2f} ms")


if __name__ == "__main__":
    main()
