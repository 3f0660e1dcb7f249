"""F-46: a queue's limit holds at every position of the journal while workers are killed and paused; no permit leaks."""

from __future__ import annotations

import signal

import pytest

from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.invariants import Dump, dump
from tests.support.limit_invariants import most_with_a_permit
from tests.support.workers import Fleet

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

MOST = 3


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
    assert most_with_a_permit(check_history(doomed).journal) <= MOST


def test_a_limit_holds_under_leaders_that_take_turns_all_the_time(doomed: Fleet) -> None:
    """F-44: the lead is taken away again and again, so several carry permits at once; none is doubled or lost."""
    shop = doomed.shop
    parts = shop.dispatch._parts
    shop.dispatch.queues.limit(shop.QUEUE, concurrency=MOST, rate="30/s")
    for n in range(3):
        doomed.start(f"w{n}", "-c", "2")
    handles = [shop.nap.enqueue(f"n{n}", 0.05) for n in range(60)]
    terms: set[str] = set()

    def all_have_ended() -> bool:
        found = _found(doomed)
        terms.add(found.hashes.get("leader", {}).get("nonce", ""))
        ask(parts.store, Call.command("DEL", parts.keys.leader))
        if any(record["state"] != "completed" for record in found.jobs.values()):
            return False
        if len(terms - {""}) < 3:  # a fast machine: there has to be work for another leader
            handles.extend(shop.nap.enqueue(f"n{len(handles)}", 0.05) for _ in range(20))
            return False
        return True

    eventually(all_have_ended, within=60, every=0.1, what="all complete")
    assert len(terms - {""}) >= 3
    assert {handle.result(timeout=10) for handle in handles} == {f"n{n}" for n in range(len(handles))}
    eventually(lambda: shop.dispatch.queues.get(shop.QUEUE).permits == 0, within=15, what="every permit is back")
    assert most_with_a_permit(check_history(doomed).journal) <= MOST
