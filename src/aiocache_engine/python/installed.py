"""What is installed in a target: read from the names of its dist-infos and from the `aioc.json` that we leave in them.

Each dist-info that this package writes holds an `aioc.json` with the archive and the link mode, listed in RECORD, so
that any uninstaller removes it. Readers hold no lock: a dist-info that goes while they look is one that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.hints import Any
from aiocache_engine.model.names import is_object_id, project_name
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.python import InstalledDistribution
from aiocache_engine.system.disk import NO_PLAIN_FILE, disk_error, read_bytes

MARKER = "aioc.json"
FORMAT = 1
JOURNAL = "aioc-journal"  #: directory in a target's root while an installation is under way
JOURNAL_BEGUN = "begun"  #: in it: the document, until everything new is in place
JOURNAL_DONE = "done"  #: in it: the same document, while what was replaced is being removed
_SUFFIXES = (".dist-info", ".egg-info", ".egg-link")
_SYMLINK = "symlink"


def read_installed(site_directories: Sequence[str]) -> list[InstalledDistribution]:
    """List the distributions in the directories, whoever installed them, sorted by project and path.

    Raises:
        DiskError: a directory is there and cannot be read.
    """
    found = [distribution for site in site_directories for distribution in _read_site(site)]
    return sorted(found, key=lambda distribution: (distribution.project, distribution.dist_info))


def read_installed_metadata(distribution: InstalledDistribution) -> bytes | None:
    """Read the core metadata of a distribution; None where only its installer knows what it depends on.

    Raises:
        DiskError: it is there and cannot be read.
    """
    if not distribution.dist_info.endswith(_SUFFIXES[0]):
        return None
    path = os.path.join(distribution.dist_info, "METADATA")
    try:
        return read_bytes(path)
    except OSError as error:
        if error.errno in NO_PLAIN_FILE:
            return None
        raise disk_error(error, path) from error


def names_itself(distribution: InstalledDistribution) -> bool:
    """Tell whether the metadata of a distribution says what it is; of what only its installer knows, that is believed.

    Raises:
        DiskError: it is there and cannot be read.
    """
    if not distribution.dist_info.endswith(_SUFFIXES[0]):
        return True
    path = os.path.join(distribution.dist_info, "METADATA")
    try:
        named = _from_metadata(path)
    except OSError as error:
        raise disk_error(error, path) from error
    return named is not None and named[0] == distribution.project


def marker(archive_id: str, link_mode: str) -> bytes:
    """Give the content of the `aioc.json` of a dist-info."""
    return dump({"format": FORMAT, "archive": archive_id, "link_mode": link_mode}) + b"\n"


def archives_in_use(site_directories: Sequence[str], root: str) -> dict[str, str] | None:
    """Give the archives that an environment uses, with the link mode of each; None if that cannot be read.

    The journal of an installation under way is read first, then the dist-infos: what it adds is in the one until it is
    in the others.
    """
    try:
        uses = _journal_archives(root)
        for site in site_directories:
            for name in _names(site):
                if not name.endswith(_SUFFIXES[0]):
                    continue
                content = read_bytes(os.path.join(site, name, MARKER))
                if content is None:
                    continue
                archive_id, link_mode = _parse_marker(content)
                _note(uses, archive_id, link_mode)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return uses


def _read_site(site: str) -> Iterator[InstalledDistribution]:
    try:
        for name in _names(site):
            if name.endswith(_SUFFIXES) and (found := _read_one(site, name)) is not None:
                yield found
    except OSError as error:
        raise disk_error(error, site) from error


def _read_one(site: str, name: str) -> InstalledDistribution | None:
    path = os.path.join(site, name)
    archive_id = link_mode = None
    metadata = path
    if name.endswith(_SUFFIXES[0]):
        with suppress(ValueError):  # damaged: then it is as if another tool had installed it
            content = _read(os.path.join(path, MARKER))
            if content is not None:
                archive_id, link_mode = _parse_marker(content)
        metadata = os.path.join(path, "METADATA")
        if archive_id is None and not os.path.exists(metadata):
            return None
    elif os.path.isdir(path):
        metadata = os.path.join(path, "PKG-INFO")
    named = _from_directory(name) or _from_metadata(metadata)
    if named is None:
        return None
    return InstalledDistribution(*named, path, archive_id, link_mode)


def _from_directory(name: str) -> tuple[str, str] | None:
    """Take `name-version.dist-info` apart; None where it is not of that form (metadata then tells)."""
    stem, suffix = os.path.splitext(name)
    parts = stem.split("-")
    if suffix == ".egg-info" and len(parts) == 3 and parts[2].startswith("py"):  # noqa: PLR2004 - name, version, tag
        del parts[2]
    if suffix == ".egg-link":
        parts = [stem, ""]
    elif len(parts) != 2 or not parts[1][:1].isdigit():  # noqa: PLR2004 - name and version
        return None
    try:
        return project_name(parts[0]), parts[1]
    except InvalidNameError:
        return None


def _from_metadata(path: str) -> tuple[str, str] | None:
    try:
        content = _read(path)
    except ValueError:
        return None
    fields: dict[str, str] = {}
    head = (content or b"").partition(b"\n\n")[0]  # the body may be a whole manual
    for line in head.decode(errors="replace").splitlines():
        if not line:
            break
        key, _, value = line.partition(":")
        fields.setdefault(key.lower(), value.strip())
    try:
        return project_name(fields["name"]), fields["version"]
    except (KeyError, InvalidNameError):
        return None


def _parse_marker(content: bytes) -> tuple[str, str]:
    document = _decode(content)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("of another format")
    archive_id, link_mode = document.get("archive"), document.get("link_mode")
    if not isinstance(archive_id, str) or not is_object_id(archive_id) or not isinstance(link_mode, str):
        raise ValueError("without archive or link mode")
    return archive_id, link_mode


def _journal_archives(root: str) -> dict[str, str]:
    for name in (JOURNAL_BEGUN, JOURNAL_DONE):
        content = read_bytes(os.path.join(root, JOURNAL, name))
        if content is not None:
            document: Any = _decode(content)
            if document["format"] != FORMAT:
                raise ValueError("of another format")
            archives = dict(document["archives"])
            if not all(isinstance(text, str) for pair in archives.items() for text in pair):
                raise ValueError("of another form")
            return archives
    return {}


def _read(path: str) -> bytes | None:
    try:
        return read_bytes(path)
    except OSError as error:
        if error.errno in NO_PLAIN_FILE:
            raise ValueError("no regular file") from error
        raise


def _decode(content: bytes) -> object:
    try:
        return load(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _note(uses: dict[str, str], archive_id: str, link_mode: str) -> None:
    # A symlink needs its archive more than any other way of linking does.
    if uses.get(archive_id) != _SYMLINK:
        uses[archive_id] = link_mode


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
