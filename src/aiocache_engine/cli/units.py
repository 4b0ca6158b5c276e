"""Numbers for people: sizes, durations, times, and tables of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

_MINUTE_SECONDS = 60
_MOST_DIGITS = 18  #: of any number that somebody may mean
_SHOWN_LENGTH = 40


def size_of(size_bytes: int) -> str:
    """Give a size as it can be typed back: "512 B", "1.2 kB", "3.4 GB" (powers of 1000)."""
    if size_bytes < 1000:  # noqa: PLR2004 - the first unit
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":  # noqa: PLR2004 - what would be rounded to a thousand
            break
    return f"{value:.1f} {unit}"


def duration_of(seconds: float) -> str:
    """Give a duration: "4 ms", "1.2 s", "3 min 5 s"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE_SECONDS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_SECONDS)
    return f"{minutes} min {rest} s"


_AGES = {"h": 3600.0, "d": 24 * 3600.0, "w": 7 * 24 * 3600.0}  #: seconds


def parse_age(text: str) -> float:
    """Read an age, "12h", "30d" or "2w", as seconds.

    Raises:
        ValueError: it is none.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in _AGES or not (number.isascii() and number.isdigit()) or len(number) > _MOST_DIGITS:
        raise ValueError(f"{shown(text)} is no age; use a whole number of hours, days or weeks, as 12h, 30d or 2w")
    return int(number) * _AGES[unit]


def shown(text: str) -> str:
    """Quote what somebody typed, or of something long its beginning."""
    return repr(text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…")


_SIZES = {
    "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "TIB": 1024**4,
}  # fmt: skip


def parse_size(text: str) -> int:
    """Read a size, "500MB", "1.5 GB" or "20GiB", as bytes.

    Raises:
        ValueError: it is none.
    """
    number = text.rstrip("BKMGTIbkmgti")
    factor = _SIZES.get(text[len(number) :].upper())
    digits = number.rstrip(" ")
    is_number = digits.isascii() and digits.replace(".", "", 1).isdigit() and len(digits) <= _MOST_DIGITS
    if factor is None or not is_number:
        raise ValueError(f"{shown(text)} is no size; use a number with its unit, as 500MB, 20GB or 20GiB")
    return round(float(digits) * factor)


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Give a number with its noun: "1 file", "2 files"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def utc(seconds: float | None) -> str | None:
    """Give a time as JSON has it: "2026-01-01T00:00:00Z"; None where it is not known."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else None


def local_time(seconds: float | None) -> str:
    """Give a time as people read it where they are."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "never"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Give aligned lines, the head first.

    Args:
        head: titles of the columns.
        rows: their cells.
        right: positions of the columns that are aligned to the right.
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
