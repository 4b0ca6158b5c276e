"""What the texts of options mean. Each function reads one; ValueError says what is wrong with it."""

from __future__ import annotations

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.index import IndexStrategy
from aiocache_engine.model.names import overlay_name
from aiocache_engine.model.python import LinkMode

_MOST_DIGITS = 18  #: of any number of things that somebody may mean


def given_text(text: str) -> str:
    """Read a text. An empty one is refused: as a path, it would mean the current directory."""
    if not text:
        raise ValueError("it is empty, as a shell variable is that nobody set")
    return text


def seconds(text: str) -> float:
    """Read a time-out."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        from aiocache_engine.cli.units import shown  # noqa: PLC0415 - only what is refused is shown

        raise ValueError(f"{shown(text)} is not a number of seconds")
    return value


def count(text: str) -> int:
    """Read a number of things, at least one."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and int(text)):
        from aiocache_engine.cli.units import shown  # noqa: PLC0415 - as above

        raise ValueError(f"{shown(text)} is no number from 1 on")
    return int(text)


def age(text: str) -> float:
    """Read an age, as seconds."""
    from aiocache_engine.cli.units import parse_age  # noqa: PLC0415 - a warm `run` knows no ages

    return parse_age(text)


def size(text: str) -> int:
    """Read a size, as bytes."""
    from aiocache_engine.cli.units import parse_size  # noqa: PLC0415 - as above

    return parse_size(text)


def index_strategy(text: str) -> IndexStrategy:
    """Read an index strategy."""
    try:
        return IndexStrategy(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither first-index nor best-match") from None


def overlay(text: str) -> str:
    """Read the name of an overlay."""
    try:
        return overlay_name(text)
    except InvalidNameError as error:
        raise ValueError(str(error)) from error


def link_mode(text: str) -> LinkMode:
    """Read a link mode that can be asked for by name."""
    if text not in ("clone", "hardlink", "copy", "symlink"):
        raise ValueError(f"{text!r} is none of clone, hardlink, copy, symlink")
    return LinkMode(text)
