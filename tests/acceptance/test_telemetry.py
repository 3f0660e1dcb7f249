"""Traces in real workers: alone, beside the instrumentation of Celery, beside Sentry, and without a backend."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatch_celery import JobState
from tests.support.cron_fleet import APP, CronFleet, cron_fleet
from tests.support.eventually import eventually
from tests.support.listening import Notebook
from tests.support.servers import free_port
from tests.support.workers import ROOT, Fleet, Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

MODULE = "tests.support.observed"
POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4")}

CALLER = """
import sys
import urllib.request
from pathlib import Path
from opentelemetry import trace
from tests.support import shop
from tests.support.listening import Notebook
from tests.support.observed import observe
observe(shop.dispatch, Notebook(Path(sys.argv[1])), sys.argv[2])
with trace.get_tracer("caller").start_as_current_span("request") as request:
    first = shop.flaky.enqueue("traced", 1)
    second, third = shop.add.enqueue_many([(1,), (2,)])
    assert trace.get_current_span() is request, "a publication has left its span behind"
    print(trace.format_trace_id(trace.get_current_span().get_span_context().trace_id))
after = shop.add.enqueue(3)
print(first.id, second.id, third.id, after.id)
shop.dispatch.close()
"""


@pytest.fixture
def seen(shop: Fleet) -> Notebook:
    """Return the notebook in which caller and workers write."""
    return Notebook(shop.folder / "observed.txt")


def _start(shop: Fleet, seen: Notebook, observers: str, *arguments: str) -> Worker:
    return shop.start("w1", *arguments, "-I", MODULE, SHOP_OBSERVED=str(seen.path), SHOP_OBSERVERS=observers)


def _call(shop: Fleet, seen: Notebook, observers: str) -> tuple[str, list[str]]:
    """Enqueue from another process; return the trace of its request, and the jobs."""
    ended = subprocess.run(
        [sys.executable, "-c", CALLER, str(seen.path), observers],
        cwd=ROOT,
        env={**os.environ, **shop.environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "Failed to detach" not in ended.stderr
    lines = ended.stdout.splitlines()
    return lines[0], lines[1].split()


def _finished(shop: Fleet, jobs: list[str]) -> None:
    for job in jobs:
        eventually(lambda job=job: shop.shop.dispatch.jobs.get(job).state == JobState.COMPLETED, within=20, what=job)


def _spans(seen: Notebook) -> list[dict[str, Any]]:
    return [{"name": name, "id": about, **facts} for _, name, about, facts in seen.notices("span")]


@pytest.mark.parametrize("pool", POOLS)
def test_the_trace_of_a_request_reaches_into_the_workers(pool: str, shop: Fleet, seen: Notebook) -> None:
    """Every attempt, wherever it runs, is a child of its enqueue, in the trace of the request that made it."""
    worker = _start(shop, seen, "ours", *POOLS[pool])
    request, jobs = _call(shop, seen, "ours")
    _finished(shop, jobs)
    assert worker.terminate() == 0

    spans = _spans(seen)
    for job, attempts in zip(jobs, (2, 1, 1, 1), strict=True):
        enqueued, *executed = [span for span in spans if span["id"] == job]
        assert len(executed) == attempts
        assert {span["parent"] for span in executed} == {enqueued["span"]}
        assert (enqueued["trace"] == request) == (job != jobs[-1])
        assert {span["trace"] for span in executed} == {enqueued["trace"]}


@pytest.mark.parametrize("pool", POOLS)
def test_beside_celerys_instrumentation_no_span_is_doubled(pool: str, shop: Fleet, seen: Notebook) -> None:
    """Publications and tasks have its spans only; those bear our attributes, and retries stay in the trace."""
    worker = _start(shop, seen, "celerys", *POOLS[pool])
    request, jobs = _call(shop, seen, "celerys")
    _finished(shop, jobs)
    assert worker.terminate() == 0

    spans = _spans(seen)
    assert {span["scope"] for span in spans} == {"opentelemetry.instrumentation.celery", "caller"}
    for job, attempts in zip(jobs[:3], (2, 1, 1), strict=True):
        executed = [span for span in spans if span["id"] == job and span["name"].startswith("run/")]
        assert len(executed) == attempts
        assert {span["trace"] for span in executed} == {request}
        assert [span["outcome"] for span in executed] == [*["retrying"] * (attempts - 1), "completed"]
    last = [span for span in spans if span["id"] == jobs[-1]]
    assert {span["trace"] for span in last}.isdisjoint({request})  # nothing of a publication is left in its caller


def test_beside_sentry_a_failure_is_told_once(shop: Fleet, seen: Notebook) -> None:
    """One event for the final failure, none for a planned retry, and one transaction for each attempt."""
    worker = _start(shop, seen, "sentry", *POOLS["prefork"])
    flaky, failed = shop.shop.flaky.enqueue("sentry", 1), shop.shop.end.enqueue("fail")
    assert flaky.result(timeout=20) == 2
    eventually(lambda: failed.state() == JobState.FAILED, within=20)
    assert worker.terminate() == 0

    told = [(kind, about) for _, kind, about, _ in seen.notices("sentry")]
    assert told.count(("event", "shop.end")) == 1
    assert told.count(("event", "shop.flaky")) == 0
    assert told.count(("transaction", "shop.flaky")) == 2
    assert told.count(("transaction", "shop.end")) == 1
    assert len([span for span in _spans(seen) if span["id"] == failed.id]) == 1


def _works_on(fleet: CronFleet, backend: str, *arguments: str, **environment: str) -> None:
    """Let a worker whose spans and measures go to a backend fire, run jobs, and stop; it must not notice."""
    worker = fleet.worker(
        *("w1", *arguments, "-I", MODULE),
        SHOP_OBSERVED=str(fleet.folder / "observed.txt"),
        SHOP_OBSERVERS="otlp",
        SHOP_OBSERVED_APP=APP,
        OTEL_EXPORTER_OTLP_ENDPOINT=backend,
        **environment,
    )
    handles = [fleet.module.note.enqueue("asked") for _ in range(20)]
    eventually(lambda: len(fleet.effects("seconds")) >= 2, within=30, what="two slots were fired and executed")
    for handle in handles:
        assert handle.result(timeout=20) is None
    worker.wait_for("Failed to export metrics batch")
    assert worker.terminate() == 0

    fires = fleet.dispatch.crons.get("seconds").fires
    slots = [fire.slot.timestamp() for fire in fires if fire.outcome == "fired" and fire.slot]
    assert len(slots) == len(fires)
    assert slots == [slots[0] - number for number in range(len(slots))]
    executed = [fire.id for fire in fires if fire.id and fleet.dispatch.jobs.get(fire.id).state == JobState.COMPLETED]
    assert sorted(executed) == sorted(fleet.effects("seconds"))
    assert list(fleet.dispatch.workers.list()) == []


@pytest.fixture
def crons(namespace: str, server_url: str, tmp_path: Path) -> Iterator[CronFleet]:
    """Return a fleet whose workers fire an entry each second."""
    with cron_fleet(namespace, server_url, tmp_path) as made:
        yield made


def test_a_backend_that_is_down_stops_no_worker(crons: CronFleet) -> None:
    """Nobody listens where a real exporter sends to: jobs complete, each slot is fired, the worker stops cleanly."""
    _works_on(crons, f"http://127.0.0.1:{free_port()}", *POOLS["threads"], OTEL_EXPORTER_OTLP_TIMEOUT="1")


@pytest.mark.faults
@pytest.mark.parametrize("pool", POOLS)
def test_a_backend_that_never_answers_stops_no_worker(pool: str, crons: CronFleet) -> None:
    """It takes what it is sent and says nothing, while the exporter waits for it."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as hole:
        backend = f"http://127.0.0.1:{hole.getsockname()[1]}"
        _works_on(crons, backend, *POOLS[pool], OTEL_EXPORTER_OTLP_TIMEOUT="3")
        hole.settimeout(1)
        caller, _ = hole.accept()
        with caller:
            assert caller.recv(4) == b"POST"


