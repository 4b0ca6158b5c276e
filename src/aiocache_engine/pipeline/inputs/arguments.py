"""What a program hands to a keeper, taken at its word only if it is of the kind that is meant."""

from __future__ import annotations

import os
from collections.abc import Iterable

from aiocache_engine.config import checked_count
from aiocache_engine.errors import UsageError
from aiocache_engine.model.removal import PrunePolicy, RemovalPlan


def text(what: str, given: object) -> str:
    """Give a text that a path may come of.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(given, str) or "\0" in given:
        raise UsageError(f"{what} is to be a text, and {given!r} is none")
    return given


def texts(what: str, given: Iterable[object]) -> tuple[str, ...]:
    """Give a list whose items are texts, as `text`."""
    return tuple(text(f"each of {what}", each) for each in given)


def path_text(given: object) -> str:
    """Give the path that is told by a text, or by what stands for a path.

    Raises:
        UsageError: it is neither.
    """
    if not isinstance(given, str | os.PathLike):
        raise UsageError(f"a path is to be a text or a Path, and {given!r} is neither")
    return text("a path", os.fspath(given))


def directory_text(what: str, given: object) -> str:
    """Give the path of a directory that something is written to.

    Raises:
        UsageError: it is none, or empty: nobody means the current directory by that.
    """
    path = path_text(given)
    if not path:
        raise UsageError(f"{what} is empty; name a directory")
    return path


def source_text(given: object) -> str:
    """Give what is to be built as a text; what stands for a path is one, whatever requirement it may look like.

    Raises:
        UsageError: it is neither text nor path.
    """
    path = path_text(given)
    return path if isinstance(given, str) or path.startswith((".", "/")) else f"./{path}"


def job_count(given: object) -> int | None:
    """Give how many are done at a time; None: as configured.

    Raises:
        UsageError: it is no such number.
    """
    return None if given is None else checked_count("jobs", given)


def prune_policy(given: object) -> PrunePolicy:
    """Give what a prune takes.

    Raises:
        UsageError: it is no policy.
    """
    if not isinstance(given, PrunePolicy):
        raise UsageError(f"what a prune takes is told as PrunePolicy(…), and {given!r} is none")
    return given


def removal_plan(given: object, command: str | None = None) -> RemovalPlan:
    """Give a plan, of that command if one is said: one of a prune names no targets, which to a clean are everything.

    Raises:
        UsageError: it is no plan, or one of the other command.
    """
    if not isinstance(given, RemovalPlan):
        raise UsageError(f"a plan is what plan_clean or plan_prune gives, and {given!r} is none")
    if command is not None and given.command != command:
        raise UsageError(f"this plan is one of a {given.command}: hand it to {given.command}")
    return given


def pin_name(given: object) -> str:
    """Give what a pin is called, by which it is found again.

    Raises:
        UsageError: it is no text, or none that is UTF-8.
    """
    try:
        is_sound = isinstance(given, str) and given.encode() != b""
    except UnicodeEncodeError:
        is_sound = False
    if not isinstance(given, str) or not is_sound:
        raise UsageError(f"a pin's name is to be text in UTF-8, and {given!r} is none")
    return given
