"""Gauges of limits and of cron: true at each look, with few labels, and in a bounded number of commands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dispatch_celery import Dispatch, PerKey
from dispatch_celery.clock import from_ms
from dispatch_celery.cron.census import CronCensus, take_cron_census
from dispatch_celery.cron.model import CronState
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.ids import CronId
from dispatch_celery.queues.census import LimitCensus, take_limit_census
from dispatch_celery.store.replies import ask, ask_all
from dispatch_celery.store.scripts import Call
from dispatch_celery.telemetry import prometheus
from dispatch_celery.telemetry.gauges import Gauges
from dispatch_celery.telemetry.names import OTHER, Labels
from dispatch_celery.telemetry.picture import Picture, folded, take_picture
from dispatch_celery.testing import Kit
from tests.support.crons import MINUTE, CronWorld, cron_world

HOSTILE = (
    'say"hi"',
    "back\\slash",
    "{}=,~",
    "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET}",
    "\N{SNOWMAN}" * 60,
    "other",
    "a:b:9",
    "job:x",
)

app = Celery("gauged", broker="redis://127.0.0.1:1/0", set_as_current=False)
dispatch = Dispatch(app)


@dispatch.job(name="gauged.send", queue="mail", limit_key=lambda arguments: str(arguments["to"]))
def send(to: str) -> str:
    """Send nothing."""
    return to


@pytest.fixture
def kit(server_url: str) -> Iterator[Kit]:
    """Return a kit that executes in this process."""
    with Kit(dispatch, server_url) as made:
        yield made


@pytest.fixture
def world(server_url: str, namespace: str) -> Iterator[CronWorld]:
    """Return an app with cron entries, under a clock of its own."""
    with cron_world(server_url, namespace) as made:
        yield made


class Counting:
    """A way to the server that counts trips and commands."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.trips = self.commands = 0

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send, and count."""
        self.trips += 1
        self.commands += len(calls)
        replies: list[Any] = self._store.execute(calls)
        return replies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def scraped(source: Any, *, max_labels: int = 500) -> dict[tuple[str, str], float]:
    """Return what Prometheus reads: name and label to value."""
    registry = CollectorRegistry()
    registry.register(prometheus.StateCollector(source, max_labels=max_labels))
    return {
        (sample.name.removeprefix("dispatch_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def observed(source: Any) -> dict[tuple[str, str], float]:
    """Return what OpenTelemetry reads from a process that leads."""
    mine = InMemoryMetricReader()
    meter = MeterProvider([mine]).get_meter("test")
    gauges = Gauges(meter, look=lambda: take_picture(source), queues=Labels(), limits=Labels())
    gauges.on_worker_joined("wrk_1")
    gauges.on_leader_changed("wrk_1")
    data = mine.get_metrics_data()
    return {
        (metric.name, "".join(str(value) for value in (point.attributes or {}).values())): getattr(point, "value", 0.0)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_a_child_of_the_process_that_leads_observes_nothing() -> None:
    """It is forked with all that its parent knows, to take the place of one that died: the fleet is measured once."""
    looks: list[int] = []

    def look() -> Picture:
        looks.append(1)
        raise StoreUnavailable("not looked at")

    reader = InMemoryMetricReader()
    gauges = Gauges(MeterProvider([reader]).get_meter("test"), look=look, queues=Labels(), limits=Labels())
    gauges.on_worker_joined("wrk_1")
    gauges.on_leader_changed("wrk_1")
    child = os.fork()
    if not child:
        reader.get_metrics_data()
        os._exit(len(looks))
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    reader.get_metrics_data()
    assert looks


def of_limit(seen: Mapping[tuple[str, str], float], limit: str) -> dict[str, float]:
    """Return the figures of one limit."""
    return {
        name.removeprefix("limit_"): value
        for (name, label), value in seen.items()
        if label == limit and name.startswith("limit_")
    }


def hand_out(kit: Kit) -> None:
    """Let the leader carry every word between jobs and limits, and nobody run."""
    for _ in range(5):
        kit._world._permits.run_once()


# -- limits


def test_a_limit_is_shown_with_who_holds_it_and_who_waits(kit: Kit) -> None:
    """Its amounts, its permits, its line, and for how long the first waits."""
    dispatch.queues.limit("mail", concurrency=2, rate="120/m", burst=9)
    hand_out(kit)
    for number in range(5):
        send.enqueue(str(number))
    assert scraped(dispatch)["permits_under_way", ""] == 5
    hand_out(kit)
    clock = kit._world.clock
    clock.move_to(clock.ms + 7_000)

    seen = scraped(dispatch)
    assert of_limit(seen, "queue:mail") == {
        "concurrency": 2,
        "rate": 2,
        "permits": 2,
        "waiting": 3,
        "oldest_seconds": 7,
        "paused": 0,
    }
    assert seen["permits_under_way", ""] == 0
    assert seen["jobs", "limited"] == 3
    told = observed(dispatch)
    assert told["dispatch.limit.waiting", "queue:mail"] == 3
    assert told["dispatch.limit.oldest", "queue:mail"] == 7
    kit.drain()
    kit.advance(10)
    assert of_limit(scraped(dispatch), "queue:mail")["waiting"] == 0
    assert of_limit(scraped(dispatch), "queue:mail")["permits"] == 0


def test_a_pause_is_shown_and_amounts_nobody_set_are_not(kit: Kit) -> None:
    """Of a queue and of a job name; a limit that is lifted leaves no series behind."""
    dispatch.queues.pause("mail")
    dispatch.queues.limit(job="gauged.send", rate="1/s")

    seen = scraped(dispatch)
    assert of_limit(seen, "queue:mail") == {"permits": 0, "waiting": 0, "oldest_seconds": 0, "paused": 1}
    assert of_limit(seen, "job:gauged.send")["rate"] == 1
    assert ("dispatch.limit.concurrency", "queue:mail") not in observed(dispatch)
    dispatch.queues.resume("mail")
    hand_out(kit)
    assert of_limit(scraped(dispatch), "queue:mail") == {}


def test_the_first_of_several_keys_is_found(kit: Kit) -> None:
    """Keys lie in the order of their names; who came first may be the last of them."""
    dispatch.queues.limit("mail", per_key=PerKey(by="key", concurrency=1), concurrency=1)
    clock = kit._world.clock
    for key in ("holder", "z", "m", "a"):
        send.enqueue(key)
        hand_out(kit)
        clock.move_to(clock.ms + 1_000)

    assert of_limit(scraped(dispatch), "queue:mail")["oldest_seconds"] == 3


def test_hostile_names_and_too_many_limits_make_no_more_series(kit: Kit) -> None:
    """Names come back as they are, beyond the bound they are ``other``, and no series is there twice."""
    names = [*HOSTILE, *(f"q{number:03}" for number in range(60))]
    for name in names:
        dispatch.queues.limit(name, concurrency=3)
        send.options(queue=name).enqueue("you")

    all_of_them = scraped(dispatch)
    few = scraped(dispatch, max_labels=10)
    for name in HOSTILE:
        assert of_limit(all_of_them, f"queue:{name}")["concurrency"] == 3, name
    labels = {label for metric, label in few if metric == "limit_concurrency"}
    assert len(labels) == 11
    assert of_limit(few, OTHER)["concurrency"] == 3 * (len(names) - 10)
    hand_out(kit)
    few = scraped(dispatch, max_labels=10)
    assert sum(value for (metric, _), value in few.items() if metric == "limit_permits") == len(names)


def test_limits_that_share_a_label_are_added_up() -> None:
    """Of two of which one has no bound, none is said; a pause of one is one, and the longest wait counts."""
    one = LimitCensus(concurrency=2, rate=None, permits=1, waiting=4, oldest=5.0, paused=False)
    other = LimitCensus(concurrency=3, rate=1.5, permits=2, waiting=1, oldest=9.0, paused=True)

    assert folded({"queue:a": one, "queue:b": other}, Labels(cap=0)) == {
        OTHER: LimitCensus(concurrency=5, rate=None, permits=3, waiting=5, oldest=9.0, paused=True)
    }


def test_a_look_at_limits_costs_the_same_however_many_wait(kit: Kit) -> None:
    """Three trips and a handful of commands for each limit; tenants with weights of their own are not read."""
    weights = {f"tenant{number}": 2.0 for number in range(500)}
    dispatch.queues.limit("mail", concurrency=1, per_key=PerKey(by="key", weights=weights))
    for number in range(200):
        send.enqueue(f"tenant{number}")
    hand_out(kit)
    store = Counting(dispatch._parts.store)

    found = take_limit_census(store, dispatch._parts.keys)
    assert found.limits["queue:mail"].waiting == 199
    assert (store.trips, store.commands) == (3, 4 + 4 + 1)


# -- cron


def test_entries_are_counted_by_state(world: CronWorld) -> None:
    """Enabled, disabled, orphaned and finished; the leader of cron and its term beside them."""
    for number in range(3):
        world.register(name=f"e{number}")
    world.dispatch.crons.disable("e1")
    world.register(name="short", end=from_ms(world.now) + timedelta(minutes=1))
    code = world.register(name="lost")
    ask_all(
        world.parts.store,
        [
            Call.command("HSET", world.parts.keys.cron(code.id), "orphaned_at", world.now),
            Call.command("ZREM", world.parts.keys.cron_slots, code.id),
        ],
    )
    before = scraped(world.dispatch)
    assert before["cron_leader", ""] == 0
    world.after(MINUTE)

    seen = scraped(world.dispatch)
    states = {state: seen["crons", state] for state in CronState}
    assert states == {CronState.ENABLED: 2, CronState.DISABLED: 1, CronState.ORPHANED: 1, CronState.FINISHED: 1}
    assert (seen["cron_leader", ""], seen["cron_leader_term", ""]) == (1, 1)
    told = observed(world.dispatch)
    assert told["dispatch.crons", "orphaned"] == 1
    assert told["dispatch.cron.leader", ""] == 1


def test_a_lead_from_before_the_clock_was_set_back_is_none(world: CronWorld) -> None:
    """Anybody may take it; it is not shown as held until the old time has come again."""
    world.register()
    world.after(MINUTE)
    assert scraped(world.dispatch)["cron_leader", ""] == 1

    world.passes(-60 * MINUTE)

    assert scraped(world.dispatch)["cron_leader", ""] == 0


def test_lateness_is_shown_while_nobody_fires_and_after(world: CronWorld) -> None:
    """What is overdue by now, and, once it was fired, how late that was; not for ever, and not by the jitter."""
    world.register()
    world.register(name="jittered", schedule="* * * * *", jitter=20)
    world.passes(MINUTE)
    world.fire()
    assert scraped(world.dispatch)["cron_overdue_seconds", ""] == 0
    due = int(ask(world.parts.store, Call.command("ZRANGE", world.parts.keys.cron_slots, 0, 0, "WITHSCORES"))[1])
    world.parts.time.now = due + 12_000

    assert scraped(world.dispatch)["cron_overdue_seconds", ""] == 12
    assert observed(world.dispatch)["dispatch.cron.overdue", ""] == 12
    world.fire()
    seen = scraped(world.dispatch)
    assert seen["cron_overdue_seconds", ""] == 0
    assert seen["cron_late_seconds", ""] == 12
    world.dispatch.crons.disable("jittered")
    world.dispatch.crons.trigger("e")
    world.passes(6 * MINUTE)
    assert scraped(world.dispatch)["cron_late_seconds", ""] == 0


def test_ten_thousand_entries_are_not_read(world: CronWorld) -> None:
    """The look asks their indexes, and the last fires of those that are due next."""
    store, keys = world.parts.store, world.parts.keys
    ids = [CronId.adopt(f"e{number}") for number in range(10_000)]
    pairs: list[str | int] = [word for number, one in enumerate(ids) for word in (world.now + number, one)]
    ask_all(
        store, [Call.command("ZADD", keys.crons, *pairs), Call.command("ZADD", keys.cron_slots, *pairs[: 2 * 9_990])]
    )
    ask(store, Call.command("HSET", keys.cron(ids[-1]), "enabled", "1", "orphaned_at", 1))
    counting = Counting(store)

    seen = take_cron_census(counting, keys, world.now + 5_000)
    assert (seen.states[CronState.ENABLED], seen.states[CronState.ORPHANED], seen.overdue) == (9_990, 1, 5.0)
    assert (counting.trips, counting.commands) == (3, 5 + 1 + 400 + 1 + 10)
    ask(store, Call.command("ZREMRANGEBYRANK", keys.cron_slots, 0, 4_999))
    resting = take_cron_census(counting, keys, world.now)
    assert (resting.states[CronState.ENABLED], resting.states["resting"]) == (4_990, 5_010)
    ask(store, Call.command("DEL", keys.crons, keys.cron_slots, keys.cron(ids[-1])))


def test_where_there_is_nothing_nothing_is_late(world: CronWorld) -> None:
    """No entry, no lead, no limit."""
    assert world.dispatch.crons.census() == CronCensus(
        states=dict.fromkeys(CronState, 0), overdue=0.0, late=0.0, leader="", term=0
    )
    assert world.dispatch.queues.census().limits == {}
