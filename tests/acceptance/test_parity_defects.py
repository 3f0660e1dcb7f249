"""Defects of the Go package that ours must not have, where no other test shows that it has not.

The numbers are those of the table "Defects that may not come back" in `docs/parity.md`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery
from pydantic import BaseModel

from dispatch_celery import Dispatch, Retry, Workflow
from dispatch_celery.testing import Kit

MINUTE = 60
ONCE = Retry(1)


class Paid(BaseModel):
    """An event."""

    by: str
    amount: int = 0


@pytest.fixture
def dispatch() -> Dispatch:
    """Return an app without jobs or workflows; nobody listens at its broker."""
    return Dispatch(Celery("parity", broker="redis://127.0.0.1:1/0"))


@pytest.fixture
def kit(dispatch: Dispatch, server_url: str) -> Iterator[Kit]:
    """Lend the app to a test, in a namespace of its own."""
    with Kit(dispatch, server_url) as made:
        yield made


# -- lost or stuck


def test_a_wait_sees_more_than_the_oldest_few_events(dispatch: Dispatch, kit: Kit) -> None:
    """Defect 3, only the 10 oldest entries of a name were looked at: the newest of 300 is found, and all are heard."""
    count = 300
    numbers = dispatch.event("numbers", int)

    @dispatch.workflow
    def hears(wf: Workflow) -> list[int]:
        wf.sleep(MINUTE)
        newest = wf.wait_for_event(numbers, where=lambda number: number == count - 1)
        return [newest, *[wf.wait_for_event(numbers) for _ in range(count - 1)]]

    run = hears.start()
    kit.drain()
    for number in range(count):
        dispatch.events.publish(numbers, number)

    assert kit.result(run) == [count - 1, *range(count - 1)]


def test_an_event_is_taken_in_the_write_that_records_it(dispatch: Dispatch, kit: Kit) -> None:
    """Defect 7, an event acknowledged and not yet on record was lost: no crash around a wait loses or doubles one."""
    paid = dispatch.event("paid", Paid)

    @dispatch.workflow
    def pays(wf: Workflow) -> list[str]:
        for name in ("ann", "bob", "cid"):
            wf.publish(paid, Paid(by=name))
        first = wf.wait_for_event(paid)
        either = wf.wait_for_any(wf.event(paid), wf.event("refused"))
        (last,) = wf.wait_for_all(wf.event(paid)) or ()
        nobody = wf.wait_for_event(paid, timeout=MINUTE)
        assert either is not None
        return [first.by, either.payload.by, last.payload.by, str(nobody)]

    report = kit.crash_everywhere(pays)

    report.assert_all_completed()
    report.assert_same_outcome()
    assert report.undisturbed.result == ["ann", "bob", "cid", "None"]
    assert {crash.call for crash in report.crashes} >= {"runs/record paid#1", "runs/record wait_for_any#1"}


# -- half undone


def test_a_run_that_undoes_never_goes_forward_again(dispatch: Dispatch, kit: Kit) -> None:
    """Defect 21, a crash while undoing tried the failed step again, and the run completed with effects undone.

    The step would succeed the second time. In each world the run has completed and undone nothing, or it has failed and
    undone every effect.
    """

    def take_back(result: str | None, name: str) -> None:
        kit.effect(f"{name} back")

    @dispatch.step(retry=ONCE, undo=take_back)
    def take(name: str) -> str:
        kit.effect(name)
        return name

    @dispatch.step(retry=ONCE)
    def ship() -> None:
        if kit.effect("ship") == 1:
            raise ConnectionError("the first time")

    @dispatch.workflow
    def order(wf: Workflow) -> None:
        wf.step(take, "seat")
        wf.step(take, "money")
        wf.step(ship)

    report = kit.crash_everywhere(order)

    assert report.undisturbed.state == "failed"
    assert "completed" in {crash.state for crash in report.crashes}
    for crash in (report.undisturbed, *report.crashes):
        undone = [crash.effects.get(f"{name} back", 0) > 0 for name in ("seat", "money")]
        assert undone == [crash.state == "failed"] * 2, f"{crash.when} {crash.call}: {crash.state}, {crash.effects}"


# -- told apart by the bare name


def test_the_same_name_again_is_another_call(dispatch: Dispatch, kit: Kit) -> None:
    """Defect 23, a second use of a name was skipped: steps in loops, sleeps, children and waits each happen again."""
    paid = dispatch.event("paid", Paid)

    @dispatch.step
    def tick() -> int:
        return kit.effect("ticks")

    @dispatch.workflow(name="child")
    def child(wf: Workflow, n: int) -> int:
        return wf.step(tick) + 10 * n

    @dispatch.workflow
    def repeats(wf: Workflow) -> list[int | str]:
        told: list[int | str] = []
        for n in range(3):
            told.append(wf.step(tick))
            wf.sleep(MINUTE)
            told += [wf.run_child(child, n), wf.wait_for_event(paid).by]
        return told

    run = repeats.start()
    for name in ("ann", "bob", "cid"):
        dispatch.events.publish(paid, Paid(by=name))

    assert kit.result(run) == [1, 2, "ann", 3, 14, "bob", 5, 26, "cid"]
    assert len(kit.runs_started(child)) == 3
    calls = ["tick#1", "sleep#1", "child#1", "paid#1", "tick#2", "sleep#2", "child#2", "paid#2"]
    kit.assert_run(run, calls=[*calls, "tick#3", "sleep#3", "child#3", "paid#3"])


def test_no_name_is_taken_for_one_of_the_engine(dispatch: Dispatch, kit: Kit) -> None:
    """Defect 23, names of users met keys of the engine: steps may be called as its own calls are."""
    names = ["sleep", "now", "gather", "publish", "wait:paid", "sleep:1", "child:child", "compensate"]

    @dispatch.step
    def echo(name: str) -> str:
        return f"step {name}"

    @dispatch.workflow
    def bold(wf: Workflow) -> list[str]:
        told = []
        for name in names:
            told.append(wf.step(echo.options(name=name), name))
            wf.sleep(MINUTE)
            wf.now()
            wf.gather(echo.bind("gathered"))
            wf.publish("paid")
        return told

    with kit.always_replay():
        assert kit.result(bold.start()) == [f"step {name}" for name in names]


# -- waits for one of several


def test_an_event_that_does_not_suit_holds_up_no_other(dispatch: Dispatch, kit: Kit) -> None:
    """Defect 24, one that did not match hid those behind it, and was asked about without end.

    The run is taken up once for each event that comes, and rests in between.
    """
    paid = dispatch.event("paid", Paid)
    asked: list[int] = []

    def is_large(one: Paid) -> bool:
        asked.append(one.amount)
        return one.amount > 100

    @dispatch.workflow
    def choosy(wf: Workflow) -> str:
        return wf.wait_for_event(paid, where=is_large, timeout=MINUTE).by

    run = choosy.start()
    kit.drain()
    for amount in (1, 2, 3):
        dispatch.events.publish(paid, Paid(by="poor", amount=amount))
        assert [one.state for one in kit.drain()] == ["waiting"]
    dispatch.events.publish(paid, Paid(by="rich", amount=500))

    assert kit.result(run) == "rich"
    assert sorted(set(asked)) == [1, 2, 3, 500]
    assert len(asked) <= 8


@pytest.mark.parametrize("verb", ["any", "all"])
def test_a_wait_for_several_that_is_out_of_time_is_none_on_every_pass(verb: str, dispatch: Dispatch, kit: Kit) -> None:
    """Defect 24, whether a timeout was an error depended on who noticed it first: it is None, recorded, and repeated.

    What comes later is another wait's.
    """

    @dispatch.workflow
    def patient(wf: Workflow) -> list[str]:
        events = [wf.event(name, type=str) for name in ("one", "two", "three")]
        waits = wf.wait_for_any if verb == "any" else wf.wait_for_all
        told = [str(waits(*events, timeout=MINUTE))]
        wf.sleep(2 * MINUTE)
        return [*told, wf.wait_for_event("one", type=str)]

    run = patient.start()
    kit.advance(MINUTE * 2)
    dispatch.events.publish("one", "late")

    assert kit.result(run) == ["None", "late"]


def test_the_end_of_a_process_is_no_timeout(dispatch: Dispatch, kit: Kit) -> None:
    """Defect 24, a wait that was shut down was recorded as out of time: only the time that is stored ends a wait."""

    @dispatch.workflow
    def says(wf: Workflow) -> None:
        wf.sleep(MINUTE / 2)
        wf.publish("two", "in time")

    @dispatch.workflow
    def patient(wf: Workflow) -> str:
        wf.spawn_child(says)
        got = wf.wait_for_any(wf.event("one", type=str), wf.event("two", type=str), timeout=MINUTE)
        return "nobody" if got is None else got.payload

    report = kit.crash_everywhere(patient)

    report.assert_all_completed()
    assert {crash.result for crash in report.crashes} == {"in time"}


def test_waiting_for_all_of_one_is_waiting_for_it(dispatch: Dispatch, kit: Kit) -> None:
    """Defect 24, with a single name the wait and its member had one key, and a crash in between failed the run."""

    @dispatch.workflow
    def lonely(wf: Workflow) -> list[str]:
        wf.publish("one", "first")
        (got,) = wf.wait_for_all(wf.event("one", type=str)) or ()
        wf.sleep(MINUTE)
        return [got.payload]

    report = kit.crash_everywhere(lonely)

    report.assert_all_completed()
    report.assert_same_outcome()
    assert report.undisturbed.result == ["first"]
