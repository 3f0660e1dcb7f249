"""The journal: what a run has recorded, under identities that program order gives, and what the code asks for."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from dispatch_celery.errors import NonDeterminism, Suspended
from dispatch_celery.ids import RunId
from dispatch_celery.retry import Retry
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.holder import Holder
from dispatch_celery.workflows.journal import Branch, Entry, Journal, digest_of, rest_of
from dispatch_celery.workflows.model import RunRef

ARGUMENTS = b'{"n":1}'


def stored(identity: str, place: int, *, kind: str = "step", status: str = "value", seq: int = 0) -> Entry:
    """Return an entry as it comes from the server."""
    head = {"k": kind, "d": digest_of(ARGUMENTS), "o": place}
    data = f"{status} {seq} 5 ".encode() + rest_of(head, b'"done"')
    return Entry.parse(identity, data)


def journal(*identities: str) -> Journal:
    """Return the journal of a run that made these steps, one after the other."""
    return Journal([stored(identity, place) for place, identity in enumerate(identities)])


def asked(journal: Journal, branch: Branch, name: str, *, kind: str = "step", arguments: bytes = ARGUMENTS) -> Any:
    """Return what is recorded of the code's next call."""
    return journal.ask(branch, name, kind, digest_of(arguments))[2]


def test_an_entry_is_read_as_it_was_stored() -> None:
    """The server's three words, the head and the payload come apart again, whatever the payload holds."""
    entry = Entry.parse("pay#1", b"error 7 1700000000000 " + rest_of({"k": "step", "o": 2}, b'{"a": " \\n"}\n\xff'))

    assert (entry.status, entry.seq, entry.at) == ("error", 7, 1_700_000_000_000)
    assert (entry.head, entry.payload) == ({"k": "step", "o": 2}, b'{"a": " \\n"}\n\xff')
    assert entry.shown == "step pay#1"


@pytest.mark.parametrize(
    ("status", "resolved"),
    [
        ("value", True),
        ("error", True),
        ("timeout", True),
        ("sleeping", False),
        ("awaiting", False),
        ("retrying", False),
    ],
)
def test_an_entry_is_resolved_by_an_outcome(status: str, *, resolved: bool) -> None:
    """A value, an error and a timeout never change; what is open may."""
    assert stored("pay#1", 0, status=status).is_resolved is resolved


def test_identities_count_each_name_in_program_order() -> None:
    """The n-th use of a name is ``name#n``, and every call has the next place of its branch."""
    branch = Branch()

    assert [branch.take(name) for name in ("pay", "ship", "pay", "sleep", "pay")] == [
        ("pay#1", 0),
        ("ship#1", 1),
        ("pay#2", 2),
        ("sleep#1", 3),
        ("pay#3", 4),
    ]


def test_branches_count_apart() -> None:
    """A branch has its path before its names, and places of its own."""
    assert [Branch("all#1.0/").take("pay"), Branch("all#1.1/").take("pay"), Branch().take("pay")] == [
        ("all#1.0/pay#1", 0),
        ("all#1.1/pay#1", 0),
        ("pay#1", 0),
    ]


def test_a_replay_is_answered_call_by_call() -> None:
    """What was recorded is found in its order; the first call beyond it is not."""
    book, branch = journal("pay#1", "pay#2", "ship#1"), Branch()

    found = [asked(book, branch, name) for name in ("pay", "pay", "ship", "tell")]

    assert [entry and entry.identity for entry in found] == ["pay#1", "pay#2", "ship#1", None]
    book.check_end(branch)


def test_the_order_of_outcomes_does_not_matter_to_a_replay() -> None:
    """Entries come in any order: places tell theirs."""
    book, branch = Journal([stored("ship#1", 1, seq=1), stored("pay#1", 0, seq=2)]), Branch()

    assert asked(book, branch, "pay").identity == "pay#1"
    assert asked(book, branch, "ship").identity == "ship#1"


def test_what_is_recorded_meanwhile_is_kept() -> None:
    """An outcome replaces the open entry of its call."""
    book, branch = Journal([stored("sleep#1", 0, kind="sleep", status="sleeping")]), Branch()
    book.keep(stored("sleep#1", 0, kind="sleep"))

    assert asked(book, branch, "sleep", kind="sleep").is_resolved


@pytest.mark.parametrize(
    ("name", "kind", "arguments", "why"),
    [
        ("ship", "step", ARGUMENTS, r"the code calls step ship#1 where step pay#1 is recorded"),
        ("pay", "sleep", ARGUMENTS, r"the code calls sleep pay#1 where step pay#1 is recorded"),
        ("pay", "step", b'{"n":2}', r"the code calls step pay#1 with other arguments where step pay#1 is recorded"),
    ],
    ids=["name", "kind", "arguments"],
)
def test_another_call_than_the_recorded_one_is_told_with_both_sequences(
    name: str, kind: str, arguments: bytes, why: str
) -> None:
    """The error says what differs at which place, what is recorded, and what the code asked for."""
    with pytest.raises(NonDeterminism, match=why) as error:
        asked(journal("pay#1", "tell#1"), Branch(), name, kind=kind, arguments=arguments)

    assert f"recorded: step pay#1, step tell#1\ncode:     {kind} {name}#1" in str(error.value)


def test_another_order_is_told_where_it_begins() -> None:
    """Two calls that changed places differ at the first of them."""
    book, branch = journal("read#1", "pay#1", "ship#1"), Branch()
    asked(book, branch, "read")

    with pytest.raises(NonDeterminism, match="the code calls step ship#1 where step pay#1 is recorded") as error:
        asked(book, branch, "ship")
    assert "code:     step read#1, step ship#1" in str(error.value)


