"""A Python package cache that can be cleaned while everything is running.

Importing the package loads nothing but this file; each public name is loaded when it is first asked for (PEP 562).
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true; importing typing costs more than `aioc --version` may

if TYPE_CHECKING:
    from aiocache_engine.blocking import BlockingCacheEngine as BlockingCacheEngine
    from aiocache_engine.blocking_keeper import BlockingPipelineLease as BlockingPipelineLease
    from aiocache_engine.config import Config as Config
    from aiocache_engine.engine import CacheEngine as CacheEngine
    from aiocache_engine.errors import BuildCycleError as BuildCycleError
    from aiocache_engine.errors import BuildError as BuildError
    from aiocache_engine.errors import CacheDirError as CacheDirError
    from aiocache_engine.errors import CacheEngineError as CacheEngineError
    from aiocache_engine.errors import CacheReplacedError as CacheReplacedError
    from aiocache_engine.errors import CommandNotExecutableError as CommandNotExecutableError
    from aiocache_engine.errors import CommandNotFoundError as CommandNotFoundError
    from aiocache_engine.errors import DamagedEntryError as DamagedEntryError
    from aiocache_engine.errors import DiskError as DiskError
    from aiocache_engine.errors import ExternallyManagedError as ExternallyManagedError
    from aiocache_engine.errors import FileConflictError as FileConflictError
    from aiocache_engine.errors import ForeignCacheDirError as ForeignCacheDirError
    from aiocache_engine.errors import HashMismatchError as HashMismatchError
    from aiocache_engine.errors import IndexResponseError as IndexResponseError
    from aiocache_engine.errors import IndexSettingsError as IndexSettingsError
    from aiocache_engine.errors import InterpreterError as InterpreterError
    from aiocache_engine.errors import InvalidNameError as InvalidNameError
    from aiocache_engine.errors import InvalidRequirementError as InvalidRequirementError
    from aiocache_engine.errors import InvalidSdistError as InvalidSdistError
    from aiocache_engine.errors import InvalidWheelError as InvalidWheelError
    from aiocache_engine.errors import KeyLockTimeoutError as KeyLockTimeoutError
    from aiocache_engine.errors import LockError as LockError
    from aiocache_engine.errors import LocksUnsupportedError as LocksUnsupportedError
    from aiocache_engine.errors import LockTimeoutError as LockTimeoutError
    from aiocache_engine.errors import NestedHoldError as NestedHoldError
    from aiocache_engine.errors import NetworkError as NetworkError
    from aiocache_engine.errors import NoMatchingWheelError as NoMatchingWheelError
    from aiocache_engine.errors import NotInCacheError as NotInCacheError
    from aiocache_engine.errors import OfflineError as OfflineError
    from aiocache_engine.errors import OutOfSpaceError as OutOfSpaceError
    from aiocache_engine.errors import ProjectNotFoundError as ProjectNotFoundError
    from aiocache_engine.errors import ReadOnlyCacheError as ReadOnlyCacheError
    from aiocache_engine.errors import RequirementsFileError as RequirementsFileError
    from aiocache_engine.errors import ResolutionLimitError as ResolutionLimitError
    from aiocache_engine.errors import SourceError as SourceError
    from aiocache_engine.errors import TargetError as TargetError
    from aiocache_engine.errors import UnsatisfiableError as UnsatisfiableError
    from aiocache_engine.errors import UsageError as UsageError
    from aiocache_engine.model.index import IndexStrategy as IndexStrategy
    from aiocache_engine.model.listing import CacheSize as CacheSize
    from aiocache_engine.model.listing import Entry as Entry
    from aiocache_engine.model.listing import LeaseInfo as LeaseInfo
    from aiocache_engine.model.listing import LockInfo as LockInfo
    from aiocache_engine.model.listing import ProcessInfo as ProcessInfo
    from aiocache_engine.model.listing import Usage as Usage
    from aiocache_engine.model.locking import Wait as Wait
    from aiocache_engine.model.outcome import Added as Added
    from aiocache_engine.model.outcome import AddReport as AddReport
    from aiocache_engine.model.outcome import BuildReport as BuildReport
    from aiocache_engine.model.outcome import BuiltWheel as BuiltWheel
    from aiocache_engine.model.outcome import FailedBuild as FailedBuild
    from aiocache_engine.model.outcome import FetchReport as FetchReport
    from aiocache_engine.model.outcome import InstallReport as InstallReport
    from aiocache_engine.model.outcome import Named as Named
    from aiocache_engine.model.outcome import Obtained as Obtained
    from aiocache_engine.model.outcome import ResolveReport as ResolveReport
    from aiocache_engine.model.outcome import SourceReport as SourceReport
    from aiocache_engine.model.python import LinkMode as LinkMode
    from aiocache_engine.model.records import Member as Member
    from aiocache_engine.model.records import Pin as Pin
    from aiocache_engine.model.records import Referrer as Referrer
    from aiocache_engine.model.removal import KeepCode as KeepCode
    from aiocache_engine.model.removal import KeepReason as KeepReason
    from aiocache_engine.model.removal import Kept as Kept
    from aiocache_engine.model.removal import PrunePolicy as PrunePolicy
    from aiocache_engine.model.removal import Removal as Removal
    from aiocache_engine.model.removal import RemovalPlan as RemovalPlan
    from aiocache_engine.model.removal import RemovalReason as RemovalReason
    from aiocache_engine.model.removal import Removed as Removed
    from aiocache_engine.model.why import Explanation as Explanation
    from aiocache_engine.pipeline.lease import PipelineLease as PipelineLease
    from aiocache_engine.pipeline.tools.environment import HeldEnvironment as HeldEnvironment
    from aiocache_engine.python.target import TargetChoice as TargetChoice
    from aiocache_engine.report import Reporter as Reporter

__version__ = "0.1.0"

_NAMES = {
    "blocking": "BlockingCacheEngine",
    "blocking_keeper": "BlockingPipelineLease",
    "config": "Config",
    "engine": "CacheEngine",
    "errors": (
        "BuildCycleError BuildError CacheDirError CacheEngineError CacheReplacedError CommandNotExecutableError"
        " CommandNotFoundError DamagedEntryError DiskError ExternallyManagedError FileConflictError"
        " ForeignCacheDirError HashMismatchError IndexResponseError IndexSettingsError InterpreterError"
        " InvalidNameError InvalidRequirementError InvalidSdistError InvalidWheelError KeyLockTimeoutError LockError"
        " LocksUnsupportedError LockTimeoutError NestedHoldError NetworkError NoMatchingWheelError NotInCacheError"
        " OfflineError OutOfSpaceError ProjectNotFoundError ReadOnlyCacheError RequirementsFileError"
        " ResolutionLimitError SourceError TargetError UnsatisfiableError UsageError"
    ),
    "model.index": "IndexStrategy",
    "model.listing": "CacheSize Entry LeaseInfo LockInfo ProcessInfo Usage",
    "model.locking": "Wait",
    "model.outcome": (
        "Added AddReport BuildReport BuiltWheel FailedBuild FetchReport InstallReport Named Obtained ResolveReport"
        " SourceReport"
    ),
    "model.python": "LinkMode",
    "model.records": "Member Pin Referrer",
    "model.removal": "KeepCode KeepReason Kept PrunePolicy Removal RemovalPlan RemovalReason Removed",
    "model.why": "Explanation",
    "pipeline.lease": "PipelineLease",
    "pipeline.tools.environment": "HeldEnvironment",
    "python.target": "TargetChoice",
    "report": "Reporter",
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names.split()}
if not TYPE_CHECKING:  # type checkers read the names above
    __all__ = ["__version__", *_PLACES]  # noqa: PLE0604 - texts all


def __getattr__(name: str) -> object:
    """Load a public name where it is first asked for."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - importing the package stays as cheap as this file

    value: object = getattr(import_module(f"{__name__}.{place}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List what is public, loaded or not."""
    return sorted({*(name for name in globals() if name.startswith("__")), *_PLACES})
