"""Write a virtual environment ourselves, in well under a millisecond, as `python -m venv --without-pip` would.

`pyvenv.cfg` appears last and by rename: an environment is complete when it is there. A crash leaves a directory that
holds the unfinished `pyvenv.cfg.aioc`; writing again completes it. Takes no lock: the caller holds the environment's.
"""

from __future__ import annotations

import os
import sys

from aiocache_engine.errors import TargetError
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.python import Interpreter
from aiocache_engine.python.activation import activation_scripts
from aiocache_engine.system.disk import read_bytes, translated, write_bytes

CONFIG = "pyvenv.cfg"
_UNFINISHED = "pyvenv.cfg.aioc"
IDENTITY = "aioc.json"  #: in an environment of ours: the id that it is registered by
_FRESH_IDENTITY = "aioc.json.fresh"
_FORMAT = 1
_SYSTEM_DIRECTORIES_BIT = 2**32


def write_environment(
    root: str, interpreter: Interpreter, *, prompt: str | None = None, location: str | None = None
) -> None:
    """Make an environment of the interpreter at `root`, which must be absent, empty or left unfinished by us.

    Args:
        root: where it is written.
        interpreter: what it is made of, or another environment of the same.
        prompt: what shells show while it is active; None: the name of its directory.
        location: where it will be used; None: where it is written.

    Raises:
        TargetError: something else stands there.
        DiskError, OutOfSpaceError: the disk refused; writing again goes on from there.
    """
    if os.path.lexists(root) and not is_writable_place(root):
        raise TargetError(root, "it is neither empty nor an environment; name another place or remove it first")
    with translated(root):
        _write(root, interpreter, prompt, os.path.abspath(location or root))


def is_writable_place(root: str) -> bool:
    """Tell whether an environment may be made there: nothing, an empty directory, or one of ours left unfinished."""
    if os.path.islink(root) and not os.path.isdir(root):  # it dangles, say, and no directory can be made in its place
        return False
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
    # An identity is written before the environment where the making of both was interrupted.
    return not set(names) - {IDENTITY, _FRESH_IDENTITY} or _UNFINISHED in names


def environment_id(root: str) -> str | None:
    """Read the id under which an environment is registered; None if it has none (or none that can be read)."""
    try:
        content = read_bytes(os.path.join(root, IDENTITY))
        document = load(content) if content is not None else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        return None
    found = document.get("id")
    return found if isinstance(found, str) and is_object_id(found) else None


def write_environment_id(root: str) -> str:
    """Give the environment a fresh random id and return it. The caller holds the environment lock."""
    identity = os.urandom(16).hex()
    content = dump({"format": _FORMAT, "id": identity}) + b"\n"
    with translated(root):
        _put(os.path.join(root, _FRESH_IDENTITY), content)
        os.replace(os.path.join(root, _FRESH_IDENTITY), os.path.join(root, IDENTITY))
    return identity


def _write(root: str, interpreter: Interpreter, prompt: str | None, location: str) -> None:
    scheme = interpreter.venv_scheme
    base = interpreter.base_executable
    os.makedirs(root, exist_ok=True)
    unfinished = os.path.join(root, _UNFINISHED)
    _put(unfinished, _config(interpreter, prompt).encode())
    if sys.platform == "linux" and sys.maxsize > _SYSTEM_DIRECTORIES_BIT:
        os.makedirs(os.path.join(root, "lib"), exist_ok=True)
        _link("lib", os.path.join(root, "lib64"))
    scripts = os.path.join(root, scheme["scripts"])
    for directory in dict.fromkeys((scripts, os.path.join(root, "include"), *_sites(root, scheme))):
        os.makedirs(directory, exist_ok=True)
    major, minor = interpreter.version.split(".")[:2]
    _link(base, os.path.join(scripts, "python"))
    for name in (f"python{major}", f"python{major}.{minor}"):
        _link("python", os.path.join(scripts, name))
    shown = prompt or os.path.basename(location)
    texts = activation_scripts(location, scripts=scheme["scripts"], prompt=shown)
    for name, text in texts.items():
        _put(os.path.join(scripts, name), text.encode())
    _put(os.path.join(root, ".gitignore"), b"*\n")
    os.replace(unfinished, os.path.join(root, CONFIG))


def _sites(root: str, scheme: dict[str, str]) -> tuple[str, str]:
    return os.path.join(root, scheme["purelib"]), os.path.join(root, scheme["platlib"])


def _config(interpreter: Interpreter, prompt: str | None) -> str:
    base = interpreter.base_executable
    lines = {
        "home": os.path.dirname(base),
        "include-system-site-packages": "false",
        "version": interpreter.version,
        "executable": os.path.realpath(base),
    }
    if prompt is not None:
        lines["prompt"] = repr(prompt)
    return "".join(f"{name} = {value}\n" for name, value in lines.items())


def _put(path: str, content: bytes) -> None:
    try:
        write_bytes(path, content)
    except FileExistsError:  # what an interrupted writing left
        os.unlink(path)
        write_bytes(path, content)


def _link(destination: str, path: str) -> None:
    try:
        os.symlink(destination, path)
    except FileExistsError:
        if os.path.islink(path):
            os.unlink(path)
            os.symlink(destination, path)
