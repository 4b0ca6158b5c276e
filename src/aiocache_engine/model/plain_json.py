"""JSON of our own documents, compact and in UTF-8, by the functions in which CPython's json does its work.

The package around them builds its regular expressions first, which takes a warm command longer than all that it reads
and writes. What comes out, and what is refused, is the same; where these functions are not, the package is taken.
"""

from __future__ import annotations

from aiocache_engine.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_BLANKS = " \t\n\r"


class _Rules:
    """How a scanner reads what Python has more than one type for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float  # NaN and the infinities, which Python writes


_RULES: Any = _Rules


def dump(thing: object, *, default: Callable[[Any], object] | None = None) -> bytes:
    """Write it. What JSON has no word for is written as what `default` gives for it."""
    try:
        from _json import encode_basestring_ascii, make_encoder  # noqa: PLC0415 - either this or json

        encode = make_encoder({}, default or _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)
    except (ImportError, TypeError):
        import json  # noqa: PLC0415 - as above

        return json.dumps(thing, separators=(",", ":"), default=default).encode()
    return "".join(encode(thing, 0)).encode()


def load(content: bytes | str) -> Any:
    """Read it.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    text = content if isinstance(content, str) else content.decode()
    try:
        from _json import make_scanner  # noqa: PLC0415 - as above

        scan = make_scanner(_RULES)
    except (ImportError, TypeError, AttributeError):
        import json  # noqa: PLC0415 - as above

        return json.loads(text)
    text = text.strip(_BLANKS)
    try:
        thing, end = scan(text, 0)
    except StopIteration as stop:
        raise ValueError(f"it is no JSON at character {stop.value}") from None
    except SystemError:  # Python 3.11 finds no words for what is wrong unless the package is imported
        import json  # noqa: PLC0415 - as above

        return json.loads(text)
    if end != len(text):
        raise ValueError(f"it goes on after its end at character {end}")
    return thing


def _refuse(thing: object) -> object:
    raise TypeError(f"{type(thing).__name__} has no word in JSON")
