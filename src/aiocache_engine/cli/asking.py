"""What `install` and `fetch` may both be told: what is asked for, and how it is meant."""

from __future__ import annotations

from aiocache_engine.cli.options import Options
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.undertake import Inputs


@value(kw_only=True)
class AskingOptions(Options):
    """What every command may be told that asks for distributions."""

    requirements: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    constraint_files: tuple[str, ...] = ()
    is_without_deps: bool = False
    requires_hashes: bool = False
    refreshes: bool = False
    is_without_builds: bool = False
    no_binary: tuple[str, ...] = ()

    def inputs(self) -> Inputs:
        """Put together what is asked for."""
        return Inputs(
            requirements=self.requirements,
            files=self.files,
            constraint_files=self.constraint_files,
            follows_dependencies=not self.is_without_deps,
            requires_hashes=self.requires_hashes,
            refreshes=self.refreshes,
            builds=not self.is_without_builds,
            no_binary=self.no_binary,
        )
