"""Dead letters of real workers: grouped by what went wrong, put back after a deploy, counted by the leader."""

from __future__ import annotations

import pytest

from dispatch_celery import DeadLetterOrigin, JobState
from tests.support.eventually import eventually
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def test_what_dies_of_one_cause_is_one_group(shop: Fleet) -> None:
    """Two messages of one line of code, and a job that fails elsewhere."""
    shop.start()
    handles = [shop.shop.broken.enqueue(f"order {n}") for n in range(2)]
    bad = shop.shop.liar.enqueue()
    for handle in (*handles, bad):
        eventually(lambda handle=handle: handle.state() == JobState.FAILED, within=20, what="it is dead")

    groups = {group.count: group for group in shop.shop.dispatch.dlq.groups()}
    assert groups[2].names == {"shop.broken": 2}
    assert groups[1].names == {"shop.liar": 1}
    assert groups[2].fingerprint != groups[1].fingerprint


def test_a_plain_task_of_the_next_release_is_put_back_after_the_deploy(shop: Fleet) -> None:
    """Its worker did not know it: the dead letter names it, and the message runs once when a worker does."""
    old = shop.start("old", "-c", "1")
    shop.shop.app.send_task("shop.plain_novelty", (7,), {"word": "é"}, queue=shop.shop.QUEUE)
    dlq = shop.shop.dispatch.dlq
    (letter,) = eventually(lambda: list(dlq.list(origin="unknown-task")), within=20, what="it is kept")
    assert (letter.name, letter.origin) == ("shop.plain_novelty", DeadLetterOrigin.UNKNOWN_TASK)
    old.terminate()
    shop.start("new", "-c", "1", SHOP_NEW_RELEASE="1")

    for _ in range(2):
        assert dlq.put_back(letter.id).replayed_as
    eventually(lambda: shop.effects("novelty-7-é"), within=20, what="it ran")
    assert shop.shop.add.enqueue(1).result(timeout=10) == 2
    assert len(shop.effects("novelty-7-é")) == 1


def test_the_leader_tells_when_dead_letters_become_many(shop: Fleet) -> None:
    """Once, with the count; and deletes the oldest beyond the cap."""
    worker = shop.start("w1", "-c", "1", DISPATCH_DEAD_LETTER_THRESHOLD="1", DISPATCH_MAX_DEAD_LETTERS="2")
    handles = [shop.shop.broken.enqueue(f"order {n}") for n in range(4)]
    for handle in handles[2:]:
        eventually(lambda handle=handle: handle.state() == JobState.FAILED, within=20, what="it is dead")

    eventually(lambda: shop.shop.dispatch.dlq.count() == 2, within=20, what="the cap holds")
    eventually(lambda: "dispatch_dead_letter_threshold" in worker.words, within=20, what="it is told")
    assert worker.words.count("dispatch_dead_letter_threshold") == 1
