"""What of a payload is shown: never what is secret, and never what steers a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypedDict

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


def test_annotations_that_nobody_can_read_hide_everything() -> None:
    """Where a declaration cannot be resolved, every argument may be secret."""
    assert _masking(EVERYTHING).arguments("job", {"a": 1, "b": [2]}) == {"a": "***", "b": "***"}


def test_passwords_of_urls_are_masked() -> None:
    """A URL keeps its user, host and path, wherever in a text it stands."""
    text = "cannot reach postgres://bob:hunter2@db/x or redis://:pw@h:1/0, see https://example.org/a@b"

    assert words(text) == "cannot reach postgres://bob:***@db/x or redis://:***@h:1/0, see https://example.org/a@b"


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
