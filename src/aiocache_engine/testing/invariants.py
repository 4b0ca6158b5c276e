"""What must hold of a cache dir after anything that was done to it, checked file by file (V1 to V11).

    assert_sound(cache_dir)                  # nobody is at work: whole archives, no name that leads nowhere
    assert_sound(cache_dir, is_pruned=True)  # and nothing is left over of dead work
    with untouched(tree):                    # nothing in a tree that is none of our business changes
        ...

Reading only. It knows the layout on disk from the store, and trusts nothing else of it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiocache_engine.model.manifest import Directory, Manifest, ManifestError, load_manifest
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.record import hash_value, parse_record
from aiocache_engine.model.snapshot import PageKind
from aiocache_engine.store.archives import MANIFEST, TREE, USED, read_totals
from aiocache_engine.store.documents import list_directory
from aiocache_engine.store.environments import ROOT, read_environment_manifest, read_environment_pointer
from aiocache_engine.store.layout import HASH_NAMES, METADATA_SUFFIX, PAGE, Layout
from aiocache_engine.store.leases import BIRTH_PREFIX, LeaseReader
from aiocache_engine.store.name_choice import environment_names, files_in, overlays_of, page_kind
from aiocache_engine.store.names import read_pointer
from aiocache_engine.store.stamps import STAMP_BYTES

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def assert_sound(cache_dir: str | os.PathLike[str], *, is_pruned: bool = False) -> None:
    """Fail with every violation that there is.

    Args:
        cache_dir: where; nobody may be at work in it but holders of leases.
        is_pruned: a prune has just ended, so nothing may be left of dead work.
    """
    found = violations(cache_dir, is_pruned=is_pruned)
    assert not found, "\n".join(str(violation) for violation in found)  # noqa: S101 - it is what this module is for


def violations(cache_dir: str | os.PathLike[str], *, is_pruned: bool = False) -> list[Violation]:
    """List every violation; as `assert_sound`."""
    layout = Layout(os.path.realpath(cache_dir))
    found = [*_archives(layout), *_names(layout), *_environments(layout), *_tools(layout), *_leases(layout)]
    return [*found, *_leftovers(layout)] if is_pruned else found


def assert_environment_sound(root: str | os.PathLike[str]) -> None:
    """Fail unless every file that a RECORD below `root` lists is there with its hash, and no journal is left."""
    problems: list[str] = []
    for directory, names, files in os.walk(root):
        problems += [f"{directory}/{name}: an installation was left unfinished" for name in names if "journal" in name]
        if directory.endswith(".dist-info"):
            if "RECORD" not in files:
                problems.append(f"{directory}: it has no RECORD")
                continue
            problems += _recorded(directory)
    assert not problems, "\n".join(problems)  # noqa: S101 - as above


@contextmanager
def untouched(*trees: str | os.PathLike[str]) -> Iterator[None]:
    """Fail if the block creates, changes or deletes anything in the trees (access times aside)."""
    before = [_state(tree) for tree in trees]
    yield
    for tree, state in zip(trees, before, strict=True):
        now = _state(tree)
        changed = sorted(path for path in state.keys() | now.keys() if state.get(path) != now.get(path))
        assert not changed, f"{os.fspath(tree)} was touched: {changed}"  # noqa: S101 - as above


def _archives(layout: Layout) -> Iterator[Violation]:
    for name in list_directory(layout.archives):
        path = f"{layout.archives}/{name}"
        if not is_object_id(name) or not stat.S_ISDIR(os.lstat(path).st_mode):
            yield Violation(path, "it is no archive")
            continue
        try:
            with open(f"{path}/{MANIFEST}", "rb") as file:
                manifest = load_manifest(file.read(), with_hashes=True)
        except (OSError, ManifestError, ValueError, KeyError) as error:
            yield Violation(path, f"it has no manifest ({error})")
            continue
        if not os.path.isfile(f"{path}/{USED}") or os.path.getsize(f"{path}/{USED}") < STAMP_BYTES:
            yield Violation(path, "it has no stamp")
        yield from _tree(path, manifest)


def _tree(path: str, manifest: Manifest) -> Iterator[Violation]:
    listed = {directory.path: directory for directory in manifest.directories}
    for place, names, files in os.walk(f"{path}/{TREE}"):
        relative = os.path.relpath(place, f"{path}/{TREE}")
        directory = listed.pop("" if relative == "." else relative, None)
        if directory is None:
            yield Violation(place, "the manifest does not list it")
            continue
        for name in set(files) - set(directory.names):
            yield Violation(f"{place}/{name}", "the manifest does not list it")
        for name in set(directory.names) & set(names):
            yield Violation(f"{place}/{name}", "it is a directory, and the manifest lists a file")
        yield from _files(place, directory, manifest.executables)
    for missing in listed:
        yield Violation(f"{path}/{TREE}/{missing}", "the directory is missing")


def _files(place: str, directory: Directory, executables: frozenset[str]) -> Iterator[Violation]:
    for name, size, sha256 in zip(directory.names, directory.sizes, directory.sha256, strict=True):
        path = f"{place}/{name}"
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            yield Violation(path, "the file is missing")
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            yield Violation(path, f"it is no regular file of {size} bytes")
            continue
        with open(path, "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != sha256:
                yield Violation(path, "its hash is wrong")
        relative = f"{directory.path}/{name}" if directory.path else name
        if bool(status.st_mode & stat.S_IXUSR) != (relative in executables) or status.st_mode & _OTHERS_MAY_WRITE:
            yield Violation(path, f"its mode is {stat.S_IMODE(status.st_mode):o}")


def _names(layout: Layout) -> Iterator[Violation]:
    for project in list_directory(layout.projects):
        for index in list_directory(f"{layout.projects}/{project}"):
            directory = f"{layout.projects}/{project}/{index}"
            for name in list_directory(directory):
                is_other = name == PAGE or name.endswith(METADATA_SUFFIX) or page_kind(index, name) is not PageKind.PAGE
                if index == HASH_NAMES or not is_other:
                    yield from _name(layout, project, f"{directory}/{name}", is_hash=index == HASH_NAMES)
    for overlay in overlays_of(layout):
        for project in list_directory(overlay):
            for _, path in files_in(layout, f"{overlay}/{project}"):
                yield from _name(layout, project, path, is_hash=False)


def _name(layout: Layout, project: str, path: str, *, is_hash: bool) -> Iterator[Violation]:
    pointer = read_pointer(path)
    if pointer is None:
        yield Violation(path, "the name cannot be read")
        return
    try:
        with open(f"{layout.archive(pointer.archive_id)}/{MANIFEST}", "rb") as file:
            totals = load_manifest(file.read()).totals
    except (OSError, ManifestError):
        yield Violation(path, f"it leads to {pointer.archive_id}, which is not there")
        return
    if (pointer.project, pointer.sha256) != (totals.project, totals.sha256) or pointer.project != project:
        yield Violation(path, f"it leads to {totals.filename}")
    if is_hash and os.path.basename(path) != pointer.sha256:
        yield Violation(path, "it is named by another hash")


def _environments(layout: Layout) -> Iterator[Violation]:
    for name in list_directory(layout.environments):
        path = f"{layout.environments}/{name}"
        if not is_object_id(name) or not os.path.isdir(f"{path}/{ROOT}"):
            yield Violation(path, "it is no environment")
            continue
        manifest = read_environment_manifest(path)
        if manifest is None:
            yield Violation(path, "it has no manifest")
            continue
        if not os.path.isfile(f"{path}/{USED}") or os.path.getsize(f"{path}/{USED}") < STAMP_BYTES:
            yield Violation(path, "it has no stamp")
        for member in manifest.members:
            totals = read_totals(layout.archive(member.archive_id))
            if totals is None:
                yield Violation(path, f"it contains {member.archive_id}, which is not there")
            elif (totals.project, totals.version) != (member.project, member.version):
                yield Violation(path, f"it contains {totals.project} {totals.version} as {member}")


def _tools(layout: Layout) -> Iterator[Violation]:
    for path in environment_names(layout):
        pointer = read_environment_pointer(path)
        if pointer is None:
            yield Violation(path, "the name cannot be read")
            continue
        if path != layout.environment_pointer(pointer.tool, pointer.digest):
            yield Violation(path, f"it is the name of {pointer.tool} {pointer.digest}")
        manifest = read_environment_manifest(layout.environment(pointer.environment_id))
        if manifest is None:
            yield Violation(path, f"it leads to {pointer.environment_id}, which is not there")
        elif (manifest.tool, manifest.digest, manifest.members) != (pointer.tool, pointer.digest, pointer.members):
            yield Violation(path, f"it leads to an environment of {manifest.tool}")


def _leases(layout: Layout) -> Iterator[Violation]:
    for lease in LeaseReader(layout.leases).read():
        if not lease.is_alive():
            continue
        for object_id in lease.objects or ():
            if not os.path.isdir(layout.archive(object_id)) and not os.path.isdir(layout.environment(object_id)):
                yield Violation(lease.path, f"it is alive, and {object_id} was removed")


def _leftovers(layout: Layout) -> Iterator[Violation]:
    alive = {lease.id: lease for lease in LeaseReader(layout.leases).read() if lease.is_alive()}
    for name in list_directory(layout.trash):
        yield Violation(f"{layout.trash}/{name}", "it is left in trash")
    for directory in (layout.staging, layout.leases):
        for name in list_directory(directory):
            if name not in alive:
                what = "a half-born file" if name.startswith(BIRTH_PREFIX) else "left by dead work"
                yield Violation(f"{directory}/{name}", f"it is {what}")
    for name in list_directory(layout.bytecodes):
        if not os.path.isdir(f"{layout.archives}/{name}"):
            yield Violation(f"{layout.bytecodes}/{name}", "it was compiled from an archive that is not there")
    for name in list_directory(layout.condemned):
        object_id = name.partition("-")[0]
        if not any(lease.covers(object_id) for lease in alive.values()):
            yield Violation(f"{layout.condemned}/{name}", "nobody uses what it notes")


def _recorded(dist_info: str) -> Iterator[str]:
    site = os.path.dirname(dist_info)
    with open(f"{dist_info}/RECORD", encoding="utf-8", newline="") as file:
        rows = parse_record(file.read())
    for row in rows:
        path = os.path.join(site, row.path)
        if not os.path.isfile(path):
            yield f"{path}: RECORD lists it, and it is missing"
        elif row.hash:
            algorithm, digest = hash_value(row.hash)
            with open(path, "rb") as file_bytes:
                if hashlib.new(algorithm, file_bytes.read()).digest() != digest:
                    yield f"{path}: its hash is not that of RECORD"


def _state(tree: str | os.PathLike[str]) -> dict[str, tuple[int, int, int, bytes]]:
    """Give mode, size, modification time and content of everything in a tree."""
    root = os.fspath(tree)
    state: dict[str, tuple[int, int, int, bytes]] = {}
    for directory, names, files in os.walk(root):
        for path in (directory, *(os.path.join(directory, name) for name in (*names, *files))):
            status = os.lstat(path)
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).digest()
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            state[os.path.relpath(path, root)] = (status.st_mode, size, status.st_mtime_ns, content)
    return state
