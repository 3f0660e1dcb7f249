"""dramatiq on Redis: two processes, four threads each (one each for jobs that wait, so that two run at a time)."""

# ruff: noqa: D102 - the base class says what the methods do
from __future__ import annotations

from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from effects import JOBS
from protocol import RESULTS, URL, System, executable, main

broker = RedisBroker(url=f"{URL}/0")
if RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=f"{URL}/2")))
dramatiq.set_broker(broker)
EXTRA = {"store_results": True} if RESULTS else {}
ACTORS = {
    kind: dramatiq.actor(function, actor_name=f"bench_{kind}", max_retries=0, **EXTRA)
    for kind, function in JOBS.items()
}


class DramatiqPeer(System):
    """dramatiq. For many it has groups, which send one by one."""

    def send(self, kind: str, number: int) -> None:
        ACTORS[kind].send(number)

    def send_many(self, kind: str, numbers: Sequence[int]) -> None:
        actor = ACTORS[kind]
        dramatiq.group([actor.message(number) for number in numbers]).run()

    def round_trip(self, number: int) -> int:
        return int(ACTORS["noop"].send(number).get_result(block=True, timeout=10_000))

    def worker(self, pool: str, threads: int) -> list[str]:  # noqa: ARG002 - it has processes only
        return [executable("dramatiq"), "-p", "2", "-t", str(threads), "dramatiq_peer"]


if __name__ == "__main__":
    main(DramatiqPeer())
