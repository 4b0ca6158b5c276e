"""Link a set of wheels into fresh environments: this package, a C loop on one thread, and `uv pip install`.

    python benchmarks/link.py WHEELS_DIRECTORY [--rounds 5] [--work DIRECTORY]

WHEELS_DIRECTORY holds the wheels of one set (`pip download -d … NAME`). Ratios are medians of rounds in A B B A order,
each into a fresh environment; everything is deleted at the end only, since some file systems punish creating files
after deleting many. `uv` and a C compiler are used where they are found.

- loop: mkdirat and linkat of every directory and file, in C, on one thread, into an empty directory
- link: prepare_install and apply_install, the environment being there already
- uv: what uv reports as its "Installed" phase, hard links, wheels already in its cache
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiocache_engine.model.manifest import dump_manifest, load_manifest
from aiocache_engine.model.names import new_object_id, wheel_name
from aiocache_engine.model.python import LinkMode
from aiocache_engine.pipeline.linking.install import ReadyWheel, apply_install, prepare_install
from aiocache_engine.pipeline.wheels.unpack import unpack
from aiocache_engine.python.environment import write_environment
from aiocache_engine.python.interpreter import running_interpreter
from aiocache_engine.python.target import TargetChoice, choose_target, open_target

LOOP = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Lines: "T tree", "D directory" (made and opened on both sides), "F name". */
int main(int argc, char **argv) {
    int root = open(argv[1], O_PATH | O_DIRECTORY), tree = -1, from = -1, to = -1;
    static char line[8192];
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *text = line + 2;
        if (line[0] == 'F') {
            if (linkat(from, text, to, text, 0)) { perror(text); return 1; }
        } else if (line[0] == 'D') {
            close(from); close(to);
            mkdirat(root, text, 0777);
            from = openat(tree, text, O_PATH | O_DIRECTORY);
            to = openat(root, text, O_PATH | O_DIRECTORY);
        } else {
            close(tree);
            tree = open(text, O_PATH | O_DIRECTORY);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.6f\n", (end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) / 1e9);
    return 0;
}
"""


class Bench:
    def __init__(self, wheels: Path, work: Path) -> None:
        self.work = work
        self.interpreter = running_interpreter()
        self.paths = sorted(wheels.glob("*.whl"))
        self.ready = [self._unpack(path) for path in self.paths]
        self.count = 0

    def _unpack(self, path: Path) -> ReadyWheel:
        archive_id = new_object_id()
        tree = self.work / "cache" / archive_id / "tree"
        tree.parent.mkdir(parents=True)
        manifest = unpack(str(path), str(tree), name=wheel_name(path.name), sha256="0" * 64, boot_id="boot")
        slim = load_manifest(dump_manifest(manifest))
        return ReadyWheel(archive_id, str(tree), slim, requested=True, direct_url=None, origin="cache")

    def fresh(self) -> Path:
        self.count += 1
        return self.work / f"env-{self.count}"

    def link(self, mode: LinkMode = LinkMode.HARDLINK) -> float:
        root = self.fresh()
        write_environment(str(root), self.interpreter)
        place = choose_target(TargetChoice(venv=str(root)), {}, "/")
        target = open_target(place, lambda _: self.interpreter)
        start = time.perf_counter()
        prepared = prepare_install(target, self.ready, [], reinstall=False, link_mode=mode)
        middle = time.perf_counter()
        apply_install(prepared)
        end = time.perf_counter()
        self.prepared_seconds = middle - start
        return end - start

    def loop(self) -> float:
        root = self.fresh()
        root.mkdir()
        lines = []
        for wheel in self.ready:
            lines.append(f"T {wheel.tree}")
            for directory in wheel.manifest.directories:
                lines.append(f"D {directory.path or '.'}")
                lines += [f"F {name}" for name in directory.names]
        program = self.work / "loop"
        if not program.exists():
            subprocess.run(["cc", "-O2", "-x", "c", "-", "-o", str(program)], input=LOOP, text=True, check=True)
        done = subprocess.run(
            [str(program), str(root)], input="\n".join(lines) + "\n", text=True, check=True, capture_output=True
        )
        return float(done.stdout)

    def uv(self, mode: str = "hardlink") -> float:
        root = self.fresh()
        write_environment(str(root), self.interpreter)
        places = ["--cache-dir", str(self.work / "uv"), "--python", str(root / "bin/python")]
        done = subprocess.run(
            ["uv", "pip", "install", "--no-deps", "--offline", "--link-mode", mode, *places, *map(str, self.paths)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
        match = re.search(r"Installed \d+ packages? in (?:([\d.]+)s)?\s*(?:([\d.]+)ms)?", done.stderr)
        assert match is not None, done.stderr
        return float(match[1] or 0) + float(match[2] or 0) / 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=None)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="aioc-link-", dir=arguments.work))
    try:
        bench = Bench(arguments.wheels, work)
        files = sum(wheel.manifest.totals.file_count for wheel in bench.ready)
        print(f"{len(bench.ready)} wheels, {files} files")
        runs = {"link": bench.link, "link copy": lambda: bench.link(LinkMode.COPY)}
        if shutil.which("cc"):
            runs["loop"] = bench.loop
        if shutil.which("uv"):
            runs["uv"] = bench.uv
            runs["uv copy"] = lambda: bench.uv("copy")
        for one_run in runs.values():  # fill caches
            one_run()
        times: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(arguments.rounds):
            for name in list(runs) if number % 2 else reversed(list(runs)):
                times[name].append(runs[name]())
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, median in medians.items():
            print(f"{name:10} {median * 1000:8.1f} ms  ({min(times[name]) * 1000:.1f}-{max(times[name]) * 1000:.1f})")
        print(f"  of link, prepare takes {bench.prepared_seconds * 1000:.1f} ms")
        for one, other in (("link", "loop"), ("link", "uv"), ("link copy", "uv copy")):
            if {one, other} <= medians.keys():
                print(f"{one} / {other}: {medians[one] / medians[other]:.2f}")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", file=sys.stderr)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
