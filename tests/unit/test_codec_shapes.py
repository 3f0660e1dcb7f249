"""Shapes that a lenient writer would quietly change: subclasses, iterables, numbers too large."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from dispatch_celery.codec import Codec
from dispatch_celery.errors import PayloadError


class Animal(BaseModel):
    """A base."""

    name: str


class Dog(Animal):
    """It has more fields than its base."""

    tricks: list[str]


class Cat(Animal):
    """It has the fields of its base."""


@dataclass
class Place:
    """A base of the other kind."""

    x: int


@dataclass
class Tower(Place):
    """It has more fields than its base."""

    height: int


@pytest.mark.parametrize(
    ("annotation", "value", "lost"),
    [
        (Animal, Dog(name="a", tricks=[]), "tricks would be lost: declare Animal | Dog"),
        (list[Animal], [Animal(name="a"), Dog(name="b", tricks=["sit"])], "tricks"),
        (dict[str, Animal], {"k": Dog(name="b", tricks=["sit"])}, "tricks"),
        (Place, Tower(1, 2), "height"),
    ],
)
def test_what_a_subclass_adds_is_not_dropped_unsaid(annotation: Any, value: Any, lost: str) -> None:
    """The declared base would be written without it."""
    with pytest.raises(PayloadError, match=re.escape(lost)):
        Codec(annotation, subject="x", limit=1000).encode(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(Animal, Cat(name="a")), (Dog | Animal, Dog(name="a", tricks=["sit"])), (Animal | Dog, Dog(name="a", tricks=[]))],
)
def test_a_subclass_that_loses_nothing_may_come(annotation: Any, value: Any) -> None:
    """It has no fields of its own, or is declared itself."""
    data = Codec(annotation, subject="x", limit=1000).encode(value)

    assert json.loads(data) == value.model_dump()


@pytest.mark.parametrize("value", [[1, 2], (1, 2), {1: 0, 2: 0}.keys(), iter([1, 2])])
def test_an_iterable_arrives_as_a_list(value: Any) -> None:
    """It can be read twice, and its parts were all checked in the caller."""
    codec = Codec(Iterable[int], subject="x", limit=1000)

    assert codec.decode(codec.encode(value)) == [1, 2]


@pytest.mark.parametrize("value", ["12", b"12", {1: 2}, ["1"], 5])
def test_what_is_no_iterable_of_these_is_refused(value: Any) -> None:
    """Text is no list of letters."""
    with pytest.raises(PayloadError):
        Codec(Iterable[int], subject="x", limit=1000).encode(value)


@pytest.mark.parametrize("data", [b"1e400", b'{"a": [-1E999]}'])
def test_a_number_too_large_is_refused(data: bytes) -> None:
    """It would arrive as infinity, which cannot be stored again."""
    with pytest.raises(PayloadError, match="too large a number"):
        Codec(Any, subject="x", limit=1000).decode(data)


def test_a_large_number_that_fits_is_taken() -> None:
    """Three digits of exponent are no fault by themselves."""
    assert Codec(Any, subject="x", limit=1000).decode(b"1e300") == 1e300
