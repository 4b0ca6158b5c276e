"""Archives on disk: a tree, its manifest, the stamp of its last use, and whether it was ever linked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from itertools import groupby

from aiocache_engine.errors import DamagedEntryError
from aiocache_engine.model.manifest import Manifest, ManifestError, Totals, load_manifest, load_totals
from aiocache_engine.model.value import replace, value
from aiocache_engine.store.documents import ABSENT, read_document, read_first_line
from aiocache_engine.store.stamps import STAMP_BYTES, fresh_stamp, open_sole, open_to_write, stamp_in
from aiocache_engine.system.descent import place_of
from aiocache_engine.system.disk import open_plain, write_in_place

TREE = "tree"
MANIFEST = "manifest"
USED = "used"
LINKED = "linked"
WHEEL_FILE = "wheel.whl"  #: what was built here, kept beside what it was unpacked to


@value
class Archive:
    """One unpacked wheel, as a look-up or a publication gives it: leased, so that it stays."""

    id: str
    path: str  #: absolute path of the archive's directory

    @property
    def tree(self) -> str:
        """The absolute path of the unpacked files."""
        return f"{self.path}/{TREE}"


def write_stamps(paths: Iterable[str]) -> None:
    """Stamp archives and environments as used now. Needs the shared lock, and each on a lease (rule 1)."""
    for bucket, there in groupby(paths, os.path.dirname):
        with place_of(f"{bucket}/{USED}") as bucket_fd:
            for path in there:
                with place_of(f"{path}/{USED}", around=bucket_fd) as fd:
                    stamp_in(fd, USED)


def read_stamp(path: str) -> tuple[bytes, float] | None:
    """Give an archive's stamp and the time of its last use (seconds since the epoch); None: there is no archive."""
    return _read_used(path, STAMP_BYTES)


def _read_used(path: str, size_bytes: int) -> tuple[bytes, float] | None:
    """Give the beginning of an object's `used`, and when it was written; None: there is none."""
    try:
        fd = open_plain(f"{path}/{USED}")
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    try:
        return os.pread(fd, size_bytes, 0), os.fstat(fd).st_mtime
    finally:
        os.close(fd)


def is_present(path: str) -> bool:
    """Tell whether an archive is there; a link in its place is none of ours."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def set_linked(path: str) -> None:
    """Say that a referrer was registered for an archive. Needs the shared lock."""
    with place_of(f"{path}/{LINKED}") as fd:
        os.close(open_sole(fd, LINKED)[0])


def is_linked(path: str) -> bool:
    """Tell whether a referrer was ever registered for an archive."""
    return os.path.exists(f"{path}/{LINKED}")


def write_description(path: str, content: bytes, boot_id: str) -> None:
    """Write manifest and first stamp of an archive that is still in staging."""
    staging = os.path.dirname(os.path.dirname(path))
    write_in_place(f"{path}/{MANIFEST}", content, staging)
    write_in_place(f"{path}/{USED}", fresh_stamp() + boot_id.encode(), staging)


def read_totals(path: str) -> Totals | None:
    """Read the totals of an archive; None where its manifest is absent or damaged."""
    line = read_first_line(f"{path}/{MANIFEST}")
    try:
        return None if line is None else load_totals(line)
    except ManifestError:
        return None


def read_whole_totals(path: str) -> Totals | None:
    """Read the totals of an archive, the wheel file that is kept beside its tree counted with it; None as above."""
    totals = read_totals(path)
    if totals is None:
        return None
    try:
        kept_bytes = os.lstat(f"{path}/{WHEEL_FILE}").st_size
    except FileNotFoundError:
        return totals
    return replace(totals, file_count=totals.file_count + 1, size_bytes=totals.size_bytes + kept_bytes)


def open_manifest(archive: Archive, boot_id: str) -> Manifest:
    """Read the manifest of a leased archive; on the first use after a reboot the sizes of its files are checked.

    Raises:
        DamagedEntryError: the manifest, or a file that it lists, is absent or not what it was.
    """
    content = read_document(f"{archive.path}/{MANIFEST}")
    if content is None:
        raise DamagedEntryError(archive.path, "its manifest is gone")
    try:
        manifest = load_manifest(content)
    except (ManifestError, ValueError, KeyError) as error:
        raise DamagedEntryError(archive.path, "its manifest is damaged") from error
    _check_after_reboot(archive, manifest, boot_id)
    return manifest


def _check_after_reboot(archive: Archive, manifest: Manifest, boot_id: str) -> None:
    """Compare sizes once per boot: a power cut may have emptied files behind a complete-looking tree."""
    if not is_checked(archive.path, boot_id):
        check_sizes(archive, manifest)
        mark_checked(archive.path, boot_id)


def is_checked(path: str, boot_id: str) -> bool:
    """Tell whether the files of an object were looked at since the machine was started."""
    expected = boot_id.encode()
    used = _read_used(path, STAMP_BYTES + len(expected) + 1)
    return used is not None and used[0][STAMP_BYTES:] == expected


def mark_checked(path: str, boot_id: str) -> None:
    """Say that the files of an object, which is leased, have been looked at since the machine was started."""
    expected = boot_id.encode()
    try:
        fd = _open_used(path)
    except OSError:  # a read-only cache checks again next time
        return
    try:
        os.pwrite(fd, expected, STAMP_BYTES)
        os.ftruncate(fd, STAMP_BYTES + len(expected))
    finally:
        os.close(fd)


def mark_unchecked(path: str) -> None:
    """Have the files of an object looked at at its next use. Needs the shared lock, or the object on a lease."""
    try:
        fd = _open_used(path)
    except OSError:  # a stamp that is made anew knows no boot either
        return
    try:
        os.ftruncate(fd, STAMP_BYTES)
    finally:
        os.close(fd)


def _open_used(path: str) -> int:
    with place_of(f"{path}/{USED}") as place_fd:
        return open_to_write(place_fd, USED, is_sole=True)[0]


def check_sizes(archive: Archive, manifest: Manifest) -> None:
    """Check that every listed file is there, regular, and of its size.

    Raises:
        DamagedEntryError: one is not.
    """
    for directory in manifest.directories:
        path = f"{archive.tree}/{directory.path}" if directory.path else archive.tree
        try:
            directory_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise DamagedEntryError(path, "the directory is gone") from error
        try:
            for name, size_bytes in zip(directory.names, directory.sizes, strict=True):
                try:
                    status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
                except OSError as error:
                    raise DamagedEntryError(f"{path}/{name}", "the file is gone") from error
                if not stat.S_ISREG(status.st_mode) or status.st_size != size_bytes:
                    raise DamagedEntryError(f"{path}/{name}", f"the file has {status.st_size} bytes, not {size_bytes}")
        finally:
            os.close(directory_fd)
