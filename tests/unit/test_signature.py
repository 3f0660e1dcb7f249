"""Calls become one object by parameter name, and the object becomes the same call again."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from dispatch_celery.codec import Signature
from dispatch_celery.errors import ConfigurationError, PayloadError


class Item(BaseModel):
    """A model."""

    sku: str


def plain(item: Item, copies: int = 1, *, urgent: bool = False) -> list[Item]:
    return [item] * copies


def positional(left: int, /, right: int = 2) -> None: ...


def open_ended(name: str, **options: Any) -> None: ...


def untyped(a, b=2):  # type: ignore[no-untyped-def]  # the point of the tests
    ...


def counted(**counts: int) -> None: ...


def items(**found: Item) -> None: ...


def blobs(**found: bytes) -> None: ...


def secrets(**found: SecretStr) -> None: ...


def odd(model_config: int, schema: str, json: bool, _hidden: int, self_: None) -> None: ...  # noqa: FBT001 - names are the point


def bounded(size: Annotated[int, Field(ge=3)]) -> None: ...


def later(item: Undefined) -> None: ...  # noqa: F821 - the point of the test


def signature(fn: Any) -> Signature:
    return Signature(fn, name="shop.job", limit=100_000)


def travelled(fn: Any, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the call a worker makes of a caller's call."""
    typed = signature(fn)
    return typed.call(typed.arguments.decode(typed.arguments.encode(typed.bind(args, kwargs))))


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "arrived"),
    [
        (plain, (Item(sku="a"),), {}, ((), {"item": Item(sku="a")})),
        (plain, (Item(sku="a"), 2), {"urgent": True}, ((), {"item": Item(sku="a"), "copies": 2, "urgent": True})),
        (plain, (), {"copies": 2, "item": Item(sku="a")}, ((), {"item": Item(sku="a"), "copies": 2})),
        (positional, (1,), {}, ((1,), {})),
        (positional, (1, 3), {}, ((1,), {"right": 3})),
        (open_ended, ("n",), {"a": 1, "options": 2}, ((), {"name": "n", "a": 1, "options": 2})),
        (untyped, ([1],), {"b": None}, ((), {"a": [1], "b": None})),
        (counted, (), {"a": 1}, ((), {"a": 1})),
        (
            odd,
            (1, "s", True, 2, None),
            {},
            ((), {"model_config": 1, "schema": "s", "json": True, "_hidden": 2, "self_": None}),
        ),
    ],
)
def test_a_call_arrives_as_it_was(fn: Any, args: Any, kwargs: Any, arrived: Any) -> None:
    """Positional-only, keyword-only, open and oddly named parameters come back as the function takes them."""
    assert travelled(fn, *args, **kwargs) == arrived


def test_omitted_defaults_are_not_stored() -> None:
    """The worker's own defaults apply, so that a deploy can change them."""
    typed = signature(plain)

    assert typed.arguments.encode(typed.bind((Item(sku="a"),), {})) == b'{"item":{"sku":"a"}}'


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "why"),
    [
        (plain, (), {}, "missing a required argument: 'item'"),
        (plain, (Item(sku="a"),), {"copys": 2}, "got an unexpected keyword argument 'copys'"),
        (plain, (Item(sku="a"), 1), {"copies": 2}, "multiple values for argument 'copies'"),
        (plain, (Item(sku="a"), 1, True), {}, "too many positional arguments"),
        (positional, (), {"left": 1}, "'left' parameter is positional only"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_with_the_signature(fn: Any, args: Any, kwargs: Any, why: str) -> None:
    """Unknown, missing and doubled arguments are told with the job's name and what it takes."""
    with pytest.raises(PayloadError, match=rf"shop\.job\(.*\): {why}"):
        signature(fn).bind(args, kwargs)


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "place"),
    [
        (plain, (Item(sku="a"), "2"), {}, "copies"),
        (plain, ("a",), {}, "item"),
        (plain, (Item(sku="a"),), {"urgent": 1}, "urgent"),
        (bounded, (1,), {}, "size"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(fn: Any, args: Any, kwargs: Any, place: str) -> None:
    """The error names job and argument; constraints of the annotation count."""
    typed = signature(fn)

    with pytest.raises(PayloadError, match=rf"^shop\.job: arguments: {place}: "):
        typed.arguments.encode(typed.bind(args, kwargs))


def test_a_stored_argument_the_function_lost_is_refused() -> None:
    """A parameter removed by a deploy is told, not dropped."""
    with pytest.raises(PayloadError, match="copys"):
        signature(plain).arguments.decode(b'{"item":{"sku":"a"},"copys":2}')


def test_a_result_is_held_to_its_annotation() -> None:
    """What a handler returns is checked as strictly as what it was given."""
    typed = signature(plain)

    assert typed.result.decode(typed.result.encode([Item(sku="a")])) == [Item(sku="a")]
    assert signature(positional).result.encode(None) == b"null"
    with pytest.raises(PayloadError, match=r"^shop\.job: result: "):
        signature(positional).result.encode(3)
    with pytest.raises(PayloadError, match=r"^shop\.job: result: 0"):
        typed.result.encode([3])


def test_starred_arguments_are_refused() -> None:
    """They have no names to be stored under; the error says what to write instead."""

    def job(*parts: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"shop\.job: '\*parts' cannot be stored by name; take a list"):
        signature(job)


def test_an_annotation_that_names_nothing_is_refused_when_it_is_needed() -> None:
    """Forward references may be resolved late, but not never."""
    with pytest.raises(ConfigurationError, match=r"shop\.job: its annotations cannot be resolved"):
        _ = signature(later).arguments


def test_leading_parameters_can_be_skipped() -> None:
    """What the engine passes itself is no part of the payload."""
    typed = Signature(plain, name="shop.job", limit=1_000, skip=1)

    assert typed.bind((3,), {}) == {"copies": 3}


@pytest.mark.parametrize(("fn", "value"), [(counted, "2"), (counted, True), (items, {"sku": 3})])
def test_open_arguments_are_held_to_their_annotation(fn: Any, value: Any) -> None:
    """``**counts: int`` takes integers only."""
    typed = signature(fn)

    with pytest.raises(PayloadError):
        typed.arguments.encode(typed.bind((), {"a": value}))


@pytest.mark.parametrize(
    ("fn", "value"),
    [(items, Item(sku="a")), (blobs, b"\xff"), (secrets, SecretStr("s3cret"))],
    ids=["model", "bytes", "secret"],
)
def test_open_arguments_arrive_as_they_were(fn: Any, value: Any) -> None:
    """A model in ``**kwargs`` arrives as a model, bytes as bytes, and a secret with its value."""
    assert travelled(fn, a=value) == ((), {"a": value})


def test_an_open_argument_does_not_overwrite_a_positional_only_one() -> None:
    """``f(1, left=2)`` is legal Python with two values: it arrives whole or is refused."""

    def job(left: int, /, **rest: int) -> None: ...

    try:
        arrived = travelled(job, 1, left=2)
    except PayloadError:
        return
    assert arrived == ((1,), {"left": 2})
