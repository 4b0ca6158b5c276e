"""What an installation breaks: requirements of distributions that stay, on others of which it brings another version.

A person is told and goes on, as with pip. Only what is replaced can break something that was right, so an installation
that only adds is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from aiocache_engine.model.python import InstalledDistribution
from aiocache_engine.python.installed import read_installed_metadata


def unmet(
    staying: Iterable[InstalledDistribution], brought: Mapping[str, str], markers: Mapping[str, str]
) -> Iterator[str]:
    """Tell of every requirement that is not met any more.

    Args:
        staying: the distributions that are not touched.
        brought: the new version of every project that had another one before.
        markers: the marker environment of the target.
    """
    for distribution in staying if brought else ():
        content = read_installed_metadata(distribution)
        if content is not None and _may_require(content, brought):
            yield from _told(distribution, content, brought, markers)


def _may_require(content: bytes, projects: Iterable[str]) -> bool:
    """Tell at the price of a search what is not worth parsing: most distributions do not know of each other."""
    head = content.replace(b"\r", b"").partition(b"\n\n")[0].lower().replace(b"_", b"-").replace(b".", b"-")
    return any(f"requires-dist: {project}".encode() in head for project in projects)


def _told(
    distribution: InstalledDistribution, content: bytes, brought: Mapping[str, str], markers: Mapping[str, str]
) -> Iterator[str]:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - few installations need it

    from aiocache_engine.pipeline.resolution.metadata import (  # noqa: PLC0415 - as above
        MetadataError,
        demands_of,
        parse_metadata,
    )

    try:
        demands = demands_of(parse_metadata(content), "", markers)
    except MetadataError:  # who cannot be read was broken before
        return
    for demand in demands:
        version = brought.get(demand.project)
        if version is not None and not SpecifierSet(demand.specifier).contains(version, prereleases=True):
            yield (
                f"{distribution.project} {distribution.version} requires {demand.project}{demand.specifier},"
                f" but gets {demand.project} {version}; name {distribution.project} too, for versions that suit both"
            )
