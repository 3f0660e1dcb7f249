"""dispatch_celery: durable jobs, the same worker command as plain Celery's."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery import Celery
from celery_command import celery_worker
from effects import JOBS, hold
from protocol import URL, System, main

from dispatch_celery import Dispatch, Extension, JobRef, telemetry

app = Celery("ours", broker=f"{URL}/0")
dispatch = Dispatch(app)
TASKS: dict[str, Any] = {kind: dispatch.job(name=f"bench.{kind}")(function) for kind, function in JOBS.items()}
holding = dispatch.job(name="bench.hold")(hold)


def begin_to_hold(number: int) -> None:
    """Enqueue a job that runs until it is told to end."""
    holding.enqueue(number)


class Counting(Extension):
    """Counts what begins and what ends."""

    def __init__(self) -> None:
        self.begun = self.done = 0

    def on_job_started(self, job: JobRef) -> None:  # noqa: ARG002 - it counts all alike
        self.begun += 1

    def on_job_completed(self, job: JobRef, elapsed: float) -> None:  # noqa: ARG002
        self.done += 1


class Inline(Counting):
    """The same in the worker's own thread, as what touches memory only may be."""

    patience = None


def measure() -> None:
    """Have OpenTelemetry's instruments record, with the SDK's own aggregation; nobody collects."""
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - only one contender needs it
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415

    telemetry.install(dispatch, meter_provider=MeterProvider([InMemoryMetricReader()]))


WATCHERS: Final[dict[str, Callable[[], object]]] = {
    "": lambda: None,
    "extension": lambda: dispatch.add_extension(Counting()),
    "inline": lambda: dispatch.add_extension(Inline()),
    "measures": measure,
}
"""What ``BENCH_WATCH`` may ask for."""

WATCHERS[os.environ.get("BENCH_WATCH", "")]()


class Ours(System):
    """Ours; the transport is chosen by the environment (DISPATCH_TRANSPORT)."""

    def send(self, kind: str, number: int) -> None:
        TASKS[kind].enqueue(number)

    def send_many(self, kind: str, numbers: Sequence[int]) -> None:
        TASKS[kind].enqueue_many([(number,) for number in numbers])

    def round_trip(self, number: int) -> int:
        return int(TASKS["noop"].enqueue(number).result(timeout=10))

    def worker(self, pool: str, threads: int) -> list[str]:  # noqa: ARG002 - a Celery slot is a process
        return celery_worker("ours", pool)

    def close(self) -> None:
        dispatch.close()


if __name__ == "__main__":
    main(Ours())
