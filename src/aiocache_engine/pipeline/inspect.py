"""Tell what an sdist says of itself and of its build, without building it.

So those who order builds themselves know what has to be there first: before the backend can be asked (PEP 518), and
once it was (PEP 517). What it says of its own requirements is told only where that holds for any wheel (PEP 643).
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aiocache_engine.errors import UsageError
from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.model.outcome import SourceReport
from aiocache_engine.model.value import field, value
from aiocache_engine.pipeline.build import hand_out, made_directory, read_source
from aiocache_engine.pipeline.builds.source import copy_from
from aiocache_engine.pipeline.call import Call
from aiocache_engine.pipeline.cold import ending
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.pipeline.undertake import interpreter_for

if TYPE_CHECKING:
    from aiocache_engine.index.client import IndexClient


@value(kw_only=True)
class InspectRequest:
    """Everything that an inspection is told."""

    source: str  #: the path or URL of an sdist, or a requirement
    python: str | None = None  #: the interpreter it would be built for; None: the one that an installation would choose
    sdist_dir: str | None = None  #: where a copy of the sdist goes; None: nowhere
    asks_backend: bool = False
    settings: Mapping[str, str | list[str]] = field(default_factory=dict)  #: what the backend is told


async def inspect_source(
    kit: Kit, request: InspectRequest, client: Callable[[], Awaitable[IndexClient]]
) -> SourceReport:
    """Look into an sdist; errors as for `CacheEngine.inspect`."""
    from aiocache_engine.pipeline.resolution.metadata import parse_metadata  # noqa: PLC0415 - `packaging` takes its time

    started = time.monotonic()
    kit.cache.ensure_writable()
    interpreter = await in_thread(partial(interpreter_for, kit, request.python))
    wanted = await in_thread(partial(read_source, request.source, interpreter))
    if isinstance(wanted, str):
        raise UsageError(f"{request.source} is a directory; only sdists are looked into")
    directory = None if request.sdist_dir is None else await in_thread(partial(made_directory, request.sdist_dir))

    def take(fd: int, filename: str) -> None:
        if directory is not None:
            hand_out(partial(copy_from, fd), f"{directory}/{filename}")

    settings = dict(request.settings)
    call = Call(kit, kit.conductor(), interpreter, client, refreshes=False, build_settings=settings)
    async with ending(kit), call:
        choice = await call.choose_source(wanted)
        looked = await call.builder.look(choice, asks=request.asks_backend, take=take)
    metadata = None if looked.metadata is None else parse_metadata(looked.metadata)
    return SourceReport(
        source=wanted.text,
        project=looked.name.project,
        version=looked.name.version,
        filename=looked.name.filename,
        sha256=looked.sha256,
        path=None if directory is None else os.path.join(directory, looked.name.filename),
        build_requires=looked.requires,
        backend_requires=looked.more,
        requires=None if metadata is None else metadata.requires,
        requires_python=None if metadata is None else metadata.requires_python,
        total_seconds=time.monotonic() - started,
    )
