"""Plain Celery on kombu's own Redis transport, results ignored: what ours is compared with."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

from typing import Any

from celery import Celery
from celery_command import celery_worker
from effects import JOBS
from protocol import RESULTS, URL, System, main

app = Celery("plain_celery", broker=f"{URL}/0", backend=f"{URL}/2" if RESULTS else None)
TASKS: dict[str, Any] = {
    kind: app.task(name=f"bench.{kind}", ignore_result=not RESULTS)(function) for kind, function in JOBS.items()
}


class PlainCelery(System):
    """Plain Celery."""

    def send(self, kind: str, number: int) -> None:
        TASKS[kind].delay(number)

    def round_trip(self, number: int) -> int:
        return int(TASKS["noop"].delay(number).get(timeout=10))

    def worker(self, pool: str, threads: int) -> list[str]:  # noqa: ARG002 - a Celery slot is a process
        return celery_worker("plain_celery", pool)


if __name__ == "__main__":
    main(PlainCelery())
