"""Write an sdist's tree below one directory, entry by entry, so that nothing ever gets outside of it.

Every path is checked against all that were written before, and walked by descriptors. Symbolic links are made last, so
that nothing is written through one, and only such as lead to a place inside of the tree without passing another link on
the way. Of modes only the executable bit is kept.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable

from aiocache_engine.model.value import value
from aiocache_engine.pipeline.builds.gunzip import UnsafeTarError
from aiocache_engine.pipeline.builds.tar_members import Kind
from aiocache_engine.pipeline.wheels.zip_directory import UnpackLimits, folded
from aiocache_engine.system.descent import Descent

_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STRANGE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_PATH = 2048  #: bytes
_LONGEST_PART = 255  #: bytes; what file systems take
#: Backends put files into zip files, which know no time before 1980 anywhere.
_EARLIEST = 315_619_200


@value
class _Entry:
    path: str
    kind: Kind


class Tree:
    """What was written so far below a directory, which was empty."""

    def __init__(self, root_fd: int, root: str, limits: UnpackLimits) -> None:
        """Keep the directory; its descriptor stays the caller's, its path is for messages."""
        self._descent = Descent(root_fd, root)
        self._sources = Descent(root_fd, root)  #: a second one, since a hard link has two ends
        self._limits = limits
        self._entries: dict[str, _Entry] = {}  #: by folded path
        self._links: dict[str, str] = {}  #: targets of symbolic links by path
        self._newest = time.time()

    def close(self) -> None:
        """Let go of all descriptors."""
        self._descent.close()
        self._sources.close()

    def top(self) -> str:
        """Give the name of the one directory that everything lies in.

        Raises:
            UnsafeTarError: there is none, or more than one.
        """
        tops = [entry for entry in self._entries.values() if "/" not in entry.path]
        if len(tops) != 1 or tops[0].kind is not Kind.DIRECTORY:
            names = sorted(entry.path for entry in tops)
            shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")  # noqa: PLR2004 - of a message
            raise UnsafeTarError(f"one top directory is expected, found {shown or 'nothing'}")
        return tops[0].path

    def add_directory(self, name: str) -> None:
        """Make a directory, unless it is there."""
        if path := self._path(name):
            self._make_directory(path)

    def add_file(
        self, name: str, pieces: Iterable[bytes | memoryview], *, modified_at: float, is_executable: bool
    ) -> None:
        """Write a file."""
        path = self._new(name, Kind.FILE)
        directory, _, base = path.rpartition("/")
        mode = 0o755 if is_executable else 0o644
        fd = os.open(base, _FILE_FLAGS, mode, dir_fd=self._descent.enter(directory))
        try:
            for piece in pieces:
                written = 0
                while written < len(piece):
                    written += os.write(fd, memoryview(piece)[written:])
            # Builds compare times of sources and of what was made of them, so these are kept, as far as they can be.
            os.utime(fd, (self._newest, min(max(modified_at, _EARLIEST), self._newest)))
        finally:
            os.close(fd)

    def add_hard_link(self, name: str, target: str) -> None:
        """Make another name of a file that is there."""
        source = self._entries.get(folded(self._path(target)))
        if source is None or source.kind is not Kind.FILE:
            raise UnsafeTarError("it is a hard link to what is no file of this archive, or comes later", member=name)
        path = self._new(name, Kind.HARD_LINK)
        directory, _, base = path.rpartition("/")
        source_directory, _, source_base = source.path.rpartition("/")
        os.link(
            source_base,
            base,
            src_dir_fd=self._sources.enter(source_directory),
            dst_dir_fd=self._descent.enter(directory),
            follow_symlinks=False,
        )

    def add_symlink(self, name: str, target: str) -> None:
        """Remember a symbolic link; `make_symlinks` makes it."""
        path = self._new(name, Kind.SYMLINK)
        if not target or target.startswith("/") or _STRANGE.search(target) or len(target.encode()) > _LONGEST_PATH:
            raise UnsafeTarError("it is a symbolic link with a target that is no safe relative path", member=name)
        self._links[path] = target

    def make_symlinks(self) -> None:
        """Make the symbolic links. Nothing can be added any more."""
        for path, target in self._links.items():
            self._check_target(path, target)
        for path, target in self._links.items():
            directory, _, base = path.rpartition("/")
            os.symlink(target, base, dir_fd=self._descent.enter(directory))

    def _path(self, name: str) -> str:
        """Give the one spelling of a path below the directory; "" is the directory itself."""
        if name.startswith("/") or _STRANGE.search(name):
            raise UnsafeTarError("the name is not a safe relative path", member=name)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise UnsafeTarError("the name is not a safe relative path", member=name)
        if len(parts) > self._limits.depth:
            raise UnsafeTarError(f"it lies deeper than the {self._limits.depth} levels allowed", member=name)
        path = "/".join(parts)
        if len(path.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_PART for part in parts):
            raise UnsafeTarError("the name is too long", member=name)
        return path

    def _new(self, name: str, kind: Kind) -> str:
        """Take a path for what is no directory, and make the directories on the way."""
        path = self._path(name)
        if not path or name.endswith(("/", "/.")):
            raise UnsafeTarError(f"it is a {kind.value} with the name of a directory", member=name)
        self._make_directory(path.rpartition("/")[0])
        if self._entries.setdefault(folded(path), entry := _Entry(path, kind)) is not entry:
            raise UnsafeTarError("the name occurs twice, or differs only in case or accents", member=name)
        return path

    def _make_directory(self, path: str) -> None:
        if not path:
            return
        key = folded(path)
        found = self._entries.get(key)
        if found is None:
            around, _, base = path.rpartition("/")
            self._make_directory(around)
            os.mkdir(base, 0o755, dir_fd=self._descent.enter(around))
            self._entries[key] = _Entry(path, Kind.DIRECTORY)
        elif found.kind is not Kind.DIRECTORY:
            raise UnsafeTarError(f"it is a directory and a {found.kind.value}", member=path)
        elif found.path != path:
            raise UnsafeTarError("the names of two directories differ only in case or accents", member=path)

    def _check_target(self, path: str, target: str) -> None:
        """Follow a link's target from name to name: it never leaves the top directory, and passes no other link.

        So the operating system ends up at the same place. What is there may be a link, which is checked in its turn.
        """
        parts = path.split("/")[:-1]
        for step in target.split("/"):
            found = self._entries.get(folded("/".join(parts)))
            if found is not None and found.kind is Kind.SYMLINK:
                raise UnsafeTarError("it is a symbolic link that leads through another one", member=path)
            if step == "..":
                del parts[-1:]
            elif step not in ("", "."):
                parts.append(step)
            if not parts:
                raise UnsafeTarError("it is a symbolic link that leads out of the sdist", member=path)
