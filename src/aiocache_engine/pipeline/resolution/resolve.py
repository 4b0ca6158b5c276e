"""Resolve: from the cache alone where that is possible, else with the indexes at hand. One solver, one catalog.

Answers are the files themselves. What names one version of everything and follows no dependencies needs none of this,
and who resolves nothing imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from aiocache_engine.errors import DamagedEntryError, InvalidRequirementError, SourceError, UnsatisfiableError
from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.model.outcome import Named
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.find import Choice, Ready
from aiocache_engine.pipeline.resolution.catalog import IndexCatalog
from aiocache_engine.pipeline.resolution.kept import KeepingCatalog
from aiocache_engine.pipeline.resolution.metadata import parse_metadata, shortened
from aiocache_engine.pipeline.resolution.shelf import Shelf
from aiocache_engine.pipeline.resolution.stored import LacksError, StoredSource
from aiocache_engine.pipeline.standing import Standing
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.policy.resolution import Conflict, Demand, Pin, Problem, Resolution, Resolver
from aiocache_engine.system.disk import read_bytes

_SHOWN = 3  #: so many requirements are told

if TYPE_CHECKING:
    from aiocache_engine.pipeline.resolution.fetch import Fetcher
    from aiocache_engine.pipeline.resolution.live import LiveSource


@value
class Resolved:
    """What was chosen."""

    choices: tuple[Choice, ...]  #: one file of every project that is not kept, in the order of their names
    believed: tuple[frozenset[str], ...]  #: what the metadata of each of these says that it requires, as written
    kept: tuple[Named, ...]  #: what the target has and keeps
    pins: tuple[Pin, ...]  #: as the resolver gave them, kept ones too, by name
    asked: frozenset[str]  #: the projects that the user named; the others came as dependencies
    warnings: tuple[str, ...]  #: for the reporter


def resolve_stored(
    problem: Problem,
    interpreter: Interpreter,
    shelf: Shelf,
    conductor: Conductor,
    *,
    chooser: WheelChooser | None = None,
    standing: Standing | None = None,
    resolver: Resolver | None = None,
) -> Resolved | None:
    """Resolve from the cache alone, in this thread; None: it lacks something, or it is not enough to say no.

    Args:
        problem: what is asked for.
        interpreter: for which.
        shelf: what the cache holds.
        conductor: performs the holds.
        chooser: chooses among the files of a version; None: any that fits the interpreter.
        standing: what the target has; it is kept where it suits everybody.
        resolver: None: the one in use.

    Raises:
        ResolutionLimitError, InvalidWheelError, DiskError: as `resolve_live`.
        UnsatisfiableError: there is no answer; offline only, since what is stored may be behind.
    """
    source = StoredSource(shelf, conductor.perform)
    catalog = _catalog(problem, interpreter, shelf, source, chooser)
    keeping = KeepingCatalog(catalog, standing or Standing(), interpreter.markers)
    source.serve(catalog)
    try:
        answer = _solve(resolver or default_resolver(), problem, keeping)
    except LacksError:
        return None
    if isinstance(answer, Conflict) and not shelf.is_offline:
        return None
    return _resolved(answer, problem, keeping)


async def resolve_live(
    problem: Problem,
    interpreter: Interpreter,
    fetcher: Fetcher,
    *,
    chooser: WheelChooser | None = None,
    standing: Standing | None = None,
    resolver: Resolver | None = None,
) -> Resolved:
    """Resolve, fetching pages and metadata that are missing; arguments as for `resolve_stored`.

    Raises:
        UnsatisfiableError: there are no versions that suit everybody.
        ResolutionLimitError: that was not found out within the limit.
        ProjectNotFoundError: no index knows a project that was asked for.
        SourceError: something could not be had.
        InvalidWheelError: a wheel is malformed.
    """
    from aiocache_engine.pipeline.resolution.live import LiveSource  # noqa: PLC0415 - a warm command has no event loop

    while True:
        source = LiveSource(fetcher)
        source.read_first(StoredSource(fetcher.shelf, partial(fetcher.perform, wait_for=source.wait_for)))
        catalog = _catalog(problem, interpreter, fetcher.shelf, source, chooser)
        keeping = KeepingCatalog(catalog, standing or Standing(), interpreter.markers)
        solve = partial(_solve, resolver or default_resolver(), problem, keeping)
        answer = await source.serve(catalog, solve)
        believed = fetcher.shelf.took_stored
        if isinstance(answer, Resolution) or not believed:
            return _resolved(answer, problem, keeping)
        fetcher = fetcher.refreshing()  # the stored pages may be a little behind: ask before saying no
        if not await fetcher.have_changed(believed):
            return _resolved(answer, problem, keeping)


def default_resolver() -> Resolver:
    """Make the resolver in use."""
    from aiocache_engine.pipeline.resolution.nab import NabResolver  # noqa: PLC0415 - only where something is resolved

    return NabResolver()


def metadata_of(ready: Ready) -> bytes:
    """Read the METADATA of an unpacked wheel: what `FetchWheel` gives once the wheel is there."""
    path = f"{ready.archive.tree}/{ready.manifest.dist_info}/METADATA"
    content = read_bytes(path)
    if content is None:
        raise DamagedEntryError(ready.archive.path, "its METADATA is missing")
    return content


def doubt_of(ready: Ready, believed: frozenset[str]) -> str | None:
    """Say how an unpacked wheel belies what its index (PEP 658) or its sdist said, which has to be the same."""
    own = frozenset(parse_metadata(metadata_of(ready)).requires)
    if own == believed:
        return None
    parts = (("requires", own - believed), ("does not require", believed - own))
    differences = [f"{verb} {', '.join(map(shortened, sorted(texts)[:_SHOWN]))}" for verb, texts in parts if texts]
    choice = ready.choice
    said = "what was said of it before the build" if choice.is_sdist else "the metadata that its index serves for it"
    return (
        f"{choice.file.filename} {' and '.join(differences)}, unlike {said};"
        " install again to have what it really requires"
    )


def _solve(resolver: Resolver, problem: Problem, catalog: KeepingCatalog) -> Resolution | Conflict:
    """Solve, if everything that was named can be had: whoever mistyped three names is told of all three."""
    catalog.expect(Demand(each.project, each.extras, each.specifier, each.url) for each in problem.roots)
    failures: list[SourceError] = []
    for project in dict.fromkeys(each.project for each in problem.roots):
        try:
            catalog.versions(project)
        except SourceError as error:
            failures.append(error)
    if len(failures) > 1:
        raise ExceptionGroup("several projects cannot be had", failures)
    if failures:
        raise failures[0]
    return resolver.resolve(problem, catalog)


def _resolved(answer: Resolution | Conflict, problem: Problem, catalog: KeepingCatalog) -> Resolved:
    if isinstance(answer, Conflict):
        raise UnsatisfiableError(answer.lines)
    kept = tuple(pin for pin in answer.pins if pin.version == catalog.preferred(pin.project))
    new = [pin for pin in answer.pins if pin not in kept]
    choices = tuple(catalog.choice(pin.project, pin.version) for pin in new)
    if problem.requires_hashes:
        _check_hashes(choices)
    return Resolved(
        choices=choices,
        believed=tuple(catalog.requires(pin.project, pin.version) for pin in new),
        kept=tuple(Named(pin.project, str(pin.version)) for pin in kept),
        pins=answer.pins,
        asked=frozenset(each.project for each in problem.roots),
        warnings=tuple(
            f"{pin.project} {pin.version} has no extra {extra!r}"
            for pin in answer.pins
            for extra in pin.extras
            if not catalog.has_extra(pin.project, pin.version, extra)
        ),
    )


def _check_hashes(choices: Sequence[Choice]) -> None:
    """Refuse dependencies that nobody gave a hash of."""
    for choice in choices:
        wanted = choice.wanted
        if not wanted.sha256s and (wanted.url is None or choice.file.sha256 is None):
            reason = "hashes are required, and this dependency has none; name it too, with --hash=sha256:…"
            raise InvalidRequirementError(wanted.text, reason)


def _catalog(
    problem: Problem,
    interpreter: Interpreter,
    shelf: Shelf,
    source: StoredSource | LiveSource,
    chooser: WheelChooser | None,
) -> IndexCatalog:
    return IndexCatalog(problem, interpreter, chooser or WheelChooser(interpreter), source, not_found=shelf.not_found)
