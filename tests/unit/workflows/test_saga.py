"""What a run has done, as its holder undoes it: in which order, with what, how often, and what stops it.

The server's part is in ``tests/lua/test_runs_undo.py``; here a notebook takes what the holder writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from dispatch_celery import Cancel, Fail, RetryAfter
from dispatch_celery.errors import Fenced
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.retry import Constant, Retry
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.holder import Holder, Paused, Stuck, Unwound
from dispatch_celery.workflows.journal import Entry, Journal, rest_of
from dispatch_celery.workflows.saga import Saga
from dispatch_celery.workflows.service import RunService
from dispatch_celery.workflows.steps import StepCall, StepContext
from dispatch_celery.workflows.undo import Undo

called: list[tuple[Any, ...]] = []
"""What the undos of this module were called with."""
raises: list[BaseException] = []
"""What they raise, one after the other."""


def release(result: int | None, name: str) -> None:
    """Tell what it was given, and raise what is next."""
    called.append((name, result))
    if raises:
        raise raises.pop(0)


def refund(result: Decimal | None, *, big: int, small: float) -> None:
    """Take numbers."""
    called.append((result, big, small))


def forget(name: str) -> None:
    """Take no result."""
    called.append((name,))


class Notebook:
    """Takes a holder's writes, or refuses them."""

    def __init__(self) -> None:
        self.seq = 0
        self.written: list[tuple[str, str]] = []
        self.rests: list[bytes] = []
        self.promises: list[bytes] = []
        self.revisions: list[int] = []
        self.answer: list[str] | None = None

    def intend(self, claim: RunClaim, identity: str, rest: bytes, *, promise: bytes = b"") -> list[str]:
        """Note an intent."""
        self.seq += 10
        self.written.append(("open", identity))
        self.promises.append(promise)
        return self._kept(claim, rest) or ["DONE", str(self.seq), "0"]

    def _kept(self, claim: RunClaim, rest: bytes) -> list[str] | None:
        self.revisions.append(claim.revision)
        self.rests.append(rest)
        return self.answer

    def undo(self, claim: RunClaim, identity: str, status: str, rest: bytes) -> list[str]:
        """Note how an undo went."""
        self.written.append((status, identity))
        return self._kept(claim, rest) or ["DONE", "0"]


class Seat:
    """Where the holder sits."""

    def __init__(self) -> None:
        self.is_trusted, self.is_cancelled = True, False

    def trusted(self) -> bool:
        """Whether the lease stands."""
        return self.is_trusted

    def cancelled(self) -> bool:
        """Whether it was asked to cancel."""
        return self.is_cancelled


class Here:
    """Runs an undo where it stands, and keeps what it may know of itself."""

    def __init__(self) -> None:
        self.contexts: list[StepContext] = []

    def run(self, call: StepCall, context: StepContext) -> Any:
        """Call the function."""
        self.contexts.append(context)
        args, kwargs = call.definition.typed.call(call.arguments)
        return call.definition.__wrapped__(*args, **kwargs)


class Nobody:
    """A fleet to which nothing was sent."""


class Held:
    """A saga, and what is around it."""

    def __init__(
        self, undos: Sequence[Entry] = (), results: Mapping[str, bytes] | None = None, *, undoing: str = "failed"
    ) -> None:
        called.clear()
        raises.clear()
        entries = [
            Entry(name, "value", 1, 0, {"k": "step", "o": n}, data)
            for n, (name, data) in enumerate((results or {}).items())
        ]
        ref = JobRef(id="job_x", name="flow", queue="q", priority=0, scope="", idempotency_key="")  # type: ignore[arg-type]  # any reference does
        self.claim = RunClaim(
            ref=ref,
            holder="w",
            token="3.n",  # noqa: S106 - no secret
            claimed_at=0,
            payload=b"{}",
            spec=b"{}",
            revision=0,
            generation=0,
            crashes=0,
            lost_workers=0,
            cancel="",
            created_at=0,
            undoing=undoing,
            undos=list(undos),
            entries=entries,
        )
        self.notebook, self.seat, self.here = Notebook(), Seat(), Here()
        self.slept: list[float] = []
        holder = Holder(self.claim, store=self.notebook, seat=self.seat, sleep=self.slept.append)  # type: ignore[arg-type]  # what a saga needs of them
        self.saga = Saga(
            holder,
            self.here,
            Journal(entries),
            Nobody(),
            is_shutdown=lambda error: isinstance(error, GeneratorExit),  # type: ignore[arg-type]  # as above
        )


