"""The conformance catalogue of durable functions, DF-01 to DF-27, where no other test of ours shows it.

A durable function is a workflow here, and its calls are steps, jobs and child runs. `docs/parity-functions.md` has a
row for each number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from celery import Celery

from dispatch_celery import AsyncWorkflow, Constant, Dispatch, JobCancelled, Retry, RunFailed, Workflow, current_job
from dispatch_celery.testing import Kit

MINUTE = 60
ONCE = Retry(1)


@pytest.fixture
def dispatch() -> Dispatch:
    """Return an app without jobs or workflows; nobody listens at its broker."""
    return Dispatch(Celery("parity", broker="redis://127.0.0.1:1/0"))


@pytest.fixture
def kit(dispatch: Dispatch, server_url: str) -> Iterator[Kit]:
    """Lend the app to a test, in a namespace of its own."""
    with Kit(dispatch, server_url) as made:
        yield made


@dataclass(frozen=True)
class Parcel:
    """A value of many types."""

    counts: dict[str, int]
    large: int
    raw: bytes
    at: datetime
    price: Decimal
    id: UUID
    wait: timedelta
    maybe: float | None


PARCEL = Parcel(
    counts={"one": 1, "many": 2**53 + 1},
    large=2**80,
    raw=b"\x80\x04N.\xff",
    at=datetime(2030, 3, 31, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    price=Decimal("0.10"),
    id=UUID(int=7),
    wait=timedelta(days=1, microseconds=1),
    maybe=None,
)


# -- calls and their results


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_function_returns_raises_and_takes_arguments(kind: str, dispatch: Dispatch, kit: Kit) -> None:
    """DF-01: positional and named arguments arrive, a value is the result, an error is RunFailed with its words."""

    def divided(wf: object, a: int, b: int = 2, *, label: str = "") -> str:
        return f"{label}{a / b}"

    async def adivided(wf: AsyncWorkflow, a: int, b: int = 2, *, label: str = "") -> str:
        return divided(wf, a, b, label=label)

    function: Any = dispatch.workflow(name="divided")(adivided if kind == "async" else divided)

    assert kit.result(function.start(3)) == "1.5"
    assert kit.result(function.start(a=3, b=4, label="x")) == "x0.75"
    with pytest.raises(RunFailed, match="ZeroDivisionError: division by zero"):
        kit.result(function.start(3, 0))


def test_calls_are_resumed_in_order(dispatch: Dispatch, kit: Kit) -> None:
    """DF-03: what is awaited together comes back in the order of the calls, and each goes on from its own result."""

    @dispatch.job
    def echo(word: str) -> str:
        return word

    @dispatch.workflow
    async def function(wf: AsyncWorkflow) -> list[str]:
        async def indirect(word: str) -> str:
            first = await wf.run_job(echo.options(delay=MINUTE), word)
            return await wf.run_job(echo, f"{first}!")

        return list(await asyncio.gather(indirect("a"), wf.run_job(echo, "b"), indirect("c")))

    with kit.always_replay():
        assert kit.result(function.start()) == ["a!", "b", "c!"]
    assert kit.executions == {echo.name: 5}


def test_values_survive_every_hop(dispatch: Dispatch, kit: Kit) -> None:
    """DF-19: from the caller through run, step, job and child and back, every type and digit is what it was."""

    @dispatch.step
    def in_step(value: Parcel) -> Parcel:
        assert value == PARCEL
        return value

    @dispatch.job
    def in_job(value: Parcel) -> Parcel:
        assert value == PARCEL
        return value

    @dispatch.workflow
    def in_child(wf: Workflow, value: Parcel) -> Parcel:
        wf.publish("parcel", value)
        return wf.step(in_step, value)

    @dispatch.workflow
    def function(wf: Workflow, value: Parcel) -> Parcel:
        here = wf.run_child(in_child, wf.run_job(in_job, value))
        heard = wf.wait_for_event("parcel", type=Parcel)
        assert here == heard == PARCEL
        return heard

    result = kit.result(function.start(PARCEL))

    assert result == PARCEL
    assert [type(count) for count in result.counts.values()] == [int, int]
    assert result.at.utcoffset() == timedelta(hours=5, minutes=30)


def test_an_error_shows_where_it_was_raised_two_hops_away(dispatch: Dispatch, kit: Kit) -> None:
    """DF-18: the traceback that the outermost caller is told holds the line that raised, in a step two runs below."""

    @dispatch.step(retry=ONCE)
    def deepest() -> None:
        raise KeyError("the very bottom")

    @dispatch.workflow
    def inner(wf: Workflow) -> None:
        wf.step(deepest)

    @dispatch.workflow
    def middle(wf: Workflow) -> None:
        wf.run_child(inner)

    @dispatch.workflow
    def outer(wf: Workflow) -> None:
        wf.run_child(middle)

    with pytest.raises(RunFailed, match="the very bottom") as failed:
        kit.result(outer.start())
    assert 'raise KeyError("the very bottom")' in failed.value.remote_traceback
    assert "in deepest" in failed.value.remote_traceback


# -- who calls whom


def test_a_call_tells_who_made_it(dispatch: Dispatch, kit: Kit) -> None:
    """DF-24: from any run its caller is found, and so the first of all; from there its calls are found again."""

    @dispatch.workflow(name="level")
    def level(wf: Workflow, depth: int) -> list[str]:
        return [wf.info.id, *(wf.run_child(level, depth - 1) if depth else [])]

    run = level.start(2)
    ids = kit.result(run)

    assert [dispatch.runs.get(run_id).parent for run_id in ids] == [None, ids[0], ids[1]]
    assert [[child.id for child in dispatch.runs.children(run_id)] for run_id in ids] == [[ids[1]], [ids[2]], []]
    assert ids[0] == run.id


def test_a_tail_call_is_the_same_call(dispatch: Dispatch, kit: Kit) -> None:
    """DF-15: other arguments, under the id and from the beginning that it had; its caller gets the last result."""

    @dispatch.workflow(name="counts")
    def counts(wf: Workflow, left: int, told: str = "") -> str:
        wf.sleep(MINUTE)
        if left:
            wf.continue_as_new(left - 1, f"{told}{left} ")
        return f"{told}{wf.info.id}"

    @dispatch.workflow
    def calls(wf: Workflow) -> str:
        return wf.run_child(counts, 2)

    began = kit.now
    told = kit.result(calls.start())

    (run,) = dispatch.runs.list(name="counts")
    assert told == f"2 1 {run.id}"
    assert (run.created_at, run.generation) == (began, 2)
    assert kit.now - began >= timedelta(minutes=3)


# -- time and change


def test_what_comes_too_late_changes_nothing(dispatch: Dispatch, kit: Kit) -> None:
    """DF-13: the end of a call that nobody waits for any more wakes nobody, before the run's end and after it."""

    @dispatch.job
    def late(minutes: int) -> int:
        return minutes

    @dispatch.workflow
    async def function(wf: AsyncWorkflow) -> str:
        calls = [wf.enqueue(late.options(delay=MINUTE * minutes), minutes) for minutes in (5, 20)]
        try:
            await asyncio.wait_for(calls[0], timeout=MINUTE)
        except TimeoutError:
            await wf.sleep(MINUTE * 9)
        return "gave up"

    run = function.start()
    kit.advance(MINUTE * 2)
    assert [one.name for one in kit.advance(MINUTE * 5)] == [late.name]
    assert kit.result(run) == "gave up"
    ended = dispatch.runs.get(run.id)
    assert [one.name for one in kit.advance(MINUTE * 20)] == [late.name]
    assert dispatch.runs.get(run.id) == ended


