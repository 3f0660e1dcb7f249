"""Payloads: what is stored can be read back as it was, and what cannot is refused before it is stored."""

from __future__ import annotations

import enum
import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, computed_field
from typing_extensions import TypedDict

from dispatch_celery.codec import Codec
from dispatch_celery.errors import ConfigurationError, PayloadError, PayloadTooLarge

LIMIT = 1_048_576


class Colour(enum.Enum):
    """An enumeration of text."""

    RED = "red"


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    LOW = 1


class Line(BaseModel):
    """A model in a model."""

    sku: str
    price: float = 0.0


class Order(BaseModel):
    """A model with rules of its own, which must not count."""

    model_config = ConfigDict(revalidate_instances="never", ser_json_bytes="utf8")

    id: str
    lines: list[Line] = []
    note: Any = None
    proof: bytes = b""
    card: SecretStr = SecretStr("")


class Loose(BaseModel):
    """A model that allows what JSON does not have."""

    model_config = ConfigDict(allow_inf_nan=True)

    value: float


class Tree(BaseModel):
    """A model of itself."""

    children: list[Tree] = []
    weight: float = 0.0


class Aliased(BaseModel):
    """A model whose field has another name outside."""

    number: int = Field(alias="Number")


class Hidden(BaseModel):
    """A model that leaves a field out of its dumps."""

    kept: int
    left_out: int = Field(0, exclude=True)


class Computed(BaseModel):
    """A model that dumps more than it takes."""

    model_config = ConfigDict(extra="forbid")

    side: int

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own pattern
    @property
    def area(self) -> int:
        """What is derived."""
        return self.side**2


class Shape(TypedDict):
    """A typed mapping."""

    sides: int


@dataclass
class Parcel:
    """A dataclass with a secret."""

    weight: int
    sent: datetime
    code: SecretStr | None = None


def codec(annotation: Any, *, limit: int = LIMIT) -> Codec:
    return Codec(annotation, subject="job: arguments", limit=limit)


def travelled(annotation: Any, value: Any) -> Any:
    """Return what arrives when ``value`` is sent."""
    return codec(annotation).decode(codec(annotation).encode(value))


NOW = datetime(2027, 1, 15, 8, 0, 0, 123_456, tzinfo=UTC)
ORDER = Order(id="1", lines=[Line(sku="a", price=1.5)], proof=b"\xff\x00", card=SecretStr("4111"))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 2**64 + 1),
        (float, 0.1),
        (bool, True),
        (str, "a\0b \U0001f600 \u2028"),
        (str, "NaN and Infinity"),
        (None, None),
        (int | None, None),
        (bytes, bytes(range(256))),
        (datetime, NOW),
        (datetime, datetime(2027, 1, 15)),  # noqa: DTZ001 - a naive one stays naive
        (date, date(2027, 1, 15)),
        (timedelta, timedelta(days=3, microseconds=1)),
        (Decimal, Decimal("0.1000000000000000000000000001")),
        (UUID, UUID("0f5b8f6e-2f0a-4a3f-9c5e-1d2c3b4a5968")),
        (Colour, Colour.RED),
        (Level, Level.LOW),
        (Literal["a", "b"], "b"),
        (list[int], [1, 2]),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (frozenset[str], frozenset({"a"})),
        (dict[int, list[bytes]], {1: [b"\xff"]}),
        (Shape, {"sides": 3}),
        (Any, {"a": [1, "NaN", None, True, {"b": 0.5}]}),
    ],
)
def test_plain_values_arrive_as_they_were(annotation: Any, value: Any) -> None:
    """Every standard type comes back equal and of its own type."""
    arrived = travelled(annotation, value)

    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Order, ORDER),
        (list[Order], [ORDER, ORDER]),
        (dict[str, Order], {"a": ORDER}),
        (Order | Parcel, Parcel(1, NOW)),
        (Order | Line | int, Line(sku="a")),
        (Order | None, ORDER),
        (Parcel, Parcel(1, NOW, SecretStr("pw"))),
        (Tree, Tree(children=[Tree(weight=1.0)])),
    ],
)
def test_models_and_dataclasses_arrive_as_they_were(annotation: Any, value: Any) -> None:
    """Models, lists and unions of them, and dataclasses come back equal."""
    assert travelled(annotation, value) == value


def test_bytes_travel_as_base64_whatever_a_model_says() -> None:
    """One payload has one treatment of bytes, also where a nested model's configuration has another."""
    data = codec(Order).encode(ORDER)

    assert b'"proof":"_wA="' in data
    assert codec(Order).decode(data).proof == b"\xff\x00"


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (SecretStr, SecretStr("s3cret")),
        (SecretBytes, SecretBytes(b"\xffs3cret")),
        (SecretStr | None, SecretStr("s3cret")),
        (list[SecretStr], [SecretStr("s3cret")]),
        (dict[str, SecretStr], {"a": SecretStr("s3cret")}),
        (Order, Order(id="1", card=SecretStr("s3cret"))),
    ],
)
def test_a_secret_travels_with_its_value(annotation: Any, value: Any) -> None:
    """What is masked for people is whole for the worker."""
    assert travelled(annotation, value) == value


