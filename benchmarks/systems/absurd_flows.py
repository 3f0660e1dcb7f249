"""Absurd on PostgreSQL: two processes that poll a queue; every step is a checkpoint of a stored procedure."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import absurdctl
import psycopg
from absurd_sdk import Absurd, TaskContext
from effects import STAMPS, last, noop, stamp, tick
from flow_protocol import POSTGRES, FlowSystem, main

QUEUE = "bench"
MEMBERS = "members"
"""A task may not wait for tasks of its own queue."""

LOOKS = {"tuned": (0.02, 32), "processes": (0.25, 1)}
"""For each pool, the seconds between two looks at an empty queue, and how many tasks are taken at once; the latter is
what it comes with."""


def single(params: Any, ctx: TaskContext) -> int:
    return ctx.step("stamp", lambda: stamp(params[0]))


def ticks(params: Any, ctx: TaskContext) -> list[int]:
    return [ctx.step("tick", lambda: tick(0)) for _ in range(params[0])]


def five(params: Any, ctx: TaskContext) -> int:
    for _ in range(5):
        ctx.step("noop", lambda: noop(params[0]))
    return int(params[0])


def member(params: Any, ctx: TaskContext) -> int:
    return ctx.step("noop", lambda: noop(params[0]))


def fan(params: Any, ctx: TaskContext) -> int:
    def spawn(number: int) -> str:
        return str(joined(QUEUE).spawn("member", [number], queue=MEMBERS)["task_id"])

    tasks = [ctx.step("spawn", lambda number=number: spawn(number)) for number in range(params[0])]
    return sum(ctx.await_task_result(task, MEMBERS).state == "completed" for task in tasks)


def waiter(params: Any, ctx: TaskContext) -> int:
    for _ in range(params[0]):
        ctx.step("tick", lambda: tick(0))
    ctx.step("noop", lambda: noop(params[1]))
    sent = ctx.await_event(f"told:{ctx.task_id}")
    return ctx.step("stamp", lambda: stamp(sent))


def sleeper(params: Any, ctx: TaskContext) -> int:
    ctx.step("before", lambda: noop(params[0]))
    ctx.sleep_until("rest", params[1])
    return ctx.step("after", lambda: noop(params[0]))


FLOWS: dict[str, Callable[[Any, TaskContext], Any]] = {
    "single": single,
    "ticks": ticks,
    "five": five,
    "fan": fan,
    "waiter": waiter,
    "sleeper": sleeper,
}


@cache
def joined(queue: str) -> Absurd:
    """Return the client of a queue, with a connection of its own."""
    found = Absurd(POSTGRES, queue_name=queue)
    tasks = FLOWS if queue == QUEUE else {"member": member}
    for name, function in tasks.items():
        found.register_task(name)(function)
    return found


class AbsurdFlows(FlowSystem):
    """Absurd."""

    def prepare(self) -> None:
        with psycopg.connect(POSTGRES, autocommit=True) as connection:
            # What `absurdctl init` would give to psql, which need not be there.
            connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
        for queue in (QUEUE, MEMBERS):
            joined(QUEUE).create_queue(queue)

    def start(self, flow: str, *arguments: Any) -> Any:
        return joined(QUEUE).spawn(flow, list(arguments))["task_id"]

    def result(self, started: Any) -> Any:
        return joined(QUEUE).await_task_result(started).result

    def tell(self, started: Any, sent: int) -> None:
        joined(QUEUE).emit_event(f"told:{started}", sent)

    def rests(self, started: Any) -> bool:
        found = joined(QUEUE).fetch_task_result(started)
        return found is not None and found.state == "sleeping"

    def replays(self, length: int, times: int) -> list[float]:
        """Work a run here: what passes from before it is taken to its next step is the replay."""
        found = []
        for _ in range(times):
            started = self.start("waiter", length, 0)
            joined(QUEUE).work_batch()
            sent = time.monotonic_ns()
            self.tell(started, sent)
            begun = time.monotonic_ns()
            joined(QUEUE).work_batch()
            found.append((sent + last(STAMPS) - begun) / 1e6)
        return found

    def worker(self, pool: str) -> list[str]:
        return [sys.executable, "absurd_flows.py", "serve", pool]

    def close(self) -> None:
        joined(QUEUE).close()


def serve(pool: str) -> None:
    """Be two workers of each queue."""
    os.fork()
    queue = QUEUE if os.fork() else MEMBERS
    pause, batch = LOOKS[pool]
    joined(queue).start_worker(poll_interval=pause, batch_size=batch)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    main(AbsurdFlows())
