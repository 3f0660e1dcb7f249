"""The order in which a driver hands out outcomes, so that every replay repeats the first pass."""

from __future__ import annotations

from dispatch_celery.workflows.driver import delivery_order
from dispatch_celery.workflows.journal import Entry


def resolved(name: str, seq: int, seen: int | None = None) -> Entry:
    """Return what is recorded of a call: by its holder, who could see so far, or by somebody else."""
    head = {"k": "step", "o": 0} if seen is None else {"k": "step", "o": 0, "v": seen}
    return Entry(name, "value", seq, 0, head, b"1")


def test_what_the_holder_could_not_see_comes_after_what_it_did() -> None:
    """A job ended (4) while a step ran: the step (5), made by a holder that saw up to 3, was handed out before it."""
    known = [resolved("later", 8, seen=6), resolved("job", 4), resolved("step", 5, seen=3), resolved("timer", 2)]

    assert [entry.identity for entry in sorted(known, key=delivery_order)] == ["timer", "step", "job", "later"]


def test_what_one_holder_did_keeps_its_order() -> None:
    """Steps of one slice, and what was there before it."""
    known = [resolved("second", 9, seen=7), resolved("there", 7), resolved("first", 8, seen=7)]

    assert [entry.identity for entry in sorted(known, key=delivery_order)] == ["there", "first", "second"]
