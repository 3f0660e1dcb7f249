"""What is said of a job in each state: what it waits for, since when, who holds it, when it moves, what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch_celery.cli.explaining import explain_job, explain_message
from dispatch_celery.cli.phrases import Surroundings, hint_of
from dispatch_celery.cluster.model import Worker, WorkerState
from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind
from dispatch_celery.ids import DeadLetterId, JobId, WorkerId
from dispatch_celery.jobs.model import Attempt, Job, JobState
from dispatch_celery.scope import Scope
from dispatch_celery.work.model import Failure

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ID = JobId.mint()
WORKER = WorkerId.mint()


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def job(state: JobState, **fields: Any) -> Job:
    common: dict[str, Any] = {
        "queue": "mail",
        "priority": 0,
        "arguments": {},
        "scope": Scope(),
        "created_at": ago(hours=1),
    }
    return Job(id=ID, name="mail.receipt", state=state, **{**common, **fields})


def worker(**fields: Any) -> Worker:
    common: dict[str, Any] = {
        "id": WORKER,
        "name": "w1@host",
        "hostname": "host",
        "pid": 10,
        "pool": "prefork",
        "concurrency": 2,
        "queues": ("mail",),
        "release": "0.1.0",
        "state": WorkerState.ACTIVE,
        "registered_at": ago(hours=2),
        "seen_at": ago(seconds=1),
        "lease_until": NOW + timedelta(seconds=7),
        "holding": 0,
        "leads": True,
    }
    return Worker(**{**common, **fields})


ALIVE = Surroundings(
    now=NOW, workers=(worker(),), known_at=ago(seconds=30), max_attempts=3, published_at=ago(seconds=5)
)
ALONE = replace(ALIVE, workers=())
FAILURE = Failure(type="ValueError", message="no\nmoney")


def test_a_scheduled_job_waits_for_its_time() -> None:
    """It says when that is, that nobody holds it, and how to run it now."""
    found = explain_job(job(JobState.SCHEDULED, due_at=NOW + timedelta(minutes=5)), ALIVE)

    assert "is scheduled" in found.explanation
    assert "nobody holds it" in found.explanation
    assert "2026-05-04 12:05:00 UTC (in 5 min)" in found.explanation
    assert f"jobs run-now {ID}" in found.advice
    assert (found.since, found.next_at, found.worker) == (ago(hours=1), NOW + timedelta(minutes=5), "")


def test_an_overdue_job_names_who_should_have_moved_it() -> None:
    """With a leader it moves now; without a live worker nobody moves it, and one is to be started."""
    late = job(JobState.SCHEDULED, due_at=ago(minutes=2))

    assert "the leading worker makes it ready now" in explain_job(late, ALIVE).explanation
    leaderless = explain_job(late, replace(ALIVE, workers=(worker(leads=False),)))
    assert "takes the lead within seconds" in leaderless.advice
    alone = explain_job(late, ALONE)
    assert "nobody makes it ready" in alone.explanation
    assert alone.advice == "Start a worker: `celery -A app worker -Q mail`."


def test_a_pending_job_tells_its_place_and_who_may_take_it() -> None:
    """The queue, since when, how many are ahead, and how many live workers have room."""
    found = explain_job(job(JobState.PENDING), replace(ALIVE, ahead=12))

    assert (
        "ready in the queue 'mail' since 2026-05-04 11:59:55 UTC (5.0 s ago), with 12 jobs of its priority"
        in found.explanation
    )
    assert "1 live worker consumes it (0 of 2 slots are busy)" in found.explanation
    assert found.since == ago(seconds=5)


def test_a_pending_job_that_nobody_takes_says_why() -> None:
    """No worker, none of this queue, none with room, none that knows the name: each has its own remedy."""
    waiting = job(JobState.PENDING)

    assert "No worker is live" in explain_job(waiting, ALONE).explanation
    lapsed = replace(ALIVE, workers=(worker(lease_until=ago(seconds=1)), worker(state=WorkerState.DRAINING)))
    assert "No worker is live" in explain_job(waiting, lapsed).explanation
    elsewhere = explain_job(waiting, replace(ALIVE, workers=(worker(queues=("celery",)),)))
    assert "none of them consumes this queue" in elsewhere.explanation
    assert "worker -Q mail" in elsewhere.advice
    busy = explain_job(waiting, replace(ALIVE, workers=(worker(holding=2),)))
    assert "all are busy (2 jobs in 2 slots)" in busy.explanation
    strange = explain_job(waiting, replace(ALIVE, known_at=None))
    assert "no live worker is known to declare 'mail.receipt'" in strange.explanation
    assert "Deploy a worker" in strange.advice


def test_a_job_of_an_unknown_name_tells_when_it_dies() -> None:
    """The grace counts from when a live worker last knew the name."""
    around = replace(ALIVE, unknown_since=ago(minutes=4), known_at=ago(minutes=3), unknown_grace=timedelta(minutes=10))
    found = explain_job(job(JobState.PENDING), around)

    assert "no live worker has known its name since" in found.explanation
    assert "becomes a dead letter 2026-05-04 12:07:00 UTC (in 7 min)" in found.explanation
    assert found.next_at == NOW + timedelta(minutes=7)


def test_a_job_whose_message_was_lost_says_how_often_it_was_published() -> None:
    """The time of its publication is not the time since it is ready."""
    found = explain_job(job(JobState.PENDING), replace(ALIVE, publishes=2))

    assert "published again 2 times" in found.explanation
    given_back = replace(ALIVE, published_at=NOW + timedelta(seconds=2), unknown_since=ago(seconds=9))
    assert (
        "published again 2026-05-04 12:00:02 UTC (in 2.0 s)"
        in explain_job(job(JobState.PENDING), given_back).explanation
    )


def test_a_running_job_names_its_holder_and_its_end() -> None:
    """Host, process, attempt, progress and timeout are there."""
    running = job(
        JobState.RUNNING,
        worker=WORKER,
        started_at=ago(seconds=20),
        attempt=2,
        progress={"done": 3, "total": 10, "message": "pages"},
    )
    found = explain_job(running, replace(ALIVE, pid=4711, timeout=timedelta(seconds=30)))

    assert f"worker w1@host ({WORKER} on host, process 4711) holds it since" in found.explanation
    assert "as attempt 2 of 3, which has done 3 of 10 (pages)" in found.explanation
    assert "its timeout ends the attempt 2026-05-04 12:00:10 UTC (in 10 s)" in found.explanation
    assert f"jobs cancel {ID}" in found.advice
    assert (found.worker, found.next_at) == (WORKER, NOW + timedelta(seconds=10))


def test_a_running_job_that_is_to_be_cancelled_says_so() -> None:
    """The request and its reason are told, and that nothing is left to do."""
    found = explain_job(
        job(JobState.RUNNING, worker=WORKER, started_at=ago(seconds=1), cancel_requested=True, reason="too late"), ALIVE
    )

    assert "Its cancellation was requested: too late." in found.explanation
    assert found.advice.startswith("Nothing to do")


@pytest.mark.parametrize(
    "workers", [(), (worker(lease_until=ago(seconds=3)),), (worker(state=WorkerState.LOST, lease_until=None),)]
)
def test_a_job_of_a_lost_worker_waits_for_its_recovery(workers: tuple[Worker, ...]) -> None:
    """A holder that is unknown, or without a lease, is lost; without another worker nobody recovers the job."""
    running = job(JobState.RUNNING, worker=WORKER, started_at=ago(minutes=1))
    other = worker(id=WorkerId.mint())

    assert "that worker is lost" in explain_job(running, replace(ALIVE, workers=workers)).explanation
    assert "Start a worker" in explain_job(running, replace(ALIVE, workers=workers)).advice
    assert "within seconds" in explain_job(running, replace(ALIVE, workers=(*workers, other))).advice


def test_a_retrying_job_tells_its_last_error_and_its_next_attempt() -> None:
    """The error is on one line; the attempts used are counted."""
    past = Attempt(
        number=1, started_at=ago(seconds=9), ended_at=ago(seconds=8), worker=WORKER, outcome="retrying", failure=FAILURE
    )
    retrying = job(JobState.RETRYING, attempt=2, due_at=NOW + timedelta(seconds=30), attempts=(past,), failure=FAILURE)
    found = explain_job(retrying, ALIVE)

    assert "attempt 1 of 3 ended, with ValueError: no money" in found.explanation
    assert "attempt 2 of 3 is due 2026-05-04 12:00:30 UTC (in 30 s)" in found.explanation
    assert (found.since, found.next_at) == (ago(seconds=8), NOW + timedelta(seconds=30))


@pytest.mark.parametrize(
    ("outcome", "words"), [("snoozed", "its handler snoozed"), ("crashed", "its process died (crashes: 2")]
)
def test_a_snooze_and_a_crash_are_no_failed_attempts(outcome: str, words: str) -> None:
    """What the last attempt came to is told in its own words."""
    past = Attempt(number=1, started_at=ago(seconds=9), ended_at=ago(seconds=8), worker=WORKER, outcome=outcome)

    assert words in explain_job(job(JobState.RETRYING, crashes=2, due_at=NOW, attempts=(past,)), ALIVE).explanation


def test_a_completed_job_hints_at_its_result() -> None:
    """How long it took, how long it is kept, and what kind of value it left; never the value."""
    completed = job(JobState.COMPLETED, started_at=ago(seconds=12), finished_at=ago(seconds=2), result="hunter2")
    found = explain_job(completed, replace(ALIVE, kept_until=NOW + timedelta(days=1)))

    assert "(2.0 s ago) in 10 s, at attempt 1 of 3" in found.explanation
    assert "a text of 7 characters; its record is kept until 2026-05-05 12:00:00 UTC (in 1 day)" in found.explanation
    assert "hunter2" not in found.explanation


def test_a_failed_job_tells_the_reason_and_how_to_replay_it() -> None:
    """Replay and retry are offered with whole ids; a replay that was made is named instead."""
    failed = job(JobState.FAILED, finished_at=ago(minutes=3), attempt=3, reason="attempts used up", failure=FAILURE)
    found = explain_job(failed, ALIVE)

    assert "all 3 attempts are used up, with ValueError: no money" in found.explanation
    assert f"dlq replay {DeadLetterId.of_job(ID)}" in found.advice
    assert f"jobs retry {ID}" in found.advice
    replayed = explain_job(replace(failed, replayed_as="job_2"), ALIVE)
    assert "replayed as job_2" in replayed.explanation
    assert "explain job_2" in replayed.advice


def test_a_job_that_only_lacked_a_worker_goes_on_by_itself() -> None:
    """For an unknown name no replay is advised."""
    found = explain_job(job(JobState.FAILED, finished_at=NOW, reason="unknown"), ALIVE)

    assert "no live worker knew its name" in found.explanation
    assert "goes on by itself" in found.advice


def test_a_cancelled_job_tells_why() -> None:
    """The reason is the one that was given."""
    found = explain_job(job(JobState.CANCELLED, finished_at=ago(days=2), reason="not wanted"), ALIVE)

    assert "was cancelled 2026-05-02 12:00:00 UTC (2 days ago): not wanted." in found.explanation


def test_a_raw_message_is_looked_at_put_back_or_purged() -> None:
    """It has no job, so no replay is offered."""
    letter = DeadLetter(
        id=DeadLetterId.mint(),
        kind=DeadLetterKind.MESSAGE,
        reason="no task message",
        died_at=ago(hours=3),
        queue="mail",
    )
    found = explain_message(letter, ALIVE)

    assert "message from the queue 'mail' that never became a job" in found.explanation
    assert f"dlq purge {letter.id}" in found.advice
    assert f"dlq put-back {letter.id}" in found.advice
    assert "dlq replay" not in found.advice


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "null"),
        ({"a": 1}, "an object of 1 field"),
        ([1, 2], "a list of 2 items"),
        (True, "a truth value"),
        (1.5, "a number"),
    ],
)
def test_every_kind_of_result_has_a_hint(result: Any, words: str) -> None:
    """The hint names the kind and the size."""
    assert hint_of(result) == words
