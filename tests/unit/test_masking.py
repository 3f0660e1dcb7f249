"""What of a payload is shown: never what is secret, and never what steers a page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, NewType, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, AliasPath, BaseModel, Field, RootModel, SecretStr, computed_field
from typing_extensions import TypeAliasType, TypedDict

from dispatch_celery import Secret
from dispatch_celery.cli.masking import EVERYTHING, Masking, block, line, words


class Card(BaseModel):
    """A model with fields nobody must see."""

    owner: str
    number: str = Field(repr=False, alias="no")
    code: SecretStr


@dataclass
class Door:
    """A dataclass with one."""

    floor: int
    pin: int = field(repr=False, default=0)


class Box(TypedDict):
    """A typed dict with one."""

    label: str
    inside: Secret[str]


class Note(BaseModel):
    """A model without any."""

    text: str


class Named(BaseModel):
    """A model whose field has other names where it comes from and where it goes."""

    code: str = Field(repr=False, validation_alias=AliasChoices("c", AliasPath("k", 0)), serialization_alias="out")


class Made(BaseModel):
    """A model with a field that is computed."""

    @computed_field(repr=False)  # type: ignore[prop-decorator]  # as pydantic has it
    @property
    def code(self) -> str:
        """What nobody must see."""
        return "4711"


class Cards(RootModel[list[Card]]):
    """A list of models, as a model."""


class Pair(NamedTuple):
    """A tuple that travels as a list."""

    user: str
    code: Secret[str]


T = TypeVar("T")
CardLike = TypeVar("CardLike", bound=Card)


@dataclass
class Wrapped(Generic[T]):
    """A class that holds whatever it is told."""

    it: T


Pin = NewType("Pin", Secret[str])  # type: ignore[valid-newtype]  # as a caller may
NewCard = NewType("NewCard", Card)
CardName = TypeAliasType("CardName", Card)


def _masking(hints: Any = None, *names: str) -> Masking:
    known = {("job", 0): {} if hints is None else hints}
    return Masking(names, lambda *what: known.get(what, {}))


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "userPassword",
        "API_KEY",
        "api-key",
        "X-Auth-Token",
        "client_secret",
        "AccessKey",
        "Set-Cookie",
        "cvv",
    ],
)
def test_a_name_tells_a_secret(key: str) -> None:
    """A key is masked by what its name contains, however it is written, at every depth."""
    found = _masking().value({"a": [{key: {"deep": "seen"}}], "plain": "shown"})

    assert found == {"a": [{key: "***"}], "plain": "shown"}


@pytest.mark.parametrize("key", ["name", "author", "keyboard", "passenger", "monkey", "total"])
def test_a_harmless_name_is_shown(key: str) -> None:
    """What only looks like such a name is not hidden."""
    assert _masking().value({key: 1}) == {key: 1}


def test_a_setting_names_more() -> None:
    """Names of one's own are masked beside the known ones."""
    assert _masking(None, "Iban", "").value({"iban": "DE1", "IBAN_2": 2, "bank": 3}) == {
        "iban": "***",
        "IBAN_2": "***",
        "bank": 3,
    }


@pytest.mark.parametrize(
    ("hint", "value", "shown"),
    [
        (Secret[str], "x", "***"),
        (Secret[list[int]] | None, [1], "***"),
        (Card, {"owner": "ada", "no": "4711", "code": "1"}, {"owner": "ada", "no": "***", "code": "***"}),
        (Card, {"owner": "ada", "number": "4711"}, {"owner": "ada", "number": "***"}),
        (list[Card] | None, [{"no": "4711"}], [{"no": "***"}]),
        (Door, {"floor": 1, "pin": 4}, {"floor": 1, "pin": "***"}),
        (Box, {"label": "a", "inside": "b"}, {"label": "a", "inside": "***"}),
        (dict[str, Card], {"any": {"no": "4711"}}, {"any": {"no": "***"}}),
        (int, 5, 5),
    ],
)
def test_an_annotation_tells_a_secret(hint: Any, value: Any, shown: Any) -> None:
    """What a declared job annotates as secret is masked, also within models, lists and optional values."""
    masking = _masking({"it": hint, "return": hint})

    assert masking.arguments("job", {"it": value}) == {"it": shown}
    assert masking.result("job", value) == shown
    assert masking.arguments("other", {"it": 1}) == {"it": 1}


