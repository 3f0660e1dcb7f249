"""dispatch_celery: durable workflows, the same worker command as plain Celery's."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

from datetime import UTC, datetime
from statistics import median
from typing import Any

from celery import Celery
from celery_command import celery_worker
from effects import hold, noop, stamp, tick
from flow_protocol import FlowSystem, main, told
from protocol import URL

from dispatch_celery import Dispatch, RunState, Workflow

app = Celery("ours_flows", broker=f"{URL}/0")
dispatch = Dispatch(app)

_LIMIT = 120
_told = dispatch.event("bench.told", int)

step_tick = dispatch.step(name="bench.tick")(tick)
step_noop = dispatch.step(name="bench.noop")(noop)
step_stamp = dispatch.step(name="bench.stamp")(stamp)
step_hold = dispatch.step(name="bench.hold")(hold)
job_noop = dispatch.job(name="bench.noop")(noop)


def forget(moment: int | None, number: int) -> None:
    """Undo a tick."""


step_undone = dispatch.step(name="bench.undone", undo=forget)(tick)


@dispatch.workflow(name="single")
def single(wf: Workflow, sent: int) -> int:
    return wf.step(step_stamp, sent)


@dispatch.workflow(name="ticks")
def ticks(wf: Workflow, length: int) -> list[int]:
    return [wf.step(step_tick, number) for number in range(length)]


@dispatch.workflow(name="undone")
def undone(wf: Workflow, length: int) -> list[int]:
    return [wf.step(step_undone, number) for number in range(length)]


@dispatch.workflow(name="five")
def five(wf: Workflow, number: int) -> int:
    for _ in range(5):
        wf.step(step_noop, number)
    return number


@dispatch.workflow(name="map")
def fan_map(wf: Workflow, count: int) -> int:
    return len(wf.map(job_noop, range(count)))


@dispatch.workflow(name="gather")
def fan_gather(wf: Workflow, count: int) -> int:
    return len(wf.gather(*(job_noop.bind(number) for number in range(count))))


@dispatch.workflow(name="waiter")
def waiter(wf: Workflow, length: int, number: int) -> int:
    for _ in range(length):
        wf.step(step_tick, number)
    wf.step(step_noop, number)
    return wf.step(step_stamp, wf.wait_for_event(_told))


@dispatch.workflow(name="sleeper")
def sleeper(wf: Workflow, number: int, due: float) -> int:
    wf.step(step_noop, number)
    wf.sleep_until(datetime.fromtimestamp(due, UTC))
    return wf.step(step_noop, number)


@dispatch.workflow(name="hold")
def holding(wf: Workflow, number: int) -> int:
    return wf.step(step_hold, number)


def begin_to_hold(number: int) -> None:
    """Start a run whose step runs until it is told to end."""
    holding.start(number)


class OurFlows(FlowSystem):
    """Ours, on our transport."""

    def start(self, flow: str, *arguments: Any) -> Any:
        return FLOWS[flow].start(*arguments)

    def result(self, started: Any) -> Any:
        return started.result(timeout=_LIMIT)

    def tell(self, started: Any, sent: int) -> None:
        started.publish(_told, sent)

    def rests(self, started: Any) -> bool:
        return bool(started.state() == RunState.WAITING)

    def replays(self, length: int, times: int) -> list[float]:
        """Tell waiting runs, with steps recorded and without: what the steps add is their replay."""
        told(self, length), told(self, 0)
        bare = median(told(self, 0) for _ in range(3 * times))
        return [told(self, length) - bare for _ in range(times)]

    def worker(self, pool: str) -> list[str]:
        return celery_worker("ours_flows", pool)

    def close(self) -> None:
        dispatch.close()


FLOWS: dict[str, Any] = {
    "single": single,
    "ticks": ticks,
    "undone": undone,
    "five": five,
    "map": fan_map,
    "gather": fan_gather,
    "waiter": waiter,
    "sleeper": sleeper,
}

if __name__ == "__main__":
    main(OurFlows())
