"""`aioc build`: build wheels into a directory, always through the engine."""

from __future__ import annotations

import os

from aiocache_engine.cli.cold import build_cold
from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_built import built_document, built_text, failed_lines
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.errors import UsageError
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.kit import open_kit

_WHEEL_DIR = "dist"


@value(kw_only=True)
class BuildOptions(Options):
    """What `build` may be told."""

    sources: tuple[str, ...] = ()
    wheel_dir: str | None = None
    python: str | None = None
    job_count: int | None = None
    settings: tuple[str, ...] = ()  #: "name=value" each


OPTIONS = BuildOptions


def run(options: BuildOptions, terminal: Terminal) -> ExitCode:
    """Build all that is named, and tell what became of it."""
    settings = _settings(options.settings)
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    report = build_cold(
        kit,
        sources=options.sources,
        wheel_dir=options.wheel_dir or _WHEEL_DIR,
        python=options.python,
        settings=settings,
        job_count=options.job_count,
    )
    for failed in report.failed:
        terminal.complains(failed_lines(failed))
    terminal.show(lambda: built_document(report), lambda: built_text(report))
    return ExitCode.FAILED if report.failed else ExitCode.DONE


def _settings(given: tuple[str, ...]) -> dict[str, str | list[str]]:
    """Read what backends are told: a name that is given several times has several values.

    Raises:
        UsageError: one is no name=value.
    """
    settings: dict[str, list[str]] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not (name and equals):
            raise UsageError(f"--config-setting {each!r} is no NAME=VALUE")
        settings.setdefault(name, []).append(text)
    return {name: texts if len(texts) > 1 else texts[0] for name, texts in settings.items()}
