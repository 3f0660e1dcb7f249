"""Explains what jobs and runs have in common: to be ready, to wait for a timer, to be held by a worker. Pure."""

from __future__ import annotations

from datetime import datetime

from dispatch_celery.cli.phrases import (
    Explanation,
    Surroundings,
    Work,
    count_of,
    declared,
    named,
    noun_of,
    other_version,
    start_worker,
)
from dispatch_celery.cluster.model import Worker
from dispatch_celery.workflows.model import Run

__all__ = ["explain_pending", "explain_timed", "holder_of"]


def explain_timed(
    work: Work, around: Surroundings, opening: str, *, what: str, due: datetime | None, advice: str
) -> Explanation:
    """Explain a wait for a timer: to come, or overdue because nobody keeps house. ``what`` is what is due."""
    if due is not None and due <= around.now:
        moves = f"was due {around.ago(due)}, and the leading worker makes it ready now"
        if not any(worker.leads for worker in around.live):
            moves = f"was due {around.ago(due)}, and no live worker leads, so nobody makes it ready"
            advice = start_worker(work, around) if not around.live else "A live worker takes the lead within seconds."
        return Explanation(
            explanation=f"{opening}: it {moves}.", advice=advice, since=work.created_at, next_at=around.now
        )
    return Explanation(
        explanation=f"{opening}: {what} is due {around.ago(due)}.",
        advice=advice,
        since=work.created_at,
        next_at=due,
    )


def explain_pending(work: Work, around: Surroundings) -> Explanation:
    """Explain what is ready: its place in its queue, and who could take it."""
    if around.unknown_since is not None and not around.name_is_known:
        return _unknown(work, around, around.unknown_since)
    ready = around.published_at or work.created_at
    since = f"since {around.ago(ready)}"
    if around.publishes:
        times = "once" if around.publishes == 1 else f"{around.publishes} times"
        since = f"for some time: its message was published again {times}, last {around.ago(ready)}"
    if ready > around.now:
        # A worker that did not know the name gave it back, for a pause.
        since = f"for some time: its message is published again {around.ago(ready)}"
        ready = around.unknown_since or work.created_at
    others = count_of(around.ahead, "other" if isinstance(work, Run) else "job")
    ahead = f", with {others} of its priority ahead" if around.ahead else ""
    takers = [worker for worker in around.live if work.queue in worker.queues]
    who, advice = _takers(work, around, takers)
    return Explanation(
        explanation=f"{named(work)} is pending: ready in the queue {work.queue!r} {since}{ahead}. {who}.",
        advice=advice,
        since=ready,
    )


def _takers(work: Work, around: Surroundings, takers: list[Worker]) -> tuple[str, str]:
    """Return who could take what is ready, and what to do if nobody can."""
    if not around.live:
        return "No worker is live, so nobody takes it", start_worker(work, around)
    if not takers:
        return (
            f"{count_of(len(around.live), 'live worker')}, and none of them consumes this queue, so nobody takes it",
            start_worker(work, around),
        )
    who = f"{count_of(len(takers), 'live worker')} consume{'s' if len(takers) == 1 else ''} it"
    if not around.name_is_known:
        return (
            f"{who}, but no live worker is known to declare {declared(work)}",
            f"Deploy a worker that declares {declared(work)}; the {noun_of(work)} goes on by itself.",
        )
    held, slots = sum(worker.holding for worker in takers), sum(worker.concurrency for worker in takers)
    if held >= slots:
        return (
            f"{who}, and all are busy ({held:,} jobs in {slots:,} slots), so it moves when one of them ends",
            "Wait, or start more workers for this queue.",
        )
    return (
        f"{who} ({held:,} of {slots:,} slots are busy), so it is taken within moments",
        f"Nothing to do; if it still waits in a minute, see `{around.command} doctor` and the workers' logs.",
    )


def _unknown(work: Work, around: Surroundings, unknown_since: datetime) -> Explanation:
    since = max(unknown_since, around.known_at or unknown_since)
    ends = since + around.unknown_grace
    missing, end, also = "its name", "becomes a dead letter", ", also from the dead letters."
    if isinstance(work, Run):
        missing, end = declared(work), "is parked"
        also = f", also when it is parked. {other_version(work, around.command)}"
    return Explanation(
        explanation=f"{named(work)} is pending in the queue {work.queue!r}, but no live worker has known {missing}"
        f" since {around.ago(since)}; it {end} {around.ago(ends)}.",
        advice=f"Deploy a worker that declares {declared(work)}; the {noun_of(work)} goes on by itself{also}",
        since=since,
        next_at=ends,
    )


def holder_of(work: Work, around: Surroundings) -> tuple[str, bool]:
    """Return who holds what is running, in words, and whether that worker is lost."""
    holder = next((worker for worker in around.workers if worker.id == work.worker), None)
    if holder is None:
        return f"worker {work.worker}", True
    process = f", process {around.pid}" if around.pid else ""
    return f"worker {holder.name} ({holder.id} on {holder.hostname}{process})", not around.leased(holder)
