"""What a limit may be, and by what it tells jobs apart: without a server."""

from __future__ import annotations

import pytest

from dispatch_celery import ConfigurationError, Limit, PerKey, Rate
from dispatch_celery.queues.model import as_key, limit_name


@pytest.mark.parametrize(
    ("text", "interval", "shown"),
    [
        ("100/m", 600, "100/m"),
        ("5/s", 200, "5/s"),
        ("10/30s", 3_000, "10/30s"),
        ("2/hour", 1_800_000, "2/h"),
        ("1 / day", 86_400_000, "1/d"),
        ("0.5/s", 2_000, "0.5/s"),
    ],
)
def test_a_rate_is_read_as_people_write_it(text: str, interval: float, shown: str) -> None:
    """And is shown as it was meant."""
    rate = Rate.parse(text)

    assert (rate.interval, str(rate)) == (interval, shown)
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "100", "100/", "/m", "-1/m", "0/m", "1/0s", "1/week", "1e3/s", "nan/s", 5, None])
def test_what_is_no_rate_is_refused(text: object) -> None:
    """With how to write one, or what to do instead."""
    with pytest.raises(ConfigurationError, match=r"write it like|pause the queue"):
        Rate.parse(text)  # type: ignore[arg-type]  # as a caller without a type checker may


def test_a_fast_rate_has_a_burst_of_a_tenth_of_a_second() -> None:
    """So that a leader that is late by some milliseconds costs nothing; a slow one has none."""
    assert (Rate.parse("1000/s").usual_burst, Rate.parse("100/m").usual_burst) == (100, 1)


@pytest.mark.parametrize("amount", [0, -1, True, 1.5, "3"])
def test_an_amount_is_a_whole_number_from_one(amount: object) -> None:
    """Zero has a verb of its own."""
    with pytest.raises(ConfigurationError, match="must be a whole number from 1"):
        Limit(concurrency=amount)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("scope", "shop/acme"),
        ("scope.app_id", "shop"),
        ("scope.org_id", "acme"),
        ("key", "k-1"),
        ("arguments.order.customer", "c-9"),
        ("arguments.order.lines", "[1, 2]"),
        ("arguments.nobody.at.all", ""),
        ("arguments.order.customer.deeper", ""),
    ],
)
def test_a_key_is_found_in_scope_arguments_or_what_was_said(by: str, key: str) -> None:
    """What is not there is the empty key."""
    spec = {"scope": "shop/acme", "limit_key": "k-1"}

    assert PerKey(by=by).key_of(spec, {"order": {"customer": "c-9", "lines": [1, 2]}}) == key


def test_a_hostile_key_is_one_short_line() -> None:
    """What separates keys in the state cannot be in one."""
    assert as_key("a\tb\nc\x00\u202e") == "a?b?c??"
    assert len(as_key("x" * 10_000)) == 200
    assert as_key(None) == ""
    assert as_key(7) == "7"


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), True, "2"])
def test_a_weight_is_a_number_that_leaves_everybody_a_turn(weight: object) -> None:
    """Neither none nor all."""
    with pytest.raises(ConfigurationError, match="the weight of 'a'"):
        PerKey(by="scope", weights={"a": weight})  # type: ignore[dict-item]  # as above


def test_a_limit_is_of_a_queue_or_of_a_job_name() -> None:
    """Never of both, and of something that can be a name."""
    assert (limit_name("mail", None), limit_name(None, "mail.send")) == ("queue:mail", "job:mail.send")
    for queue, job in ((None, None), ("a", "b"), ("", None), ("a b", None), (None, "a\nb")):
        with pytest.raises(ConfigurationError):
            limit_name(queue, job)
