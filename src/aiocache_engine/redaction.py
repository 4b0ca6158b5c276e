"""What is told of URLs: never the secrets in them. Errors, warnings, logs and command lines pass through here."""

from __future__ import annotations

from aiocache_engine.hints import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from re import Match

_URL: Final = r"(?<=[A-Za-z0-9+.-]{2}:)(/+)([^\s'\"]*)"
#: What follows a colon and is no port is a password, and may hold blanks, quotes and slashes. The bound keeps it fast.
_AFTER_COLON: Final = r"(?<=[A-Za-z0-9+.-]{2}:)(/+)[^\s'\"/:@\[]*:(?!\d*(?:[\s/?#'\",;:.)\]}>…]|$))[^@\n]{0,500}@"
_PUNCTUATION: Final = ",;:.)]}>…"


def redacted(text: str) -> str:
    """Give a text without the user names, passwords and queries (they may hold signatures) of the URLs in it.

    What cannot be told from a password goes with it: all up to the last ``@`` before a blank or a quote.
    """
    if ":/" not in text:
        return text
    from re import sub  # noqa: PLC0415 - a warm command names no URL

    return sub(_URL, _without_secrets, sub(_AFTER_COLON, r"\1***@", text))


def _without_secrets(url: Match[str]) -> str:
    slashes, rest = url.groups()
    _, at, rest = rest.rpartition("@")
    user = "***@" if at else ""
    host, colon, port = rest.partition("/")[0].partition("?")[0].partition(":")
    if colon and not at and "[" not in host and port.rstrip(_PUNCTUATION).strip("0123456789"):
        return f"{slashes}***"
    before, _, query = rest.partition("?")
    fragment = query[query.find("#") :] if "#" in query else query[len(query.rstrip(_PUNCTUATION)) :]
    return f"{slashes}{user}{before}{fragment}"
