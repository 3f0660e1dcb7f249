"""Runs that wait for events: before, during and after the wait, in real workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import EventId, PayloadError, RunId, scope
from dispatch_celery.errors import EventNotFound, StateConflict
from dispatch_celery.workflows.model import RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4"), "solo": ("-P", "solo")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.event_flows") as made:
        yield made


def publish(fleet: FlowFleet, by: str, key: str | None, *, amount: int = 0, event: str = "approved") -> str:
    """Publish an approval."""
    flows = fleet.flows
    return str(flows.dispatch.events.publish(getattr(flows, event), flows.Approval(by=by, amount=amount), key=key))


def waiting(fleet: FlowFleet, run: object) -> None:
    """Wait until a run rests."""
    eventually(lambda: run.state() == RunState.WAITING, what="it waits")  # type: ignore[attr-defined]  # a handle


@pytest.mark.parametrize("pool", POOLS)
def test_a_run_that_waits_is_woken_by_an_event(pool: str, fleet: FlowFleet) -> None:
    """Of its name and key; others wake nobody."""
    fleet.start("w1", *POOLS[pool])
    run, other = fleet.flows.waits.start("a"), fleet.flows.waits.start("b", timeout=3)
    waiting(fleet, run)

    publish(fleet, "nobody hears", "c")
    publish(fleet, "ann", "a")
    assert run.result(timeout=10) == "ann"
    assert other.result(timeout=15) == "nobody"


def test_an_event_that_came_before_the_wait_is_found(fleet: FlowFleet) -> None:
    """If it was published after the run began."""
    fleet.start()
    run = fleet.flows.later.start("l")
    eventually(lambda: fleet.effects("holds-l"), what="it is busy")
    publish(fleet, "early", "l")
    (fleet.folder / "go").touch()

    assert run.result(timeout=10) == "early"


def test_an_event_from_before_the_run_is_found_by_looking_back_only(fleet: FlowFleet) -> None:
    """A run does not take what was meant for an earlier one, unless it asks."""
    publish(fleet, "old", "o")
    fleet.start()
    assert fleet.flows.looks_back.start("o").result(timeout=15) == "None old"


def test_each_event_is_consumed_once_and_in_order(fleet: FlowFleet) -> None:
    """Two waits on one name take two events, the older first; another run takes both, too."""
    fleet.start()
    one, two = fleet.flows.twice.start("k"), fleet.flows.twice.start("k")
    for run in (one, two):
        waiting(fleet, run)
    publish(fleet, "first", "k")
    publish(fleet, "second", "k")

    assert one.result(timeout=10) == two.result(timeout=10) == ["first", "second"]


def test_a_predicate_refuses_without_consuming(fleet: FlowFleet) -> None:
    """What it passes over is taken by the wait that comes later."""
    fleet.start()
    run = fleet.flows.choosy.start("c")
    waiting(fleet, run)
    publish(fleet, "small", "c", amount=1)
    publish(fleet, "large", "c", amount=1000)

    assert run.result(timeout=10) == ["large", "small"]


def test_the_first_of_several_names_wins(fleet: FlowFleet) -> None:
    """With what was published; or nobody, when the time is up."""
    fleet.start()
    run, late = fleet.flows.either.start("e"), fleet.flows.either.start("f", timeout=0.5)
    waiting(fleet, run)
    publish(fleet, "bob", "e", event="refused")

    assert run.result(timeout=10) == "no bob"
    assert late.result(timeout=10) == "nobody"


def test_all_of_several_names_are_waited_for(fleet: FlowFleet) -> None:
    """In the order asked for; or nobody, when the time is up before the last."""
    fleet.start()
    run, late = fleet.flows.both.start("e"), fleet.flows.both.start("f", timeout=1)
    waiting(fleet, run)
    publish(fleet, "refuser", "e", event="refused")
    publish(fleet, "refuser", "f", event="refused")
    publish(fleet, "approver", "e")

    assert run.result(timeout=10) == ["approver", "refuser"]
    assert late.result(timeout=10) == ["nobody"]


def test_an_event_can_be_sent_to_one_run(fleet: FlowFleet) -> None:
    """Whatever key it waits for; other runs do not hear of it; the run need not exist yet."""
    fleet.start()
    one, two = fleet.flows.waits.start("x"), fleet.flows.waits.start("x", timeout=2)
    waiting(fleet, one)
    one.publish(fleet.flows.approved, fleet.flows.Approval(by="for you"))

    assert one.result(timeout=10) == "for you"
    assert two.result(timeout=10) == "nobody"
    unborn = RunId.mint()
    fleet.flows.dispatch.runs.publish(unborn, "numbers", [1, 2])
    numbers = fleet.flows.by_name.start()
    numbers.publish("numbers", [3])
    assert numbers.result(timeout=10) == [3]


def test_a_payload_that_does_not_fit_is_told_and_stays(fleet: FlowFleet) -> None:
    """The wait for another type is told; the next one takes it."""
    fleet.start()
    run = fleet.flows.bad.start("b")
    waiting(fleet, run)
    fleet.flows.dispatch.events.publish("free", "words", key="b")

    assert run.result(timeout=10) == "PayloadError, words"
    with pytest.raises(PayloadError, match=r"order\.approved"):
        fleet.flows.dispatch.events.publish(fleet.flows.approved, {"by": 5}, key="b")


def test_an_event_stays_in_its_scope(fleet: FlowFleet) -> None:
    """A tenant's runs hear of the tenant's events only."""
    fleet.start()
    with scope(app_id="shop", org_id="acme"):
        run = fleet.flows.waits.start("s")
    waiting(fleet, run)
    publish(fleet, "of nobody", "s")
    with scope(app_id="shop", org_id="other"):
        publish(fleet, "of another", "s")
    with scope(app_id="shop", org_id="acme"):
        publish(fleet, "of acme", "s")

    assert run.result(timeout=10) == "of acme"


def test_a_run_publishes_exactly_once(fleet: FlowFleet) -> None:
    """Also when it is replayed."""
    fleet.start()
    first = fleet.flows.speaks.start("p").result(timeout=10)
    events = fleet.flows.dispatch.events

    assert [record.payload["by"] for record in events.list(name="order.approved", key="p")] == ["me again", "me"]
    assert events.get(first).payload == {"by": "me", "amount": 0}
    assert len(events.list()) == 2
    with pytest.raises(EventNotFound):
        events.get(EventId.mint())


def test_more_events_than_a_topic_holds_are_refused(fleet: FlowFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is stored is lost for it; the message says what to do."""
    monkeypatch.setitem(vars(fleet.flows.dispatch.settings), "max_inbox", 3)
    run = fleet.flows.by_name.start()
    for number in range(3):
        run.publish("numbers", [number])

    with pytest.raises(StateConflict, match=r"holds 3 events already: nothing was stored.*dispatch_max_inbox"):
        run.publish("numbers", [3])
    fleet.start()
    assert run.result(timeout=10) == [0]


def test_a_killed_worker_loses_no_event(fleet: FlowFleet) -> None:
    """F-02: what was published while nobody lived is found by who takes the run up."""
    first = fleet.start("w1")
    run = fleet.flows.twice.start("k")
    waiting(fleet, run)
    first.kill()
    publish(fleet, "first", "k")
    publish(fleet, "second", "k")
    fleet.start("w2")

    assert run.result(timeout=25) == ["first", "second"]
