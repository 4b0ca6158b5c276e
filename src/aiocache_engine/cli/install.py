"""`aioc install`: from the cache alone where that is possible, else through the engine."""

from __future__ import annotations

import os

from aiocache_engine.cli.asking import AskingOptions
from aiocache_engine.cli.cold import install_cold
from aiocache_engine.cli.render import install_document, install_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.errors import UsageError
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.deliver import Options as Delivery
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.pipeline.undertake import InstallRequest, look_into_install
from aiocache_engine.pipeline.warm import install_warm
from aiocache_engine.python.target import TargetChoice


@value(kw_only=True)
class InstallOptions(AskingOptions):
    """What `install` may be told."""

    venv: str | None = None
    python: str | None = None
    target: str | None = None
    upgrades: bool = False
    reinstalls: bool = False
    link_mode: LinkMode | None = None
    is_without_bytecode: bool = False
    is_ephemeral: bool = False
    breaks_system_packages: bool = False
    is_dry_run: bool = False


OPTIONS = InstallOptions


def run(options: InstallOptions, terminal: Terminal) -> None:
    """Install what is named, and tell what was done."""
    _check(options)
    config = options.config(os.environ)
    request = InstallRequest(
        inputs=options.inputs(),
        target=TargetChoice(
            venv=options.venv,
            python=options.python,
            target=options.target,
            break_system_packages=options.breaks_system_packages,
        ),
        options=Delivery(
            link_mode=options.link_mode or config.link_mode,
            reinstalls=options.reinstalls,
            is_ephemeral=options.is_ephemeral,
            is_dry_run=options.is_dry_run,
            compiles=not options.is_without_bytecode,
            upgrades=options.upgrades,
        ),
    )
    kit = open_kit(options.cache_dir, config=config, environ=os.environ, reporter=terminal)
    installation = look_into_install(kit, request)
    report = install_warm(kit, installation) or install_cold(kit, installation)
    for warning in report.warnings:
        terminal.warns(warning)
    place = "environment" if options.target is None else "directory"
    terminal.show(
        lambda: install_document(report),
        lambda: install_text(report, place=place, verbosity=terminal.verbosity),
    )


def _check(options: InstallOptions) -> None:
    others = [flag for flag, value in (("--venv", options.venv), ("--python", options.python)) if value is not None]
    if options.target is not None and others:
        raise UsageError(f"{' and '.join([*others, '--target'])} name different places; give one of them")
    if not options.requirements and not options.files and options.venv is None:
        raise UsageError(
            "nothing to install: name a requirement, or a file with -r (--venv DIR alone makes the environment)"
        )
