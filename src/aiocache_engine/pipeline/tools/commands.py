"""Which commands an environment has, and what is said where the one that was asked for is not among them."""

from __future__ import annotations

import difflib
import shlex

from aiocache_engine.model.records import EnvironmentPointer, ToolCommand
from aiocache_engine.pipeline.linking.install import PreparedInstall

_MOST_NAMED = 12


def commands_of(prepared: PreparedInstall) -> tuple[ToolCommand, ...]:
    """List the commands that an installation brings, each with the project it comes from."""
    found: dict[str, ToolCommand] = {}
    scripts = prepared.layout.scripts
    for wheel, placement in zip(prepared.installed, prepared.placements, strict=True):
        names = [name for piece in placement.pieces if piece.target == scripts for name in piece.names]
        names += [one.name for one in placement.generated if one.target == scripts and one.name]
        for name in names:
            found[name] = ToolCommand(name, f"{scripts}/{name}", wheel.manifest.totals.project)
    return tuple(found[name] for name in sorted(found))


def missing_command(name: str, pointer: EnvironmentPointer) -> str:
    """Say that an environment has no such command, which ones it has, and how to ask for one of those."""
    tool = pointer.tool
    own = [each.name for each in pointer.commands if each.project == tool]
    if own:
        near = difflib.get_close_matches(name, own, n=1)
        return (
            f"{tool} has no command {name!r}, but {_listed(own)}; say"
            f" `aioc run --from {tool} {shlex.quote(near[0] if near else own[0])}`"
        )
    others = [f"{each.name} (of {each.project})" for each in pointer.commands]
    if not others:
        return f"{tool} has no commands: it is a library; `aioc run --from {tool} python` starts an interpreter with it"
    example = shlex.quote(pointer.commands[0].name)
    return (
        f"{tool} has no commands of its own, and what it needs has {_listed(others)}; say"
        f" `aioc run --from {tool} {example}`"
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"
