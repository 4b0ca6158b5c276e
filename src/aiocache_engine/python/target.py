"""Find the place that is meant, and open it: an environment, an interpreter's own site, or a plain directory.

`choose_target` only looks; `open_target` describes the place without changing it (a dry run stops there);
`make_target` creates what is missing. The environment lock, where one is wanted, is taken between the first and the
last. Probing goes through the `Prober` that the caller hands in, so that its answers can be cached.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping

from aiocache_engine.config import absolute
from aiocache_engine.errors import ExternallyManagedError, InterpreterError, TargetError, UsageError
from aiocache_engine.model.python import Interpreter, Target, TargetKind
from aiocache_engine.model.value import replace, value
from aiocache_engine.python.environment import CONFIG, is_writable_place, write_environment
from aiocache_engine.python.interpreter import probe, resolve_executable
from aiocache_engine.system.disk import translated

Prober = Callable[[str], Interpreter]
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){0,2}", re.ASCII)
_MINOR = re.compile(r"\d{1,4}(\.\d{1,4})?t?", re.ASCII)  # t: without the global lock
_EXACT = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}", re.ASCII)
_LONGEST_COMMAND = 255  #: characters; no file has a longer name
_WITH_OPERATOR = re.compile(r"[<>=!~]")


@value
class TargetChoice:
    """What the caller named: one of the first three, or an environment with the interpreter that it is to be of."""

    venv: str | None = None  #: an environment, created if missing
    python: str | None = None  #: an interpreter, or its version ("3.12", "3.12.1"): its site, or what `venv` is made of
    target: str | None = None  #: a plain directory
    break_system_packages: bool = False  #: install into an externally managed interpreter all the same (PEP 668)


@value
class Place:
    """The place that is meant, as far as looking tells."""

    root: str | None  #: absolute; None where only probing the interpreter can tell it
    kind: TargetKind
    python: str  #: the interpreter to probe: of the place if it exists, else the one a new environment is made of
    exists: bool
    because: str  #: how it was chosen, for messages: "--venv", "VIRTUAL_ENV", …
    break_system_packages: bool
    required_python: str | None = None  #: what an environment that exists must be of: a version, or an absolute path


def choose_target(choice: TargetChoice, environ: Mapping[str, str], cwd: str, prober: Prober = probe) -> Place:
    """Find what is meant: `--venv`, `--python` or `--target`, else VIRTUAL_ENV, else CONDA_PREFIX, else `.venv`.

    Raises:
        UsageError: different places are named, or one is named by nothing.
        TargetError: the place is none that can be used.
        InterpreterError: the interpreter named cannot be found.
    """
    _check(choice)
    force = choice.break_system_packages
    if choice.target is not None:
        root = _absolute(choice.target, cwd)
        if os.path.lexists(root) and not os.path.isdir(root):
            raise TargetError(root, "--target names something that is no directory")
        return Place(root, TargetKind.DIRECTORY, _current_python(environ), os.path.isdir(root), "--target", force)
    if choice.venv is not None:
        place = _environment(_absolute(choice.venv, cwd), "--venv", force=force)
        return place if choice.python is None else _of_python(place, choice.python, environ, cwd, prober)
    if choice.python is not None:
        python = find_python(choice.python, environ, cwd, prober)
        return Place(None, TargetKind.PREFIX, python, exists=True, because="--python", break_system_packages=force)
    if virtual := environ.get("VIRTUAL_ENV"):
        root = _absolute(virtual, cwd)
        if not os.path.isfile(os.path.join(root, CONFIG)):
            raise TargetError(root, "VIRTUAL_ENV points here, and this is no environment; deactivate it or use --venv")
        return _environment(root, "VIRTUAL_ENV", force=force)
    if conda := environ.get("CONDA_PREFIX"):
        root = _absolute(conda, cwd)
        python = os.path.join(root, "bin", "python")
        if not os.path.exists(python):
            raise TargetError(root, "CONDA_PREFIX points here, and there is no bin/python in it; use --venv")
        return Place(root, TargetKind.PREFIX, python, exists=True, because="CONDA_PREFIX", break_system_packages=force)
    return _environment(_absolute(".venv", cwd), ".venv", force=force)


def open_target(place: Place, prober: Prober) -> Target:
    """Describe the place, as it is or as it would be made; nothing is written.

    Raises:
        TargetError: it cannot be used.
        ExternallyManagedError: the interpreter belongs to the operating system, and no one said to go on.
        InterpreterError: its interpreter cannot be used.
    """
    if place.kind is TargetKind.DIRECTORY:
        return _directory(_rooted(place), prober(place.python))
    if place.kind is TargetKind.ENVIRONMENT:
        return _open_environment(_rooted(place), place, prober)
    interpreter = prober(place.python)
    _check_python(interpreter, place, prober)
    if interpreter.prefix != interpreter.base_prefix:
        return environment_target(interpreter.prefix, interpreter)
    return _own_site(interpreter, break_system_packages=place.break_system_packages)


def make_target(place: Place, prober: Prober) -> Target:
    """Create what is missing of the place, then describe it.

    The caller holds the environment lock.

    Raises:
        TargetError, ExternallyManagedError, InterpreterError: as `open_target`.
        DiskError, OutOfSpaceError: the disk refused.
    """
    target = open_target(place, prober)
    if place.kind is TargetKind.ENVIRONMENT and not os.path.isfile(os.path.join(target.root, CONFIG)):
        write_environment(target.root, target.interpreter)
    if place.kind is TargetKind.DIRECTORY:
        with translated(target.root):
            os.makedirs(target.root, exist_ok=True)
    return target


def find_python(text: str, environ: Mapping[str, str], cwd: str, prober: Prober = probe) -> str:
    """Give the absolute path of an interpreter named by path, by command or by version ("3.12", "3.12.1").

    Args:
        text: what somebody wrote.
        environ: its PATH is searched.
        cwd: where relative paths begin.
        prober: asked which patch version an interpreter is.

    Raises:
        UsageError: the text is empty, or a version in no form that is understood.
        InterpreterError: there is none.
    """
    if not text:
        raise UsageError("python is empty; name an interpreter or a version, or leave it out")
    if os.sep in text:
        return resolve_executable(_absolute(text, cwd))
    if _EXACT.fullmatch(text):
        return _of_patch(text, environ, cwd, prober)
    is_no_version = text[0].isdigit() and not _MINOR.fullmatch(text)
    if is_no_version or _WITH_OPERATOR.match(text) or len(text) > _LONGEST_COMMAND:
        said = text if len(text) <= _LONGEST_COMMAND else f"{text[:60]}…"
        raise UsageError(f"python is {said!r}; write a version as 3.12 or 3.12.1, a command, or the path of one")
    command = f"python{text}" if text[0].isdigit() else text
    found = _which(command, environ.get("PATH"), cwd)
    if found is None:
        raise InterpreterError(text, f"no {command} was found on PATH; give the path of the interpreter")
    return resolve_executable(found)


def _of_patch(version: str, environ: Mapping[str, str], cwd: str, prober: Prober) -> str:
    """Find the interpreter of one patch version: commands do not tell it, so each that may be it is asked.

    Raises:
        InterpreterError: there is none.
    """
    major, minor, _ = version.split(".")
    others: dict[str, None] = {}
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        for command in (f"python{version}", f"python{major}.{minor}", f"python{major}", "python"):
            found = _which(command, directory, cwd)
            if found is None:
                continue
            try:
                executable = resolve_executable(found)
                has = prober(executable).version
            except InterpreterError:  # an old one, or a wrapper that leads nowhere here
                continue
            if has == version:
                return executable
            others[has] = None
    there = f"; there is {', '.join(others)}" if others else ""
    raise InterpreterError(version, f"no Python {version} was found on PATH{there}; give the path of the interpreter")


def _which(command: str, path: str | None, cwd: str) -> str | None:
    import shutil  # noqa: PLC0415 - only commands that name an interpreter without its path need it

    found = shutil.which(command, path=path)
    return None if found is None else _absolute(found, cwd)


def _check(choice: TargetChoice) -> None:
    named = {"venv": choice.venv, "python": choice.python, "target": choice.target}
    for name, place in named.items():
        if place == "":
            raise UsageError(f"{name} is empty; give it a value or leave it out")
    given = [name for name, place in named.items() if place is not None]
    if len(given) > 1 and choice.target is not None:
        raise UsageError(f"{' and '.join(given)} name different places; give one of them")


def _of_python(place: Place, text: str, environ: Mapping[str, str], cwd: str, prober: Prober) -> Place:
    """Give the place of an environment with the interpreter that it must be of, or is to be made of."""
    if place.exists and _VERSION.fullmatch(text):  # then no such interpreter needs to be on PATH
        return replace(place, required_python=text)
    python = find_python(text, environ, cwd, prober)
    return replace(place, python=place.python if place.exists else python, required_python=python)


def _environment(root: str, because: str, *, force: bool) -> Place:
    python = os.path.join(root, "bin", "python")
    if os.path.isfile(os.path.join(root, CONFIG)):
        if not os.path.exists(python):
            raise TargetError(root, "its interpreter is gone; remove the environment and make it anew")
        return Place(root, TargetKind.ENVIRONMENT, python, exists=True, because=because, break_system_packages=force)
    if os.path.isdir(os.path.join(root, "conda-meta")) and os.path.exists(python):
        return Place(root, TargetKind.PREFIX, python, exists=True, because=because, break_system_packages=force)
    if os.path.lexists(root) and not is_writable_place(root):
        raise TargetError(root, "it is neither empty nor an environment; name another place or remove it first")
    return Place(
        root,
        TargetKind.ENVIRONMENT,
        sys.executable,
        exists=False,
        because=because,
        break_system_packages=force,
        required_python=sys.executable,
    )


def _open_environment(root: str, place: Place, prober: Prober) -> Target:
    if not os.path.isfile(os.path.join(root, CONFIG)):
        return environment_target(root, prober(place.python))
    # It may have been made since the place was chosen, and not of the Python that was chosen for it.
    python = place.python if place.exists else os.path.join(root, "bin", "python")
    base = _base_of(root, python, prober)
    _check_python(base, place, prober)
    return environment_target(root, base)


def _check_python(found: Interpreter, place: Place, prober: Prober) -> None:
    required = place.required_python
    if required is None:
        return
    if _VERSION.fullmatch(required):
        is_same = f"{found.version}.".startswith(f"{required}.")
    else:
        is_same = _identity(found) == _identity(prober(required))
    if not is_same:
        raise TargetError(
            place.root or found.prefix,
            f"it is made of Python {found.version} ({found.base_executable}), not of {required};"
            " name another place or remove it first",
        )


def _identity(interpreter: Interpreter) -> tuple[str, str, tuple[str, ...]]:
    # Not the executable: one installation has several names for it, and not all are links.
    return os.path.realpath(interpreter.base_prefix), interpreter.version, interpreter.tags


def environment_target(root: str, base: Interpreter, *, location: str | None = None) -> Target:
    """Describe an environment from what its base interpreter told, so that each new one needs no probe of its own.

    Args:
        root: where it is.
        base: what it is made of, or itself.
        location: where it will be used, which its scripts have to name; None: where it is.
    """
    if _inside_environment(base, root):
        interpreter = base
        scheme = base.scheme
    else:
        scheme = {name: os.path.join(root, path).rstrip("/") for name, path in base.venv_scheme.items()}
        interpreter = replace(
            base,
            executable=os.path.join(location or root, base.venv_scheme["scripts"], "python"),
            prefix=root,
            externally_managed=None,
            scheme={"stdlib": base.scheme["stdlib"], **scheme},
        )
    return _target(root, TargetKind.ENVIRONMENT, interpreter, scheme)


def _inside_environment(interpreter: Interpreter, root: str) -> bool:
    return interpreter.prefix != interpreter.base_prefix and os.path.realpath(interpreter.prefix) == os.path.realpath(
        root
    )


def _base_of(root: str, python: str, prober: Prober) -> Interpreter:
    """Find what to probe for an existing environment: its base where pyvenv.cfg and the links agree, else itself."""
    try:
        with open(os.path.join(root, CONFIG), encoding="utf-8") as file:
            lines = [line.partition("=") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(root, f"its pyvenv.cfg cannot be read ({error})") from error
    config = {name.strip().lower(): value.strip() for name, _, value in lines}
    real = os.path.realpath(python)
    home = config.get("home", "")
    for candidate in (config.get("executable", ""), os.path.join(home, os.path.basename(real))):
        if not os.path.isabs(candidate) or os.path.realpath(candidate) != real:
            continue
        base = prober(candidate)
        told = config.get("version") or config.get("version_info") or base.version
        if base.prefix == base.base_prefix and told.split(".")[:2] == base.version.split(".")[:2]:
            return base
    return prober(python)


def _own_site(interpreter: Interpreter, *, break_system_packages: bool) -> Target:
    reason = interpreter.externally_managed
    # The answer may come from a cache; whoever removes the file wants that to count.
    still_managed = os.path.exists(os.path.join(interpreter.scheme["stdlib"], "EXTERNALLY-MANAGED"))
    if reason is not None and still_managed and not break_system_packages:
        first = reason.strip().splitlines()[0] if reason.strip() else "it is managed by the operating system"
        raise ExternallyManagedError(
            interpreter.executable,
            f"{first.rstrip('.')} (PEP 668); use --venv DIR, or --break-system-packages to install all the same",
        )
    scheme = interpreter.scheme
    paths = [scheme[name] for name in ("purelib", "platlib", "scripts", "data", "headers")]
    root = os.path.commonpath(paths)
    if root == os.path.dirname(root):
        raise TargetError(
            interpreter.executable, f"its directories ({', '.join(paths)}) have no parent in common; use --venv DIR"
        )
    return _target(root, TargetKind.PREFIX, interpreter, scheme)


def _directory(root: str, interpreter: Interpreter) -> Target:
    inside = {"scripts": os.path.join(root, "bin"), "headers": os.path.join(root, "include")}
    return _target(root, TargetKind.DIRECTORY, interpreter, {"purelib": root, "platlib": root, "data": root, **inside})


def _target(root: str, kind: TargetKind, interpreter: Interpreter, scheme: Mapping[str, str]) -> Target:
    return Target(
        root=root,
        kind=kind,
        interpreter=interpreter,
        purelib=scheme["purelib"],
        platlib=scheme["platlib"],
        scripts=scheme["scripts"],
        data=scheme["data"],
        headers=scheme["headers"],
    )


def _current_python(environ: Mapping[str, str]) -> str:
    """Give the interpreter for which a plain directory is filled: the active environment's, else the running one."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if root := environ.get(name):
            python = os.path.join(root, "bin", "python")
            if os.path.exists(python):
                return os.path.abspath(python)
    return sys.executable


def _rooted(place: Place) -> str:
    if place.root is None:
        raise TargetError(place.python, "the place was chosen without a root")
    return place.root


def _absolute(path: str, cwd: str) -> str:
    return absolute(os.path.join(cwd, os.path.expanduser(path)))
