"""What answers to the name `uv` while Fromager runs: its three commands, done by aioc on one cache.

Fromager starts `uv venv`, `uv pip install` and `uv clean`, and reads from the output of a failed installation what was
missing. Each command is passed on to aioc, and an error is told again in the words that Fromager looks for. With
STAND_IN_FOR the program of that path does the work instead: the same pipeline with the real uv, timed in the same way.

Every command adds a line to the file that STAND_IN_JOURNAL names: what it was, from when to when, how it ended.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

_NOTHING_ELSE = frozenset({"--verbose", "--no-project"})  # says nothing that aioc has to be told
_TOLD_AGAIN = frozenset({"--upgrade", "--constraint", "--index-url", "--extra-index-url", "--find-links", "--offline"})
_TAKE_A_VALUE = frozenset({"--constraint", "--index-url", "--extra-index-url", "--find-links"})
_LOOPBACK_NEEDS_NO_TRUST = "--trusted-host"  # Fromager's own server speaks plain http on this machine
_NO_SUCH_VERSION = re.compile(r"\bthere is no ([A-Za-z0-9][\w.-]*)")
_ASKED_FOR = re.compile(r"you ask for ([A-Za-z0-9][\w.-]*)")
_UNKNOWN = re.compile(r"^([A-Za-z0-9][\w.-]*) was not found in ", re.MULTILINE)


class UnknownCommandError(Exception):
    """Fromager asked for something that it did not ask for when this was written."""


def aioc_words(words: Sequence[str], environ: dict[str, str]) -> list[str]:
    """Say in aioc's words what uv is told.

    Raises:
        UnknownCommandError: there are no such words.
    """
    match list(words):
        case ["venv", *options]:
            python, (root,) = _taken(options, "--python")
            return ["install", "--venv", root, *(["--python", python] if python else [])]
        case ["pip", "install", *options]:
            return ["install", "--venv", environ["VIRTUAL_ENV"], *_installation(options)]
        case ["clean" | "cache", *projects]:
            return ["clean", *(each for each in projects if each not in {"clean", "cache"})]
        case _:
            raise UnknownCommandError(" ".join(words))


def uv_message(error: dict[str, Any]) -> str:
    """Tell an error in the words that Fromager finds the missing project by."""
    message = str(error["message"])
    if (found := _UNKNOWN.search(message)) is not None:
        return f"Because {found[1]} was not found in the package registry, this cannot be installed. {message}"
    if (found := _NO_SUCH_VERSION.search(message)) is not None:
        return f"Because there is no version of {found[1]} that suits, this cannot be installed. {message}"
    if (found := _ASKED_FOR.search(message)) is not None:
        return f"Because you require {found[1]}, this cannot be installed. {message}"
    return message


def _taken(options: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Take one option with its value out of others; gives it and the arguments."""
    rest = [each for each in options if each not in _NOTHING_ELSE]
    if name not in rest:
        return None, rest
    place = rest.index(name)
    return rest[place + 1], rest[:place] + rest[place + 2 :]


def _installation(options: Sequence[str]) -> list[str]:
    words: list[str] = []
    left = iter(options)
    for word in left:
        if word in _NOTHING_ELSE:
            continue
        if word == _LOOPBACK_NEEDS_NO_TRUST:
            next(left)
        elif word == "--only-binary":
            if next(left) != ":all:":
                raise UnknownCommandError("--only-binary of some projects")
            words.append("--no-build")
        elif word in _TOLD_AGAIN:
            words.append(word)
            if word in _TAKE_A_VALUE:
                words.append(next(left))
        elif word.startswith("-"):
            raise UnknownCommandError(word)
        else:
            words.append(word)
    return words


def _run(words: Sequence[str]) -> tuple[int, int, int]:
    """Do what uv is told; gives the exit code, and how much was installed from the cache and from elsewhere."""
    instead = os.environ.get("STAND_IN_FOR")
    if instead:
        return subprocess.run([instead, *words], check=False).returncode, 0, 0
    command = [sys.executable, "-m", "aiocache_engine", *aioc_words(words, dict(os.environ)), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    answer = json.loads(done.stdout or b"{}")
    if done.returncode != 0 and "message" in answer:
        print(f"error: {uv_message(answer)}", file=sys.stderr)
    installed = answer.get("installed", [])
    hits = sum(each["from"] == "cache" for each in installed)
    return done.returncode, hits, len(installed) - hits


def main() -> int:
    words = sys.argv[1:]
    started = time.time()
    code, hits, misses = _run(words)
    if journal := os.environ.get("STAND_IN_JOURNAL"):
        verb = "install" if words[:2] == ["pip", "install"] else words[0]
        line = {"verb": verb, "start": started, "end": time.time(), "code": code, "hits": hits, "misses": misses}
        with open(journal, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnknownCommandError as unknown:
        sys.exit(f"error: this stand-in for uv does not know: {unknown}")
