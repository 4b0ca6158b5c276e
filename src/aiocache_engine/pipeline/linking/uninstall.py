"""Which files a distribution put into a target, whoever installed it: read from its RECORD, kept inside the target.

Nothing is removed here: `prepare_install` takes the paths into its plan, and the transaction moves them out. A path
that leads out of the target, or through a symbolic link, is left alone and told as a warning.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence

from aiocache_engine.errors import TargetError
from aiocache_engine.model.python import InstalledDistribution
from aiocache_engine.model.record import RecordError, parse_record
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.linking.protected import is_needed
from aiocache_engine.system.descent import Descent
from aiocache_engine.system.disk import read_bytes, translated


@value
class Removal:
    """The files that go with some distributions."""

    paths: tuple[str, ...]  #: relative to the target's root; files that are there now, sorted
    warnings: tuple[str, ...]


def find_removal(
    distributions: Sequence[InstalledDistribution],
    others: Sequence[InstalledDistribution],
    *,
    root: str,
    scripts: str,
    root_fd: int,
) -> Removal:
    """Give the files of `distributions`, without those that `others`, which stay, also have.

    Args:
        distributions: those that go.
        others: those that stay.
        root: the target's real root.
        scripts: its directory of scripts, relative to the root.
        root_fd: the root.

    Raises:
        TargetError: a distribution left no RECORD that can be read.
    """
    if not distributions:
        return Removal((), ())
    warnings: list[str] = []
    wanted: set[str] = set()
    for distribution in distributions:
        inside, outside = _files_of(distribution, root)
        needed = {path for path in inside if is_needed(path, scripts=scripts)}
        wanted.update(path for path in inside if path not in needed)
        warnings.extend(
            f"{path!r} in the RECORD of {distribution.project} is what the environment itself needs; it was left alone"
            for path in sorted(needed)
        )
        warnings.extend(
            f"{path!r} in the RECORD of {distribution.project} lies outside {root}; it was left alone"
            for path in outside
        )
    wanted -= owners(wanted, others, root=root).keys()
    paths = sorted(_present(wanted, root=root, root_fd=root_fd, warnings=warnings))
    return Removal(tuple(paths), tuple(warnings))


def owners(paths: Iterable[str], distributions: Sequence[InstalledDistribution], *, root: str) -> dict[str, str]:
    """Give the project that owns each of the paths, where one of the distributions does."""
    wanted = set(paths)
    found: dict[str, str] = {}
    for distribution in distributions if wanted else ():
        text = read_record_text(distribution.dist_info)
        if text is None:
            continue
        try:
            inside, _ = recorded_paths(text, site=_site_of(distribution, root))
        except RecordError:
            continue
        found |= dict.fromkeys(wanted.intersection(inside), distribution.project)
    return found


def read_record_text(dist_info: str) -> str | None:
    """Read the RECORD of an installed distribution; None if it has none."""
    path = os.path.join(dist_info, "RECORD")
    with translated(path):
        content = read_bytes(path)
    return None if content is None else content.decode(errors="surrogateescape")


def recorded_paths(text: str, *, site: str) -> tuple[list[str], list[str]]:
    """Take the paths out of a RECORD: those inside the root, relative to it, and those outside, as they stand.

    Args:
        text: the RECORD.
        site: the directory that holds the dist-info, relative to the root ("" is the root).

    Raises:
        RecordError: the text is no RECORD.
    """
    inside, outside = [], []
    prefix = f"{site}/" if site else ""
    for row in parse_record(text):
        path = row.path
        if "./" not in path and "//" not in path and path[:1] != "/" and path[-1:] != "." and path:
            inside.append(prefix + path)
            continue
        plain = posixpath.normpath(posixpath.join("/", site, path)) if path[:1] != "/" else ""
        depth = _lowest_depth(prefix + path)
        if not plain or depth < 0 or plain == "/":
            outside.append(path)
        else:
            inside.append(plain.lstrip("/"))
    return inside, outside


def _lowest_depth(path: str) -> int:
    """Tell how far up a relative path goes: below zero, it leaves where it starts."""
    depth = lowest = 0
    for part in path.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        lowest = min(lowest, depth)
    return lowest


def _files_of(distribution: InstalledDistribution, root: str) -> tuple[list[str], list[str]]:
    text = read_record_text(distribution.dist_info) if distribution.dist_info.endswith(".dist-info") else None
    if text is None:
        raise TargetError(
            distribution.dist_info,
            f"{distribution.project} {distribution.version} was installed without a RECORD of its files"
            f"{_installer(distribution.dist_info)}; uninstall it first with the tool that installed it",
        )
    site = _site_of(distribution, root)
    try:
        inside, outside = recorded_paths(text, site=site)
    except RecordError as error:
        raise TargetError(distribution.dist_info, f"its RECORD cannot be read ({error})") from error
    below = os.path.join(root, "")
    absolute = [path for path in map(os.path.normpath, outside) if path.startswith(below)]
    strange = [path for path in outside if not os.path.normpath(path).startswith(below)]
    own = f"{site}/{os.path.basename(distribution.dist_info)}" if site else os.path.basename(distribution.dist_info)
    # Some tools leave RECORD out of itself.
    return [*inside, *(os.path.relpath(path, root) for path in absolute), f"{own}/RECORD"], strange


def _installer(dist_info: str) -> str:
    content = read_bytes(os.path.join(dist_info, "INSTALLER")) if os.path.isdir(dist_info) else None
    name = (content or b"").decode(errors="replace").strip()
    return f" by {name}" if name else ""


def _site_of(distribution: InstalledDistribution, root: str) -> str:
    site = os.path.relpath(os.path.realpath(os.path.dirname(distribution.dist_info)), root)
    return "" if site == "." else site


def _present(paths: set[str], *, root: str, root_fd: int, warnings: list[str]) -> Iterable[str]:
    """Give those of the paths at which a file stands, not reached through any symbolic link."""
    grouped: dict[str, list[str]] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        grouped.setdefault(directory, []).append(name)
    with Descent(root_fd, root) as descent:
        for directory in sorted(grouped):
            try:
                fd = descent.enter(directory)
                # A descriptor that only names a directory cannot list it.
                readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            except FileNotFoundError:
                continue
            except TargetError as error:
                warnings.append(f"{error}; {len(grouped[directory])} files listed in a RECORD were left alone")
                continue
            try:
                with os.scandir(readable) as entries:
                    there = {entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)}
            finally:
                os.close(readable)
            for name in grouped[directory]:
                if name in there:
                    yield f"{directory}/{name}" if directory else name
