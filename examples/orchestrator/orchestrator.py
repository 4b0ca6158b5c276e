"""Build everything that some requirements come to, from source, each wheel as soon as what it needs is built.

Two engines share one cache dir and an overlay of the wheels that were built here. `outside` knows the indexes, too: it
finds versions and brings their sdists. `workshop` knows no index. So nothing else gets into a build environment; a
build that lacks something fails, and says what.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from ledger import Ledger
from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from aiocache_engine import BuildCycleError, CacheEngine, CacheEngineError, InvalidWheelError, TargetChoice


@dataclass(frozen=True)
class Pin:
    """One version of one project."""

    project: str
    version: str  #: as `packaging` spells it

    def __str__(self) -> str:
        return f"{self.project}=={self.version}"


@dataclass
class Job:
    """The way of one pin to a wheel in the overlay."""

    pin: Pin
    is_over: anyio.Event = field(default_factory=anyio.Event)
    needs: set[Pin] = field(default_factory=set)  #: what its build environment is made of
    requires: tuple[str, ...] = ()  #: what its wheel needs to run, as far as its sdist says so
    failure: str | None = None  #: what went wrong; "": something that it needs could not be built


@dataclass
class Resolution:
    """The way from some requirements to pins that suit each other: a job, too, of those who need them first."""

    turn: anyio.Lock = field(default_factory=anyio.Lock)
    pins: tuple[Pin, ...] = ()
    failure: str | None = None  #: why there are none
    needed_by: set[str] = field(default_factory=set)  #: pins that are built with them, and what was asked for


class JobError(Exception):
    """A job cannot be done: why, or "" if something that it needs could not be built."""


class Orchestrator:
    """Builds into a directory: `sdists`, `wheels`, and an `environment` of these wheels."""

    def __init__(
        self,
        outside: CacheEngine,
        workshop: CacheEngine,
        directory: Path,
        ledger: Ledger,
        *,
        overlay: str,
        prebuilt: Iterable[str] = (),
        constraint_files: Iterable[str] = (),
    ) -> None:
        """Say what to work with; of `prebuilt` projects the wheels of the indexes are taken."""
        self.jobs: dict[Pin, Job] = {}
        self._outside = outside
        self._workshop = workshop
        self._directory = directory
        self._wheels = directory / "wheels"
        self._ledger = ledger
        self._overlay = overlay
        self._prebuilt = frozenset(map(canonicalize_name, prebuilt))
        self._constraint_files = tuple(constraint_files)
        self._there = wheels_in(self._wheels)  # after a run that was killed, say
        self._shelves: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)  #: by project
        self._resolutions: defaultdict[frozenset[str], Resolution] = defaultdict(Resolution)  #: by requirements
        self._first_told: dict[str, str] = {}  #: failures of resolutions, by their first line
        self._tasks: TaskGroup

    async def build(self, requirements: Sequence[str]) -> set[Pin]:
        """Build all that these need, to be built and to run; give what they need to run."""
        pins = await self._choose(requirements)
        async with anyio.create_task_group() as self._tasks:
            for pin in pins:
                self._begin(pin)
        return pins

    async def install(self, pins: set[Pin]) -> None:
        """Make an environment of what was built."""
        target = TargetChoice(venv=str(self._directory / "environment"))
        with self._ledger.using():
            await self._engine_with(pins).install(map(str, pins), target=target)

    def failures(self) -> dict[str, set[str]]:
        """Tell what went wrong, each with all that lacks it, to be built or to run, however far away."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for job in self.jobs.values():
            if job.failure:
                found[job.failure] |= self._lacking({str(job.pin)}) - {str(job.pin)}
        for resolution in self._resolutions.values():
            if resolution.failure and resolution.needed_by:
                found[resolution.failure] |= self._lacking(resolution.needed_by)
        return found

    def _lacking(self, failed: set[str]) -> set[str]:
        """Give these, and all that lack one of them."""
        found, queue = set(failed), list(failed)
        while queue:
            lacked = queue.pop()
            for job in self.jobs.values():
                is_needed = lacked in map(str, job.needs) or lacked.partition("==")[0] in projects_of(job.requires)
                if is_needed and str(job.pin) not in found:
                    found.add(str(job.pin))
                    queue.append(str(job.pin))
        return found

    async def _choose(self, asked: Sequence[str]) -> set[Pin]:
        """Find what suits all that was asked for; else all of that which can be had; else each by itself."""
        together = await self._resolve(asked)
        if together.failure is None:
            return set(together.pins)
        async with anyio.create_task_group() as tasks:
            for each in asked:
                tasks.start_soon(self._resolve, [each])
        alone = {each: await self._resolve([each]) for each in asked}
        for each, resolution in alone.items():
            resolution.needed_by.add(each)
        possible = [each for each in alone if alone[each].failure is None]
        together = await self._resolve(possible)
        if together.failure is None:
            return set(together.pins)
        together.needed_by.add(f"{' and '.join(possible)} together")
        return {pin for each in possible for pin in alone[each].pins}

    def _begin(self, pin: Pin) -> Job:
        """Give the job of a pin; who asks first starts it."""
        if pin not in self.jobs:
            self.jobs[pin] = Job(pin)
            self._tasks.start_soon(self._do, self.jobs[pin])
        return self.jobs[pin]

    async def _do(self, job: Job) -> None:
        try:
            if job.pin.project not in self._prebuilt and not await self._is_there(job.pin):
                await self._publish(job.pin, await self._make(job))
        except JobError as error:
            job.failure = str(error)
        except (CacheEngineError, ExceptionGroup) as error:
            job.failure = told(error)
        finally:
            job.is_over.set()
        self._ledger.tell(f"{said_of(job)}; {self._count_over()}")

    async def _is_there(self, pin: Pin) -> bool:
        """Publish what an earlier run left; False: it left nothing that is of use."""
        if (wheel := self._there.get(pin)) is None:
            return False
        try:
            await self._publish(pin, wheel)
        except InvalidWheelError as error:
            self._ledger.tell(f"{error}; it is built anew")
            return False
        self._ledger.hits += 1
        return True

    async def _make(self, job: Job) -> Path:
        """Look into the sdist, have built what its backend needs, ask that for more, have this built, and build."""
        source = await self._outside.inspect(str(job.pin), sdist_dir=self._directory / "sdists", python=sys.executable)
        sdist, job.requires = str(source.path), source.requires or ()
        await self._wait_for(job, source.build_requires)
        with self._ledger.using():
            asked = await self._engine_with(job.needs).inspect(sdist, asks_backend=True, python=sys.executable)
        if asked.backend_requires:
            await self._wait_for(job, (*source.build_requires, *asked.backend_requires))
        with self._ledger.using():
            report = await self._engine_with(job.needs).build([sdist], wheel_dir=self._wheels, python=sys.executable)
        for failed in report.failed:
            raise JobError("\n  ".join([failed.message, *failed.last_lines, f"log: {failed.log}"]))
        (built,) = report.built
        self._ledger.count(built)
        return Path(built.path)

    async def _wait_for(self, job: Job, requires: Iterable[str]) -> None:
        """Have all built that these requirements come to."""
        resolution = await self._resolve(requires)
        resolution.needed_by.add(str(job.pin))
        if resolution.failure is not None:
            raise JobError("")
        for pin in resolution.pins:
            self._begin(pin)
            if (way := self._way(pin, job.pin, set())) is not None:
                raise BuildCycleError((str(job.pin), *map(str, way)))
            job.needs.add(pin)
        for pin in resolution.pins:
            await self.jobs[pin].is_over.wait()
            if self.jobs[pin].failure is not None:
                raise JobError("")

    async def _publish(self, pin: Pin, wheel: Path) -> None:
        """Let everybody who waits for a wheel find it, and clean what it supersedes."""
        async with self._shelves[pin.project]:  # so that no version comes while those of this run are told apart
            await self._workshop.add([wheel], overlay=self._overlay)
            others = "".join(f",!={each.version}" for each in self.jobs if each.project == pin.project and each != pin)
            with self._ledger.cleaning() as freed:
                freed(await self._workshop.clean([f"{pin.project}<{pin.version}{others}"], overlay=self._overlay))
        with self._ledger.cleaning() as freed:
            freed(await self._workshop.prune())

    async def _resolve(self, requirements: Iterable[str]) -> Resolution:
        """Find versions that suit each other; extras and markers are seen to."""
        wanted = frozenset(requirements)
        resolution = self._resolutions[wanted]
        async with resolution.turn:  # many projects are built by the same
            if wanted and not resolution.pins and resolution.failure is None:
                try:
                    report = await self._outside.resolve(
                        sorted(wanted), constraint_files=self._constraint_files, python=sys.executable, overlays=()
                    )
                    resolution.pins = tuple(Pin(each.project, str(Version(each.version))) for each in report.pins)
                except (CacheEngineError, ExceptionGroup) as error:
                    text = told(error)  # the same a second time shows other temporary directories
                    resolution.failure = self._first_told.setdefault(text.partition("\n")[0], text)
        return resolution

    def _count_over(self) -> str:
        return f"{sum(job.is_over.is_set() for job in self.jobs.values())} of {len(self.jobs)}"

    def _engine_with(self, pins: set[Pin]) -> CacheEngine:
        """Give the engine that has all of these: where nothing is prebuilt, it is the one that knows no index."""
        return self._outside if self._prebuilt & {each.project for each in pins} else self._workshop

    def _way(self, start: Pin, end: Pin, seen: set[Pin]) -> tuple[Pin, ...] | None:
        """Give the way by which one waits for the other, both included."""
        if start == end:
            return (end,)
        if start not in seen and not self.jobs[start].is_over.is_set():
            seen.add(start)
            for pin in self.jobs[start].needs:
                if (way := self._way(pin, end, seen)) is not None:
                    return (start, *way)
        return None


