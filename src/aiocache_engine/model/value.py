"""Values: frozen classes with slots, as `@dataclass(frozen=True, slots=True)` makes them, at a hundredth of the cost.

A warm command lives some tens of milliseconds; importing dataclasses takes seven of them and defining one class a
third of one, since all its methods are compiled there and then. Here they are shared, but for `__init__`, which is
compiled when the second instance is made: of many classes a command makes only one. Type checkers take `value` for a
dataclass (PEP 681).

Left out, because no value needs it: ordering, `InitVar`, `ClassVar`, fields that are not compared, and a class with
keyword-only fields deriving from one without.
"""

from __future__ import annotations

from _operator import attrgetter

from aiocache_engine.hints import TYPE_CHECKING, Any, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocache_engine.hints import overload

_T = TypeVar("_T")
_MISSING: Any = object()


class _Field:
    """What `field` was told."""

    __slots__ = ("default", "default_factory", "repr")

    def __init__(self, default: object, default_factory: Callable[[], object] | None, *, repr: bool) -> None:  # noqa: A002 - the name that dataclasses gave it
        self.default = default
        self.default_factory = default_factory
        self.repr = repr


def field(*, default: Any = _MISSING, default_factory: Callable[[], Any] | None = None, repr: bool = True) -> Any:  # noqa: A002 - as above
    """Say of a field what an annotation cannot say, in the words of `dataclasses.field`."""
    return _Field(default, default_factory, repr=repr)


if TYPE_CHECKING:

    @overload
    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def value(cls: type[_T], /) -> type[_T]: ...

    @overload
    def value(*, kw_only: bool = False) -> Callable[[type[_T]], type[_T]]: ...


def value(cls: Any = None, /, *, kw_only: bool = False) -> Any:
    """Make a class of annotated fields a class of values: frozen, with slots, equal where its fields are.

    Raises:
        TypeError: a field without a default follows one with a default.
        ValueError: all instances would share a default that can change.
    """

    def decorate(bare: Any) -> Any:
        return _made(bare, _METHODS | _METHODS_OF_VALUES, kw_only=kw_only)

    return decorate if cls is None else decorate(cls)


@dataclass_transform(frozen_default=False, eq_default=False, field_specifiers=(field,))
def entity(cls: type[_T], /) -> type[_T]:
    """Make a class of annotated fields, with slots, whose instances may change and equal only themselves."""
    made: type[_T] = _made(cls, _METHODS, kw_only=False)
    return made


def replace(instance: _T, /, **changes: Any) -> _T:
    """Give the same value but for what the changes say."""
    made: Any = instance
    names = made.__fields__
    return type(instance)(**{**dict(zip(names, _state_of(made), strict=True)), **changes})


def field_names(cls: type) -> tuple[str, ...]:
    """Give the names of a value's fields, in their order."""
    names: dict[str, object] = cls.__fields__  # type: ignore[attr-defined]
    return tuple(names)


def _made(cls: Any, methods: dict[str, Any], *, kw_only: bool) -> Any:
    namespace = dict(cls.__dict__)
    own = {name: namespace.pop(name, _MISSING) for name in cls.__annotations__}
    inherited = getattr(cls.__base__, "__fields__", {})
    for leftover in ("__dict__", "__weakref__"):
        namespace.pop(leftover, None)
    _check({**inherited, **own}, kw_only=kw_only)

    was_used = False

    def __init__(self: Any, /, *positional: Any, **named: Any) -> None:  # noqa: N807
        nonlocal was_used
        if not was_used and not (kw_only and positional) and _is_filled(self, positional, named):
            was_used = True
            return
        compile_init()
        made.__init__(self, *positional, **named)

    def compile_init() -> None:
        made.__init__ = _compiled_init(made, kw_only=kw_only)

    __init__.compile_init = compile_init  # type: ignore[attr-defined]
    made: Any = type(cls)(
        cls.__name__,
        cls.__bases__,
        {
            **methods,
            **namespace,
            "__qualname__": cls.__qualname__,
            "__slots__": tuple(name for name in own if name not in inherited),
            "__fields__": {**inherited, **own},
            "__match_args__": () if kw_only else (*inherited, *own),
            "__init__": __init__,
        },
    )
    return made


