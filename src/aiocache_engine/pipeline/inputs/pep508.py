"""Requirements and their markers as `packaging` reads them, where anybody may have written them.

What would exhaust it is refused as any other nonsense is: texts without end, numbers longer than Python reads, and
markers nested deeper than it can follow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from packaging.requirements import InvalidRequirement, Requirement

LONGEST = 8192  #: characters of a requirement; a URL with a signature in it has some thousand
_LONG_NUMBER = re.compile(r"\d{640}")  # Python may be told to read none that is longer (sys.int_info)


class MarkerError(ValueError):
    """A marker that means nothing here."""


def read_requirement(text: str) -> Requirement:
    """Parse a requirement (PEP 508).

    Raises:
        InvalidRequirement: it is malformed, or of no size that anybody means.
    """
    if len(text) > LONGEST:
        raise InvalidRequirement(f"it is longer than {LONGEST} characters")
    if _LONG_NUMBER.search(text):
        raise InvalidRequirement("a number in it has too many digits")
    try:
        return Requirement(text)
    except RecursionError:
        raise InvalidRequirement("its marker is nested too deeply") from None  # the cause is a thousand lines long


def marker_holds(requirement: Requirement, markers: Mapping[str, str], extra: str = "") -> bool:
    """Tell whether a requirement applies in an environment, for one extra; one without a marker does.

    Raises:
        MarkerError: its marker cannot be evaluated.
    """
    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate({**markers, "extra": extra})
    except RecursionError:
        raise MarkerError("it is nested too deeply") from None  # as above
    except ValueError as error:  # what packaging calls undefined is a ValueError, and so is a number without end
        raise MarkerError(str(error)) from error
