"""What the forerunner's own tests of its dead letters say, said of ours (docs/parity.md)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery import DeadLetterNotFound, JobId, JobState, Retry, Scope, scope
from dispatch_celery.store.client import RedisStore
from tests.support.graveyard import Graveyard


@pytest.fixture
def yard(store: RedisStore, namespace: str, server_url: str) -> Iterator[Graveyard]:
    """Return an app with no worker."""
    made = Graveyard(server_url, store, namespace)
    yield made
    made.close()


def test_push_builds_entry_from_job(yard: Graveyard) -> None:
    """Name, queue, arguments, error, scope, priority: nothing of the job is left out."""
    with scope(app_id="shop", org_id="north"):
        handle = yard.pay.options(priority=4, queue="slow").enqueue(5)
    letter = yard.dlq.get(yard.kill(handle.id, "refused"))

    assert (letter.name, letter.queue, letter.reason) == ("yard.pay", "slow", "attempts used up")
    assert (letter.failure.type, letter.failure.message) == ("ValueError", "refused")
    assert (letter.job.arguments, letter.job.priority) == ({"amount": 5}, 4)
    assert letter.job.scope == Scope(app_id="shop", org_id="north")
    assert [one.id for one in yard.dlq.list(scope=Scope(app_id="shop"))] == [letter.id]


def test_push_count_increases(yard: Graveyard) -> None:
    """Each job that fails is one more, and a replayed one stays counted."""
    assert yard.dlq.count() == 0
    dead = [yard.dead() for _ in range(2)]
    yard.dlq.replay(dead[0])

    assert yard.dlq.count() == 2
    assert yard.dlq.count(replayed=False) == 1


def test_replay_creates_new_pending_job(yard: Graveyard) -> None:
    """A new id, no attempt used, and the old one's priority, timeout and retry policy."""
    old = yard.pay.options(priority=4, timeout=7, retry=Retry(9)).enqueue(5)
    yard.kill(old.id, "refused")
    new = yard.dlq.replay(old.id).info()
    before, after = yard.world.records.stored([old.id, new.id])

    assert (new.state, new.attempt, new.priority, new.arguments) == (JobState.PENDING, 1, 4, {"amount": 5})
    assert new.id != old.id
    assert before is not None
    assert after is not None
    assert {name: after.spec[name] for name in ("timeout", "retry")} == {
        name: before.spec[name] for name in ("timeout", "retry")
    }
    assert yard.dispatch.jobs.ready() == {"yard": 1}


def test_replay_marks_dlq_entry_as_replayed(yard: Graveyard) -> None:
    """The entry names the new job, which names the old one; it is found as replayed."""
    dead = yard.dead()
    new = yard.dlq.replay(dead)

    assert [(one.job_id, one.replayed_as) for one in yard.dlq.list(replayed=True)] == [(dead, new.id)]
    assert new.info().replay_of == dead


def test_replay_not_found_returns_error(yard: Graveyard) -> None:
    """By either id."""
    gone = JobId.mint()
    for name in (gone, gone.replace("job_", "dlq_")):
        with pytest.raises(DeadLetterNotFound):
            yard.dlq.replay(name)