def wheels_in(directory: Path) -> dict[Pin, Path]:
    """Tell which wheels for this interpreter are there."""
    usable = frozenset(sys_tags())
    found: dict[Pin, Path] = {}
    for path in directory.glob("*.whl"):
        with suppress(InvalidWheelFilename):
            project, version, _, tags = parse_wheel_filename(path.name)
            if path.is_file() and tags & usable:
                found[Pin(project, str(version))] = path
    return found


def projects_of(requires: Iterable[str]) -> set[str]:
    """Give the projects that these requirements name, without those of extras or for other interpreters."""
    each = map(Requirement, requires)
    return {canonicalize_name(it.name) for it in each if it.marker is None or it.marker.evaluate({"extra": ""})}


def said_of(job: Job) -> str:
    """Say in one line how a job ended."""
    if job.failure is None:
        return f"{job.pin} is there"
    return f"{job.pin} failed" if job.failure else f"{job.pin} lacks something that failed"


def told(error: CacheEngineError | ExceptionGroup[Exception]) -> str:
    """Say what went wrong. Several errors of an engine come in a group; what is none of its errors goes on."""
    if isinstance(error, BuildCycleError):
        return f"{error}: name it with --prebuilt"
    if isinstance(error, CacheEngineError):
        return "; ".join([str(error), *getattr(error, "__notes__", ())])
    ours, others = error.split(CacheEngineError)
    if ours is None or others is not None:
        raise error
    return "\n  ".join(map(str, ours.exceptions))
