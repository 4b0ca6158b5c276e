"""Run an unmodified Fromager on aioc's cache, and then on uv's: `python drive.py REQUIREMENT [DIRECTORY]`.

Fromager has to be installed beside this package. It builds a requirement and all that it needs from source
(`bootstrap`), then builds it all again in parallel (`build-parallel` of the graph that it wrote). The wheels have to
make an environment that `pip check` finds nothing wrong with. Then the same is done with the real uv, and the figures
are printed side by side.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

STAND_IN = Path(__file__).resolve().with_name("stand_in.py")
SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True)
class Figures:
    """What one run of both of Fromager's commands took."""

    cache: str
    bootstrap_seconds: float
    parallel_seconds: float
    built: int  #: wheels, by both commands
    hits: int  #: wheels that were installed from the cache
    misses: int  #: that had to come from the index or from Fromager's own server
    install_seconds: float  #: of all installations together
    cleans: int
    overlapping: int  #: cleans during which an installation ran


def write_stand_in(directory: Path) -> None:
    """Put a program named `uv` there that starts the stand-in with this very interpreter."""
    program = directory / "uv"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{STAND_IN}' \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)


def fromager(work: Path, *words: str, environ: dict[str, str]) -> float:
    """Run one of Fromager's commands, its output into a file; gives the seconds that it took."""
    log = work / f"{words[0]}.log"
    started = time.monotonic()
    with log.open("wb") as output:
        command = [SCRIPTS / "fromager", "--no-network-isolation", *words]
        code = subprocess.run(command, cwd=work, env=environ, stdout=output, stderr=output, check=False).returncode
    if code != 0:
        print(log.read_text(encoding="utf-8", errors="replace")[-8000:], file=sys.stderr)
        sys.exit(f"fromager {words[0]} failed with {code}; all of its output is in {log}")
    return time.monotonic() - started


def run(work: Path, requirement: str, *, instead: str | None) -> Figures:
    """Bootstrap, build in parallel, and install what was built; with aioc, or with another uv instead."""
    bin_directory = work / "bin"
    bin_directory.mkdir(parents=True)
    write_stand_in(bin_directory)
    journal = work / "journal"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("UV_")} | {
        "PATH": os.pathsep.join([str(bin_directory), str(SCRIPTS), os.environ["PATH"]]),
        "AIOC_CACHE_DIR": str(work / "cache"),
        "STAND_IN_JOURNAL": str(journal),
    }
    if instead is not None:
        environ |= {"STAND_IN_FOR": instead, "UV_CACHE_DIR": str(work / "cache")}
    bootstrap_seconds = fromager(work, "bootstrap", requirement, environ=environ)
    built = len(list((work / "wheels-repo" / "downloads").glob("*.whl")))
    parallel_seconds = fromager(work, "build-parallel", "--force", "work-dir/graph.json", environ=environ)
    check(work, requirement)
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    installs = [line for line in lines if line["verb"] == "install"]
    cleans = [line for line in lines if line["verb"] in {"clean", "cache"}]
    return Figures(
        cache="aioc" if instead is None else "uv",
        bootstrap_seconds=bootstrap_seconds,
        parallel_seconds=parallel_seconds,
        built=built + len(list((work / "wheels-repo" / "downloads").glob("*.whl"))),
        hits=sum(line["hits"] for line in installs),
        misses=sum(line["misses"] for line in installs),
        install_seconds=sum(line["end"] - line["start"] for line in installs),
        cleans=len(cleans),
        overlapping=sum(
            any(other["start"] < line["end"] and line["start"] < other["end"] for other in installs) for line in cleans
        ),
    )


def check(work: Path, requirement: str) -> None:
    """Make an environment of the wheels that were built, and let pip judge it."""
    environment = work / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip"]
    wheels = work / "wheels-repo" / "downloads"
    words = ["install", "--quiet", "--no-index", "--find-links", wheels, requirement]
    subprocess.run([*pip, *words], check=True, env={**os.environ, "PIP_FIND_LINKS": str(wheels)})
    subprocess.run([*pip, "check"], check=True)


def show(figures: list[Figures]) -> None:
    rows = (
        ("bootstrap, seconds", [f"{each.bootstrap_seconds:.1f}" for each in figures]),
        ("build-parallel, seconds", [f"{each.parallel_seconds:.1f}" for each in figures]),
        ("wheels built", [str(each.built) for each in figures]),
        ("wheels installed from the cache", [str(each.hits) if each.cache == "aioc" else "?" for each in figures]),
        ("wheels installed from elsewhere", [str(each.misses) if each.cache == "aioc" else "?" for each in figures]),
        ("installations, seconds together", [f"{each.install_seconds:.1f}" for each in figures]),
        ("cleans", [str(each.cleans) for each in figures]),
        ("of them beside an installation", [str(each.overlapping) for each in figures]),
    )
    print(f"{'':34}{''.join(f'{each.cache:>10}' for each in figures)}")
    for title, values in rows:
        print(f"{title:34}{''.join(f'{each:>10}' for each in values)}")


def main(requirement: str, directory: Path) -> None:
    figures = [run(directory / "aioc", requirement, instead=None)]
    if (uv := shutil.which("uv", path=str(SCRIPTS))) is not None:
        figures.append(run(directory / "uv", requirement, instead=uv))
    show(figures)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(sys.argv[1], Path(sys.argv[2]).resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(sys.argv[1], Path(temporary))
