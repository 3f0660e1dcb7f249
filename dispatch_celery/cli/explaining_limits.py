"""Says which limit a job waits for, who has its permits, and what lets the job go. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from dispatch_celery.cli.moments import stamp
from dispatch_celery.cli.phrases import Explanation, Surroundings, count_of, named, start_worker
from dispatch_celery.jobs.model import Job
from dispatch_celery.queues.model import Limit, PerKey, Place, Queue, Rate

__all__ = ["allowance", "explain_limited", "standing"]

_WEIGHTS: Final = 5
"""Keys whose weights are told; there may be one for each tenant."""


def explain_limited(job: Job, around: Surroundings) -> Explanation:
    """Explain a job that a limit holds back."""
    since = around.limited_at or job.created_at
    opening = f"{named(job)} is limited since {around.ago(since)}; nobody holds it"
    place = around.place
    if place is None:
        return Explanation(explanation=f"{opening}, and it may go now.", advice="Look again.", since=since)
    queue = place.queue
    what = f"the queue {queue.name!r}" if queue.kind == "queue" else f"the job name {queue.name!r}"
    word = queue.name if queue.kind == "queue" else f"--job {queue.name}"
    if queue.paused:
        return Explanation(
            explanation=f"{opening}: {what} is {standing(queue)}.",
            advice=f"`{around.command} queues resume {word}` lets it go on{' at once' if queue.paused_until else ''}.",
            since=since,
        )
    own_at: datetime | None = None
    if place.granted or queue.limit is None:
        says, advice = f"{opening}: it has its permit of {what}, which is on its way.", "Nothing to do."
    else:
        ahead = f"; {count_of(place.ahead, 'job')} of its kind came before it" if place.ahead else ""
        own_at = _own_turn(place, queue.limit)
        under = _under(place, queue.limit)
        says = f"{opening}: {what} lets {allowance(queue.limit)}{under}, and {_out(place)}{ahead}."
        says += _by_rate(place, own_at, around)
        advice = f"Nothing to do; `{around.command} queues limit {word} ...` changes the limit."
    if not around.live:
        advice = start_worker(job, around)
    elif not any(worker.leads for worker in around.live):
        advice = "A live worker takes the lead within seconds, and hands out permits."
    return Explanation(explanation=says, advice=advice, since=since, next_at=own_at)


def _under(place: Place, limit: Limit) -> str:
    """Return under which key a job waits; empty where keys are not told apart."""
    if place.key:
        return f" under the key {place.key!r}"
    if limit.per_key is None:
        return ""
    return f" (this job has no {limit.per_key.by}: it shares one key with all that have none)"


def _own_turn(place: Place, limit: Limit) -> datetime | None:
    """Return about when the rates let a job itself begin, behind those of its key; others may put it off further."""
    rates = [Rate.parse(one.rate) for one in (limit, limit.per_key) if one is not None and one.rate is not None]
    if place.next_at is None or not rates:
        return None
    return place.next_at + timedelta(milliseconds=place.ahead * max(rate.interval for rate in rates))


def _by_rate(place: Place, own_at: datetime | None, around: Surroundings) -> str:
    """Return when the next may begin, and when the job itself, as a sentence; empty where no rate holds them."""
    if place.next_at is None or own_at is None:
        return ""
    if not place.ahead:
        return f" Its rate lets it begin about {around.ago(place.next_at)}."
    return (
        f" The rate lets the next of them begin about {around.ago(place.next_at)},"
        f" and this one not before about {around.ago(own_at)}."
    )


def standing(queue: Queue) -> str:
    """Return whether a queue is paused, until when and why; empty where it is not."""
    if not queue.paused:
        return ""
    until = f" until {stamp(queue.paused_until)} UTC" if queue.paused_until else ""
    return f"paused{until}{f' ({queue.pause_reason})' if queue.pause_reason else ''}"


def allowance(limit: Limit) -> str:
    """Return what a limit lets happen, in words."""
    each = limit.per_key
    parts = [
        f"{limit.concurrency} run at once" if limit.concurrency else "",
        f"{limit.rate} begin" if limit.rate else "",
        f"{each.concurrency} of each {each.by} run at once" if each and each.concurrency else "",
        f"{each.rate} of each {each.by} begin" if each and each.rate else "",
    ]
    said = [part for part in parts if part]
    bounded = each and (each.concurrency or each.rate)
    whose = "" if not each or bounded or not said else f" of {each.by}"
    turns = f"keys{whose} take turns{_weights(each)}" if each and (each.weights or not bounded) else ""
    return " and ".join([*said, *([turns] if turns else [])])


def _weights(each: PerKey) -> str:
    some = [f"{key!r} {weight:g}" for key, weight in list(each.weights.items())[:_WEIGHTS]]
    more = ["..."] if len(each.weights) > _WEIGHTS else []
    return f" (where others have one, {', '.join([*some, *more])})" if some else ""


def _out(place: Place) -> str:
    if not place.queue.permits:
        return "no permit is out"
    some = ", ".join(place.holders)
    more = ", ..." if place.queue.permits > len(place.holders) else ""
    count = place.queue.permits
    return f"{count} permit{'s are' if count != 1 else ' is'} out ({some}{more})"
