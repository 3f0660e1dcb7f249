"""Where a journal is cut: what stays of a run that is taken back, or forked, at each of its durable calls."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_celery.errors import PromiseNotFound
from dispatch_celery.workflows.cutting import kept_before
from dispatch_celery.workflows.journal import Entry


def call(identity: str, place: int, *, status: str = "value", seq: int = 0, **head: Any) -> Entry:
    """Return a recorded call."""
    return Entry(identity, status, seq, 1, {"k": "step", "d": "", "o": place, **head}, b"")


def kept(entries: list[Entry], identity: str) -> set[str]:
    """Return the identities of what stays."""
    return {entry.identity for entry in kept_before(entries, identity)}


# -- a function that makes its calls one after the other

LINE = [call("a#1", 0, seq=1), call("sleep#1", 1, seq=2), call("a#2", 3, seq=4), call("b#1", 4, seq=3)]
"""Four calls, and one between them whose value follows from its place; ``b#1`` was resolved before ``a#2``."""


@pytest.mark.parametrize(
    ("identity", "stays"),
    [("a#1", set()), ("sleep#1", {"a#1"}), ("a#2", {"a#1", "sleep#1"}), ("b#1", {"a#1", "sleep#1", "a#2"})],
)
def test_what_the_function_asked_for_before_stays(identity: str, stays: set[str]) -> None:
    """In its own order, whenever it was resolved and in whatever order it is read."""
    assert kept(LINE, identity) == stays
    assert kept(LINE[::-1], identity) == stays


def test_a_call_that_is_not_recorded_is_refused_by_name() -> None:
    """With some of those that are; a name is not taken for the beginning of another."""
    with pytest.raises(PromiseNotFound, match=r"'a' is recorded; among those that are: a#1, a#2, b#1, sleep#1"):
        kept_before(LINE, "a")
    with pytest.raises(PromiseNotFound, match="none"):
        kept_before([], "a#1")
    assert kept([call("a#1", 0), call("a#10", 9)], "a#10") == {"a#1"}


def test_what_is_under_way_before_the_call_stays() -> None:
    """A job that the function has sent and not waited for yet goes on for the next generation."""
    sent = [call("line#1", 0, status="open", k="job"), call("a#1", 1), call("a#2", 2)]

    assert kept(sent, "a#2") == {"line#1", "a#1"}
    assert kept(sent, "a#1") == {"line#1"}
    assert kept(sent, "line#1") == set()


# -- several at once

CROWD = [
    call("a#1", 0),
    call("gather#1", 1),
    call("gather#1/x#1", 0),
    call("gather#1/y#1", 1),
    call("gather#1/y#1/deep#1", 0),
    call("b#1", 2),
]


@pytest.mark.parametrize(
    ("identity", "stays"),
    [
        ("gather#1", {"a#1"}),
        ("gather#1/x#1", {"a#1", "gather#1/y#1", "gather#1/y#1/deep#1"}),
        ("gather#1/y#1", {"a#1", "gather#1/x#1"}),
        ("gather#1/y#1/deep#1", {"a#1", "gather#1/x#1"}),
        ("b#1", {"a#1", "gather#1", "gather#1/x#1", "gather#1/y#1", "gather#1/y#1/deep#1"}),
    ],
)
def test_a_member_is_cut_out_alone(identity: str, stays: set[str]) -> None:
    """With what it made and what holds its outcome; its siblings stay as they ended."""
    assert kept(CROWD, identity) == stays


def test_a_sibling_under_way_is_sent_anew() -> None:
    """It has no outcome that could stay."""
    crowd = [*CROWD[:3], call("gather#1/y#1", 1, status="open")]

    assert kept(crowd, "gather#1/x#1") == {"a#1"}


def test_members_of_a_call_that_is_not_over_come_last() -> None:
    """Several at once are recorded themselves only when they are over."""
    crowd = [call("a#1", 0), call("gather#1/x#1", 0), call("b#1", 1)]

    assert kept(crowd, "b#1") == {"a#1"}
    assert kept(crowd, "gather#1/x#1") == {"a#1", "b#1"}


# -- an async function

TASKS = [
    call("a#1", 0, seq=1, v=0),
    call("sleep#1", 1, seq=2),
    call("b#1", 2, seq=5, v=1),
    call("c#1", 3, seq=3, v=2),
    call("d#1", 4, status="awaiting"),
    call("e#1", 5, seq=4, v=3),
]
"""In the order of delivery: ``a#1``, ``b#1`` (its maker saw 1), ``sleep#1`` and ``c#1`` (that saw 2), ``e#1``."""


@pytest.mark.parametrize(
    ("identity", "stays"),
    [
        ("a#1", set()),
        ("b#1", {"a#1"}),
        ("sleep#1", {"a#1", "b#1"}),
        ("c#1", {"a#1", "b#1", "sleep#1"}),
        ("e#1", {"a#1", "b#1", "sleep#1", "c#1"}),
    ],
)
def test_what_had_been_handed_out_before_stays(identity: str, stays: set[str]) -> None:
    """Its tasks have no common order but that in which they were told."""
    assert kept(TASKS, identity) == stays


def test_all_that_was_handed_out_stays_before_what_is_under_way() -> None:
    """Nothing has followed from a call that has no outcome yet."""
    assert kept(TASKS, "d#1") == {"a#1", "sleep#1", "b#1", "c#1", "e#1"}


def test_what_is_under_way_does_not_stay() -> None:
    """It may be that it was asked for because of what is taken back."""
    assert "d#1" not in kept(TASKS, "e#1")