def noted(
    identity: str,
    seq: int,
    *,
    status: str = "open",
    fn: Callable[..., Any] = release,
    retry: Retry | None = None,
    result: bool = True,
    payload: bytes = b"",
    **head: Any,
) -> Entry:
    """Return an undo as a claim brings it."""
    undo = Undo.of(fn, retry=retry)
    payload = payload or b'{"name":"%s"}' % identity.encode()
    return Entry(
        identity, status, seq, 0, {"k": "undo", "f": undo.name, "r": undo.retry, "s": int(result), **head}, payload
    )


# -- order


def test_the_last_effect_is_undone_first() -> None:
    """By the places of their intents, also those noted under this claim; each is recorded before the next begins."""
    held = Held([noted("b#1", 7), noted("a#1", 3), noted("c#1", 9, status="undone"), noted("d#1", 8, status="skipped")])
    held.notebook.seq = 20
    held.saga.intend("e#1", Undo.of(release), b'{"name":"e#1"}', takes_result=True)

    held.saga.unwind()

    assert [name for name, _ in called] == ["e#1", "b#1", "a#1"]
    assert held.notebook.written == [("open", "e#1"), ("undone", "e#1"), ("undone", "b#1"), ("undone", "a#1")]
    assert held.saga.open == []
    assert (held.notebook.revisions, held.claim.revision) == ([0, 1, 2, 3], 4)


def test_an_intent_whose_reply_was_lost_keeps_its_place() -> None:
    """It comes after those before it, and before those that follow."""
    held = Held([noted("a#1", 3)])
    held.notebook.answer = ["REPEATED", "running"]
    held.saga.intend("b#1", Undo.of(release), b'{"name":"b#1"}', takes_result=True)
    held.notebook.answer = None
    held.saga.intend("c#1", Undo.of(release), b'{"name":"c#1"}', takes_result=True)

    assert [entry.identity for entry in held.saga.open] == ["c#1", "b#1", "a#1"]


def test_what_is_undone_is_not_undone_again() -> None:
    """A second time there is nothing left."""
    held = Held([noted("a#1", 3)])
    held.saga.unwind()
    held.saga.unwind()

    assert len(called) == 1


def test_an_intent_is_known_while_it_is_open() -> None:
    """What was undone or skipped is noted again by whoever has its effect again."""
    statuses = ("open", "retrying", "stuck", "undone", "skipped")
    held = Held([noted(f"{status}#1", place, status=status) for place, status in enumerate(statuses)])

    assert [status for status in statuses if held.saga.knows(f"{status}#1")] == ["open", "retrying", "stuck"]
    assert not held.saga.knows("other#1")


# -- what an undo is given


def test_an_undo_is_given_the_result_and_the_arguments() -> None:
    """None where the step has none recorded; one that belongs to no step is given its own arguments only."""
    held = Held([noted("a#1", 1), noted("b#1", 2), noted("add_undo#1", 3, fn=forget, result=False)], {"a#1": b"5"})
    held.saga.unwind()

    assert called == [("add_undo#1",), ("b#1", None), ("a#1", 5)]


def test_numbers_arrive_as_they_were() -> None:
    """Beyond 2**53, and as text where they were text."""
    payload = b'{"big":9007199254740993123456789,"small":0.1}'
    held = Held([noted("a#1", 1, fn=refund, payload=payload)], {"a#1": b'"0.10"'})
    held.saga.unwind()

    assert called == [(Decimal("0.10"), 9007199254740993123456789, 0.1)]
    assert str(called[0][0]) == "0.10"


