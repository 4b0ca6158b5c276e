"""What users may rely on in the types of the public API. Read by the type checker (`nox -s typing`), never executed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import assert_type

from aiocache_engine import (
    Added,
    AddReport,
    BlockingCacheEngine,
    BlockingPipelineLease,
    BuildReport,
    CacheEngine,
    CacheSize,
    Entry,
    Explanation,
    FetchReport,
    HeldEnvironment,
    InstallReport,
    Obtained,
    Pin,
    PipelineLease,
    PrunePolicy,
    Referrer,
    Removal,
    RemovalPlan,
    RemovalReason,
    SourceReport,
    TargetChoice,
    Usage,
)
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


# The engine: an asynchronous context manager whose verbs give values.
async def embed() -> None:
    async with CacheEngine("cache", config=Config(is_offline=True), reporter=Lines(), environ=os.environ) as engine:
        assert_type(engine, CacheEngine)
        assert_type(engine.cache_dir, str)
        async with engine.environment("ruff", additions=["six"], python="3.12") as environment:
            assert_type(environment, HeldEnvironment)
            assert_type(environment.command("ruff"), str)
            assert_type(environment.variables(os.environ), dict[str, str])
        installed = await engine.install(["six"], files=["pins.txt"], no_build=True, target=TargetChoice(venv=".venv"))
        assert_type(installed, InstallReport)
        assert_type(installed.installed, tuple[Obtained, ...])
        assert_type(await engine.plan_install(["six"], constraints=["six<2"], upgrade=True), InstallReport)
        assert_type(await engine.fetch((name for name in ("six",)), python="3.12"), FetchReport)
        added = await engine.add(["mine-1.0-py3-none-any.whl", Path("mine-2.0-py3-none-any.whl")], overlay="ci")
        assert_type(added, AddReport)
        assert_type(added.added, tuple[Added, ...])
        assert_type(await engine.fetch(["mine"], overlays=("ci", "default")), FetchReport)
        async with engine.lease(name="nightly") as lease:
            assert_type(lease, PipelineLease)
            assert_type(lease.id, str | None)
            assert_type(lease.variables(os.environ), dict[str, str])
            await lease.drop("torch<2.5", "mine")
        source = await engine.inspect("six", asks_backend=True, sdist_dir=Path("sdists"), overlays=["ci"])
        assert_type(source, SourceReport)
        assert_type(source.backend_requires, tuple[str, ...] | None)
        assert_type(await engine.build(["six"], wheel_dir="wheels", config_settings={"a": ["b"]}), BuildReport)
        plan = await engine.plan_clean(["torch<2.5"])
        assert_type(plan, RemovalPlan)
        assert_type(await engine.foresee(plan), Removal)
        assert_type(await engine.clean(plan), Removal)
        assert_type(await engine.clean(["torch"], overlay="ci", dependencies=True, even_in_use=True), Removal)
        (pin, *_) = await engine.pin(["torch<2.5"], name="release")
        assert_type(pin, Pin)
        assert_type(await engine.unpin("release"), Pin)
        assert_type(await engine.pins(), tuple[Pin, ...])
        assert_type(await engine.forget(".venv"), tuple[Referrer, ...])
        assert_type(await engine.plan_prune(), RemovalPlan)
        assert_type(await engine.prune(), Removal)
        policy = PrunePolicy(unused_for_seconds=3600, keeps_latest=True, max_size_bytes=10**9)
        assert_type(await engine.plan_prune(policy), RemovalPlan)
        assert_type((await engine.prune(policy)).is_goal_met, bool)
        (answer, *_) = await engine.why("six", policy)
        assert_type(answer, Explanation)
        assert_type(answer.removal, RemovalReason | None)
        assert_type(await engine.entries("six"), tuple[Entry, ...])
        assert_type(await engine.leases(), Usage)
        assert_type(await engine.size(), CacheSize)
        await engine.install(["six"], ("pins.txt",))  # type: ignore[call-arg]  # options are named


# The same for threads: no verb is awaited.
def embed_in_threads() -> None:
    with BlockingCacheEngine("cache", config=Config(), reporter=Lines()) as engine:
        assert_type(engine, BlockingCacheEngine)
        assert_type(engine.cache_dir, str)
        assert_type(engine.install(["six"], target=TargetChoice(venv=".venv")), InstallReport)
        assert_type(engine.fetch(["six"], no_binary=["six"]), FetchReport)
        assert_type(engine.add([Path("mine-1.0-py3-none-any.whl")]), AddReport)
        with engine.lease(name="nightly") as lease:
            assert_type(lease, BlockingPipelineLease)
            assert_type(lease.variables(), dict[str, str])
            lease.drop("mine")
        assert_type(engine.inspect("six", python="3.12"), SourceReport)
        assert_type(engine.build(["six"], wheel_dir="wheels"), BuildReport)
        plan = engine.plan_clean(["torch<2.5"])
        assert_type(plan, RemovalPlan)
        assert_type(engine.foresee(plan), Removal)
        assert_type(engine.clean(plan), Removal)
        assert_type(engine.pin(["torch<2.5"]), tuple[Pin, ...])
        assert_type(engine.forget(".venv"), tuple[Referrer, ...])
        assert_type(engine.plan_prune(), RemovalPlan)
        assert_type(engine.prune(), Removal)
        assert_type(engine.prune(PrunePolicy(is_ci=True)), Removal)
        assert_type(engine.why("six"), tuple[Explanation, ...])
        assert_type(engine.entries(), tuple[Entry, ...])
        assert_type(engine.leases(), Usage)
        assert_type(engine.size(), CacheSize)
