"""What is measured, with which labels, and what it costs when the backend or the state server is away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from celery import Celery
from opentelemetry import context as contexts
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from dispatch_celery import Constant, Dispatch, JobState, Retry, Workflow
from dispatch_celery.cluster.census import Census
from dispatch_celery.cron.service import CronService
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.ids import CronId, JobId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.queues.service import QueueService
from dispatch_celery.telemetry import install, names, prometheus
from dispatch_celery.telemetry.gauges import Gauges
from dispatch_celery.telemetry.instrumenting import _following
from dispatch_celery.telemetry.instruments import Timings
from dispatch_celery.telemetry.names import OTHER, Labels
from dispatch_celery.telemetry.picture import Picture, take_picture
from dispatch_celery.testing import Kit
from dispatch_celery.work.spans import follow

app = Celery("measured", broker="redis://127.0.0.1:1/0", set_as_current=False)
dispatch = Dispatch(app)
reader = InMemoryMetricReader()
provider = MeterProvider([reader])


@dispatch.job(name="mail.send", queue="mail", retry=Retry(2, Constant(60)))
def send(to: str) -> str:
    """Refuse some."""
    if to == "nobody":
        raise LookupError(to)
    return to


def look(order: str) -> str:
    """Be a step."""
    return order


@dispatch.workflow(name="checkout")
def checkout(wf: Workflow, order: str) -> str:
    """Look, rest, and end."""
    wf.step(look, order)
    wf.sleep(60)
    return order


install(dispatch, meter_provider=provider)
follow(None)  # other tests of this process are followed by nobody


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    follow(_following(dispatch))
    before = figures()
    globals()["before"] = before
    yield
    follow(None)


@pytest.fixture
def kit(server_url: str) -> Iterator[Kit]:
    """Return a kit that executes in this process."""
    with Kit(dispatch, server_url) as made:
        yield made


before: dict[Any, float] = {}


def figures() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return each series with its value, of a histogram the count."""
    data = reader.get_metrics_data()
    found: dict[Any, float] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    key = metric.name, tuple(sorted((point.attributes or {}).items()))
                    found[key] = getattr(point, "count", getattr(point, "value", 0))
    return found


def grown(name: str, **labels: str) -> float:
    """Return by how much some series have grown in this test."""
    wanted = {(key.replace("_", "."), value) for key, value in labels.items()}
    total = 0.0
    for (metric, attributes), value in figures().items():
        if metric == name and {(key.replace("_", "."), one) for key, one in attributes} >= wanted:
            total += value - before.get((metric, attributes), 0)
    return total


def test_transitions_are_counted_by_name_and_queue(kit: Kit) -> None:
    """Each once: what was enqueued, started, retried, failed and dead-lettered."""
    done, lost = send.enqueue("you"), send.enqueue("nobody")
    kit.drain()
    kit.jump()
    kit.drain()
    assert (done.state(), lost.state()) == (JobState.COMPLETED, JobState.FAILED)

    expected = {"enqueued": 2, "started": 3, "completed": 1, "retrying": 1, "failed": 1, "dead_lettered": 1}
    mine = {"dispatch.name": "mail.send", "messaging.destination.name": "mail"}
    for transition, count in expected.items():
        labels = {**mine, "dispatch.transition": transition}
        assert (transition, grown("dispatch.job.transitions", **labels)) == (transition, count)


def test_a_job_that_waits_for_a_permit_is_counted(kit: Kit) -> None:
    """Beside its enqueue."""
    dispatch.queues.pause("mail")
    send.enqueue("you")

    assert grown("dispatch.job.transitions", **{"dispatch.transition": "limited"}) == 1
    assert grown("dispatch.job.transitions", **{"dispatch.transition": "enqueued"}) == 1


def test_a_dead_letter_that_is_reopened_is_told(kit: Kit) -> None:
    """By the one who asks for it, once; it is enqueued no second time."""
    lost = send.options(retry=Retry(1)).enqueue("nobody")
    kit.drain()
    dispatch.jobs.retry(lost.id)

    assert grown("dispatch.job.transitions", **{"dispatch.transition": "reopened"}) == 1
    assert grown("dispatch.job.transitions", **{"dispatch.transition": "enqueued"}) == 1


