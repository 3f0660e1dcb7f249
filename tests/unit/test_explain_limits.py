"""What is said of a job that a limit holds back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dispatch_celery.cli.explaining_limits import allowance, explain_limited
from dispatch_celery.cli.phrases import Surroundings
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.queues.model import Limit, PerKey, Place, Queue
from dispatch_celery.scope import Scope

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
JOB = Job(
    id=JobId.mint(),
    name="post.send",
    state=JobState.LIMITED,
    queue="post",
    priority=0,
    arguments={},
    scope=Scope(),
    created_at=NOW,
)
RATED = Place(queue=Queue(name="post", limit=Limit(rate="6/m"), limited=4), next_at=NOW + timedelta(seconds=5))


def said(place: Place) -> tuple[str, datetime | None]:
    found = explain_limited(JOB, Surroundings(now=NOW, command="celery dispatch", place=place))
    return found.explanation, found.next_at


def test_a_job_behind_a_rate_is_told_when_it_may_begin() -> None:
    """The first by the rate itself; one behind others not before those have had their turns."""
    words, at = said(RATED)
    assert words.endswith(" Its rate lets it begin about 2027-01-01 12:00:05 UTC (in 5.0 s).")
    assert at == NOW + timedelta(seconds=5)

    words, at = said(replace(RATED, ahead=3))
    assert "lets the next of them begin about 2027-01-01 12:00:05 UTC (in 5.0 s)" in words
    assert words.endswith("and this one not before about 2027-01-01 12:00:35 UTC (in 35 s).")
    assert at == NOW + timedelta(seconds=35)


def test_the_slower_rate_tells() -> None:
    """Of a limit with a rate for all and one for each key."""
    each = PerKey(by="key", rate="1/m")
    _, at = said(replace(RATED, ahead=2, queue=replace(RATED.queue, limit=Limit(rate="6/m", per_key=each))))

    assert at == NOW + timedelta(seconds=125)


def test_no_moment_is_told_where_no_rate_holds_it() -> None:
    """A permit that somebody has may come back at any time; a paused queue has no next."""
    for place in (
        replace(RATED, next_at=None),
        replace(RATED, granted=True),
        replace(RATED, queue=replace(RATED.queue, paused=True)),
    ):
        words, at = said(place)
        assert ("begin about" in words, at) == (False, None)


def test_weights_are_told_with_the_limit() -> None:
    """Some of them, where there are many."""
    each = PerKey(by="key", weights={f"k{n}": n for n in range(1, 8)})

    assert allowance(Limit(per_key=PerKey(by="key"))) == "keys take turns"
    assert allowance(Limit(per_key=each)).endswith("'k4' 4, 'k5' 5, ...)")
    assert allowance(Limit(concurrency=2, per_key=PerKey(by="scope"))) == "2 run at once and keys of scope take turns"


def test_a_job_without_a_key_is_told_so() -> None:
    """It shares the empty key: a misspelt path is seen here."""
    limit = Limit(concurrency=2, per_key=PerKey(by="arguments.tenat", concurrency=1))
    place = Place(queue=Queue(name="post", limit=limit, limited=4))

    assert "(this job has no arguments.tenat: it shares one key with all that have none)" in said(place)[0]
    assert " under the key 'ann', and" in said(replace(place, key="ann"))[0]
    assert "shares" not in said(RATED)[0]