def test_a_call_put_in_front_shifts_the_rest() -> None:
    """A new first call meets the old first entry."""
    with pytest.raises(NonDeterminism, match="the code calls step check#1 where step pay#1 is recorded"):
        asked(journal("pay#1"), Branch(), "check")


def test_long_sequences_are_told_around_the_difference() -> None:
    """What is alike before, and what comes much later, is counted: the record of a parked run stays small."""
    long = journal(*[f"pay#{n}" for n in range(1, 1_001)])
    branch = Branch()
    for _ in range(500):
        asked(long, branch, "pay")

    with pytest.raises(NonDeterminism) as told:
        asked(long, branch, "ship")
    assert "recorded: ... 495 alike, step pay#496," in str(told.value)
    assert str(told.value).endswith("step pay#500, step ship#1")
    assert "step pay#515, ... 485 more" in str(told.value)


def test_an_end_before_the_recorded_end_is_told() -> None:
    """Code that asks for less than is recorded has lost calls: the first of them is named."""
    book, branch = journal("pay#1", "ship#1", "tell#1"), Branch()
    asked(book, branch, "pay")

    with pytest.raises(NonDeterminism, match="the code ended where step ship#1 is recorded") as error:
        book.check_end(branch)
    assert "recorded: step pay#1, step ship#1, step tell#1\ncode:     step pay#1" in str(error.value)


def test_a_run_without_entries_may_end_at_once() -> None:
    """Nothing recorded, nothing missing."""
    Journal([]).check_end(Branch())


def test_the_replay_ends_with_the_last_entry() -> None:
    """Whether the code is among what is recorded changes behind the last entry, gaps or not."""
    book, branch = Journal([stored("pay#1", 1)]), Branch()
    seen = [book.recorded_after(branch)]
    for name, kind in (("uuid", "uuid"), ("pay", "step")):
        asked(book, branch, name, kind=kind)
        seen.append(book.recorded_after(branch))

    assert seen == [True, True, False]


def test_a_call_that_records_nothing_keeps_its_place() -> None:
    """A uuid follows from its identity: the gap it leaves is neither an entry nor a difference."""
    book, branch = Journal([stored("pay#1", 1)]), Branch()

    assert asked(book, branch, "uuid", kind="uuid", arguments=b"") is None
    assert asked(book, branch, "pay").identity == "pay#1"
    book.check_end(branch)


@pytest.mark.parametrize("name", ["pay", "ship"])
def test_a_call_taken_out_of_a_gap_is_a_difference(name: str) -> None:
    """Code that lost its uuid must not repeat, or put in, a step where later ones are recorded."""
    book = Journal([stored("pay#1", 1)])

    with pytest.raises(NonDeterminism):
        asked(book, Branch(), name)


def replay(*entries: Entry) -> Engine:
    """Return the engine of a run that repeats what is recorded, and has nothing to record with."""
    claim = RunClaim(
        ref=RunRef(id=RunId.mint(), name="flow", queue="q", priority=0),
        holder="w",
        token="1.a",  # noqa: S106 - a fencing token is no password
        claimed_at=0,
        payload=b"{}",
        spec=b"{}",
        revision=0,
        generation=0,
        crashes=0,
        lost_workers=0,
        cancel="",
        created_at=0,
        entries=list(entries),
    )
    nothing = cast("Any", None)
    holder = Holder(claim, store=nothing, seat=nothing)
    return Engine(holder, runner=nothing, fleet=nothing, topics=nothing, step_retry=Retry(1), max_payload=1_024)


def change(name: str, place: int) -> Entry:
    """Return the entry of a run that took changed code."""
    head = {"k": "patched", "d": digest_of(b""), "o": place}
    return Entry.parse(f"patched-{name}#1", b"value 0 5 " + rest_of(head, b"true"))


def test_a_run_that_had_passed_a_change_keeps_the_old_code() -> None:
    """A patched place of which nothing is recorded takes no place: what follows is found as before."""
    engine = replay(stored("pay#1", 0), stored("ship#1", 1))

    assert engine.patched("a") is False
    assert asked(engine.journal, engine.root, "pay").identity == "pay#1"
    assert engine.patched("b") is False
    assert asked(engine.journal, engine.root, "ship").identity == "ship#1"


def test_a_run_that_took_a_change_takes_it_again() -> None:
    """A recorded patched place answers as it did."""
    engine = replay(stored("pay#1", 0), change("a", 1), stored("ship#1", 2))
    asked(engine.journal, engine.root, "pay")

    assert engine.patched("a") is True
    assert asked(engine.journal, engine.root, "ship").identity == "ship#1"


def test_a_change_before_another_keeps_them_apart() -> None:
    """A run that took one change knows nothing of a later one at the same place."""
    engine = replay(change("first", 0), stored("pay#1", 1))

    assert engine.patched("second") is False
    assert engine.patched("first") is True
    assert asked(engine.journal, engine.root, "pay").identity == "pay#1"


def test_a_digest_tells_arguments_apart() -> None:
    """Equal bytes are equal, others are not."""
    assert digest_of(b"a") == digest_of(b"a") != digest_of(b"b")
    assert json.loads(rest_of({"d": digest_of(b"a")})) == {"d": digest_of(b"a")}


def test_a_difference_that_the_code_catches_still_stops_it() -> None:
    """Nothing after it becomes durable, and however the function ends, the difference is what is told."""
    engine = replay(stored("pay#1", 0))
    with pytest.raises(NonDeterminism):
        engine.sleep(5)

    for call in (lambda: engine.sleep(5), lambda: engine.fact("now", int), lambda: engine.derived("uuid")):
        with pytest.raises(Suspended):
            call()
    for look in (engine.check_rest, engine.check_end):
        with pytest.raises(NonDeterminism, match="where step pay#1 is recorded"):
            look()
