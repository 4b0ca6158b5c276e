"""Compiled modules on disk: `bytecode-v1/<archive id>/<interpreter digest>/` has a manifest and, in `tree`, the files.

Bytecode is never an object of its own: the lease of its archive protects it, and whoever removes the archive removes it
in the same hold. It is published whole, by one rename; what is not whole, or does not fit its sources any more, is a
miss. Whoever relies on it holds a lease on the archive, so reading needs no hold.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from aiocache_engine.model.bytecode import (
    BytecodeError,
    BytecodeManifest,
    BytecodeTotals,
    boot_id_offset,
    dump_bytecode,
    load_bytecode,
    load_bytecode_totals,
)
from aiocache_engine.model.locking import LockMode
from aiocache_engine.model.value import value
from aiocache_engine.store.archives import TREE, Archive, is_present
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.documents import read_document, read_first_line
from aiocache_engine.store.stamps import open_to_write
from aiocache_engine.system.descent import make_directory, place_of, rename
from aiocache_engine.system.disk import write_in_place
from aiocache_engine.system.lock import Hold

MANIFEST = "manifest"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@value
class Bytecode:
    """The compiled modules of one archive for one kind of interpreter."""

    tree: str  #: absolute path of the files; each stands where its source stands in the archive's tree
    suffix: str  #: ".cpython-311.pyc", which takes the place of ".py"
    sizes: dict[str, dict[str, int]]  #: bytes of the .pyc by name of the source, by directory of the archive's tree


def bytecode_path(cache: CacheDir, archive_id: str, digest: str) -> str:
    """Give the directory of an archive's bytecode for the interpreters of a digest."""
    return f"{cache.layout.bytecode(archive_id)}/{digest}"


def module_suffix(cache_tag: str) -> str:
    """Give what takes the place of ".py" in the name of a .pyc (PEP 3147)."""
    return f".{cache_tag}.pyc"


def read_bytecode(path: str, archive: Archive, boot_id: str, *, checks: bool = False) -> Bytecode | None:
    """Read what there is; None where it is absent or not to be relied on.

    The time of one source is compared always, so that a copy of the cache dir that lost its times is noticed; files and
    times of all sources on the first use after a reboot, as with archives.

    Args:
        path: the directory of the bytecode.
        archive: that it was compiled from, leased.
        boot_id: of this machine.
        checks: look at every file in any case.
    """
    content = read_document(f"{path}/{MANIFEST}")
    if content is None:
        return None
    try:
        manifest = load_bytecode(content)
        if manifest.totals.archive_id != archive.id:
            return None
        tree = f"{path}/{TREE}"
        if checks or manifest.boot_id != boot_id:
            if not _is_whole(tree, archive, manifest):
                return None
            _write_boot_id(path, content, boot_id)
        elif not _is_first_current(archive, manifest):
            return None
    except (BytecodeError, ValueError, KeyError, TypeError):
        return None
    return bytecode_of(tree, manifest)


def bytecode_of(tree: str, manifest: BytecodeManifest) -> Bytecode:
    """Give what linking needs of a manifest."""
    return Bytecode(
        tree=tree,
        suffix=module_suffix(manifest.totals.cache_tag),
        sizes={each.path: dict(zip(each.names, each.sizes, strict=True)) for each in manifest.directories},
    )


def read_bytecode_totals(path: str) -> BytecodeTotals | None:
    """Read the totals of a directory of bytecode; None where its manifest is absent or damaged."""
    line = read_first_line(f"{path}/{MANIFEST}")
    try:
        return None if line is None else load_bytecode_totals(line)
    except BytecodeError:
        return None


def write_bytecode_manifest(staged: str, manifest: BytecodeManifest) -> None:
    """Write the manifest of bytecode that is still in staging."""
    write_in_place(f"{staged}/{MANIFEST}", dump_bytecode(manifest), os.path.dirname(os.path.dirname(staged)))


def publish_bytecode(
    hold: Hold, cache: CacheDir, staged: str, archive: Archive, digest: str, *, boot_id: str, replaces: bool
) -> None:
    """Make staged bytecode visible; the archive is on the caller's lease.

    Where another work was quicker its bytecode stays, and what was staged is not needed.

    Args:
        hold: the shared lock.
        cache: the cache dir.
        staged: a directory from `Work.new_staging` with tree and manifest, and nothing else.
        archive: that it was compiled from. If it is gone, nothing is published.
        digest: of the kind of interpreter.
        boot_id: of this machine.
        replaces: what stands there lacks a file, though its manifest looks whole.
    """
    hold.require(LockMode.SHARED)
    cache.ensure_ours(hold)
    path = bytecode_path(cache, archive.id, digest)
    if not is_present(archive.path) or (not replaces and read_bytecode(path, archive, boot_id) is not None):
        return
    make_directory(os.path.dirname(path), cache.root)
    with suppress(FileNotFoundError):
        rename(path, f"{staged}-replaced", cache.root)  # it goes with the staging of this work
    try:
        rename(staged, path, cache.root)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another publisher, in this very moment
            raise


def _is_first_current(archive: Archive, manifest: BytecodeManifest) -> bool:
    for directory in manifest.directories:
        place = f"{directory.path}/" if directory.path else ""
        try:
            status = os.lstat(f"{archive.tree}/{place}{directory.names[0]}")
        except OSError:
            return False
        return int(status.st_mtime) == directory.times[0]
    return True


def _is_whole(tree: str, archive: Archive, manifest: BytecodeManifest) -> bool:
    """Tell whether every .pyc is there with its size, and every source as old as when it was compiled."""
    suffix = module_suffix(manifest.totals.cache_tag)
    for directory in manifest.directories:
        place = f"/{directory.path}" if directory.path else ""
        try:
            compiled_fd = os.open(tree + place, _DIRECTORY)
            try:
                sources_fd = os.open(archive.tree + place, _DIRECTORY)
                try:
                    for name, size, time in zip(directory.names, directory.sizes, directory.times, strict=True):
                        compiled = os.stat(name[: -len(".py")] + suffix, dir_fd=compiled_fd, follow_symlinks=False)
                        source = os.stat(name, dir_fd=sources_fd, follow_symlinks=False)
                        if not stat.S_ISREG(compiled.st_mode) or compiled.st_size != size:
                            return False
                        if int(source.st_mtime) != time:
                            return False
                finally:
                    os.close(sources_fd)
            finally:
                os.close(compiled_fd)
        except OSError:
            return False
    return True


def _write_boot_id(path: str, content: bytes, boot_id: str) -> None:
    try:
        with place_of(f"{path}/{MANIFEST}", os.path.dirname(os.path.dirname(path))) as place_fd:
            fd, _ = open_to_write(place_fd, MANIFEST)
    except OSError:  # a read-only cache looks again next time
        return
    try:
        offset, fresh = boot_id_offset(content), boot_id.encode()
        os.pwrite(fd, fresh, offset)
        os.ftruncate(fd, offset + len(fresh))
    finally:
        os.close(fd)
