"""What people see of a call: short, printable, and without secrets."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple, get_type_hints

import pytest
from pydantic import BaseModel, Field, SecretBytes, SecretStr
from typing_extensions import TypedDict

from dispatch_celery.jobs.secrets import Secret, is_secret
from dispatch_celery.jobs.summary import Summary


class Card(BaseModel):
    """A model that is mostly secret."""

    number: SecretStr
    pin: Secret[str]
    holder: str = Field("Ann", repr=False)
    bank: str = "N26"


class Wallet(BaseModel):
    """A model of secrets within."""

    first: Card
    others: list[Card] = []
    keys: list[Secret[str]] = []
    spare: Secret[str] | None = None


@dataclasses.dataclass
class Login:
    """A dataclass with secrets."""

    user: str
    code: SecretStr
    hint: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass
class Marked:
    """A dataclass with a mark."""

    password: Secret[str]


class Entry(TypedDict):
    """A typed mapping with a mark."""

    password: Secret[str]


class Pair(NamedTuple):
    """A named tuple with a mark."""

    password: Secret[str]


class Hostile:
    """Answers or raises in its repr."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __repr__(self) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]  # the point of the tests


def card() -> Card:
    return Card(number=SecretStr("hidden"), pin="hidden", holder="hidden")


def job(
    a: Secret[str], b: Secret[str] | None, c: list[Secret[int]], d: dict[str, SecretStr], e: SecretBytes
) -> None: ...


def test_a_call_is_shown_by_name_and_value() -> None:
    """Plain values look as in code."""
    shown = Summary({})({"order": "o-1", "n": 3, "tags": ["a", None], "deep": {"k": 0.5}})

    assert shown == "order='o-1', n=3, tags=['a', None], deep={'k': 0.5}"


def test_parameters_marked_secret_are_masked_whole() -> None:
    """``Secret[...]`` and pydantic's secrets are masked, inside of unions and containers too."""
    hints = get_type_hints(job, include_extras=True)
    arguments = {
        "a": "hidden",
        "b": "hidden",
        "c": ["hidden"],
        "d": {"k": SecretStr("hidden")},
        "e": SecretBytes(b"hidden"),
    }

    assert Summary(hints)(arguments) == "a=***, b=***, c=***, d=***, e=***"


@pytest.mark.parametrize(
    ("annotation", "secret"),
    [
        (SecretStr, True),
        (SecretBytes | None, True),
        (Secret[int], True),
        (dict[str, list[Secret[str]]], True),
        (Annotated[SecretStr, "doc"], True),
        (str, False),
        (list[str], False),
        (None, False),
        (Any, False),
    ],
)
def test_an_annotation_tells_whether_it_is_secret(annotation: Any, secret: bool) -> None:  # noqa: FBT001 - a table's column
    """Also where the secret is only a part of it."""
    assert is_secret(annotation) is secret


@pytest.mark.parametrize(
    "value",
    [
        card(),
        [card()],
        {"k": (card(),)},
        Wallet(first=card(), others=[card()], keys=["hidden"], spare="hidden"),
        Login("me", SecretStr("hidden"), "hidden"),
        SecretStr("hidden"),
        {"k": [SecretBytes(b"hidden")]},
    ],
)
def test_fields_of_models_and_dataclasses_are_masked(value: Any) -> None:
    """Secrets, marked fields and fields without a repr show asterisks, however deep, without any hint."""
    shown = Summary({})({"value": value})

    assert "hidden" not in shown
    assert "***" in shown


def test_what_is_not_secret_is_shown() -> None:
    """A masked model still tells people which one it is."""
    assert Summary({})({"card": card()}) == "card=Card(number=***, pin=***, holder=***, bank='N26')"
    assert Summary({})({"login": Login("me", SecretStr("x"))}) == "login=Login(user='me', code=***, hint=***)"


def test_a_marked_field_of_a_dataclass_is_masked_under_postponed_annotations() -> None:
    """``from __future__ import annotations`` does not uncover a secret."""
    assert Summary({"value": Marked})({"value": Marked("hidden")}) == "value=Marked(password=***)"


@pytest.mark.parametrize(("value", "hint"), [({"password": "hidden"}, Entry), (Pair("hidden"), Pair)])
def test_a_marked_field_of_a_typed_dict_or_named_tuple_is_masked(value: Any, hint: Any) -> None:
    """The mark holds wherever the annotation can be seen."""
    assert "hidden" not in Summary({"value": hint})({"value": value})


@pytest.mark.parametrize("answer", [RuntimeError("hidden"), RecursionError(), 5, None])
def test_a_hostile_repr_harms_nothing(answer: Any) -> None:
    """A value that cannot be shown is replaced by a word, and what it raised is not shown either."""
    shown = Summary({})({"value": Hostile(answer), "after": 1})

    assert shown.startswith("value=<")
    assert shown.endswith(", after=1")
    assert "hidden" not in shown


@pytest.mark.parametrize(
    "value",
    [
        "a" * 1_000_000,
        b"a" * 1_000_000,
        list(range(1_000_000)),
        {n: n for n in range(100_000)},
        10**4_000,
        10**5_000,
        Hostile("z" * 1_000_000),
        [[[[[[[[[[["deep"]]]]]]]]]]],
        Wallet(first=card(), others=[card()] * 10_000),
    ],
    ids=["text", "bytes", "list", "dict", "number", "immense number", "repr", "depth", "model"],
)
def test_a_summary_is_bounded(value: Any) -> None:
    """However large the call is, people get some hundred characters."""
    assert len(Summary({})({"value": value})) <= 400
    assert len(Summary({})({f"name_{n}": value for n in range(50)})) <= 400


def test_a_ring_ends() -> None:
    """A value that contains itself is cut at a depth."""
    ring: list[Any] = []
    ring.append(ring)

    assert "..." in Summary({})({"ring": ring})


@pytest.mark.parametrize("value", ["a\0b\n\x1b[31m", "\ud800", {"\ud800": 1}])
def test_control_characters_in_text_are_escaped(value: Any) -> None:
    """Text is shown as Python would write it, and can always be encoded."""
    shown = Summary({})({"value": value})

    assert shown.isprintable()
    assert shown.encode()


def test_control_characters_of_a_repr_are_escaped() -> None:
    """A summary goes to logs and terminals: it is one printable line."""
    assert Summary({})({"value": Hostile("a\nb\x1b[31m")}).isprintable()


def test_typed_dicts_within_others_are_masked() -> None:
    """A typed dict does not know what it is: the annotation does, wherever in it that stands."""
    summary = Summary({"all": list[Entry], "maybe": Entry | None, "by_name": dict[str, tuple[Entry, ...]]})
    entry = {"password": "4711"}

    assert "4711" not in summary({"all": [entry] * 9, "maybe": entry, "by_name": {"a": (entry,)}})
    assert summary({"all": [entry]}) == "all=[{'password': '***'}]"