@pytest.mark.parametrize(
    "value", [SecretStr("s3cret"), {"a": [SecretStr("s3cret")]}, Order(id="1", card=SecretStr("s3"))]
)
def test_a_secret_without_an_annotation_never_becomes_asterisks(value: Any) -> None:
    """Where the type does not tell, a secret travels or is refused; it is not silently lost."""
    with suppress(PayloadError):
        assert b"**" not in codec(Any).encode(value)


def test_a_secret_given_to_a_lenient_verb_never_becomes_asterisks() -> None:
    """``.delay(SecretStr(...))`` hands over the value, or is refused."""
    with suppress(PayloadError):
        assert codec(SecretStr).encode_plain(SecretStr("s3cret"), strict=False) == b'"s3cret"'


def _poisoned(value: float) -> Order:
    order = Order(id="1", lines=[Line(sku="a")])
    order.lines[0].price = value
    return order


def _changed() -> Order:
    order = Order(id="1")
    order.id = 3  # type: ignore[assignment]  # what validate_assignment would refuse
    return order


@pytest.mark.parametrize(
    ("annotation", "value", "place"),
    [
        (int, "3", "value"),
        (int, True, "value"),
        (int, 3.0, "value"),
        (str, 3, "value"),
        (bool, 1, "value"),
        (bytes, "text", "value"),
        (datetime, "2027-01-15T08:00:00Z", "value"),
        (UUID, "0f5b8f6e-2f0a-4a3f-9c5e-1d2c3b4a5968", "value"),
        (list[int], [1, "2"], "1"),
        (list[int], (1, 2), "value"),
        (Order, {"id": 3}, "id"),
        (Order, _changed(), "id"),
        (list[Order], [ORDER, _changed()], "1.id"),
        (dict[str, Order], {"a": _changed()}, "a.id"),
        (Parcel, Parcel("heavy", NOW), "weight"),  # type: ignore[arg-type]  # the point of the test
    ],
)
def test_what_does_not_fit_its_annotation_is_refused_by_place(annotation: Any, value: Any, place: str) -> None:
    """Strict, and instances are checked again; the error names subject and place."""
    with pytest.raises(PayloadError, match=rf"^job: arguments: {place}: "):
        codec(annotation).encode(value)


def test_a_refusal_does_not_show_the_value() -> None:
    """Inputs may be secret, and errors are logged."""
    with pytest.raises(PayloadError) as caught:
        codec(int).encode("s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_refusal_lists_a_few_places_and_counts_the_rest() -> None:
    """A list of a thousand mistakes is a short message."""
    with pytest.raises(PayloadError, match=r"\(and 995 more\)") as caught:
        codec(list[int]).encode(["x"] * 1_000)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("annotation", "wrap"),
    [
        (float, lambda bad: bad),
        (list[float], lambda bad: [bad]),
        (Any, lambda bad: bad),
        (Any, lambda bad: {"a": [1, {"b": bad}]}),
        (Order, _poisoned),
        (Order, lambda bad: Order(id="1", note={"deep": [bad]})),
        (Loose, lambda bad: Loose(value=bad)),
        (Tree, lambda bad: Tree(children=[Tree(children=[Tree(weight=bad)])])),
        (Decimal, Decimal),
    ],
)
def test_what_json_does_not_have_is_refused_everywhere(annotation: Any, wrap: Any, bad: float) -> None:
    """NaN and the infinities are refused at the top, in lists, under Any, in nested and in permissive models."""
    with pytest.raises(PayloadError, match=r"^job: arguments"):
        codec(annotation).encode(wrap(bad))


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _ring() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "\ud800"),
        (Any, {"a": ["\udfff"]}),
        (Any, {"\ud800": 1}),
        (int, 10**4_999),
        (Any, [10**4_999]),
        (Any, _nested(100_000)),
        (list, _nested(100_000)),
        (Any, _ring()),
        (Any, object()),
        (Any, {"a": [object()]}),
        (Any, print),
        (Any, range(3)),
    ],
    ids=[
        *(
            "surrogate",
            "surrogate under Any",
            "surrogate in a key",
            "number",
            "number under Any",
            "depth under Any",
            "depth",
            "ring",
        ),
        *("object", "object under Any", "function", "range"),
    ],
)
def test_what_cannot_be_json_is_refused(annotation: Any, value: Any) -> None:
    """Lone surrogates, immense numbers, endless nesting, rings and plain objects end as one error of the tree."""
    with pytest.raises(PayloadError, match=r"^job: arguments") as caught:
        codec(annotation).encode(value)
    assert len(str(caught.value)) < 500


