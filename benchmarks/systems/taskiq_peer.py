"""taskiq with taskiq-redis' list queue: two workers. Jobs are coroutines that do not yield: two run at a time."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from effects import JOBS
from protocol import RESULTS, URL, System, executable, main
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

broker = ListQueueBroker(f"{URL}/0")
if RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(f"{URL}/2"))


def _declare(kind: str, function: Callable[[int], int]) -> Any:
    async def job(number: int) -> int:
        return function(number)

    return broker.task(task_name=f"bench:{kind}")(job)


TASKS = {kind: _declare(kind, function) for kind, function in JOBS.items()}
TOGETHER = 100


class TaskiqPeer(System):
    """taskiq. For many it has nothing of its own: coroutines, a hundred at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.started = False

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        if not self.started:
            self.loop.run_until_complete(broker.startup())
            self.started = True
        return self.loop.run_until_complete(work)

    def send_each(self, kind: str, numbers: Sequence[int]) -> None:
        async def each() -> None:
            for number in numbers:
                await TASKS[kind].kiq(number)

        self._run(each())

    def send_many(self, kind: str, numbers: Sequence[int]) -> None:
        async def together() -> None:
            for start in range(0, len(numbers), TOGETHER):
                await asyncio.gather(*(TASKS[kind].kiq(number) for number in numbers[start : start + TOGETHER]))

        self._run(together())

    def round_trip(self, number: int) -> int:
        async def there_and_back() -> int:
            sent = await TASKS["noop"].kiq(number)
            return int((await sent.wait_result(timeout=10)).return_value)

        return int(self._run(there_and_back()))

    def worker(self, pool: str, threads: int) -> list[str]:  # noqa: ARG002 - it has processes only
        return [executable("taskiq"), "worker", "taskiq_peer:broker", "-w", "2", "--log-level", "WARNING"]

    def close(self) -> None:
        if self.started:
            self.loop.run_until_complete(broker.shutdown())
        self.loop.close()


if __name__ == "__main__":
    main(TaskiqPeer())