def test_a_plain_call_brings_its_trace_along(shop: Fleet, seen: Notebook) -> None:
    """A message of another producer, with the standard header: the job made of it is executed in that trace."""
    worker = _start(shop, seen, "ours", *POOLS["prefork"])
    sender = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    assert shop.shop.app.send_task("shop.add", args=[5, 6], headers=sender).get(timeout=20) == 11
    assert worker.terminate() == 0

    (executed,) = [span for span in _spans(seen) if span["name"] == "run shop.add"]
    assert (executed["trace"], executed["parent"]) == ("1" * 32, "2" * 16)


def test_flower_serves_the_state_at_metrics(shop: Fleet) -> None:
    """Beside Flower's own figures, and true at each scrape: what waits, what is dead, who leads."""
    handles = [shop.shop.add.enqueue(n) for n in range(3)]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "celery", "-A", "tests.support.metered", "flower", f"--port={port}"]
    with (shop.folder / "flower.log").open("wb") as log:
        flower = subprocess.Popen(
            [*command, "--address=127.0.0.1"],
            cwd=ROOT,
            env={**os.environ, **shop.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def metrics() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    try:
        waiting = f'dispatch_queue_depth{{queue="{shop.shop.QUEUE}"}} 3.0'
        eventually(lambda: waiting in metrics(), within=30, what="three jobs wait")
        assert "dispatch_leader 0.0" in metrics()
        shop.start("w1", "-c", "1")
        for handle in handles:
            handle.result(timeout=20)
        eventually(lambda: "dispatch_leader 1.0" in metrics(), within=10, what="somebody leads")
        assert 'dispatch_jobs{state="completed"} 3.0' in metrics()
        assert 'dispatch_workers{state="registered"} 1.0' in metrics()
    finally:
        flower.terminate()
        flower.wait(timeout=20)
