"""huey on Redis: two process workers, results off but for the round trip."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

from collections.abc import Sequence

from effects import JOBS
from huey import RedisHuey
from protocol import HOST, PORT, RESULTS, System, executable, main

huey = RedisHuey("bench", host=HOST, port=PORT, db=0, results=RESULTS)
TASKS = {kind: huey.task(name=f"bench_{kind}")(function) for kind, function in JOBS.items()}


class HueyPeer(System):
    """huey. For many it has ``map``, which sends one by one."""

    def send(self, kind: str, number: int) -> None:
        TASKS[kind](number)

    def send_many(self, kind: str, numbers: Sequence[int]) -> None:
        TASKS[kind].map(numbers)

    def round_trip(self, number: int) -> int:
        return int(TASKS["noop"](number).get(blocking=True, timeout=10))

    def worker(self, pool: str, threads: int) -> list[str]:  # noqa: ARG002 - it has processes only
        return [executable("huey_consumer"), "huey_peer.huey", "-k", "process", "-w", "2", "-q"]


if __name__ == "__main__":
    main(HueyPeer())
