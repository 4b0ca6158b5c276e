"""What stands in the way of an installation, and what becomes of it (docs/decisions/0010).

Between two distributions, equal bytes at one path are no conflict. Different ones are: from .data they are refused,
elsewhere the later distribution's file counts and a warning tells. Nothing goes over what makes an environment one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from aiocache_engine.errors import FileConflictError, TargetError
from aiocache_engine.model.entry_points import EntryPointError, check_script_name
from aiocache_engine.model.python import InstalledDistribution, TargetKind
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.linking.placement import COMPILED, Generated, Layout, Piece, Placement
from aiocache_engine.pipeline.linking.protected import is_reserved
from aiocache_engine.pipeline.linking.uninstall import owners
from aiocache_engine.system.descent import Descent
from aiocache_engine.system.disk import read_bytes


@value
class Ground:
    """What was found where the files go. Paths are relative to the root."""

    directories: tuple[str, ...]  #: to be made, parents first
    kept: tuple[str, ...]  #: files that are there with the right bytes
    stashed: tuple[str, ...]  #: files that are replaced or go, sorted
    records: dict[
        int, int
    ]  #: position in `stashed` of the RECORD that stands where that of a wheel goes, by its number
    warnings: tuple[str, ...]


def settle_between(placements: Sequence[Placement], projects: Sequence[str]) -> list[str]:
    """Leave each path to one of the wheels; give the warnings.

    Raises:
        FileConflictError: files of .data differ from those of another wheel.
    """
    places: dict[str, list[Piece | Generated]] = {}
    for placement in placements:
        for one in _all_of(placement):
            if not _is_compiled(one):
                places.setdefault(one.target, []).append(one)
    warnings: list[str] = []
    for directory, claims in places.items():
        if len(claims) > 1:
            warnings += _settle_directory(directory, claims, projects)
    for placement in placements:
        for piece in placement.pieces:
            if piece.modules is not None:
                piece.follow_modules()
                _clear_way(piece, places.get(piece.target, ()))
    return warnings


def survey(
    placements: Sequence[Placement],
    projects: Sequence[str],
    leaving: Iterable[str],
    staying: Sequence[InstalledDistribution],
    *,
    layout: Layout,
    kind: TargetKind,
    root_fd: int,
) -> Ground:
    """Find what stands where the files go, and note in the pieces what they replace.

    Args:
        placements: settled between each other.
        projects: whose they are, in the same order.
        leaving: files of the distributions that make room.
        staying: the distributions that stay.
        layout: the target's directories.
        kind: what the target is.
        root_fd: its real root.

    Raises:
        FileConflictError: a file there must not be replaced.
        TargetError: a directory there is a symbolic link.
    """
    claims: dict[str, list[Piece | Generated]] = {}
    for placement in placements:
        for one in _all_of(placement):
            claims.setdefault(one.target, []).append(one)
    _refuse_protected(claims, layout, projects)
    with Descent(root_fd, layout.root) as descent:
        there, missing = _look(claims, descent)
        gone = set(leaving)
        kept: list[str] = []
        differing: dict[str, Piece | Generated] = {}
        replaced: set[str] = set()
        for directory, present in there.items():
            for one in claims[directory]:
                for name in present.intersection(_names(one)) if not _is_compiled(one) else ():
                    path = _join(directory, name)
                    if path in gone:
                        replaced.add(path)
                    elif _is_same(name, one, descent.enter(directory), projects, layout):
                        kept.append(path)
                    else:
                        differing[path] = one
        for path in _foreign_bytecode(claims, gone, set(kept), descent):
            replaced.discard(path)
            if differing.pop(path, None) is not None:
                kept.append(path)
        all_claims = (one for ones in claims.values() for one in ones)
        kept_bytecode, replaced_bytecode = _survey_compiled(all_claims, there, gone, set(kept), descent)
        kept += kept_bytecode
        replaced |= replaced_bytecode
    warnings = _judge(differing, staying, projects, layout=layout, kind=kind)
    records = {
        f"{directory}/RECORD": number
        for number, placement in enumerate(placements)
        if "RECORD" in there.get(directory := _join(placement.site, placement.dist_info), ())
    }
    stashed = sorted(gone | replaced | differing.keys() | records.keys())
    _note_replacements(stashed, replaced | differing.keys(), kept, claims)
    return Ground(
        directories=tuple(missing),
        kept=tuple(sorted(kept)),
        stashed=tuple(stashed),
        records={number: stashed.index(path) for path, number in records.items()},
        warnings=tuple(warnings),
    )


def _all_of(placement: Placement) -> Iterator[Piece | Generated]:
    yield from placement.pieces
    yield from placement.dist_info_pieces
    yield from placement.generated
    yield from placement.dist_info_generated


def _settle_directory(directory: str, claims: list[Piece | Generated], projects: Sequence[str]) -> Iterable[str]:
    holders: dict[str, Piece | Generated] = {}
    for one in claims:
        for name in holders.keys() & set(_names(one)):
            before = holders[name]
            if before.wheel != one.wheel and _content(name, before) != _content(name, one):
                yield _between(_join(directory, name), before, one, projects)
            _leave_out(before, name)
        holders |= dict.fromkeys(_names(one), one)


def _clear_way(compiled: Piece, claims: Sequence[Piece | Generated]) -> None:
    """Leave out what wheels bring themselves where bytecode of ours goes."""
    for one in claims:
        for name in set(_names(one)).intersection(compiled.names):
            _leave_out(one, name)


def _foreign_bytecode(
    claims: dict[str, list[Piece | Generated]], gone: set[str], staying: set[str], descent: Descent
) -> Iterator[str]:
    """Leave out the bytecode that a wheel brings for a module which another one has in place; give its paths."""
    for directory, ones in claims.items():
        parent, _, last = directory.rpartition("/")
        if last != COMPILED:
            continue
        brought = {name: one.wheel for one in claims.get(parent, ()) for name in _names(one)}
        for one in ones:
            for name in _names(one) if not _is_compiled(one) else ():
                module = name.partition(".")[0] + ".py"
                path = _join(parent, module)
                stays = path in staying or (module not in brought and path not in gone and _is_there(path, descent))
                if name.endswith(".pyc") and (stays or brought.get(module, one.wheel) != one.wheel):
                    _leave_out(one, name)
                    yield _join(directory, name)


def _is_there(path: str, descent: Descent) -> bool:
    directory, _, name = path.rpartition("/")
    try:
        os.stat(name, dir_fd=descent.enter(directory), follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _survey_compiled(
    pieces: Iterable[Piece | Generated],
    there: dict[str, set[str]],
    gone: set[str],
    staying: set[str],
    descent: Descent,
) -> tuple[list[str], set[str]]:
    """Give the bytecode that stays, and that which makes room for ours.

    Whatever stands there makes room, but not beside a module that stays: ours is for another time of it.
    """
    kept: list[str] = []
    replaced: set[str] = set()
    for piece in pieces:
        if not isinstance(piece, Piece) or piece.modules is None:
            continue
        present = there.get(piece.target, set())
        unwanted = set()
        for name in piece.names if present or staying else ():
            path = _join(piece.target, name)
            if _join(piece.modules.target, piece.source_of(name)) in staying:
                unwanted.add(name)
                if name in present and path not in gone:
                    kept.append(path)
            elif name in present and _is_directory(name, descent.enter(piece.target)):
                unwanted.add(name)
            elif name in present:
                replaced.add(path)
        piece.drop(unwanted)
    return kept, replaced


def _is_directory(name: str, dir_fd: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)


def _between(path: str, before: Piece | Generated, one: Piece | Generated, projects: Sequence[str]) -> str:
    first, second = projects[before.wheel], projects[one.wheel]
    if before.is_data or one.is_data:
        raise FileConflictError(path, f"{first} and {second} bring different files of this name; install one of them")
    return f"{path}: {first} and {second} bring different files of this name; that of {second} is in place"


def _leave_out(one: Piece | Generated, *names: str) -> None:
    if isinstance(one, Piece):
        one.drop(set(names))
    else:
        one.name = ""  # nameless ones are not written


def _refuse_protected(claims: dict[str, list[Piece | Generated]], layout: Layout, projects: Sequence[str]) -> None:
    def refuse(one: Piece | Generated, name: str, reason: str) -> None:
        raise FileConflictError(
            os.path.join(layout.root, one.target, name), f"{projects[one.wheel]} {reason}; it is not installed"
        )

    for one in claims.get("", ()):
        for name in filter(is_reserved, _names(one)):
            refuse(one, name, "would bring a file that only the environment itself has")
    for directory, there in claims.items():
        if is_reserved(directory):
            refuse(there[0], "", "would write into what tells the state of the environment")
    for one in claims.get(layout.scripts, ()):
        for name in _names(one) if one.is_data else ():
            try:
                check_script_name(name)
            except EntryPointError as error:
                refuse(one, name, f"brings a script that must not be made ({error})")


def _look(claims: dict[str, list[Piece | Generated]], descent: Descent) -> tuple[dict[str, set[str]], list[str]]:
    """List the directories that are there, and name those that are not, parents first."""
    directories: set[str] = set()
    for directory in claims:
        path = directory
        while path and path not in directories:
            directories.add(path)
            path = path.rpartition("/")[0]
    there: dict[str, set[str]] = {}
    missing: dict[str, None] = {}
    for directory in sorted(directories | ({""} & claims.keys())):
        if directory and directory.rpartition("/")[0] in missing:
            missing[directory] = None
            continue
        try:
            fd = descent.enter(directory)
        except FileNotFoundError:
            missing[directory] = None
            continue
        except TargetError:
            # Bytecode is never a reason to refuse.
            if directory not in claims or not all(_is_compiled(one) for one in claims[directory]):
                raise
            for one in claims.pop(directory):
                _leave_out(one, *_names(one))
            continue
        if directory not in claims:
            continue
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            there[directory] = set(os.listdir(readable))
        finally:
            os.close(readable)
    return there, list(missing)


def _is_same(name: str, one: Piece | Generated, dir_fd: int, projects: Sequence[str], layout: Layout) -> bool:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd)
    except IsADirectoryError:
        pass
    except OSError:  # a link, a socket, or one that must not be read: other than ours in any case
        return False
    else:
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        if not stat.S_ISDIR(status.st_mode):
            size = len(one.content) if isinstance(one, Generated) else one.sizes[one.names.index(name)]
            is_alike = stat.S_ISREG(status.st_mode) and status.st_size == size
            return is_alike and read_bytes(name, dir_fd=dir_fd) == _content(name, one)
    raise FileConflictError(
        os.path.join(layout.root, one.target, name),
        f"a directory stands where {projects[one.wheel]} has a file; remove it first",
    )


def _judge(
    differing: dict[str, Piece | Generated],
    staying: Sequence[InstalledDistribution],
    projects: Sequence[str],
    *,
    layout: Layout,
    kind: TargetKind,
) -> list[str]:
    """Refuse to replace what must stay; give a warning for each file that is replaced."""
    if not differing:
        return []
    owner = owners(differing, staying, root=layout.root)
    warnings = []
    for path, one in sorted(differing.items()):
        place = os.path.join(layout.root, path)
        project = projects[one.wheel]
        name = path.rpartition("/")[2].casefold()
        if path in owner:
            if one.is_data:
                raise FileConflictError(
                    place, f"{owner[path]} and {project} bring different files of this name; uninstall one of them"
                )
            warnings.append(f"{place}: that of {owner[path]} was replaced by that of {project}")
            continue
        if one.target == layout.scripts and name.startswith(("activate", "deactivate", "python")):
            raise FileConflictError(place, f"{project} would replace a file that the environment needs")
        if kind is TargetKind.PREFIX and one.target not in layout.sites() and not _is_below(path, layout.sites()):
            raise FileConflictError(
                place, f"{project} would replace a file that no distribution brought; move it away first"
            )
        warnings.append(f"{place}: a file that no distribution brought was replaced by that of {project}")
    return warnings


def _note_replacements(
    stashed: list[str], replaced: set[str], kept: list[str], claims: dict[str, list[Piece | Generated]]
) -> None:
    position = {path: number for number, path in enumerate(stashed)} if replaced else {}
    for path in replaced:
        directory, _, name = path.rpartition("/")
        for one in claims[directory]:
            if isinstance(one, Generated):
                if one.name == name:
                    one.replaces = position[path]
            elif name in one.names:
                one.replaces[name] = position[path]
    for path in kept:
        directory, _, name = path.rpartition("/")
        for one in claims[directory]:
            if name in _names(one):
                _leave_out(one, name)


def _content(name: str, one: Piece | Generated) -> bytes | None:
    if isinstance(one, Generated):
        return one.content
    return read_bytes(os.path.join(one.tree, one.source, name))


def _is_compiled(one: Piece | Generated) -> bool:
    return isinstance(one, Piece) and one.modules is not None


def _names(one: Piece | Generated) -> tuple[str, ...]:
    return one.names if isinstance(one, Piece) else (one.name,) if one.name else ()


def _is_below(path: str, directories: tuple[str, ...]) -> bool:
    return any(not directory or path.startswith(directory + "/") for directory in directories)


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
