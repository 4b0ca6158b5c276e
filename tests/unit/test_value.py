"""Values behave as the dataclasses whose place they take, and cost a fraction of them."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from dataclasses import replace as dataclass_replace
from pathlib import Path

import pytest

import aiocache_engine
from aiocache_engine.model.value import entity, field, field_names, replace, value


@value
class Ours:
    name: str
    size: int = 3
    secret: str = field(default="s", repr=False)
    parts: tuple[str, ...] = field(default_factory=tuple)

    @property
    def twice(self) -> int:
        return self.size * 2


@dataclass(frozen=True, slots=True)
class Theirs:
    name: str
    size: int = 3
    secret: str = dataclass_field(default="s", repr=False)
    parts: tuple[str, ...] = dataclass_field(default_factory=tuple)

    @property
    def twice(self) -> int:
        return self.size * 2


@value(kw_only=True)
class Named:
    left: int = 1
    right: int


@value(kw_only=True)
class Longer(Named):
    third: str = "c"
    left: int = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirNamed:
    left: int = 1
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirLonger(TheirNamed):
    third: str = "c"
    left: int = 9


@value
class Nothing:
    pass


@value
class One:
    only: object


PAIRS = {
    "all positional": (Ours("a", 1, "x", ("p",)), Theirs("a", 1, "x", ("p",))),
    "defaults": (Ours("a"), Theirs("a")),
    "by name": (Ours(size=7, name="é"), Theirs(size=7, name="é")),
    "keyword-only": (Longer(right=2), TheirLonger(right=2)),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_value_holds_shows_and_hashes_what_a_dataclass_does(pair: tuple[object, object]) -> None:
    ours, theirs = pair
    names = type(theirs).__dataclass_fields__  # type: ignore[attr-defined]
    assert field_names(type(ours)) == tuple(names)
    assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]
    assert repr(ours).partition("(")[2] == repr(theirs).partition("(")[2]
    assert hash(ours) == hash(theirs)
    assert type(ours).__match_args__ == type(theirs).__match_args__  # type: ignore[attr-defined]
    assert not hasattr(ours, "__dict__")


@pytest.mark.parametrize(
    ("positional", "named"),
    [((), {}), ((1, 2, 3, 4, 5), {}), (("a",), {"name": "b"}), (("a",), {"other": 1})],
    ids=["too few", "too many", "twice", "unknown"],
)
def test_wrong_arguments_are_refused_with_the_words_of_a_dataclass(positional: tuple[object, ...], named) -> None:
    told = []
    for cls in (Theirs, Ours):
        with pytest.raises(TypeError) as refused:
            cls(*positional, **named)
        told.append(str(refused.value).replace("Theirs", "Ours"))
    assert told[0] == told[1]


def test_keyword_only_fields_take_no_positional_argument() -> None:
    with pytest.raises(TypeError, match="positional"):
        Longer(1, 2)  # type: ignore[misc]


def test_values_are_equal_where_class_and_fields_are() -> None:
    assert Ours("a") == Ours("a")
    assert Ours("a") != Ours("b")
    assert Ours("a") != Theirs("a")
    assert Longer(right=1, left=1) != Named(right=1, left=1)
    assert Nothing() == Nothing()
    assert One(None) == One(None)
    assert One(None) != One(0)
    assert {Ours("a"): 1}[Ours("a")] == 1


def test_a_value_is_frozen() -> None:
    made = Ours("a")
    with pytest.raises(AttributeError, match="cannot assign to field 'name'"):
        made.name = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="cannot assign to field 'new'"):
        made.new = "b"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="cannot delete field 'name'"):
        del made.name
    assert made == Ours("a")


def test_each_instance_gets_a_default_of_its_own_from_a_factory() -> None:
    @value
    class Bag:
        things: list[int] = field(default_factory=list)

    first, second = Bag(), Bag()
    first.things.append(1)
    assert second.things == []


def test_replacing_gives_another_value_and_knows_the_fields() -> None:
    ours, theirs = replace(Ours("a", 5), name="b"), dataclass_replace(Theirs("a", 5), name="b")
    assert (ours.name, ours.size) == (theirs.name, theirs.size)
    assert replace(Longer(right=1), third="d") == Longer(right=1, third="d")
    assert replace(One(1), only=2) == One(2)
    with pytest.raises(TypeError, match="other"):
        replace(ours, other=1)


def test_post_init_sees_the_fields_and_may_refuse() -> None:
    @value
    class Positive:
        number: int

        def __post_init__(self) -> None:
            if self.number < 0:
                raise ValueError(self.number)

    assert Positive(1).number == 1
    with pytest.raises(ValueError, match="-1"):
        Positive(-1)


def test_methods_of_the_class_win() -> None:
    @value
    class Quiet:
        name: str

        def __repr__(self) -> str:
            return "quiet"

    assert repr(Quiet("a")) == "quiet"


def test_a_value_survives_copying_and_pickling() -> None:
    for made in (Ours("a", 4), Longer(right=2), Nothing(), One((1,))):
        assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


def test_a_class_pattern_takes_a_value_apart() -> None:
    match Ours("a", 4):
        case Ours(name, size):
            assert (name, size) == ("a", 4)
        case _:
            pytest.fail("it did not match")


@pytest.mark.parametrize("earlier", [0, 1, 2], ids="{} instances before".format)
def test_each_instance_is_made_alike(earlier: int) -> None:
    """The first is made without a compiled `__init__`."""

    @value
    class Thing:
        name: str
        size: int = 3
        parts: list[int] = field(default_factory=list)

        def __post_init__(self) -> None:
            self.parts.append(self.size)

    for _ in range(earlier):
        Thing("before")
    for wrong in ((), (1, 2, 3, 4)):
        with pytest.raises(TypeError, match="positional argument"):
            Thing(*wrong)
    with pytest.raises(TypeError, match="multiple values"):
        Thing("a", name="b")
    with pytest.raises(TypeError, match="unexpected keyword"):
        Thing("a", other="b")
    assert repr(Thing("a")).endswith("Thing(name='a', size=3, parts=[3])")
    assert repr(Thing(size=4, name="a", parts=[1])).endswith("Thing(name='a', size=4, parts=[1, 4])")


@pytest.mark.parametrize("earlier", [0, 1, 2], ids="{} instances before".format)
def test_keyword_only_fields_are_so_from_the_first_instance_on(earlier: int) -> None:
    @value(kw_only=True)
    class Thing:
        name: str

    for _ in range(earlier):
        Thing(name="before")
    with pytest.raises(TypeError, match="positional"):
        Thing("a")  # type: ignore[misc]
    assert Thing(name="a").name == "a"


@pytest.mark.parametrize("earlier", [0, 1, 2], ids="{} instances before".format)
def test_parameters_and_docstring_are_told_as_those_of_a_dataclass(earlier: int) -> None:
    class Thing:
        """A thing with words."""

        name: str
        size: int = 3
        parts: tuple[str, ...] = ()

    ours, theirs = value(Thing), dataclass(frozen=True, slots=True)(Thing)
    for _ in range(earlier):
        ours(name="before")
    told = [
        [(each.name, each.kind, each.default) for each in inspect.signature(cls).parameters.values()]
        for cls in (ours, theirs)
    ]
    assert told[0] == told[1]
    shown = pydoc.plain(pydoc.render_doc(ours))
    assert "Thing(name, size=3, parts=())\n" in shown
    assert "A thing with words." in shown


def test_a_class_that_derives_from_a_value_tells_its_own_parameters() -> None:
    class Other(One):
        def __init__(self, thing: int) -> None:
            super().__init__(thing)

    assert list(inspect.signature(Other).parameters) == ["thing"]
    assert list(inspect.signature(Longer).parameters) == ["left", "right", "third"]


@pytest.mark.parametrize("earlier", [0, 1, 2], ids="{} instances before".format)
def test_a_field_may_be_called_self(earlier: int) -> None:
    @value
    class Thing:
        self: str
        cls: str = "c"

        def __post_init__(self) -> None:
            assert self.cls == "c"

    for _ in range(earlier):
        Thing("before")
    assert (Thing("a").self, Thing(self="b").self) == ("a", "b")
    assert list(inspect.signature(Thing).parameters) == ["self", "cls"]


@pytest.mark.parametrize("decorate", [value, entity, dataclass(frozen=True)], ids=["value", "entity", "dataclass"])
def test_a_field_without_default_is_refused_after_one_with_a_default(decorate: Callable[[type], type]) -> None:
    class Thing:
        first: int = 1
        second: str

    class Deriving(Ours if decorate in {value, entity} else Theirs):
        second: str

    for cls in (Thing, Deriving):
        with pytest.raises(TypeError, match="second"):
            decorate(cls)


@pytest.mark.parametrize("decorate", [value, entity, dataclass(frozen=True)], ids=["value", "entity", "dataclass"])
@pytest.mark.parametrize("default", [[], {}, set()], ids=repr)
def test_a_default_that_can_change_is_refused(decorate: Callable[[type], type], default: object) -> None:
    class Thing:
        parts: object = default

    class Told:
        parts: object = field(default=default) if decorate in {value, entity} else dataclass_field(default=default)

    for cls in (Thing, Told):
        with pytest.raises(ValueError, match="default_factory"):
            decorate(cls)


def test_values_need_no_module_that_takes_long_to_import() -> None:
    code = "import sys, aiocache_engine.model.value; print(*sys.modules)"
    source = Path(aiocache_engine.__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True
    )
    modules = set(ran.stdout.split())
    assert "aiocache_engine.model.value" in modules
    assert not {"typing", "dataclasses", "enum", "functools", "inspect", "re"} & modules


def test_an_entity_may_change_and_equals_itself_alone() -> None:
    @entity
    class Counter:
        name: str
        count: int = 0

    one, other = Counter("a"), Counter("a")
    assert one == one  # noqa: PLR0124 - that is the question
    assert one != other
    assert {one, other} == {other, one}
    one.count += 1
    assert (one.count, other.count) == (1, 0)
    assert not hasattr(one, "__dict__")
