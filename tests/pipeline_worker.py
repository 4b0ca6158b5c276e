"""One process of a wheel-building pipeline, on the public API: it builds, adds, cleans and installs, round by round.

    python pipeline_worker.py PLACE INDEX_URL NUMBER ROUNDS

Each round writes a new revision of the worker's own project over the old one, under the same name and version; builds
it in an environment with a project that everybody needs, and every other with one that is rebuilt meanwhile; cleans
what it built, as pipelines do, every other with what everybody needs; adds the wheel to the overlay of the run; and
installs it with another worker's project. Every other worker does each round under the lease of a pipeline. Whatever
comes must be whole, and no older than what had been added when it was asked for. A worker that was killed goes on where
it was.
"""

from __future__ import annotations

import asyncio
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from aiocache_engine import CacheEngine, Config, TargetChoice
from aiocache_engine.model.python import LinkMode
from aiocache_engine.testing.invariants import assert_environment_sound
from aiocache_engine.testing.sdists import make_sdist

WORKERS = 4
PART_COUNT = 12  #: modules of each project, all of the same revision
SHARED = "shared"  #: what everybody's build needs; there is only an sdist of it
PLAIN = "plain"  #: what everybody installs; there is a wheel of it
OVERLAY = "run"


def project(number: int) -> str:
    return f"project-{number}"


def write_revision(place: Path, number: int, revision: int) -> Path:
    """Put a revision of a project where the index was told to look, in one step."""
    name = project(number)
    package = name.replace("-", "_")
    needs = [SHARED, *([project(number - 1)] if number % 2 else [])]
    modules = {f"src/{package}/part_{each}.py": f"REVISION = {revision}\n" for each in range(PART_COUNT)}
    aside = place / f"aside-{number}"
    aside.mkdir(exist_ok=True)
    path = make_sdist(
        aside,
        name,
        "1.0",
        files={f"src/{package}/__init__.py": "", **modules},
        build_requires=needs,
        imports=[need.replace("-", "_") for need in needs],
    )
    return path.replace(place / "links" / path.name)


def added_revision(place: Path, number: int) -> int:
    """Tell which revision was added last."""
    try:
        return int((place / f"added-{number}").read_text())
    except FileNotFoundError:
        return 0


def note_revision(place: Path, number: int, revision: int) -> None:
    note = place / f"aside-{number}" / "note"
    note.write_text(str(revision))
    note.replace(place / f"added-{number}")


def check(what: object, texts: list[str], *, at_least: int, at_most: int | None = None) -> None:
    """Fail unless all modules of a project are there, of one revision that is not too old."""
    assert len(texts) == PART_COUNT, f"{what} has {len(texts)} modules"
    revisions = {int(text.rpartition(" ")[2]) for text in texts}
    assert len(revisions) == 1, f"{what} is of several revisions: {revisions}"
    (revision,) = revisions
    assert at_least <= revision <= (at_most or revision), f"{what} is of revision {revision}, not {at_least}"


async def clean(cache: Path, environ: Mapping[str, str], *names: str) -> None:
    """Run the command itself, as a pipeline does that is not written in Python."""
    words = [sys.executable, "-m", "aiocache_engine", "clean", "-q", *names, "--cache-dir", str(cache)]
    cleaning = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE, env=environ)
    _, complaint = await cleaning.communicate()
    assert cleaning.returncode == 0, complaint.decode()


async def one_round(engine: CacheEngine, place: Path, number: int, revision: int, environ: Mapping[str, str]) -> None:
    sdist = write_revision(place, number, revision)
    out = place / f"out-{number}"
    report = await engine.build([sdist], wheel_dir=out, python=sys.executable, overlays=[OVERLAY])
    assert not report.failed, report.failed
    (built,) = report.built
    with zipfile.ZipFile(built.path) as wheel:
        parts = [wheel.read(each).decode() for each in wheel.namelist() if "/part_" in each]
    check(built.path, parts, at_least=revision, at_most=revision)
    await clean(place / "cache", environ, project(number), *((SHARED, PLAIN) if number % 2 else ()))
    await engine.add([built.path], overlay=OVERLAY)
    note_revision(place, number, revision)

    least = {each: added_revision(place, each) for each in (number, (number + revision) % WORKERS)}
    environment = place / f"environment-{number}"
    modes = (LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK)
    await engine.install(
        [SHARED, PLAIN, *map(project, least)],
        target=TargetChoice(venv=str(environment)),
        overlays=[OVERLAY],
        link_mode=modes[(number + revision) % 3],
        reinstall=True,  # they bear the same version, whatever is in them
        compile=False,
    )
    assert_environment_sound(environment)
    for each, revision_added in least.items():
        package = project(each).replace("-", "_")
        modules = [path.read_text().strip() for path in environment.glob(f"lib/*/site-packages/{package}/part_*.py")]
        check(f"{environment}: {package}", modules, at_least=revision_added)


async def work(place: Path, index_url: str, number: int, rounds: int) -> None:
    config = Config(index_url=index_url, find_links=(str(place / "links"),), build_count=1)
    async with CacheEngine(place / "cache", config=config, environ={"PATH": os.environ["PATH"]}) as engine:
        for revision in range(added_revision(place, number) + 1, rounds + 1):
            if number % 2:
                async with engine.lease(name=project(number)) as lease:
                    await one_round(engine, place, number, revision, lease.variables(os.environ))
            else:
                await one_round(engine, place, number, revision, os.environ)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
