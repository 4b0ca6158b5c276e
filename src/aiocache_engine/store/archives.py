"""Archives on disk: a tree, its manifest, the stamp of its last use, and whether it was ever linked."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import groupby

from aiocache_engine.errors import DamagedEntryError
from aiocache_engine.model.manifest import Manifest, ManifestError, Totals, load_manifest, load_totals
from aiocache_engine.model.value import replace, value
from aiocache_engine.store.documents import ABSENT, read_document, read_first_line
from aiocache_engine.system.descent import place_of
from aiocache_engine.system.disk import NO_PLAIN_FILE, open_plain, write_in_place

TREE = "tree"
MANIFEST = "manifest"
USED = "used"
LINKED = "linked"
WHEEL_FILE = "wheel.whl"  #: what was built here, kept beside what it was unpacked to
STAMP_BYTES = 16
_WRITING = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@value
class Archive:
    """One unpacked wheel, as a look-up or a publication gives it: leased, so that it stays."""

    id: str
    path: str  #: absolute path of the archive's directory

    @property
    def tree(self) -> str:
        """The absolute path of the unpacked files."""
        return f"{self.path}/{TREE}"


def fresh_stamp() -> bytes:
    """Give a value that no stamp ever had."""
    return os.urandom(STAMP_BYTES)


def write_stamps(paths: Iterable[str]) -> None:
    """Stamp archives and environments as used now. Needs the shared lock, and each on a lease (rule 1)."""
    for bucket, there in groupby(paths, os.path.dirname):
        with place_of(f"{bucket}/{USED}") as bucket_fd:
            for path in there:
                with place_of(f"{path}/{USED}", around=bucket_fd) as fd:
                    stamp_in(fd, USED)


def _put_beside(place_fd: int, name: str) -> None:
    """Put aside what stands in a file's place in an object; it goes with the object."""
    os.rename(name, f"{name}-{os.urandom(8).hex()}", src_dir_fd=place_fd, dst_dir_fd=place_fd)


def stamp_in(
    place_fd: int, name: str, put_aside: Callable[[int, str], None] = _put_beside, *, is_all: bool = False
) -> None:
    """Write a stamp over the one in a file of a directory.

    Where it was lost a new one is made; that of an object knows no boot then, so that the first use checks the files.

    Args:
        place_fd: a descriptor of the directory.
        name: of the file.
        put_aside: takes what is no file, or has another name, too, out of its place.
        is_all: there is nothing but the stamp in the file, and what stands behind it is cut off.
    """
    fd, size_bytes = _open_sole(place_fd, name, put_aside)
    try:
        os.pwrite(fd, fresh_stamp(), 0)
        if is_all and size_bytes > STAMP_BYTES:
            os.ftruncate(fd, STAMP_BYTES)
    finally:
        os.close(fd)


def _open_sole(place_fd: int, name: str, put_aside: Callable[[int, str], None] = _put_beside) -> tuple[int, int]:
    """Open a file to be written in place, or make it, as `open_to_write`; what else stands there is put aside."""
    try:
        return open_to_write(place_fd, name, flags=os.O_CREAT, is_sole=True)
    except OSError as error:
        if error.errno not in NO_PLAIN_FILE:
            raise
    with suppress(FileNotFoundError):  # another one was quicker
        put_aside(place_fd, name)
    return open_to_write(place_fd, name, flags=os.O_CREAT, is_sole=True)


def open_to_write(place_fd: int, name: str, *, flags: int = 0, is_sole: bool = False) -> tuple[int, int]:
    """Open a regular file of a directory to write in it, without ever waiting; gives its descriptor and its size.

    With `is_sole` it must not have a second name: who else knows the file did not ask for stamps in it.

    Raises:
        OSError: it cannot be opened, or is no such file (one of `NO_PLAIN_FILE`).
    """
    fd = os.open(name, _WRITING | flags, 0o644, dir_fd=place_fd)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and not (is_sole and status.st_nlink > 1):
        return fd, status.st_size
    os.close(fd)
    raise OSError(errno.EINVAL, "it is no regular file of its own", name)


def read_stamp(path: str) -> tuple[bytes, float] | None:
    """Give an archive's stamp and the time of its last use (seconds since the epoch); None: there is no archive."""
    try:
        fd = open_plain(f"{path}/{USED}")
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    try:
        return os.pread(fd, STAMP_BYTES, 0), os.fstat(fd).st_mtime
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
        os.close(_open_sole(fd, LINKED)[0])


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
    try:
        fd = open_plain(f"{path}/{USED}")
    except OSError as error:
        if error.errno in ABSENT:
            return False
        raise
    try:
        return os.pread(fd, len(expected) + 1, STAMP_BYTES) == expected
    finally:
        os.close(fd)


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
