"""How fasteners locks an open file, taken from the one module of it that does so.

Its package imports logging, pathlib and typing before anything else, which takes longer than all the work of a warm
command; the module that locks needs none of them. It is loaded by itself, and its name is no public one: therefore the
dependency is bound to one line of releases, and a contract test holds that both exclude each other (decision 14).
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder

from aiocache_engine.hints import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from io import FileIO

_PACKAGE = "fasteners"
_MODULE = f"{_PACKAGE}.process_mechanism"


class Mechanism(Protocol):
    """Locks that end with the file's last handle in this process, or with the process."""

    def trylock(self, lockfile: FileIO, exclusive: bool) -> bool:  # noqa: FBT001 - as fasteners has it
        """Lock at once, or say that another process is in the way.

        Raises:
            OSError: the file system refused.
        """

    def unlock(self, lockfile: FileIO) -> None:
        """Let another process lock it."""


def _load() -> Mechanism:
    module = sys.modules.get(_MODULE) or _load_alone() or _load_whole()
    mechanism: Mechanism = module._interprocess_reader_writer_mechanism  # noqa: SLF001 - see above
    return mechanism


def _load_alone() -> Any:
    """Load the module without its package; None where importing it in the usual way is all that can be done."""
    package = PathFinder.find_spec(_PACKAGE)
    if package is None:
        return None
    spec = PathFinder.find_spec(_MODULE, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        return None
    module = type(sys)(_MODULE)
    spec.loader.exec_module(module)
    return module


def _load_whole() -> Any:
    from fasteners import process_mechanism  # noqa: PLC0415 - where import hooks of others hide the file

    return process_mechanism


MECHANISM = _load()
