"""The codec over random annotations and values.

The promise under test: what is stored can be read back as it was, or it was refused before it was stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from dispatch_celery.codec import Codec
from dispatch_celery.errors import PayloadError
from tests.support.payloads import JSON, LEAVES, Colour, Shape, kinds, shapes

LIMIT = 1_048_576
NORMAL = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class Base(BaseModel):
    """A model that others extend."""

    number: int = 0


class Wider(Base):
    """One of them."""

    more: int = 0


@dataclass
class Plain:
    """A dataclass that others extend."""

    number: int = 0


@dataclass
class Extended(Plain):
    """One of them."""

    more: int = 0


def codec(annotation: Any) -> Codec:
    return Codec(annotation, subject="job: arguments", limit=LIMIT)


def arrived(annotation: Any, value: Any) -> Any:
    """Return what arrives when ``value`` is sent."""
    return codec(annotation).decode(codec(annotation).encode(value))


@NORMAL
@given(st.data())
def test_what_is_sent_arrives(data: st.DataObject) -> None:
    """Whatever the annotation, a value that fits it comes back equal, and each of its parts of its own type."""
    shape = data.draw(shapes())
    value = data.draw(shape.values)

    back = arrived(shape.annotation, value)

    assert back == value
    assert kinds(back) == kinds(value)


@NORMAL
@given(st.data())
def test_what_is_stored_can_be_sent_again_as_plain_data(data: st.DataObject) -> None:
    """A caller by name, who has JSON and no types, sends the same value."""
    shape = data.draw(shapes())
    value = data.draw(shape.values)
    plain = json.loads(codec(shape.annotation).encode(value))

    assert codec(shape.annotation).decode(codec(shape.annotation).encode_plain(plain)) == value


@NORMAL
@given(JSON)
def test_json_travels_without_an_annotation(value: Any) -> None:
    """Under Any, what is JSON already comes back as it was."""
    assert kinds(arrived(Any, value)) == kinds(value)
    assert arrived(Any, value) == value


@NORMAL
@given(st.data(), st.sampled_from(LEAVES[:13]), st.sampled_from(LEAVES[:13]))
def test_a_value_of_another_type_is_refused(data: st.DataObject, declared: Shape, given_: Shape) -> None:
    """No type is taken for another one, but an int for a float: ``True`` is no int, and a ``"3"`` neither."""
    value = data.draw(given_.values)

    if declared is given_ or (declared.annotation, given_.annotation) == (float, int):
        codec(declared.annotation).encode(value)
        return
    with pytest.raises(PayloadError, match="job: arguments: value: "):
        codec(declared.annotation).encode(value)


@NORMAL
@given(st.data(), st.sampled_from([leaf for leaf in LEAVES if leaf.kind in ("number", "boolean", "null")]))
def test_text_is_no_number(data: st.DataObject, declared: Shape) -> None:
    """What prints like a number, a truth or nothing is refused, where it is sent and where it is read."""
    text = str(data.draw(declared.values))

    with pytest.raises(PayloadError):
        codec(declared.annotation).encode(text)
    with pytest.raises(PayloadError):
        codec(declared.annotation).decode(json.dumps(text).encode())


BAD = st.sampled_from([math.nan, math.inf, -math.inf])
SPOILT = st.recursive(
    BAD,
    lambda inner: (
        st.builds(lambda before, bad, after: [*before, bad, *after], st.lists(JSON), inner, st.lists(JSON))
        | st.builds(lambda rest, bad: {**rest, "spoilt": bad}, st.dictionaries(st.text("ab"), JSON), inner)
    ),
    max_leaves=3,
)


@NORMAL
@given(SPOILT)
def test_a_number_json_does_not_have_is_refused_wherever_it_is(value: Any) -> None:
    """One NaN or infinity, however deep, spoils the whole payload."""
    with pytest.raises(PayloadError):
        codec(Any).encode(value)
    with pytest.raises(PayloadError):
        codec(Any).decode(json.dumps(value).encode())


@NORMAL
@given(st.sampled_from([Any, float, list[float], dict[str, Any]]), st.integers(309, 5_000), st.booleans())
def test_a_number_too_large_is_no_infinity(annotation: Any, exponent: int, negative: bool) -> None:  # noqa: FBT001 - drawn
    """What would be read as an infinity is refused."""
    number = f"{'-' if negative else ''}1e{exponent}"
    for text in (number, f"[{number}]", f'{{"a":{number}}}'):
        with pytest.raises(PayloadError):
            codec(annotation).decode(text.encode())


@NORMAL
@given(st.data())
def test_damaged_data_is_refused_or_is_another_value(data: st.DataObject) -> None:
    """Whatever bytes stand in a record, reading them ends in a value that can be sent, or in one error of the tree."""
    shape = data.draw(shapes(depth=1))
    stored = codec(shape.annotation).encode(data.draw(shape.values))
    at = data.draw(st.integers(0, len(stored)))
    damaged = stored[:at] + data.draw(st.binary(max_size=3)) + stored[data.draw(st.integers(at, len(stored))) :]
    try:
        read = codec(shape.annotation).decode(damaged)
    except PayloadError:
        return
    assert arrived(shape.annotation, read) == read


@pytest.mark.parametrize(("declared", "value"), [(Base, Wider(more=1)), (Plain, Extended(more=1))])
@pytest.mark.parametrize("wrap", [lambda kind: kind, lambda kind: kind | None, lambda kind: list[kind]])
def test_fields_of_a_subclass_are_not_dropped(declared: Any, value: Any, wrap: Callable[[Any], Any]) -> None:
    """An instance of a subclass arrives whole, or is refused where it is sent."""
    annotation = wrap(declared)
    sent = [value] if annotation == list[declared] else value
    with pytest.raises(PayloadError, match="more would be lost"):
        codec(annotation).encode(sent)


@NORMAL
@given(st.lists(st.integers() | st.text(), max_size=4))
def test_an_iterable_is_looked_through(members: list[Any]) -> None:
    """``Iterable[int]`` is checked before it is stored, and arrives as something that can be read twice."""
    if all(isinstance(member, int) for member in members):
        back = arrived(Iterable[int], iter(members))
        assert [list(back), list(back)] == [members, members]
        return
    with pytest.raises(PayloadError):
        codec(Iterable[int]).encode(members)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (datetime | str, "2027-01-01T00:00:00"),
        (str | date, date(2027, 1, 1)),
        (str | Decimal, Decimal("1.5")),
        (str | timedelta, timedelta(1)),
        (str | Colour, Colour.RED),
        (UUID | str, str(UUID(int=1))),
        (Base | Plain, Plain(1)),
        (dict[str, int] | Base, Base(number=1)),
        (set[int] | tuple[int, ...], (1, 2)),
    ],
    ids=str,
)
def test_a_member_of_a_union_is_not_taken_for_another(annotation: Any, value: Any) -> None:
    """What JSON cannot tell apart is refused before it is stored, or comes back as it was."""
    with suppress(PayloadError):
        assert kinds(arrived(annotation, value)) == kinds(value)


@pytest.mark.parametrize("annotation", [Any, dict[str | int, int]], ids=str)
def test_two_keys_that_become_one_are_refused(annotation: Any) -> None:
    """An entry is not silently lost because its key prints like another."""
    with suppress(PayloadError):
        assert len(arrived(annotation, {1: 1, "1": 2})) == 2


@pytest.mark.parametrize("annotation", [datetime, Any])
def test_a_moment_with_seconds_in_its_zone_is_not_moved(annotation: Any) -> None:
    """A zone whose offset is no whole minute, as local mean times are, keeps its moment or is refused."""
    moment = datetime(2027, 1, 1, tzinfo=timezone(timedelta(seconds=30)))
    with suppress(PayloadError):
        back = arrived(annotation, moment)
        assert (back if isinstance(back, datetime) else datetime.fromisoformat(back)) == moment


@pytest.mark.parametrize("number", ["1" + "0" * 309 + ".0", "1" + "0" * 300 + "e20"], ids=["digits", "both"])
def test_a_number_too_long_is_no_infinity(number: str) -> None:
    """A number may be too large without a large exponent."""
    with pytest.raises(PayloadError):
        codec(Any).decode(number.encode())
