"""The command `aioc`, also started as `python -m aiocache_engine`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process; gives the exit code."""
    if sys.argv[1:] == ["--version"]:  # answered before anything is imported: scripts ask this often
        from aiocache_engine import __version__  # noqa: PLC0415 - the package itself is in memory already

        sys.stdout.write(f"aioc {__version__}\n")
        return 0
    try:
        from aiocache_engine.cli.main import run  # noqa: PLC0415 - as above
    except KeyboardInterrupt:  # from here on, `run` says what there is to say
        return 130
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
