"""Where each file of a wheel goes in a target, and what is written besides: scripts, INSTALLER, RECORD and their like.

Follows the binary distribution format (spreading .data over the schemes, rewriting `#!python`), "Recording installed
projects" and PEP 610. Reads the first bytes of a wheel's scripts, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator

from aiocache_engine.errors import DamagedEntryError, InvalidWheelError, TargetError
from aiocache_engine.model.entry_points import EntryPointError, pip_entry_points, script_entry_points
from aiocache_engine.model.manifest import Directory, Manifest
from aiocache_engine.model.python import LinkMode, Target, TargetKind
from aiocache_engine.model.record import RecordRow, format_record, hash_field, parse_record
from aiocache_engine.model.value import entity, value
from aiocache_engine.python.installed import MARKER, marker
from aiocache_engine.python.launchers import LauncherError, launcher, with_interpreter
from aiocache_engine.store.bytecode import Bytecode
from aiocache_engine.system.disk import translated

INSTALLER = b"aioc\n"
_OURS = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", MARKER})
_DIST_INFO = ".dist-info"
_MODULE_SCHEMES = frozenset({"purelib", "platlib"})
_PYTHON_LINE = b"#!python"
_NO_HASH = RecordRow("", "", None)
COMPILED = "__pycache__"  #: the directory of .pyc files beside their sources (PEP 3147)


@value
class Layout:
    """The directories of a target, relative to its real root ("" is the root itself)."""

    root: str  #: absolute, links resolved
    purelib: str
    platlib: str
    scripts: str
    data: str
    headers: str  #: without the project
    python: str  #: "3.11"
    floor: tuple[str, ...]  #: the directories that stay, even when they are empty

    def sites(self) -> tuple[str, ...]:
        """The directories that hold dist-infos, each once."""
        return tuple(dict.fromkeys((self.purelib, self.platlib)))


@entity
class Piece:
    """Files of one directory of a tree that go into one directory of the target under their own names."""

    wheel: int  #: its position in the installation
    tree: str  #: absolute: of the archive, or of its bytecode
    source: str  #: relative to the tree
    target: str  #: relative to the root
    names: tuple[str, ...]
    sizes: tuple[int, ...]  #: bytes, in the order of the names
    is_data: bool  #: it comes from .data
    executables: frozenset[str]  #: names that bear the executable bit
    replaces: dict[str, int]  #: positions in the stash of the files that stand at some of the names
    modules: Piece | None = None  #: the sources that these files were compiled from; None: they are no bytecode
    suffix: str = ""  #: of bytecode: what takes the place of ".py"

    def source_of(self, name: str) -> str:
        """Give the name of the module that a .pyc was compiled from."""
        return name[: -len(self.suffix)] + ".py"

    def follow_modules(self) -> None:
        """Leave out the bytecode of every module that is left out."""
        if self.modules is not None and len(self.names) > 0:
            there = set(self.modules.names)
            self.drop({name for name in self.names if self.source_of(name) not in there})

    def drop(self, names: set[str]) -> None:
        """Leave some files out."""
        if not names:
            return
        kept = [(name, size) for name, size in zip(self.names, self.sizes, strict=True) if name not in names]
        self.names = tuple(name for name, _ in kept)
        self.sizes = tuple(size for _, size in kept)


@entity
class Generated:
    """A file that is written anew."""

    wheel: int
    target: str  #: directory, relative to the root
    name: str  #: "" once the path was left to another one
    content: bytes
    is_data: bool
    is_executable: bool
    replaces: int | None  #: position in the stash of the file that stands there


@value
class Placement:
    """All of one wheel."""

    site: str  #: relative to the root: where its dist-info goes
    dist_info: str  #: name
    pieces: tuple[Piece, ...]
    dist_info_pieces: tuple[Piece, ...]
    generated: tuple[Generated, ...]
    dist_info_generated: tuple[Generated, ...]
    record: bytes  #: RECORD as it will stand there


def find_layout(target: Target) -> Layout:
    """Give the target's directories below its real root.

    Raises:
        TargetError: one of them leads out of the root.
    """
    root = os.path.realpath(target.root)

    def below(path: str) -> str:
        relative = os.path.relpath(os.path.realpath(path), root)
        if relative == ".":
            return ""
        if relative.split(os.sep)[0] == os.pardir:
            raise TargetError(path, f"it leads out of {root}; nothing was installed")
        return relative

    paths = {name: below(getattr(target, name)) for name in ("purelib", "platlib", "scripts", "data", "headers")}
    own = [paths["purelib"], paths["platlib"]]
    if target.kind is not TargetKind.DIRECTORY:
        own += [paths["scripts"], paths["headers"].partition("/")[0]]
    python = ".".join(target.interpreter.version.split(".")[:2])
    return Layout(root=root, **paths, python=python, floor=tuple(dict.fromkeys(own)))


def place_wheel(
    number: int,
    manifest: Manifest,
    tree: str,
    layout: Layout,
    *,
    executable: str,
    archive_id: str,
    requested: bool,
    direct_url: str | None,
    link_mode: LinkMode,
    bytecode: Bytecode | None = None,
) -> Placement:
    """Decide on every file of a wheel, and of what was compiled from it.

    Raises:
        InvalidWheelError: it asks for a script that must not be made, or for a place in another distribution.
        TargetError: its scripts cannot name the interpreter.
        DamagedEntryError: a script is missing from the cache.
    """
    wheel = _Wheel(number, manifest, tree, layout, executable=executable, bytecode=bytecode)
    try:
        pieces = list(wheel.pieces())
        wheel.add_launchers()
    except EntryPointError as error:
        raise InvalidWheelError(manifest.totals.filename, str(error), member="entry_points.txt") from error
    except LauncherError as error:
        raise TargetError(layout.root, f"no script can be made for it: {error}") from error
    own_directory = _join(wheel.site, manifest.dist_info)
    others: list[Piece] = []
    own: list[Piece] = []
    for piece in pieces:
        is_own = piece.target == own_directory or piece.target.startswith(own_directory + "/")
        (own if is_own else others).append(piece)
    contents = {"INSTALLER": INSTALLER, MARKER: marker(archive_id, link_mode.value)}
    if requested:
        contents["REQUESTED"] = b""
    if direct_url is not None:
        contents["direct_url.json"] = direct_url.encode()
    extra = tuple(
        Generated(number, own_directory, name, content, is_data=False, is_executable=False, replaces=None)
        for name, content in contents.items()
    )
    return Placement(
        site=wheel.site,
        dist_info=manifest.dist_info,
        pieces=tuple(others),
        dist_info_pieces=tuple(own),
        generated=tuple(wheel.generated),
        dist_info_generated=extra,
        record=wheel.record(extra),
    )


class _Wheel:
    """One wheel while it is decided on."""

    def __init__(
        self,
        number: int,
        manifest: Manifest,
        tree: str,
        layout: Layout,
        *,
        executable: str,
        bytecode: Bytecode | None,
    ) -> None:
        self._number = number
        self._manifest = manifest
        self._tree = tree
        self._layout = layout
        self._executable = executable
        self._bytecode = bytecode
        self._compiled: list[Piece] = []
        self.site = layout.purelib if manifest.root_is_purelib else layout.platlib
        self.generated: list[Generated] = []
        self._left_out: set[str] = set()  #: paths in the tree that are not linked
        self._roots = {
            "purelib": layout.purelib,
            "platlib": layout.platlib,
            "scripts": layout.scripts,
            "data": layout.data,
            "headers": _join(layout.headers, manifest.totals.project),
        }

    def pieces(self) -> Iterator[Piece]:
        executables: dict[str, set[str]] = {}
        for file in self._manifest.executables:
            parent, _, name = file.rpartition("/")
            executables.setdefault(parent, set()).add(name)
        data = self._manifest.data
        for directory in self._manifest.directories:
            if not directory.names:
                continue
            path = directory.path
            is_data = bool(data) and path.startswith(data + "/")
            piece = Piece(
                wheel=self._number,
                tree=self._tree,
                source=path,
                target=self._data_target(path) if is_data else _join(self.site, path) if path else self.site,
                names=directory.names,
                sizes=directory.sizes,
                is_data=is_data,
                executables=frozenset(executables.get(path, ())),
                replaces={},
            )
            if is_data:
                self._refuse_foreign(piece)
            if is_data and path.split("/")[1] == "scripts":
                self._take_scripts(piece, directory)
            elif path == self._manifest.dist_info and not _OURS.isdisjoint(directory.names):
                ours = _OURS.intersection(directory.names)
                self._left_out.update(f"{path}/{name}" for name in ours)
                piece.drop(set(ours))
            elif self._bytecode is not None:
                self._drop_foreign_bytecode(piece, self._bytecode)
                self._add_bytecode(piece, self._bytecode)
            if piece.names:
                yield piece
        yield from self._compiled

    def add_launchers(self) -> None:
        """Make the scripts that entry_points.txt asks for; one that the wheel brings itself gives way."""
        points = script_entry_points(self._manifest.entry_points)
        if self._manifest.totals.project == "pip":
            points = pip_entry_points(points, self._layout.python)
        for point in points:
            content = launcher(point, executable=self._executable)
            self._generate(self._layout.scripts, point.name, content, is_data=False)

    def record(self, extra: tuple[Generated, ...]) -> bytes:
        """Compose RECORD: the wheel's rows, moved where its files go, and ours."""
        text = self._manifest.record
        if self._manifest.data or self._left_out:
            text = format_record(self._moved_rows())
        elif not text.endswith("\n"):
            text += "\n"
        ours = [self._row(one) for one in (*self.generated, *extra)]
        for piece in self._compiled:  # without hash and size: Python may write them anew
            place = self._beside_dist_info(piece.target)
            ours += [_NO_HASH._replace(path=f"{place}/{name}") for name in piece.names]
        ours.append(_NO_HASH._replace(path=f"{self._manifest.dist_info}/RECORD"))
        return (text + format_record(ours)).encode()

    def _add_bytecode(self, piece: Piece, bytecode: Bytecode) -> None:
        """Put what was compiled from the modules of a piece beside them."""
        sizes = bytecode.sizes.get(piece.source)
        if not sizes:
            return
        compiled = Piece(
            wheel=self._number,
            tree=bytecode.tree,
            source=piece.source,
            target=_join(piece.target, COMPILED),
            names=tuple(name[: -len(".py")] + bytecode.suffix for name in sizes),
            sizes=tuple(sizes.values()),
            is_data=False,
            executables=frozenset(),
            replaces={},
            modules=piece,
            suffix=bytecode.suffix,
        )
        compiled.follow_modules()
        self._compiled.append(compiled)

    def _drop_foreign_bytecode(self, piece: Piece, bytecode: Bytecode) -> None:
        """Leave out what the wheel itself brings of bytecode where ours goes: it might be of another source."""
        parent, _, name = piece.source.rpartition("/")
        if name != COMPILED or not (sizes := bytecode.sizes.get(parent)):
            return
        ours = {source[: -len(".py")] + bytecode.suffix for source in sizes}.intersection(piece.names)
        self._left_out.update(f"{piece.source}/{name}" for name in ours)
        piece.drop(ours)

    def _refuse_foreign(self, piece: Piece) -> None:
        """Refuse files of .data that would pass for those of a distribution, or for what tells about our own.

        Below a package a .dist-info is only data (of what the package bundles).
        """
        if _DIST_INFO not in piece.target.casefold():
            return
        is_module = piece.source.split("/")[1] in _MODULE_SCHEMES
        parent = ""
        for part in piece.target.split("/"):
            if part.casefold().endswith(_DIST_INFO) and (not is_module or parent in self._layout.sites()):
                raise InvalidWheelError(
                    self._manifest.totals.filename, "it would become part of a .dist-info", member=piece.source
                )
            parent = _join(parent, part)

    def _take_scripts(self, piece: Piece, directory: Directory) -> None:
        """Take out the scripts that name the interpreter in their first line, or lack the executable bit."""
        taken = set()
        for name in directory.names:
            path = f"{self._tree}/{directory.path}/{name}"
            content = _script(path, always=name not in piece.executables)
            if content is None:
                continue
            rewritten = with_interpreter(content, executable=self._executable)
            taken.add(name)
            self._left_out.add(f"{directory.path}/{name}")
            self._generate(piece.target, name, content if rewritten is None else rewritten, is_data=True)
        piece.drop(taken)

    def _generate(self, target: str, name: str, content: bytes, *, is_data: bool) -> None:
        one = Generated(self._number, target, name, content, is_data, is_executable=True, replaces=None)
        self.generated = [other for other in self.generated if (other.target, other.name) != (target, name)]
        self.generated.append(one)

    def _data_target(self, path: str) -> str:
        _, scheme, *rest = path.split("/", 2)
        return _join(self._roots[scheme], rest[0]) if rest else self._roots[scheme]

    def _moved_rows(self) -> Iterator[RecordRow]:
        prefix = self._manifest.data + "/"
        moved: dict[str, str] = {}
        for row in parse_record(self._manifest.record):
            if row.path in self._left_out:
                continue
            if not self._manifest.data or not row.path.startswith(prefix):
                yield row
                continue
            directory, _, name = row.path.rpartition("/")
            if directory not in moved:
                moved[directory] = self._beside_dist_info(self._data_target(directory))
            yield row._replace(path=_join(moved[directory], name))

    def _row(self, one: Generated) -> RecordRow:
        digest = hash_field("sha256", hashlib.sha256(one.content).digest())
        return RecordRow(_join(self._beside_dist_info(one.target), one.name), digest, len(one.content))

    def _beside_dist_info(self, directory: str) -> str:
        """Give a directory of the target as RECORD spells it, relative to the one that holds the dist-info."""
        if not self.site or directory.startswith(self.site + "/"):
            return directory[len(self.site) :].lstrip("/")
        # As absolute paths: relative ones would be taken from the current directory, which may be gone.
        relative = posixpath.relpath(f"/{directory}", f"/{self.site}")
        return "" if relative == "." else relative


def _script(path: str, *, always: bool) -> bytes | None:
    """Read a script that is to be written anew; None if the file can be linked as it is."""
    try:
        with translated(path), open(path, "rb") as file:
            start = file.read(len(_PYTHON_LINE))
            return start + file.read() if always or start == _PYTHON_LINE else None
    except FileNotFoundError as error:
        raise DamagedEntryError(path, "the file is missing from the cache; fetch it again (--refresh)") from error


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory and name else directory or name
