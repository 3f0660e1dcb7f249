"""F-46: a queue's limit holds at every position of the journal while workers are killed and paused; no permit leaks."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping

import pytest

from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.invariants import Dump, dump
from tests.support.workers import Fleet

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

MOST = 3


def _most_with_a_permit(journal: Iterable[Mapping[str, str]]) -> int:
    """Return how many jobs had a permit at once, at most: from when they are let go to the end of an attempt."""
    having: set[str] = set()
    most = 0
    for entry in journal:
        if entry["to"] in ("pending", "running"):
            having.add(entry["id"])
        elif entry["from"] in ("pending", "running"):
            having.discard(entry["id"])
        most = max(most, len(having))
    return most


def _found(fleet: Fleet) -> Dump:
    parts = fleet.shop.dispatch._parts
    return dump(parts.store, parts.keys.tag)


def test_a_limit_holds_while_workers_are_killed_and_paused(doomed: Fleet) -> None:
    """Three of forty jobs at a time, whatever dies or stands still, the leader among them; all of them complete."""
    shop = doomed.shop
    shop.dispatch.queues.limit(shop.QUEUE, concurrency=MOST)
    workers = [doomed.start(f"w{n}", "-c", "4") for n in range(3)]
    handles = [shop.nap.enqueue(f"n{n}", 0.15) for n in range(40)]

    def ended() -> int:
        return sum(record["state"] == "completed" for record in _found(doomed).jobs.values())

    eventually(lambda: ended() >= 5, within=30, what="some have run")
    workers[0].kill()
    eventually(lambda: ended() >= 12, within=30, what="others go on without the first")
    workers[1].signal(signal.SIGSTOP)
    eventually(lambda: ended() >= 20, within=40, what="others go on without the one that stands still")
    workers[1].signal(signal.SIGCONT)
    workers.append(doomed.start("w3", "-c", "4"))
    workers[2].kill()

    assert {handle.result(timeout=60) for handle in handles} == {f"n{n}" for n in range(40)}
    eventually(lambda: shop.dispatch.queues.get(shop.QUEUE).permits == 0, within=15, what="every permit is back")
    assert _most_with_a_permit(check_history(doomed).journal) <= MOST