def test_a_call_that_was_not_started_in_time_is_not_made(dispatch: Dispatch, kit: Kit) -> None:
    """DF-23: ``expires`` counts from the sending, holds for later attempts too, and is told as a cancel."""

    @dispatch.job(retry=Retry(2, Constant(MINUTE)))
    def flaky() -> str:
        if current_job().attempt == 1:
            raise ValueError("not yet")
        return "in time"

    @dispatch.workflow
    def function(wf: Workflow, seconds: float) -> str:
        try:
            return wf.run_job(flaky.options(expires=seconds))
        except JobCancelled as cancelled:
            return str(cancelled)

    assert kit.result(function.start(MINUTE * 2)) == "in time"
    assert kit.result(function.start(MINUTE / 2)).endswith("was cancelled: expired before it was started")


OLD = """
def edited(wf: Workflow) -> list[str]:
    first = wf.step(note, "one")
    wf.sleep(60)
    return [first]
"""
NEW = """
# A comment above the function, other names, a call more at its end, and a change that is guarded.
async_notes = True


def edited(wf: Workflow) -> list[str]:
    said = []
    said.append(wf.step(note, "one"))
    if wf.patched("greets"):
        said.append(wf.step(note, "hello"))
    wf.sleep(timedelta(minutes=1))
    said.append(wf.step(note, "two"))
    return said
"""


def test_a_function_is_edited_while_its_run_rests(dispatch: Dispatch, kit: Kit) -> None:
    """DF-25: state is what was recorded, not code: lines, names and later calls may change under a run."""

    def note(word: str) -> str:
        return word

    def compiled(text: str) -> Any:
        names: dict[str, Any] = {**globals(), "note": note}
        exec(compile(text, "edited.py", "exec"), names)  # noqa: S102 - that is what a deploy does
        return names["edited"]

    definition = dispatch.workflow(name="edited")(compiled(OLD))
    before = definition.start()
    kit.drain()
    definition.__wrapped__ = compiled(NEW)
    after = definition.start()

    assert kit.result(before) == ["one", "two"]
    assert kit.result(after) == ["one", "hello", "two"]
    assert kit.executions == {"note": 5}
