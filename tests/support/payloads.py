"""Random annotations with values that fit them, for the properties of the codec.

A union takes types that JSON itself tells apart, at most one of each kind: the others are a matter of their own.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, Literal
from uuid import UUID

from hypothesis import strategies as st
from pydantic import BaseModel, create_model
from typing_extensions import TypedDict


class Colour(enum.Enum):
    """An enumeration of text."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Shape:
    """An annotation, the values that fit it, and what it is in JSON."""

    annotation: Any
    values: st.SearchStrategy[Any]
    kind: str
    hashable: bool = True


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ZONES = st.none() | st.just(UTC) | st.integers(-1_439, 1_439).map(lambda n: timezone(timedelta(minutes=n)))
LEAVES: tuple[Shape, ...] = (
    Shape(int, st.integers() | st.integers(-(2**80), 2**80), "number"),
    Shape(float, st.floats(allow_nan=False, allow_infinity=False), "number"),
    Shape(bool, st.booleans(), "boolean"),
    Shape(type(None), st.none(), "null"),
    Shape(str, TEXT, "text"),
    Shape(bytes, st.binary(max_size=20), "text"),
    Shape(Decimal, st.decimals(allow_nan=False, allow_infinity=False), "mixed"),
    Shape(UUID, st.uuids(), "text"),
    Shape(datetime, st.datetimes(timezones=ZONES), "text"),
    Shape(date, st.dates(), "text"),
    Shape(time, st.times(), "text"),
    Shape(timedelta, st.timedeltas(), "text"),
    Shape(Colour, st.sampled_from(Colour), "text"),
    Shape(Level, st.sampled_from(Level), "number"),
    Shape(Literal["a", 1], st.sampled_from(["a", 1]), "mixed"),
)
KEYS = tuple(leaf for leaf in LEAVES if leaf.annotation in (str, int, UUID, date, Colour, bytes))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def shapes(draw: st.DrawFn, depth: int = 2) -> Shape:
    """Return an annotation, nested at most ``depth`` times."""
    if depth == 0:
        return draw(st.sampled_from(LEAVES))
    makers = (_list, _tuple, _set, _mapping, _union, _model, _dataclass, _typed_dict)
    if draw(st.integers(0, len(makers))) == 0:
        return draw(shapes(depth=0))
    inner = draw(st.lists(shapes(depth=depth - 1), min_size=1, max_size=3))
    return draw(st.sampled_from(makers))(inner, draw(st.sampled_from(KEYS)))


def _list(inner: Sequence[Shape], _: Shape) -> Shape:
    return Shape(list[inner[0].annotation], st.lists(inner[0].values, max_size=3), "array", hashable=False)


def _tuple(inner: Sequence[Shape], _: Shape) -> Shape:
    annotation: Any = tuple[tuple(shape.annotation for shape in inner)]  # type: ignore[misc]  # made at run time
    return Shape(
        annotation, st.tuples(*(shape.values for shape in inner)), "array", all(shape.hashable for shape in inner)
    )


def _set(inner: Sequence[Shape], key: Shape) -> Shape:
    member = inner[0] if inner[0].hashable else key
    return Shape(frozenset[member.annotation], st.frozensets(member.values, max_size=3), "array")


def _mapping(inner: Sequence[Shape], key: Shape) -> Shape:
    values = st.dictionaries(key.values, inner[0].values, max_size=3)
    return Shape(dict[key.annotation, inner[0].annotation], values, "object", hashable=False)


def _union(inner: Sequence[Shape], _: Shape) -> Shape:
    chosen = list({shape.kind: shape for shape in inner if shape.kind != "mixed"}.values()) or [LEAVES[0]]
    hashable = all(shape.hashable for shape in chosen)
    annotation = reduce(or_, (shape.annotation for shape in chosen), type(None))
    return Shape(annotation, st.none() | st.one_of([shape.values for shape in chosen]), "mixed", hashable)


def _fields(inner: Sequence[Shape]) -> tuple[dict[str, Any], st.SearchStrategy[dict[str, Any]]]:
    named = {f"field_{n}": shape for n, shape in enumerate(inner)}
    values = st.fixed_dictionaries({name: shape.values for name, shape in named.items()})
    return {name: shape.annotation for name, shape in named.items()}, values


def _model(inner: Sequence[Shape], _: Shape) -> Shape:
    fields, values = _fields(inner)
    made = create_model("Made", **{name: (annotation, ...) for name, annotation in fields.items()})
    return Shape(made, values.map(lambda given: made(**given)), "object", hashable=False)


def _dataclass(inner: Sequence[Shape], _: Shape) -> Shape:
    fields, values = _fields(inner)
    made = make_dataclass("Made", list(fields.items()))
    return Shape(made, values.map(lambda given: made(**given)), "object", hashable=False)


def _typed_dict(inner: Sequence[Shape], _: Shape) -> Shape:
    fields, values = _fields(inner)
    make: Any = TypedDict  # checkers know its literal form only
    return Shape(make("Made", fields), values, "object", hashable=False)


def kinds(value: Any) -> Any:
    """Return the types of a value and of all its parts: ``==`` alone takes True for 1 and 1 for 1.0."""
    if isinstance(value, dict):
        return dict, {key: (type(key), kinds(part)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [kinds(part) for part in value]
    if isinstance(value, frozenset | set):
        return type(value), {(type(part), part) for part in value}
    if isinstance(value, BaseModel) or is_dataclass(value):
        return type(value), kinds(dict(vars(value)))
    return type(value)