@pytest.mark.parametrize(
    ("hint", "value", "shown"),
    [
        (Annotated[str, Field(repr=False)], "x", "***"),
        (Pin, "x", "***"),
        (NewCard, {"no": "4711"}, {"no": "***"}),
        (CardName, {"no": "4711"}, {"no": "***"}),
        (CardLike, {"no": "4711"}, {"no": "***"}),
        (Note | Card, {"text": "a", "no": "4711"}, {"text": "a", "no": "***"}),
        (Door | Card, {"floor": 1, "pin": 4, "no": "4711"}, {"floor": 1, "pin": "***", "no": "***"}),
        (Note | dict[str, Card], {"text": {"no": "4711"}}, {"text": {"no": "***"}}),
        (list[int] | list[Card], [1, {"no": "4711"}], [1, {"no": "***"}]),
        (list[Note] | dict[str, Card], {"any": {"no": "4711"}}, {"any": {"no": "***"}}),
        (tuple[int, Card], [1, {"no": "4711"}], [1, {"no": "***"}]),
        (deque[Card], [{"no": "4711"}], [{"no": "***"}]),
        (Iterable[Card], [{"no": "4711"}], [{"no": "***"}]),
        (Cards, [{"no": "4711"}], [{"no": "***"}]),
        (Pair, ["ada", "4711"], ["ada", "***"]),
        (Named, {"c": "1", "k": "2", "out": "3", "code": "4"}, dict.fromkeys(("c", "k", "out", "code"), "***")),
        (Made, {"code": "4711"}, {"code": "***"}),
        (Wrapped[list[Card]], {"it": [{"no": "4711"}]}, {"it": [{"no": "***"}]}),
    ],
)
def test_an_annotation_by_another_name_or_one_of_several_tells_it_too(hint: Any, value: Any, shown: Any) -> None:
    """What a value may be hides what it hides: plain data does not say which of them it is."""
    masking = _masking({"it": hint, "return": hint})

    assert masking.arguments("job", {"it": value}) == {"it": shown}
    assert masking.result("job", value) == shown


def test_annotations_that_nobody_can_read_hide_everything() -> None:
    """Where a declaration cannot be resolved, every argument may be secret."""
    assert _masking(EVERYTHING).arguments("job", {"a": 1, "b": [2]}) == {"a": "***", "b": "***"}


def test_passwords_of_urls_are_masked() -> None:
    """A URL keeps its user, host and path, wherever in a text it stands."""
    text = "cannot reach postgres://bob:hunter2@db/x or redis://:pw@h:1/0, see https://example.org/a@b"

    assert words(text) == "cannot reach postgres://bob:***@db/x or redis://:***@h:1/0, see https://example.org/a@b"


def test_a_password_ends_at_the_last_at() -> None:
    """So do those who parse it: what stands behind the first is no host."""
    assert words("redis://:p@ss@h:1/0 and x") == "redis://:***@h:1/0 and x"
    assert words("mongodb://a:b@h1,c:d@h2/db") == "mongodb://a:***@h2/db"
    assert words('{"a":"redis://u:p@h:1","b":"x@y"}') == '{"a":"redis://u:***@h:1","b":"x@y"}'


def test_a_key_that_is_a_url_has_no_password_either() -> None:
    """A mapping by address, say."""
    assert _masking().value({"by": {"redis://u:pw@h": 1}}) == {"by": {"redis://u:***@h": 1}}


@given(st.text(max_size=400))
def test_a_line_is_one_printable_line(text: str) -> None:
    """Whatever is stored, a line has no character that steers or hides, and an end."""
    shown = line(text, 50)

    assert len(shown) <= 51
    assert shown.isprintable()


@given(st.text(max_size=400))
def test_a_block_is_printable_lines(text: str) -> None:
    """Several lines likewise, but for their ends."""
    assert block(text, 300).replace("\n", "").isprintable()


def test_what_is_large_is_cut_and_what_is_deep_is_ended() -> None:
    """A megabyte is cut where people stop to read, and a thousand levels end."""
    masking = _masking()
    deep: Any = "end"
    for _ in range(900):
        deep = [deep]

    assert "cut here: 1,000,002 characters in all" in masking.text("x" * 1_000_000)
    assert len(masking.text("x" * 1_000_000)) < 21_000
    assert '"..."' in masking.text(masking.value({"deep": deep}))
