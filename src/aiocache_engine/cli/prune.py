"""`aioc prune`: remove what nothing uses, while anything else may be running."""

from __future__ import annotations

import os
from collections.abc import Mapping

from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_removal import goal_text, removal_document, removal_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.cli.units import parse_age
from aiocache_engine.errors import UsageError
from aiocache_engine.model.removal import PrunePolicy
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.remove import prune_now
from aiocache_engine.pipeline.kit import open_kit


@value(kw_only=True)
class PruneOptions(Options):
    """What `prune` may be told."""

    takes_tools: bool = False
    keeps_latest: bool = False
    unused_for_seconds: float | None = None
    is_ci: bool = False
    max_size_bytes: int | None = None
    min_free_bytes: int | None = None
    is_dry_run: bool = False

    def policy(self, environ: Mapping[str, str]) -> PrunePolicy:
        """Give what shall go; how long something is kept unused may also be said by a variable.

        Raises:
            UsageError: the variable has no usable value.
        """
        unused_for_seconds = self.unused_for_seconds
        if unused_for_seconds is None and (text := environ.get("AIOC_UNUSED_FOR")):
            try:
                unused_for_seconds = parse_age(text)
            except ValueError as error:
                raise UsageError(f"AIOC_UNUSED_FOR: {error}") from None
        return PrunePolicy(
            takes_tools=self.takes_tools,
            keeps_latest=self.keeps_latest,
            unused_for_seconds=unused_for_seconds,
            is_ci=self.is_ci,
            max_size_bytes=self.max_size_bytes,
            min_free_bytes=self.min_free_bytes,
        )


OPTIONS = PruneOptions


def run(options: PruneOptions, terminal: Terminal) -> ExitCode:
    """Prune, and tell what went, and who is in the way of what was asked for."""
    policy = options.policy(os.environ)
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    removal = prune_now(kit, policy, is_dry_run=options.is_dry_run)
    for warning in removal.warnings:
        terminal.warns(warning)
    terminal.show(lambda: removal_document(removal), lambda: removal_text(removal, verbosity=terminal.verbosity))
    if removal.is_goal_met:
        return ExitCode.DONE
    terminal.says(goal_text(removal))
    return ExitCode.GOAL_NOT_MET
