"""Plain Celery's canvas: chains and chords on kombu's own Redis transport, results in Redis. No events, no rests."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, chain, chord, group
from celery_command import celery_worker
from effects import noop, stamp, tick
from flow_protocol import FlowSystem, main
from protocol import URL

app = Celery("canvas_flows", broker=f"{URL}/0", backend=f"{URL}/2")

_LIMIT = 120


@app.task(name="bench.tick")
def task_tick(moments: list[int]) -> list[int]:
    return [*moments, tick(0)]


@app.task(name="bench.join")
def task_join(numbers: list[int]) -> int:
    return len(numbers)


task_noop = app.task(name="bench.noop")(noop)
task_stamp = app.task(name="bench.stamp")(stamp)

FLOWS: dict[str, Callable[[int], Any]] = {
    "single": task_stamp.s,
    "ticks": lambda length: chain(task_tick.s([]), *(task_tick.s() for _ in range(length - 1))),
    "five": lambda number: chain(*(task_noop.si(number) for _ in range(5))),
    "fan": lambda count: chord(group(task_noop.s(number) for number in range(count)), task_join.s()),
}


class CanvasFlows(FlowSystem):
    """Plain Celery's canvas."""

    def start(self, flow: str, *arguments: Any) -> Any:
        return FLOWS[flow](*arguments).apply_async()

    def result(self, started: Any) -> Any:
        return started.get(timeout=_LIMIT)

    def worker(self, pool: str) -> list[str]:
        return celery_worker("canvas_flows", pool)


if __name__ == "__main__":
    main(CanvasFlows())
