"""What `discover_settings` found, remembered in one small file, so that a warm command imports neither pip nor urllib.

The memo holds only while nothing it rests on changed: options, environment, pip itself, and every configuration file
that pip would read, the absent ones included. Settings with a user name, password or query in a URL are never written.
A damaged, older or unwritable memo is none: it only saves time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum

from aiocache_engine.config import current_directory
from aiocache_engine.errors import CacheEngineError
from aiocache_engine.hints import Any
from aiocache_engine.model.digests import sha256_of
from aiocache_engine.model.index import Index, IndexKind, IndexSettings, IndexStrategy
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.value import field_names, value
from aiocache_engine.system import disk

_FORMAT = 1
_STEERING = ("HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS")  #: which files pip looks for
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CLIENT_CERT")
_AIOC = ("AIOC_INDEX_URL", "AIOC_EXTRA_INDEX_URL", "AIOC_FIND_LINKS")


@value
class Question:
    """Everything outside of files that the answer rests on."""

    digest: str

    @classmethod
    def of(cls, options: Sequence[object], environ: Mapping[str, str]) -> Question:
        """Take it all together; options are values that JSON can hold."""
        asked = [
            options,
            sorted(item for item in environ.items() if item[0].startswith(("UV_", "PIP_"))),
            [environ.get(name) for name in (*_CERTIFICATES, *_AIOC)],
            [os.environ.get(name) for name in (*_STEERING, "PIP_CONFIG_FILE")],
            [sys.prefix, os.getuid() if hasattr(os, "getuid") else 0],
        ]
        return cls(sha256_of(dump(asked)))


def recall(memo_path: str, question: Question) -> IndexSettings | None:
    """Give what was found before, if nothing changed since."""
    here = current_directory()
    try:
        memo = _read(memo_path)
        if memo is None or memo["question"] != question.digest or (memo["directory"] or here) != here:
            return None
        if any(_state(path) != state for path, state in memo["files"]):
            return None
        return _settings(memo["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(
    memo_path: str, question: Question, settings: IndexSettings, config_paths: tuple[str, ...], *, is_relative: bool
) -> None:
    """Keep what was found, unless a secret is in it, or may be in the query of an index."""
    if settings.credentials or "@" in (settings.proxy or "") or any("?" in index.url for index in settings.indexes):
        return
    import pip  # noqa: PLC0415 - already imported by whoever found the settings

    memo: dict[str, Any] = {
        "format": _FORMAT,
        "question": question.digest,
        "directory": os.getcwd() if is_relative else None,
        # The file that holds pip's version stands for pip: an upgrade changes it.
        "files": [(path, _state(path)) for path in (str(pip.__file__), *config_paths)],
        "settings": settings,
    }
    rest = dump(memo, default=_plain)
    content = sha256_of(rest).encode() + b"\n" + rest
    # A cache dir that cannot be written now serves what it holds; the memo is made another time.
    with suppress(OSError, CacheEngineError):
        disk.replace_bytes(memo_path, content, by_way_of=f"{memo_path}.{os.urandom(8).hex()}")


def _read(memo_path: str) -> dict[str, Any] | None:
    checksum, _, rest = (disk.read_bytes(memo_path) or b"").partition(b"\n")
    if sha256_of(rest).encode() != checksum:
        return None
    memo: dict[str, Any] = load(rest)
    return memo if memo["format"] == _FORMAT else None


def _plain(thing: Any) -> object:
    """Give what stands for a value of ours or a member of an enum in JSON."""
    if isinstance(thing, Enum):
        return thing.value
    return {name: getattr(thing, name) for name in field_names(type(thing))}


def _state(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _settings(values: dict[str, Any]) -> IndexSettings:
    values["indexes"] = tuple(
        Index(kind=IndexKind(index["kind"]), url=index["url"], digest=index["digest"]) for index in values["indexes"]
    )
    values["strategy"] = IndexStrategy(values["strategy"])
    values["trusted_hosts"] = tuple(values["trusted_hosts"])
    values["credentials"] = ()
    return IndexSettings(**values)
