"""What an installation changes: which distributions are put in, which go, which stay. Values in, a plan out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aiocache_engine.errors import UsageError
from aiocache_engine.model.python import InstalledDistribution
from aiocache_engine.model.value import value


@value
class Wanted:
    """One distribution that is to be there afterwards."""

    project: str  #: normalized
    version: str
    archive_id: str
    by_content: bool  #: given as a file or URL, or from an overlay: another archive of the same version counts as new


@value
class InstallPlan:
    """The wanted ones by what happens to them, and the installed ones that make room."""

    install: tuple[int, ...]  #: positions in what was wanted
    unchanged: tuple[int, ...]  #: positions in what was wanted
    remove: tuple[InstalledDistribution, ...]


def plan_install(
    wanted: Sequence[Wanted],
    installed: Sequence[InstalledDistribution],
    *,
    reinstall: bool,
    broken: Collection[InstalledDistribution] = (),
) -> InstallPlan:
    """Compare what is wanted with what is there; distributions that nobody named stay.

    Args:
        wanted: what is to be there.
        installed: what is there.
        reinstall: what is there makes room in any case.
        broken: those of the installed that do where they are wanted.

    Raises:
        UsageError: a project is wanted twice.
    """
    present: dict[str, list[InstalledDistribution]] = {}
    for distribution in installed:
        present.setdefault(distribution.project, []).append(distribution)
    install, unchanged, remove = [], [], []
    seen: set[str] = set()
    for position, one in enumerate(wanted):
        if one.project in seen:
            raise UsageError(f"{one.project} is asked for twice, with different files; name one")
        seen.add(one.project)
        there = present.get(one.project, [])
        if not reinstall and len(there) == 1 and there[0] not in broken and _is_satisfied(one, there[0]):
            unchanged.append(position)
            continue
        install.append(position)
        remove.extend(there)
    return InstallPlan(tuple(install), tuple(unchanged), tuple(remove))


def _is_satisfied(one: Wanted, there: InstalledDistribution) -> bool:
    if one.by_content and one.archive_id != there.archive_id:
        return False
    return one.version == there.version or _same_version(one.version, there.version)


def _same_version(one: str, other: str) -> bool:
    """Compare two spellings (PEP 440): a directory's name has the normal form, METADATA whatever its author wrote."""
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - few versions are spelled in two ways

    try:
        return Version(one) == Version(other.replace("_", "-"))
    except InvalidVersion:
        return False