def test_a_failed_step_has_no_result() -> None:
    """What is recorded of it is an error."""
    held = Held([noted("a#1", 1)])
    error = Entry("a#1", "error", 1, 0, {"k": "step", "o": 0}, b"{}")
    held.saga = Saga(held.saga._holder, held.here, Journal([error]), Nobody(), is_shutdown=lambda _: False)
    held.saga.unwind()

    assert called == [("a#1", None)]


def test_an_undo_knows_who_it_is() -> None:
    """Its identity is its step's, its key is the same in every attempt, its token is the claim's."""
    held = Held([noted("a#1", 1, retry=Retry(3, Constant(0)), t=2_000)])
    raises.append(ValueError("once"))
    held.saga.unwind()

    first, second = held.here.contexts
    assert (first.id, first.token, first.attempt, second.attempt) == ("undo:a#1", 3, 1, 2)
    assert first.idempotency_key == second.idempotency_key == "job_x:0:undo:a#1"
    assert first.deadline is not None


# -- attempts


def test_a_short_wait_is_waited_in_place() -> None:
    """Nothing is recorded of it; the others go on behind it."""
    held = Held([noted("a#1", 1), noted("b#1", 2, retry=Retry(3, Constant(0.7)))])
    raises.append(ValueError("once"))
    held.saga.unwind()

    assert held.slept == [0.7]
    assert held.notebook.written == [("undone", "b#1"), ("undone", "a#1")]


@pytest.mark.parametrize("error", [ValueError("not yet"), RetryAfter(5, "not yet")])
def test_a_long_wait_needs_no_worker(error: Exception) -> None:
    """The attempt is recorded and the run rests; the next claim goes on with the count."""
    policy = Retry(2, Constant(5))
    held = Held([noted("a#1", 1), noted("b#1", 2, retry=policy)])
    raises.append(error)
    with pytest.raises(Paused) as paused:
        held.saga.unwind()

    assert paused.value.delay == 5_000
    assert held.notebook.written == [("retrying", "b#1")]
    assert called == [("b#1", None)]
    again = Held([noted("a#1", 1), noted("b#1", 2, status="retrying", retry=policy, a=1)])
    raises.append(ValueError("never"))
    with pytest.raises(Stuck):
        again.saga.unwind()


@pytest.mark.parametrize("error", [Fail("no"), SystemExit("no"), KeyboardInterrupt("no")])
def test_an_undo_that_is_given_up_stops_the_rest(error: BaseException) -> None:
    """The message says why, and lists what is open, in the order in which it would have been undone."""
    held = Held([noted("a#1", 1), noted("b#1", 2)])
    raises.append(error)
    with pytest.raises(
        Stuck, match=r"the undo .*:release of b#1 was given up: .*no; still to be undone: b#1 .*, a#1 .*"
    ):
        held.saga.unwind()

    assert held.notebook.written == [("stuck", "b#1")]
    assert called == [("b#1", None)]


def test_an_undo_that_was_given_up_begins_anew() -> None:
    """A person has asked for it: with a new set of attempts."""
    held = Held([noted("b#1", 2, status="stuck", retry=Retry(2, Constant(0)), a=2)])
    raises.append(ValueError("once"))
    held.saga.unwind()

    assert [context.attempt for context in held.here.contexts] == [1, 2]
    assert held.notebook.written == [("undone", "b#1")]


def test_an_undo_that_nobody_has_stops_the_rest() -> None:
    """Nothing was tried, so nothing is recorded; the message says what is missing."""
    held = Held([noted("a#1", 1), noted("b#1", 2, f="gone_shop:release")])
    with pytest.raises(
        Stuck, match=r"the undo gone_shop:release of b#1 .*imported no function of that name.*b#1 .*, a#1"
    ):
        held.saga.unwind()

    assert held.notebook.written == called == []