def test_executions_are_timed_by_outcome_and_error(kit: Kit) -> None:
    """The conventions' own histogram, with the kind of the error; and how long each was ready before."""
    send.enqueue("you")
    send.enqueue("nobody")
    kit.drain()

    assert grown("messaging.process.duration", **{"dispatch.outcome": "completed"}) == 1
    failed = {"dispatch.outcome": "retrying", "error.type": "LookupError", "messaging.system": "dispatch_celery"}
    assert grown("messaging.process.duration", **failed) == 1
    assert grown("dispatch.job.wait", **{"dispatch.name": "mail.send"}) == 2


def test_runs_and_steps_are_measured(kit: Kit) -> None:
    """Slices as executions of kind run, steps by their name."""
    handle = checkout.start("o")
    kit.drain()
    kit.jump()
    kit.drain()
    assert kit.result(handle) == "o"

    for transition in ("enqueued", "started", "waiting", "resumed", "completed"):
        assert (transition, grown("dispatch.run.transitions", **{"dispatch.transition": transition})) == (transition, 1)
    assert grown("messaging.process.duration", **{"dispatch.kind": "run"}) == 2
    assert grown("dispatch.step.duration", **{"dispatch.name": "look", "dispatch.outcome": "completed"}) == 1


def test_labels_stay_few() -> None:
    """Declared names are kept, others up to a bound, and the rest is ``other``."""
    labels = Labels(lambda name: name.startswith("app."), cap=2)

    assert [labels.of(name) for name in ("a", "b", "c", "a", "app.x", "app.y")] == [
        "a",
        "b",
        OTHER,
        "a",
        "app.x",
        "app.y",
    ]


def test_names_that_are_not_declared_are_folded(kit: Kit) -> None:
    """A caller that enqueues by a thousand names makes no thousand series."""
    extension = _following(dispatch)._measures
    for number in range(500):
        extension.on_job_enqueued(JobRef(id=JobId.mint(), name=f"foreign.{number}", queue=f"q{number}"))

    series = {labels for metric, labels in figures() if metric == "dispatch.job.transitions"}
    assert len({dict(labels)[names.NAME] for labels in series}) <= 110
    assert len({dict(labels)[names.DESTINATION] for labels in series}) <= 110


def test_fires_of_cron_are_timed_by_entry(kit: Kit) -> None:
    """From due until fired; one by hand was never due, and is not late."""
    extension = _following(dispatch)._measures
    for slot in (datetime(2027, 1, 1, tzinfo=UTC), None):
        extension.on_cron_fired(CronId.adopt("nightly"), "nightly", slot, JobId.mint(), 0.5)

    assert grown("dispatch.cron.late", **{"dispatch.name": "nightly"}) == 1


def test_gauges_are_observed_by_the_leader_only(kit: Kit) -> None:
    """A process that does not lead observes nothing; a server that is away leaves a gap and raises nothing."""
    send.enqueue("you")
    mine = InMemoryMetricReader()
    looks: list[int] = []
    answers = [StoreUnavailable("away"), None]

    def look() -> Picture:
        looks.append(1)
        answer = answers.pop(0) if answers else None
        if answer is not None:
            raise answer
        return take_picture(dispatch)

    gauges = Gauges(MeterProvider([mine]).get_meter("test"), look=look, queues=Labels(), limits=Labels())
    gauges.on_worker_joined("wrk_1")
    assert _values(mine) == {}
    gauges.on_leader_changed("wrk_2")
    assert (_values(mine), looks) == ({}, [])
    gauges.on_leader_changed("wrk_1")
    observed = _values(mine)  # one look failed, the next gauge's did not
    assert observed["dispatch.jobs", "pending"] == 1
    assert ("dispatch.queue.depth", "mail") in observed or len(looks) >= 2
    assert len(looks) <= 3


