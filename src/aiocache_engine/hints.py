"""The names of `typing` that annotations and class headers need, at none of its cost.

Importing typing takes a warm command longer than all its own work. Type checkers see the real names here; at run time
nobody asks what they mean: annotations stay text, and as a base class each of these adds nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true, whatever it is set to
if TYPE_CHECKING:
    from typing import Any as Any
    from typing import BinaryIO as BinaryIO
    from typing import Final as Final
    from typing import Generic as Generic
    from typing import NoReturn as NoReturn
    from typing import Protocol as Protocol
    from typing import Self as Self
    from typing import TextIO as TextIO
    from typing import TypeVar as TypeVar
    from typing import cast as cast
    from typing import dataclass_transform as dataclass_transform
    from typing import overload as overload
else:

    class Hint:
        """Stands for each of them."""

        __slots__ = ()

        def __class_getitem__(cls, _parameters):
            return cls

    Any = BinaryIO = Final = Generic = NoReturn = Protocol = Self = TextIO = Hint

    def TypeVar(name, **_bounds):  # noqa: N802 - the name in `typing`
        """Give anything: it stands in annotations and between brackets only."""
        return name

    def cast(_type, thing):
        """Give the thing, as the one of `typing` does."""
        return thing

    def dataclass_transform(**_said):
        """Decorate with nothing: it is said to type checkers alone."""
        return lambda decorator: decorator
