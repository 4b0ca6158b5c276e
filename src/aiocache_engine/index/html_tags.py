"""Read the tags of a web page in one pass: it takes as long as the page is, whatever stands there.

Follows the tokenizer of the HTML standard as far as links need it. Comments, declarations, scripts and styles hold no
tags; what is not finished at the end of the page counts for nothing. Character references are resolved in the values
of attributes only.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator

from aiocache_engine.model.value import value

# Each of these takes what it can and gives nothing back, or it would look at the same characters again and again.
_NAME = re.compile(r"[A-Za-z][^ \t\n\r\f/>]*+")
_BEFORE_ATTRIBUTE = re.compile(r"[ \t\n\r\f/]*+")
_ATTRIBUTE = re.compile(r"=?[^ \t\n\r\f/>=]*+")
_EQUALS = re.compile(r"[ \t\n\r\f]*+=[ \t\n\r\f]*+")
_UNQUOTED = re.compile(r"[^ \t\n\r\f>]*+")
_ENDS = {name: re.compile(rf"</{name}(?=[ \t\n\r\f/>])", re.IGNORECASE) for name in ("script", "style")}


@value
class Tag:
    """One tag."""

    name: str  #: in lower case; that of an end tag begins with a slash
    attributes: dict[str, str | None]  #: those that were asked for; of several of one name the last; None: no value
    start: int  #: where it stands on the page
    end: int


def read_tags(page: str, attributes: Collection[str]) -> Iterator[Tag]:
    """Give the tags of a page in their order, each with those of its attributes that are asked for."""
    place = page.find("<")
    while place >= 0:
        following = page[place + 1 : place + 2]
        if (name := _NAME.match(page, place + 1)) is not None:
            tag = _start_tag(page, name, attributes)
            end = -1 if tag is None else tag.end
            if tag is not None:
                yield tag
                end = _after_text(page, tag)
        elif following == "/":
            end = _after(page, ">", place + 2)
            if (name := _NAME.match(page, place + 2, max(end, 0))) is not None:
                yield Tag(f"/{name[0].lower()}", {}, place, end)
        elif page.startswith("!--", place + 1):
            end = _after(page, "-->", place + 2)  # `<!-->` is a comment, too
        elif following in ("!", "?"):
            end = _after(page, ">", place + 2)
        else:
            end = place + 1
        place = -1 if end < 0 else page.find("<", end)


def _start_tag(page: str, name: re.Match[str], wanted: Collection[str]) -> Tag | None:
    """Read the start tag of this name; None: the page ends before it does."""
    found: dict[str, str | None] = {}
    place = name.end()
    while True:
        place = _past(_BEFORE_ATTRIBUTE, page, place)
        if place == len(page):
            return None
        if page[place] == ">":
            return Tag(name[0].lower(), found, name.start() - 1, place + 1)
        after_name = _past(_ATTRIBUTE, page, place)
        attribute = page[place:after_name].lower()
        text, place = _value(page, after_name)
        if place < 0:
            return None
        if attribute in wanted:
            found[attribute] = None if text is None else _unescaped(text)


def _value(page: str, place: int) -> tuple[str | None, int]:
    """Read the value of an attribute after its name, if it has one, and give the place after it; -1: the page ends."""
    equals = _EQUALS.match(page, place)
    if equals is None:
        return None, place
    first = equals.end()
    quote = page[first : first + 1]
    if quote not in ("'", '"'):
        last = _past(_UNQUOTED, page, first)
        return page[first:last], last
    last = page.find(quote, first + 1)
    return page[first + 1 : last], (-1 if last < 0 else last + 1)


def _after_text(page: str, tag: Tag) -> int:
    """Give where tags may come again: what a script or a style contains are none. -1: nowhere."""
    if tag.name not in _ENDS:
        return tag.end
    found = _ENDS[tag.name].search(page, tag.end)
    return -1 if found is None else found.start()


def _after(page: str, text: str, place: int) -> int:
    """Give the place after the next occurrence of a text; -1: there is none."""
    found = page.find(text, place)
    return -1 if found < 0 else found + len(text)


def _past(pattern: re.Pattern[str], page: str, place: int) -> int:
    """Give the place after what matches here, which may be nothing."""
    found = pattern.match(page, place)
    return place if found is None else found.end()


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a number of more digits than Python reads
        return text
