"""The names of `typing` that annotations and class headers need, at none of its cost.

Importing typing takes a warm command longer than all its own work. Type checkers see the real names here; at run time
nobody asks what they mean: annotations stay text, and as a base class each of these adds nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true, whatever it is set to
if TYPE_CHECKING:
    from typing import (
        Any,
        BinaryIO,
        Final,
        Generic,
        NoReturn,
        Protocol,
        Self,
        TextIO,
        TypeVar,
        cast,
        dataclass_transform,
        overload,
    )
else:

    class Hint:
        """Stands for each of them."""

        __slots__ = ()

        def __class_getitem__(cls, _parameters: object) -> type:
            return cls

    Any = BinaryIO = Final = Generic = NoReturn = Protocol = Self = TextIO = Hint

    def TypeVar(name: str, **_bounds: object) -> object:  # noqa: N802 - the name in `typing`
        """Give anything: it stands in annotations and between brackets only."""
        return name

    def cast(_type: object, thing: object) -> object:
        """Give the thing, as the one of `typing` does."""
        return thing

    def dataclass_transform(**_said: object) -> object:
        """Decorate with nothing: it is said to type checkers alone."""
        return lambda decorator: decorator

    def overload(form: object) -> object:
        """Forget the form, as the one of `typing` does."""
        return form


__all__ = [
    "TYPE_CHECKING",
    "Any",
    "BinaryIO",
    "Final",
    "Generic",
    "NoReturn",
    "Protocol",
    "Self",
    "TextIO",
    "TypeVar",
    "cast",
    "dataclass_transform",
    "overload",
]
