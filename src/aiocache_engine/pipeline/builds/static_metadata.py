"""The metadata that an sdist states for every wheel built of it (PEP 643, 621): nothing has to be run to know it."""

from __future__ import annotations

import os

from aiocache_engine.pipeline.builds.metadata import LONGEST_BYTES
from aiocache_engine.system.disk import disk_error


def static_metadata(root: str) -> bytes | None:
    """Give what the unpacked sdist at `root` states, if a wheel's METADATA says the same in all that resolving needs.

    None: it has to be asked of the build backend. Name and version are the caller's to compare.

    Raises:
        DiskError: PKG-INFO or pyproject.toml cannot be read.
    """
    from aiocache_engine.pipeline.builds.project_metadata import (  # noqa: PLC0415 - only where something is built
        project_metadata,
    )

    return _pkg_info(root) or project_metadata(root)


def _pkg_info(root: str) -> bytes | None:
    """Give PKG-INFO, if it is static."""
    from aiocache_engine.pipeline.resolution.metadata import (  # noqa: PLC0415 - only where something is built
        MetadataError,
        is_static,
        parse_metadata,
    )

    path = os.path.join(root, "PKG-INFO")
    try:
        with open(path, "rb") as file:
            content = file.read(LONGEST_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise disk_error(error, path) from error
    if len(content) > LONGEST_BYTES or not is_static(content):
        return None
    try:
        parse_metadata(content)
    except MetadataError:
        return None
    return content
