"""What is wrong with the words after `aioc run`, and what to say instead. Imported only where they were refused."""

from __future__ import annotations

import os
import shlex

from aiocache_engine.errors import UsageError
from aiocache_engine.model.names import is_sdist

_OPERATORS = frozenset("<>=!~")
_MEANS_MORE = frozenset("<>=!~@[; ")  #: one of these is in what says more of a project than its name


def mistake(word: str, source: str | None, python: str | None, *, is_interpreter: bool) -> UsageError:
    """Say why a command cannot be meant.

    Args:
        word: the command, with what follows it after an @.
        source: what --from says.
        python: what --python says.
        is_interpreter: the command is the name of an interpreter.
    """
    name, _, version = word.partition("@")
    if not name.strip():
        text = f"{word!r} names no tool; say `aioc run TOOL`, such as `aioc run cowsay -t hello`"
    elif word.startswith("-"):
        text = f"a tool is named after --, and {word!r} is an option; leave the -- out: `aioc run {word}`"
    elif is_interpreter and python is None:
        text = "the interpreter is named by an option: `aioc run --python 3.12 python`"
    elif is_interpreter:
        text = f"--python {python} and {word} name two interpreters; say `aioc run --python {python} python`"
    elif source is not None and _MEANS_MORE.isdisjoint(source):
        text = f"--from says which version is meant; give it there: --from '{source}=={version}' {name}"
    elif source is not None:
        text = f"--from {source!r} says already which version is meant; leave @{version} out"
    elif "@" in word and _MEANS_MORE.isdisjoint(name) and os.sep not in name and not name.endswith(".py"):
        text = _no_version(name, version)
    else:
        text = _no_tool(word)
    return UsageError(text)


def _no_tool(word: str) -> str:
    quoted = shlex.quote(word)
    if word.endswith(".whl") or is_sdist(word) or "://" in word:
        return f"a wheel or sdist is named by --from, and then its command: --from {quoted} COMMAND"
    script = f"to run a script say `aioc run python {quoted}`"
    if os.sep in word:
        return script if word.endswith(".py") else f"{word!r} is a path, and no tool is named so; {script}"
    if word.endswith(".py"):
        return f"{script}; for a command of this name, --from PROJECT {quoted}"
    return f"{word!r} is no command; name what brings it, then the command: --from {word!r} COMMAND"


def _no_version(name: str, version: str) -> str:
    if not version:
        return f"a version is missing after the @ in '{name}@'"
    if version[0] in _OPERATORS:
        return f"after the @ stands one version; for several say `aioc run --from '{name}{version}' {name}`"
    return f"{version!r} is no version; say {name}@VERSION or {name}@latest"
