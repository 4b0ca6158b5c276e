"""What users may rely on in the types of the public API. Read by the type checker (`nox -s typing`), never executed."""

from __future__ import annotations

import os
from typing import assert_type

from aiocache_engine.config import Config
from aiocache_engine.errors import CacheEngineError, HashMismatchError, LockTimeoutError, UsageError
from aiocache_engine.model.locking import LockMode, Wait
from aiocache_engine.report import Reporter

# Settings: a value with names for everything, and the same from the environment.
assert_type(Config(), Config)
assert_type(Config.from_environ(os.environ), Config)
assert_type(Config(lock_timeout_seconds=5.0, is_offline=True).index_url, str | None)
Config().is_offline = True  # type: ignore[misc]  # frozen


# Progress: a subclass overrides what it wants to know.
class Lines(Reporter):
    def waits(self, wait: Wait) -> None:
        assert_type(wait.waited_seconds, float)
        assert_type(wait.holders, tuple[str, ...])

    def download_started(self, filename: str, size_bytes: int | None) -> None: ...


# Errors: one tree, with facts as attributes.
try:
    pass
except LockTimeoutError as error:
    assert_type(error.waited_seconds, float)
except HashMismatchError as error:
    assert_type(error.expected, str)
except UsageError as error:
    root: CacheEngineError = error

assert_type(LockMode("shared"), LockMode)