def _check(fields: dict[str, Any], *, kw_only: bool) -> None:
    optional = ""
    for name, told in fields.items():
        default = told.default if isinstance(told, _Field) else told
        if default.__class__.__hash__ is None:
            raise ValueError(f"the default of {name!r} can change, for all instances; give a default_factory")
        if default is not _MISSING or (isinstance(told, _Field) and told.default_factory is not None):
            optional = name
        elif optional and not kw_only:
            raise TypeError(f"{name!r} has no default and follows {optional!r}, which has one")


def _is_filled(self: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Fill a first instance; False where a compiled `__init__` would complain."""
    fields: dict[str, Any] = self.__fields__
    given = {**dict(zip(fields, positional, strict=False)), **named}
    if len(given) != len(positional) + len(named) or not given.keys() <= fields.keys():
        return False
    for name, told in fields.items():
        default = told.default if isinstance(told, _Field) else told
        if name in given:
            content = given[name]
        elif default is not _MISSING:
            content = default
        elif isinstance(told, _Field) and told.default_factory is not None:
            content = told.default_factory()
        else:
            return False
        object.__setattr__(self, name, content)
    if hasattr(self, "__post_init__"):
        self.__post_init__()
    return True


def _compiled_init(cls: Any, *, kw_only: bool) -> Callable[..., None]:
    scope: dict[str, Any] = {}
    me = "self" if "self" not in cls.__fields__ else "_instance_"
    parameters = [me, "*"] if kw_only and cls.__fields__ else [me]
    body = ["pass"]
    for name, told in cls.__fields__.items():
        given = told if isinstance(told, _Field) else _Field(told, None, repr=True)
        argument = name
        if given.default is not _MISSING:
            scope[f"_default_{name}"] = given.default
            parameters.append(f"{name}=_default_{name}")
        elif given.default_factory is not None:
            scope["_missing"], scope[f"_make_{name}"] = _MISSING, given.default_factory
            parameters.append(f"{name}=_missing")
            argument = f"_make_{name}() if {name} is _missing else {name}"
        else:
            parameters.append(name)
        scope[f"_set_{name}"] = getattr(cls, name).__set__  # of the slot: a value refuses every other road
        body.append(f"_set_{name}({me}, {argument})")
    if hasattr(cls, "__post_init__"):
        body.append(f"{me}.__post_init__()")
    text = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body)
    exec(compile(text, f"<fields of {cls.__qualname__}>", "exec"), scope)  # noqa: S102 - made of names of our own fields
    init: Callable[..., None] = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _state_of(self: Any) -> tuple[Any, ...]:
    names = tuple(self.__fields__)
    state = attrgetter(*names)(self) if names else ()
    return (state,) if len(names) == 1 else state


def _equals(self: Any, other: object) -> bool:
    return _state_of(self) == _state_of(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_state_of(self))


def _shown(self: Any) -> str:
    told = self.__fields__
    names = [name for name in told if not isinstance(told[name], _Field) or told[name].repr]
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def _refuse_setting(_self: object, name: str, _value: object) -> None:
    raise AttributeError(f"cannot assign to field {name!r}")


def _refuse_deleting(_self: object, name: str) -> None:
    raise AttributeError(f"cannot delete field {name!r}")


def _reduced(self: Any) -> tuple[object, ...]:
    return _restored, (type(self), tuple(self.__fields__), _state_of(self))


def _restored(cls: type, names: tuple[str, ...], state: tuple[object, ...]) -> Any:
    return cls(**dict(zip(names, state, strict=True)))


class _Signature:
    """The parameters of a class as `inspect` and `help` ask for them, also before there are instances."""

    __slots__ = ()

    def __get__(self, _instance: object, cls: Any) -> object:
        from inspect import signature  # noqa: PLC0415 - whoever asks has it

        if (compile_init := getattr(cls.__init__, "compile_init", None)) is not None:
            compile_init()
        told = signature(cls.__init__)
        return told.replace(parameters=list(told.parameters.values())[1:])


_METHODS = {"__repr__": _shown, "__reduce__": _reduced, "__replace__": replace, "__signature__": _Signature()}
_METHODS_OF_VALUES = {
    "__eq__": _equals,
    "__hash__": _hash,
    "__setattr__": _refuse_setting,
    "__delattr__": _refuse_deleting,
}