def _values(mine: InMemoryMetricReader) -> dict[tuple[str, str], float]:
    data = mine.get_metrics_data()
    return {
        (metric.name, str(next(iter((point.attributes or {"": ""}).values()), ""))): point.value
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_prometheus_shows_the_state(kit: Kit) -> None:
    """Depth, states, dead letters and the rest, read at the scrape."""
    for _ in range(3):
        send.enqueue("you")
    send.options(queue="slow", retry=Retry(1)).enqueue("nobody")
    registry = CollectorRegistry()
    registry.register(prometheus.StateCollector(dispatch))

    text = generate_latest(registry).decode()
    assert "dispatch_up 1.0" in text
    assert 'dispatch_queue_depth{queue="mail"} 3.0' in text
    assert 'dispatch_jobs{state="pending"} 4.0' in text
    assert "dispatch_leader 0.0" in text
    kit.drain()
    text = generate_latest(registry).decode()
    assert 'dispatch_jobs{state="completed"} 3.0' in text
    assert "dispatch_dead_letters 1.0" in text


def test_prometheus_is_told_when_the_server_is_away() -> None:
    """A scrape never fails: it says that there was no answer."""
    asked: list[int] = []

    class Away:
        """A state server that does not answer."""

        queues: ClassVar[QueueService]
        crons: ClassVar[CronService]

        def census(self) -> Census:
            """Fail."""
            asked.append(1)
            raise StoreUnavailable("away")

    registry = CollectorRegistry()
    registry.register(prometheus.StateCollector(Away()))

    generate_latest(registry)
    text = generate_latest(registry).decode()
    assert len(asked) == 1  # whoever collects is not held up again at once
    assert "dispatch_up 0.0" in text
    assert "dispatch_jobs" not in text


def test_other_rooms_add_their_own_figures(kit: Kit) -> None:
    """A source is asked at each scrape; one that fails leaves out its part and nothing else."""
    from prometheus_client.core import GaugeMetricFamily

    collector = prometheus.StateCollector(dispatch)
    collector.add(lambda: [GaugeMetricFamily("dispatch_limits", "Limits.", value=2)])
    collector.add(lambda: [1 / 0])
    registry = CollectorRegistry()
    registry.register(collector)

    text = generate_latest(registry).decode()
    assert "dispatch_limits 2.0" in text
    assert "dispatch_up 1.0" in text


class Recorded:
    """A histogram that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, object, object]] = []

    def record(self, amount: float, attributes: object = None, context: object = None) -> None:
        """Keep it."""
        self.told.append((amount, attributes, context))


def test_times_are_recorded_many_in_a_row_and_none_is_late_for_a_collection() -> None:
    """In order, each in the context it was taken in; a collection records what is held back before it looks."""
    timings, histogram = Timings(), Recorded()
    token = contexts.attach(contexts.set_value("request", "r1"))
    timings.add(histogram, 0.0, {"n": "0"})  # type: ignore[arg-type]  # it is one, as far as it is used
    contexts.detach(token)
    for number in range(1, 63):
        timings.add(histogram, float(number), {})  # type: ignore[arg-type]  # as above
    assert histogram.told == []

    timings.add(histogram, 63.0, {})  # type: ignore[arg-type]  # as above
    assert [amount for amount, _, _ in histogram.told] == list(range(64))
    assert histogram.told[0][1] == {"n": "0"}
    assert contexts.get_value("request", histogram.told[0][2]) == "r1"  # type: ignore[arg-type]  # it is a context
    timings.add(histogram, 64.0, {})  # type: ignore[arg-type]  # as above
    assert list(timings.flush(None)) == []
    assert len(histogram.told) == 65


def test_what_was_measured_before_a_fork_is_recorded_once() -> None:
    """The parent records what it has held back; the child only what it has measured itself."""
    timings, histogram = Timings(), Recorded()
    timings.add(histogram, 1.0, {})  # type: ignore[arg-type]  # it is one, as far as it is used
    tells, told = os.pipe()
    if (child := os.fork()) == 0:
        timings.flush()
        before = len(histogram.told)
        timings.add(histogram, 2.0, {})  # type: ignore[arg-type]  # as above
        timings.flush()
        os.write(told, f"{before} {histogram.told[0][0]} {len(histogram.told)}".encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(tells, 100) == b"0 2.0 1"
    os.close(tells)
    os.close(told)
    timings.flush()
    assert [amount for amount, _, _ in histogram.told] == [1.0]


def test_installing_prometheus_twice_is_once() -> None:
    """Flower's process may be asked more than once."""
    assert prometheus.install(dispatch) is prometheus.install(dispatch)
    assert b"dispatch_up 0.0" in generate_latest()  # the default registry, and no server there


def test_prometheus_needs_no_opentelemetry() -> None:
    """Flower's process has the one without the other; what needs the other says so when it is asked for."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from dispatch_celery import telemetry\n"
        "from dispatch_celery.telemetry import prometheus\n"
        "try: telemetry.install(object())\n"
        "except ImportError: print(prometheus.install.__name__)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert ran.stdout == "install\n"
