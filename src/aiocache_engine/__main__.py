"""The command `aioc`, also started as `python -m aiocache_engine`."""

from __future__ import annotations

import gc
import sys

_OBJECTS_BETWEEN_COLLECTIONS = 50_000  #: looking for the few cycles of a short command takes a tenth of its time


def main() -> int:
    """Run the command line of this process; gives the exit code."""
    if sys.argv[1:] == ["--version"]:  # answered before anything else is imported: scripts ask this often
        return _tell_version()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from aiocache_engine.cli.streams import occupy_closed  # noqa: PLC0415 - mostly all three are open

        occupy_closed()
    from aiocache_engine.cli.interrupts import INTERRUPTS  # noqa: PLC0415 - as above

    INTERRUPTS.catch()
    try:
        from aiocache_engine.cli.main import run  # noqa: PLC0415 - as above

        return run(sys.argv[1:])
    finally:
        INTERRUPTS.ignore()


def _tell_version() -> int:
    from aiocache_engine import __version__  # noqa: PLC0415 - the package itself is in memory already
    from aiocache_engine.cli.streams import write_result  # noqa: PLC0415 - as above

    try:
        write_result(f"aioc {__version__}\n")
    except Exception as error:  # noqa: BLE001 - as in `run`
        from aiocache_engine.cli.terminal import Terminal  # noqa: PLC0415 - as above

        return Terminal().fails(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