@pytest.mark.parametrize("payload", [b'{"name":3}', b'{"other":"x"}', b"{}"])
def test_arguments_that_do_not_fit_any_more_are_not_tried_again(payload: bytes) -> None:
    """The undo was changed by a deploy: another attempt would fail alike."""
    held = Held([noted("b#1", 2, payload=payload)])
    with pytest.raises(Stuck, match="PayloadError"):
        held.saga.unwind()

    assert (called, held.notebook.written) == ([], [("stuck", "b#1")])


def _takes_nothing() -> None: ...


def test_a_function_that_takes_no_result_any_more_is_given_up() -> None:
    """As one whose arguments do not fit."""
    held = Held([noted("b#1", 2, fn=_takes_nothing, retry=Retry(1))])
    with pytest.raises(Stuck):
        held.saga.unwind()


def test_a_function_that_cannot_be_called_by_name_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an attempt that failed, not an error of the worker's: the run must not stay with a process that left it."""

    def starred(*everything: Any) -> None: ...

    entry = noted("b#1", 2, retry=Retry(1))
    monkeypatch.setattr("dispatch_celery.workflows.saga.find_undo", lambda _: starred)
    held = Held([entry])
    with pytest.raises(Stuck, match="cannot be stored by name"):
        held.saga.unwind()


# -- what ends it from outside


def test_a_worker_that_may_not_act_begins_no_undo() -> None:
    """Another one will."""
    held = Held([noted("a#1", 1)])
    held.seat.is_trusted = False
    with pytest.raises(Unwound) as unwound:
        held.saga.unwind()

    assert (unwound.value.why, called) == ("released", [])


def test_a_refused_record_ends_it() -> None:
    """Somebody else decides about the run: what follows is his."""
    held = Held([noted("a#1", 1), noted("b#1", 2)])
    held.notebook.answer = ["FENCED", "running"]
    with pytest.raises(Fenced):
        held.saga.unwind()

    assert called == [("b#1", None)]
    with pytest.raises(Fenced):
        held.saga.intend("c#1", Undo.of(release), b"{}", takes_result=True)


def test_what_ends_the_worker_is_no_attempt() -> None:
    """Nothing is recorded: the undo runs again elsewhere."""
    held = Held([noted("a#1", 1, retry=Retry(1))])
    raises.append(GeneratorExit())
    with pytest.raises(GeneratorExit):
        held.saga.unwind()

    assert held.notebook.written == []


def test_a_cancel_interrupts_amends_and_spends_no_attempt() -> None:
    """The run was going forward: it turns, and undoes this one again with the rest."""
    held = Held([noted("a#1", 1, retry=Retry(1))], undoing="")
    held.seat.is_cancelled = True
    raises.append(Cancel("interrupted"))
    with pytest.raises(Unwound) as unwound:
        held.saga.unwind()

    assert unwound.value.why == "cancelled"
    assert (held.claim.cancel, held.notebook.written) == ("cancelled by request", [])


def test_an_intent_is_written_as_it_will_be_read() -> None:
    """Name, policy, time and whether it takes a result: all that a process without the step needs."""
    held = Held()
    undo = Undo.of(release, retry=Retry(1), timeout_ms=2_000)
    held.saga.intend("a#1", undo, b'{"name":"x"}', takes_result=True, promise=b"asked")

    head = {"k": "undo", "f": undo.name, "r": undo.retry, "s": 1, "t": 2_000}
    assert held.notebook.promises == [b"asked"]
    assert held.notebook.rests == [rest_of(head, b'{"name":"x"}')]
    assert held.saga.open == [Entry("a#1", "open", 10, 0, head, b'{"name":"x"}')]


def test_every_verb_of_runs_has_a_twin() -> None:
    """What people do about an undo that was given up, they do from an event loop, too."""
    inner = {"start_call", "new_run", "write", "handle", "handle_of", "call_off", "take_back"}
    verbs = {name for name in dir(RunService) if not name.startswith("_") and callable(getattr(RunService, name))}
    twins = {name for name in verbs if name[0] == "a" and name[1:] in verbs}

    assert {name for name in verbs - twins if f"a{name}" not in verbs} == inner
