"""What an engine may be told once, for all its calls, and how the environment says the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from aiocache_engine.errors import InvalidNameError, UsageError
from aiocache_engine.model.index import IndexStrategy
from aiocache_engine.model.names import overlay_name
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.value import value

LOCK_TIMEOUT_SECONDS = 60.0
BUILD_TIME_LIMIT_SECONDS = 3600.0
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})


@value
class Config:
    """Settings of one engine. What is None or empty is left to the environment, to pip's configuration and default."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ()  #: names of overlays, asked in this order and before everything else
    index_strategy: IndexStrategy | None = None  #: None: as UV_INDEX_STRATEGY says, else first-index
    is_offline: bool = False
    link_mode: LinkMode = LinkMode.AUTO
    lock_timeout_seconds: float = (
        LOCK_TIMEOUT_SECONDS  #: for the cache lock; waiting for another's download is not limited by it
    )
    trusts_cache_dir: bool = False  #: take a cache dir with a strange owner or mode, or one behind a link
    download_count: int = 12  #: files fetched at the same time
    page_count: int = 12  #: pages asked for at the same time
    build_count: int | None = None  #: backends run at the same time; None: by processors and free memory
    build_time_limit_seconds: float = BUILD_TIME_LIMIT_SECONDS  #: for each hook of a build backend

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can go by.

        Raises:
            UsageError: one of them is none.
        """
        checked_count("download_count", self.download_count)
        checked_count("page_count", self.page_count)
        if self.build_count is not None:
            checked_count("build_count", self.build_count)
        seconds: object = self.build_time_limit_seconds
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise UsageError(f"build_time_limit_seconds is to be a number of seconds above 0, and {seconds!r} is none")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Config:
        """Give what the `AIOC_*` variables say. Index settings of other tools are read by the index room.

        Raises:
            UsageError: a variable has no usable value.
        """
        return cls(
            overlays=_overlays(environ.get("AIOC_OVERLAY")),
            is_offline=_yes_or_no("AIOC_OFFLINE", environ),
            link_mode=_link_mode(environ.get("AIOC_LINK_MODE")),
            lock_timeout_seconds=_seconds("AIOC_LOCK_TIMEOUT", environ, LOCK_TIMEOUT_SECONDS),
            build_time_limit_seconds=_seconds(
                "AIOC_BUILD_TIMEOUT", environ, BUILD_TIME_LIMIT_SECONDS, takes_zero=False
            ),
        )


def checked_count(what: str, given: object) -> int:
    """Give how many there are to be.

    Raises:
        UsageError: it is no number of anything.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise UsageError(f"{what} is to be a whole number from 1 on, and {given!r} is none")
    return given


def locate_cache_dir(cache_dir: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> str:
    """Give the path of the cache dir that is meant, whether or not it is there.

    Raises:
        UsageError: its name is empty, or relative and the current directory is gone.
    """
    if cache_dir is not None and not os.fspath(cache_dir):
        raise UsageError("cache_dir is empty; name a directory, or leave it out")
    named = cache_dir or environ.get("AIOC_CACHE_DIR")
    if named == "":  # as of a script that meant $NAME/cache: never a guess where to clean
        raise UsageError("AIOC_CACHE_DIR is empty; name a directory in it, or unset it")
    return absolute(named or _user_cache_dir())


def absolute(path: str | os.PathLike[str]) -> str:
    """Give the absolute path of one that somebody wrote.

    Raises:
        UsageError: it is relative, and the current directory is gone.
    """
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise UsageError(
            f"{os.fspath(path)}: the current directory is gone; go to one that is there, or write the whole path"
        ) from None


def current_directory() -> str:
    """Give the current directory; "" if it is gone, so that relative paths are refused by `absolute` alone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _user_cache_dir() -> str:
    """Give the place for a cache dir that the platform has for this user: what platformdirs says.

    Its import takes longer than a warm command, so the plain cases of Linux, where it cannot say anything else, do
    without it (XDG Base Directory Specification); a contract test compares the two.
    """
    if sys.platform == "linux" and "ANDROID_ROOT" not in os.environ:
        place = os.environ.get("XDG_CACHE_HOME", "")
        if not place and os.environ.get("HOME", "").startswith("/"):
            place = os.path.expanduser("~/.cache")
        if place.startswith("/"):
            return os.path.join(place, "aioc")
    from platformdirs import user_cache_path  # noqa: PLC0415 - as above

    return str(user_cache_path("aioc", appauthor=False))


def _yes_or_no(name: str, environ: Mapping[str, str]) -> bool:
    said = environ.get(name, "").lower()
    if said not in _YES | _NO:
        raise UsageError(f"{name} is {environ[name]!r}; use 1, true, yes or on, or 0, false, no or off")
    return said in _YES


def _overlays(text: str | None) -> tuple[str, ...]:
    if not text:
        return ()
    try:
        return tuple(dict.fromkeys(map(overlay_name, text.replace(",", " ").split())))
    except InvalidNameError as error:
        raise UsageError(f"AIOC_OVERLAY is {text!r}; {error}") from error


def _link_mode(text: str | None) -> LinkMode:
    if not text:
        return LinkMode.AUTO
    try:
        return LinkMode(text)
    except ValueError:
        raise UsageError(f"AIOC_LINK_MODE is {text!r}; use clone, hardlink, copy or symlink") from None


def _seconds(name: str, environ: Mapping[str, str], default: float, *, takes_zero: bool = True) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf") or (seconds == 0 and not takes_zero):
        raise UsageError(f"{name} is {text!r}; use a number of seconds{'' if takes_zero else ' above 0'}")
    return seconds
