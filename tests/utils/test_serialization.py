"""Dataclasses to JSON and back: every field is checked, and nothing else is called."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, TypeVar

import pytest

from anyback_nn.errors import DataError
from anyback_nn.utils.serialization import Serializer

Kind = TypeVar("Kind")


class Shape:
    """A role."""


@dataclass(frozen=True)
class Point(Shape):
    x: float
    y: float = 0.0


@dataclass(frozen=True)
class Path(Shape):
    points: tuple[Point, ...]
    name: str | None = None
    closed: bool = False
    width: int = 1
    end: Literal["flat", "round"] = "flat"
    inner: Shape | None = None
    label: tuple[str, float] = ("", 0.0)
    length: float = field(init=False, default=0.0)


@dataclass(frozen=True)
class Odd(Shape):
    """Nothing is known of its fields, because the annotation names nothing."""

    anything: "nowhere.Nothing"  # noqa: F821


@dataclass(frozen=True)
class Positive(Shape):
    x: int

    def __post_init__(self):
        if self.x < 0:
            raise ValueError("expected x to be 0 or greater")


@dataclass(frozen=True)
class Secret:
    x: int


KINDS = {kind.__name__: kind for kind in (Point, Path, Odd, Positive, Secret)}
SERIALIZER = Serializer({**KINDS, "point": Point}.get, DataError, roles=(Shape,))
PATH = Path((Point(1.0), Point(2.5, 3.0)), "a", True, 3, "round", Point(0.0), ("b", 2.0))


@pytest.mark.parametrize(
    "value", [PATH, Path(()), Path((), inner=PATH), Odd(1), Odd("a"), Odd((1.0, None, Point(0.5)))]
)
def test_round_trip(value):
    assert SERIALIZER.from_json(json.loads(json.dumps(SERIALIZER.to_json(value))), Shape) == value
    assert SERIALIZER.from_json(SERIALIZER.to_json(value)) == value


def test_an_integer_is_accepted_as_a_float():
    point = SERIALIZER.from_json({"kind": "Point", "settings": {"x": 1}})
    assert point == Point(1)
    assert type(point.x) is int


def test_a_missing_field_has_its_default():
    assert SERIALIZER.from_json({"kind": "Point", "settings": {"x": 1.0}}) == Point(1.0)


def test_objects_of_format_1():
    assert SERIALIZER.from_json({"kind": "point", "x": 1.0}, Shape) == Point(1.0)
    assert SERIALIZER.from_json({"x": 1.0}, Point) == Point(1.0)
    flat = {"kind": "Path", "points": [{"x": 1.0}, {"x": 2.5, "y": 3.0}]}
    assert SERIALIZER.from_json(flat, Shape).points == PATH.points


def path(**settings):
    return {"kind": "Path", "settings": {"points": [], **settings}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (path(name=1), "at.name is 1: expected a string or null"),
        (path(closed=1), "at.closed is 1: expected true or false"),
        (path(width=True), "at.width is True: expected an integer"),
        (path(width=1.0), r"at.width is 1.0: expected an integer"),
        (path(end="square"), "at.end is 'square': expected .*flat.*, .*round"),
        (path(points=None), "at.points is None: expected a list"),
        (path(points="ab"), "at.points is 'ab': expected a list"),
        (path(points={}), "at.points is an object: expected a list"),
        (path(points=[{"x": float("nan")}]), r"at.points\[0\].x is nan: expected a finite number"),
        (path(points=[{"x": 1.0}, {"x": "1"}]), r"at.points\[1\].x is '1': expected a finite"),
        (path(points=[{"x": True}]), r"at.points\[0\].x is True: expected a finite number"),
        (path(points=[path()]), r"at.points\[0\] is of the kind 'Path': expected Point"),
        (path(label=["a"]), "at.label has 1 items: expected 2"),
        (path(name=["a"]), "at.name is a list: expected a string or null"),
        (path(inner={"kind": "Secret", "settings": {"x": 1}}), "kind 'Secret': expected Shape"),
        (path(inner={"kind": "os.system"}), "'os.system', which is not defined"),
        (path(inner={"kind": ["Point"]}), "which is not defined"),
        (path(inner={"x": 1.0}), "at.inner is of the kind None, which is not defined"),
        (path(inner=1), "at.inner is 1: expected Shape or null"),
        (path(size=1), "at has the fields 'points', 'size': expected 'points', 'name'"),
        (path(length=1.0), "at has the fields 'points', 'length': expected"),
        ({"kind": "Path", "settings": {}}, r"at has the fields \(none\): expected"),
        ({"kind": "Path", "settings": 3}, "at has the fields 3: expected"),
        (
            {"kind": "Positive", "settings": {"x": -1}},
            "settings of Positive do not fit: expected x",
        ),
        ({"kind": "Secret", "settings": {"x": 1}}, "at is of the kind 'Secret': expected Shape"),
        (3, "at is 3: expected Shape"),
    ],
)
def test_data_that_do_not_fit_are_named(data, message):
    with pytest.raises(DataError, match=message):
        SERIALIZER.from_json(data, Shape, "at")


def test_nothing_is_called_before_it_is_checked(monkeypatch):
    calls = []
    monkeypatch.setattr(Secret, "__init__", lambda self, **settings: calls.append(settings))
    with pytest.raises(DataError):
        SERIALIZER.from_json({"kind": "Secret", "settings": {"x": 1}}, Shape)
    assert calls == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "expected numbers, strings"),
        (Path((object(),)), "expected numbers, strings"),
        (type("Point", (Point,), {})(1.0), "another class is called Point"),
    ],
)
def test_values_that_could_not_be_read_are_not_written(value, message):
    with pytest.raises(DataError, match=f"cannot save .*{message}"):
        SERIALIZER.to_json(value)


@dataclass(frozen=True)
class Annotated(Shape):
    """Annotations that say little of what JSON holds."""

    bare: tuple = (1, 2)
    listed: list[int] = (1,)
    shapes: Sequence[Shape] = (Point(1.0),)
    thing: object = None
    call: Callable = None
    pair: tuple[int, int] | tuple[int] = (1,)
    implicit: float = None
    number: Real = 0.5
    generic: Kind = (1,)


def test_annotations_that_say_little_refuse_nothing():
    serializer = Serializer(
        {**KINDS, "Annotated": Annotated}.get, DataError, roles=(Shape,), strict=False
    )
    for value in (Annotated(), Annotated(thing=Point(0.0), pair=(1, 2), implicit=1.0)):
        assert serializer.from_json(serializer.to_json(value), Shape) == value


def test_settings_that_users_compute_may_be_any_numbers():
    lenient = Serializer(KINDS.get, DataError, roles=(Shape,), strict=False)
    for value in (Path((Point(float("inf")),), width=2.0, closed=1), Point(None), Point(True)):
        assert lenient.from_json(lenient.to_json(value), Shape) == value
    with pytest.raises(DataError, match="at.x is '1': expected a finite number"):
        lenient.from_json({"kind": "Point", "settings": {"x": "1"}}, Shape, "at")
