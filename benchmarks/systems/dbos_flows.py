"""DBOS on PostgreSQL: two processes that listen to a queue; or the process that starts a workflow runs it itself."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from dbos import DBOS, DBOSClient
from effects import PASSES, enter, last, noop, stamp, tick
from flow_protocol import POSTGRES, FlowSystem, main

QUEUE = "bench"

INLINE = "inline"
"""The pool without workers: what a process starts, it runs."""

QUEUES = {"tuned": (0.05, 8), "queue": (1.0, 32), "threads": (0.05, None)}
"""For each pool, the seconds between two looks at the queue (1 is what DBOS comes with), and how many workflows a
process runs at a time: without a limit the first process takes a whole backlog, and runs it in as many threads."""

step_tick = DBOS.step(name="bench.tick")(tick)
step_noop = DBOS.step(name="bench.noop")(noop)
step_stamp = DBOS.step(name="bench.stamp")(stamp)


@DBOS.workflow(name="single")
def single(sent: int) -> int:
    return step_stamp(sent)


@DBOS.workflow(name="ticks")
def ticks(length: int) -> list[int]:
    return [step_tick(number) for number in range(length)]


@DBOS.workflow(name="five")
def five(number: int) -> int:
    for _ in range(5):
        step_noop(number)
    return number


@DBOS.workflow(name="member")
def member(number: int) -> int:
    return step_noop(number)


@DBOS.workflow(name="fan")
def fan(count: int) -> int:
    handles = [DBOS.enqueue_workflow(QUEUE, member, number) for number in range(count)]
    return len([handle.get_result() for handle in handles])


@DBOS.workflow(name="waiter")
def waiter(length: int, number: int) -> int:
    for _ in range(length):
        step_tick(number)
    step_noop(number)
    return step_stamp(DBOS.recv())


@DBOS.workflow(name="long")
def long(length: int) -> int:
    enter()
    for number in range(length):
        step_tick(number)
    return step_tick(length)


@DBOS.workflow(name="sleeper")
def sleeper(number: int, due: float) -> int:
    step_noop(number)
    DBOS.sleep(due - time.time())
    return step_noop(number)


FLOWS: dict[str, Any] = {
    "single": single,
    "ticks": ticks,
    "five": five,
    "fan": fan,
    "waiter": waiter,
    "long": long,
    "sleeper": sleeper,
}


def configure(executor: str) -> None:
    """Say where the database is, and who this process is: what it had begun, it goes on with when it starts again."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": POSTGRES,
            "executor_id": executor,
            "log_level": "ERROR",
        }
    )


class DbosFlows(FlowSystem):
    """DBOS."""

    def __init__(self) -> None:
        configure("asker")
        self._client: DBOSClient | None = None
        self._launched = False

    @property
    def client(self) -> DBOSClient:
        """The way in for processes that run no workflows."""
        if self._client is None:
            self._client = DBOSClient(system_database_url=POSTGRES)
        return self._client

    def launch(self) -> None:
        """Be a process that runs workflows."""
        if not self._launched:
            DBOS.launch()
            self._launched = True

    def prepare(self) -> None:
        self.launch()

    def start(self, flow: str, *arguments: Any) -> Any:
        if self.pool == INLINE:
            self.launch()
            return DBOS.start_workflow(FLOWS[flow], *arguments)
        return self.client.enqueue({"queue_name": QUEUE, "workflow_name": flow}, *arguments)

    def result(self, started: Any) -> Any:
        return started.get_result(polling_interval_sec=QUEUES.get(self.pool, QUEUES["queue"])[0])

    def tell(self, started: Any, sent: int) -> None:
        self.client.send(started.workflow_id, sent)

    def replays(self, length: int, times: int) -> list[float]:
        """Fork a run at its last step: what passes from the first line of its function to that step is the replay."""
        whole = self.start("long", length)
        self.result(whole)
        found = []
        for _ in range(times):
            copy = self.client.fork_workflow(whole.workflow_id, length + 1)
            found.append((self.result(copy) - last(PASSES)) / 1e6)
        return found

    def worker(self, pool: str) -> list[str]:
        return [sys.executable, "dbos_flows.py", "serve", pool]

    def close(self) -> None:
        if self._client is not None:
            self._client.destroy()
        DBOS.destroy()


def serve(pool: str) -> None:
    """Be two workers, each an executor of its own."""
    configure("first" if os.fork() else "second")
    DBOS.launch()
    pause, at_once = QUEUES[pool]
    DBOS.register_queue(QUEUE, worker_concurrency=at_once, polling_interval_sec=pause)
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    main(DbosFlows())
