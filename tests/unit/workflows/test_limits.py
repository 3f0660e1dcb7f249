"""How much a run may record: the last call that is let through, the first that is not, and the warnings before."""

from __future__ import annotations

import pytest

from dispatch_celery.errors import JournalTooLarge
from dispatch_celery.ids import RunId
from dispatch_celery.workflows.journal import Branch, Entry, Journal
from dispatch_celery.workflows.limits import NO_LIMITS, JournalLimits
from dispatch_celery.workflows.model import RunRef

REF = RunRef(id=RunId.mint(), name="order", queue="q", version=1)


def asked(calls: int, size: int = 0) -> Journal:
    """Return the journal of a run that has made some calls, with so many bytes of outcomes."""
    journal, branch = Journal([]), Branch(in_order=False)
    for _ in range(calls):
        journal.ask(branch, "step", "step", "")
    journal.keep(Entry("step#1", "value", 1, 1, {"k": "step", "d": "", "o": 0}, b"x" * size))
    return journal


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was warned of."""
    return [record.getMessage().partition(") ")[2] for record in caplog.records]


def test_the_last_call_and_the_last_byte_are_let_through() -> None:
    """The next one is not, and the error says what to do about it."""
    limits = JournalLimits(10, 100)
    limits.check(asked(10, 100), REF)

    with pytest.raises(
        JournalTooLarge, match=r"10 durable calls with 100 bytes .*may have 10 and 100.*continue_as_new"
    ):
        limits.check(asked(11, 100), REF)
    with pytest.raises(JournalTooLarge, match="101 bytes of outcomes"):
        limits.check(asked(1, 101), REF)


def test_calls_are_warned_of_on_the_way_there(caplog: pytest.LogCaptureFixture) -> None:
    """Once, at four fifths."""
    limits = JournalLimits(10, 100)
    for calls in range(11):
        limits.check(asked(calls), REF)

    assert warnings(caplog) == ["has recorded 8 durable calls; at 10 it fails: see wf.continue_as_new"]


def test_bytes_are_warned_of_on_the_way_there(caplog: pytest.LogCaptureFixture) -> None:
    """Once in a slice: beyond four fifths, however many bytes come at once."""
    limits = JournalLimits(1_000, 2_000)
    for size in (0, 1_600, 1_601, 1_900, 2_000):
        limits.check(asked(1, size), REF)

    assert warnings(caplog) == ["has recorded 1,601 bytes of outcomes; at 2,000 it fails: see wf.continue_as_new"]


def test_an_outcome_is_counted_once() -> None:
    """However often it is read; what takes its place counts instead."""
    journal = asked(1, 50)
    for size in (50, 50, 20):
        journal.keep(Entry("step#1", "value", 1, 1, {"k": "step", "d": "", "o": 0}, b"x" * size))

    assert journal.size == 20


def test_a_check_of_code_has_no_limits(caplog: pytest.LogCaptureFixture) -> None:
    """It is told of a run's journal what there is."""
    NO_LIMITS.check(asked(2_000, 100_000), REF)

    assert warnings(caplog) == []