def test_a_lone_surrogate_in_a_key_is_refused() -> None:
    """A key is not silently stored as another one."""
    with pytest.raises(PayloadError):
        codec(dict[str, int]).encode({"\ud800": 1})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nope",
        b"\xff",
        b"[1,]",
        b"NaN",
        b"[Infinity]",
        b"9" * 5_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'"\xed\xa0\x80"',
    ],
    ids=lambda data: repr(data[:12]),
)
def test_damaged_data_is_refused_when_it_is_read(data: bytes) -> None:
    """Whatever stands in a record, reading it ends in a value or in one error of the tree."""
    with pytest.raises(PayloadError, match=r"^job: arguments"):
        codec(Any).decode(data)


def test_a_changed_annotation_is_told_when_it_is_read() -> None:
    """A payload of an earlier release that no longer fits names the place."""
    data = codec(dict[str, int]).encode({"sku": 3})

    with pytest.raises(PayloadError, match="sku: Input should be a valid string"):
        codec(Line).decode(data)


def test_a_payload_over_the_limit_names_its_largest_part() -> None:
    """The error tells both sizes, the limit's name, and which argument to look at; nothing is retried."""
    arguments = {"small": "a", "big": "b" * 3_000}

    with pytest.raises(PayloadTooLarge, match=r"largest part is 'big' with 3,002 bytes.*dispatch_max_payload is 2,000"):
        codec(dict[str, str], limit=2_000).encode(arguments)
    assert codec(dict[str, str], limit=3_100).encode(arguments)


def test_who_encodes_may_say_the_limit() -> None:
    """Where the codec has none of its own: a step does not know its app."""
    open_ended = Codec(dict[str, str], subject="step charge: arguments", limit=None)
    arguments = {"small": "x", "large": "y" * 3_000}

    assert open_ended.encode(arguments)
    with pytest.raises(
        PayloadTooLarge, match=r"step charge: arguments takes 3,0\d\d bytes .*dispatch_max_payload is 2,000"
    ):
        open_ended.encode(arguments, limit=2_000)
    with pytest.raises(PayloadTooLarge):
        codec(dict[str, str], limit=2_000).encode(arguments, limit=9_000)


@pytest.mark.parametrize("value", ["b" * 3_000, ["b"] * 3_000, 10**3_000], ids=["text", "list", "number"])
def test_a_payload_over_the_limit_without_parts_is_refused_too(value: Any) -> None:
    """A result is no object, and is bounded all the same."""
    with pytest.raises(PayloadTooLarge, match="dispatch_max_payload is 2,000"):
        codec(Any, limit=2_000).encode(value)


def test_an_annotation_pydantic_cannot_read_is_a_configuration_error() -> None:
    """A plain class in a signature is told as such, with its subject."""

    class Plain:
        pass

    with pytest.raises(ConfigurationError, match="job: arguments: pydantic cannot read its annotations"):
        codec(Plain).encode(Plain())


def test_plain_data_is_as_strict_as_json() -> None:
    """By-name callers give an object for a model and base64 for bytes; a ``"3"`` is still no int."""
    assert codec(Order).encode_plain({"id": "1"}) == codec(Order).encode(Order(id="1"))
    with pytest.raises(PayloadError, match="value: Input should be a valid integer"):
        codec(int).encode_plain("3")


def test_lenient_data_is_made_to_fit() -> None:
    """Celery's verbs take what JSON makes of types: text for numbers and moments."""
    assert codec(int).encode_plain("3", strict=False) == b"3"
    assert codec(bytes).encode_plain(b"\xff", strict=False) == b'"_w=="'
    with pytest.raises(PayloadError):
        codec(int).encode_plain("three", strict=False)


@pytest.mark.parametrize(
    "value", [math.nan, {"a": math.inf}, "\ud800", {"\ud800": 1}, object(), _nested(100_000)], ids=range(6)
)
def test_plain_data_that_is_no_json_is_refused(value: Any) -> None:
    """The lenient door is no hole: it leads to the same checks."""
    with pytest.raises(PayloadError, match=r"^job: arguments"):
        codec(Any).encode_plain(value, strict=False)


def test_a_model_with_an_alias_travels() -> None:
    """``Field(alias=...)`` is everyday pydantic."""
    assert travelled(Aliased, Aliased(Number=3)) == Aliased(Number=3)


def test_an_excluded_field_is_not_silently_lost() -> None:
    """``Field(exclude=True)`` hides from a user's own dumps; a payload is refused or whole."""
    with suppress(PayloadError):
        assert travelled(Hidden, Hidden(kept=1, left_out=2)).left_out == 2


def test_a_model_with_a_computed_field_travels() -> None:
    """What a model derives from its fields is no part of the payload."""
    assert travelled(Computed, Computed(side=3)) == Computed(side=3)


@pytest.mark.parametrize("kind", [bytes | str, str | bytes | None, list[str | bytes]])
def test_a_union_of_text_and_bytes_is_refused(kind: Any) -> None:
    """What cannot be told apart on the wire is refused where it is declared, not changed."""
    with pytest.raises(ConfigurationError, match="text and bytes"):
        travelled(kind, "abcd")
