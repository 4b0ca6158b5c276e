"""Build wheels into a directory: of project directories, sdists and requirements, several at the same time.

One that fails does not stop the others. What was built of an sdist stays in the cache; a project directory is built
anew each time, where it stands, since nobody can tell cheaply whether anything in it has changed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from anyio import create_task_group

from aiocache_engine.config import absolute
from aiocache_engine.errors import (
    BuildError,
    CacheEngineError,
    InvalidRequirementError,
    InvalidSdistError,
    InvalidWheelError,
    SourceError,
    TargetError,
    UsageError,
    single_errors,
)
from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.index.local import is_local
from aiocache_engine.index.urls import direct_file, path_of_url, told_subdirectory
from aiocache_engine.model.names import wheel_name
from aiocache_engine.model.outcome import BuildReport, BuiltWheel, FailedBuild
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.model.value import field, replace, value
from aiocache_engine.pipeline.builds.builder import BuiltProject
from aiocache_engine.pipeline.builds.built import copied
from aiocache_engine.pipeline.builds.yard import BuildYard
from aiocache_engine.pipeline.call import Call
from aiocache_engine.pipeline.cold import ending
from aiocache_engine.pipeline.find import Choice, Ready
from aiocache_engine.pipeline.inputs.arguments import text, texts
from aiocache_engine.pipeline.inputs.requirements import (
    is_location,
    parse_requirement,
    path_and_fragment,
    taken_apart,
)
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.pipeline.undertake import interpreter_for, listed
from aiocache_engine.system.disk import disk_error

if TYPE_CHECKING:
    from aiocache_engine.index.client import IndexClient

_NO_PATH = re.compile(r"@|://|^file:")  #: of texts with a slash: requirements and URLs
#: What is wrong with one source alone. Any other error ends the whole.
_OF_ONE = (BuildError, SourceError, InvalidSdistError, InvalidWheelError, TargetError)


@value(kw_only=True)
class BuildRequest:
    """Everything that building is told."""

    sources: tuple[str, ...]  #: paths of project directories and sdists, URLs of sdists, and requirements
    wheel_dir: str  #: where the wheels go; made if missing
    python: str | None = None  #: the interpreter to build for; None: the one that an installation would choose
    settings: Mapping[str, str | list[str]] = field(default_factory=dict)  #: what build backends are told
    job_count: int | None = None  #: backends that run at the same time; None: as configured


def settings_of(given: Mapping[str, str | Sequence[str]]) -> dict[str, str | list[str]]:
    """Give what backends are told as they are told it.

    Raises:
        UsageError: it is no mapping, or a name or a value is no text.
    """
    if not isinstance(given, Mapping):
        raise UsageError(f"config_settings is to be a mapping, and {given!r} is none; write {{'name': 'value'}}")
    settings: dict[str, str | list[str]] = {}
    for name, said in given.items():
        settings[text("each name of config_settings", name)] = (
            text(name, said) if isinstance(said, str) else list(texts(name, listed(name, said)))
        )
    return settings


async def build_wheels(kit: Kit, request: BuildRequest, client: Callable[[], Awaitable[IndexClient]]) -> BuildReport:
    """Build all that is named; errors as for `CacheEngine.build`."""
    started = time.monotonic()
    kit.cache.ensure_writable()
    kit.warn_of_empty_overlays()
    if request.job_count is not None:
        kit = replace(kit, yard=BuildYard(request.job_count))
    interpreter = await in_thread(partial(interpreter_for, kit, request.python))
    sources = await in_thread(partial(_read_sources, request.sources, interpreter))
    wheel_dir = await in_thread(partial(made_directory, request.wheel_dir))
    settings = dict(request.settings)
    outcomes: dict[int, BuiltWheel | FailedBuild] = {}

    async def build(place: int, source: Wanted | str) -> None:
        call = Call(kit, kit.conductor(), interpreter, client, refreshes=False, build_settings=settings)
        outcomes[place] = await _One(kit, call, source, wheel_dir).build()

    async with ending(kit), create_task_group() as tasks:
        for place, source in enumerate(sources):
            tasks.start_soon(build, place, source)
    ordered = [outcomes[place] for place in sorted(outcomes)]
    return BuildReport(
        built=tuple(each for each in ordered if isinstance(each, BuiltWheel)),
        failed=tuple(each for each in ordered if isinstance(each, FailedBuild)),
        wheel_dir=wheel_dir,
        total_seconds=time.monotonic() - started,
    )


class _One:
    """The build of one source."""

    def __init__(self, kit: Kit, call: Call, source: Wanted | str, wheel_dir: str) -> None:
        self._kit = kit
        self._call = call
        self._source = source
        self._wheel_dir = wheel_dir
        self._started = time.monotonic()

    async def build(self) -> BuiltWheel | FailedBuild:
        """Build it, and put its wheel where it belongs."""
        source = self._source
        async with self._call:
            try:
                return await (self._build_project(source) if isinstance(source, str) else self._build_sdist(source))
            except _OF_ONE as error:
                return self._failed([error])
            except ExceptionGroup as group:
                errors = list(single_errors(group))
                known = [each for each in errors if isinstance(each, _OF_ONE)]
                if len(known) < len(errors):
                    raise
                return self._failed(known)

    async def _build_sdist(self, wanted: Wanted) -> BuiltWheel:
        choice = await self._call.choose_source(wanted)
        ready = await self._call.builder.wheel(choice, take=self._put)
        return await in_thread(partial(self._built, choice, ready))

    def _built(self, choice: Choice, ready: Ready) -> BuiltWheel:
        totals, layout = ready.manifest.totals, self._kit.cache.layout
        log = layout.build_log(totals.project, choice.built) if choice.built else None
        return BuiltWheel(
            source=choice.wanted.text,
            project=totals.project,
            version=totals.version,
            path=f"{self._wheel_dir}/{ready.pointer.filename}",
            origin=ready.origin,
            log=log if log is not None and os.path.exists(log) else None,
            seconds=time.monotonic() - self._started,
        )

    async def _build_project(self, path: str) -> BuiltWheel:
        async def take(built: BuiltProject) -> None:
            await in_thread(partial(self._put, built.wheel.file, built.wheel.name.filename))

        built = await self._call.builder.project(path, take)
        totals = built.wheel.manifest.totals
        return BuiltWheel(
            source=path,
            project=totals.project,
            version=totals.version,
            path=f"{self._wheel_dir}/{totals.filename}",
            origin="built",
            log=built.log,
            seconds=time.monotonic() - self._started,
        )

    def _put(self, wheel: str, filename: str) -> None:
        """Copy a wheel to where it was asked for."""
        hand_out(partial(copied, wheel), f"{self._wheel_dir}/{filename}")

    def _failed(self, errors: Sequence[CacheEngineError]) -> FailedBuild:
        build_error = next((each for each in errors if isinstance(each, BuildError)), None)
        return FailedBuild(
            source=self._source if isinstance(self._source, str) else self._source.text,
            message="; ".join([*map(_line_of, errors), *self._hints(errors)]),
            log=None if build_error is None else build_error.log,
            last_lines=() if build_error is None else build_error.last_lines,
        )

    def _hints(self, errors: Sequence[CacheEngineError]) -> list[str]:
        """Say so where a directory may have been meant by what was looked for on an index."""
        source = self._source
        if isinstance(source, str) or not any(isinstance(each, SourceError) for each in errors):
            return []
        name = source.text
        return [f"write ./{name}/ for the directory of this name"] if source.url is None and os.path.isdir(name) else []


def _line_of(error: CacheEngineError) -> str:
    """Say in one line what went wrong, and what for."""
    said = f"{error.what} could not be built: {error.reason}" if isinstance(error, BuildError) else str(error)
    notes = getattr(error, "__notes__", ())
    return " ".join(f"{said}{''.join(f'; {note}' for note in notes)}".split())


def _read_sources(sources: Sequence[str], interpreter: Interpreter) -> list[Wanted | str]:
    """Tell what each source is: a project directory, by its path, or something that has or is an sdist.

    Raises:
        UsageError: one is nothing that can be built.
    """
    if not sources:
        raise UsageError("nothing to build: name a project directory, an sdist or a requirement")
    read = [read_source(each, interpreter) for each in dict.fromkeys(sources)]
    return list({_identity(each): each for each in reversed(read)}.values())[::-1]


def _identity(source: Wanted | str) -> tuple[object, ...]:
    """Give what two spellings of one source have in common."""
    if isinstance(source, str):
        return (source,)
    if source.url is None:
        return (source.project, source.specifier, source.sha256s)
    url = direct_file(source.url)[1].url
    place = os.path.realpath(path_of_url(url)) if is_local(url) else url
    return (place, source.project, told_subdirectory(source.url), source.sha256s)


def read_source(source: str, interpreter: Interpreter) -> Wanted | str:
    """Tell what one source is.

    Raises:
        UsageError: it is nothing that can be built.
    """
    path = os.path.expanduser(source)
    if (is_location(source) or os.sep in source) and os.path.isdir(path):
        return os.path.realpath(absolute(path))
    location = path_and_fragment(taken_apart(path)[0])[0]
    is_path = source.startswith((".", "/", "~")) or (os.sep in location and not _NO_PATH.search(location))
    if is_path and not os.path.lexists(location):
        raise UsageError(f"{source}: there is no such directory or file")
    wanted = parse_requirement(source, interpreter.markers)
    if wanted is None:
        raise InvalidRequirementError(source, "its marker says that it is not for this interpreter")
    if wanted.url is not None and wanted.url.partition("#")[0].endswith(".whl"):
        raise InvalidRequirementError(source, f"{wheel_name(os.path.basename(wanted.url)).filename} is a wheel already")
    return wanted


def hand_out(copy: Callable[[str], object], path: str) -> None:
    """Make a file, in the place of one of that name, by what copies to a path; it shares no bytes with ours.

    Raises:
        DiskError: it cannot be written.
    """
    directory, filename = os.path.split(path)
    temporary = f"{directory}/.{filename}.{os.urandom(8).hex()}"
    try:
        copy(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise disk_error(error, path) from error
        raise


def made_directory(path: str) -> str:
    """Make a directory if it is missing; give its absolute path.

    Raises:
        UsageError: a file is in its place.
        DiskError: it cannot be made.
    """
    directory = absolute(os.path.expanduser(path))
    try:
        os.makedirs(directory, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{directory} is a file; name a directory") from error
    except OSError as error:
        raise disk_error(error, directory) from error
    return directory
