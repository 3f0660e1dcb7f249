"""What there is to say of a name: of a queue, a job, a workflow, an event, or a worker. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from dispatch_celery.cli.explaining_limits import allowance, standing
from dispatch_celery.cli.phrases import Explanation, Surroundings, count_of
from dispatch_celery.cluster.model import Worker, WorkerState
from dispatch_celery.events.model import EventRecord
from dispatch_celery.queues.model import Queue

__all__ = ["Declared", "Topic", "explain_declared", "explain_queue", "explain_topic", "explain_worker", "queue_state"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A job or workflow, by its name, as far as this process and the fleet know it."""

    name: str
    kind: str
    """``job`` or ``workflow``."""
    queue: str
    """Where it goes unless it is told otherwise."""
    counts: Mapping[str, int]
    limit: Queue | None = None
    """The limit of the jobs of this name, if there is one."""
    on: Queue | None = None
    """That queue, if it is limited or paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Who waits for an event under one key, and what was published last under any."""

    name: str
    key: str = ""
    scope: str = ""
    waiting: int = 0
    some: Sequence[str] = ()
    """Some of the runs that wait."""
    last: EventRecord | None = None
    is_newest: bool = True
    """Whether that is the newest of its name."""


def explain_queue(queue: Queue, around: Surroundings) -> Explanation:
    """Say what waits in a queue, what holds it back, and who takes from it."""
    takers = [worker for worker in around.live if queue.name in worker.queues]
    held, slots = sum(worker.holding for worker in takers), sum(worker.concurrency for worker in takers)
    ready = (
        "1 job or run is" if queue.ready == 1 else f"{queue.ready:,} jobs and runs are" if queue.ready else "Nothing is"
    )
    says = f"{ready} ready in the queue {queue.name!r}.{_holds_back(queue)}"
    if not takers:
        nobody = "No worker is live" if not around.live else "No live worker consumes it"
        says, advice = f"{says} {nobody}, so nobody takes from it.", _start(queue.name, around)
    else:
        who = f"{count_of(len(takers), 'live worker')} consume{'s' if len(takers) == 1 else ''} it"
        says += f" {who} ({held:,} of {slots:,} slots are busy)."
        advice = "Wait, or start more workers for it." if queue.ready and held >= slots else "Nothing to do."
    if queue.paused:
        advice = f"`{around.command} queues resume {queue.name}` lets it go on."
    return Explanation(explanation=says, advice=advice, next_at=queue.paused_until)


def _start(queue: str, around: Surroundings) -> str:
    return f"Start a worker: `{around.command.removesuffix(' dispatch')} worker -Q {quote(queue)}`."


def queue_state(queue: Queue) -> str:
    """Return how a queue or job name stands, in a word."""
    return "paused" if queue.paused else "limited" if queue.limit else "open"


def _holds_back(queue: Queue, what: str = "It") -> str:
    """Return how a queue or job name is paused or limited, as sentences; empty where it is not."""
    says = f" {what} is {standing(queue)}." if queue.paused else ""
    if queue.limit is not None:
        says += (
            f" {what} lets {allowance(queue.limit)}: {count_of(queue.permits, 'permit')} out,"
            f" {count_of(queue.limited, 'job')} waiting for one."
        )
    return says


def explain_declared(one: Declared, around: Surroundings) -> Explanation:
    """Say whether anybody executes a job or workflow of this name, and what holds it back."""
    counts = ", ".join(f"{number:,} {state}" for state, number in one.counts.items() if number) or "none is stored"
    says = f"{one.name!r} is a {one.kind}, declared for the queue {one.queue!r}: {counts}."
    lists = "runs" if one.kind == "workflow" else "jobs"
    advice = f"Nothing to do; `{around.command} {lists} list --name {quote(one.name)}` lists them."
    if not around.name_is_known:
        last = f"since {around.ago(around.known_at)}" if around.known_at else "so far"
        says += f" No live worker has declared it {last}, so nobody executes it."
        advice = f"Deploy a worker that declares {one.name!r}, and consumes {one.queue!r} (`-Q {quote(one.queue)}`)."
    elif not any(one.queue in worker.queues for worker in around.live):
        says += " No live worker consumes that queue, so nobody takes what is in it."
        advice = _start(one.queue, around)
    for found, what, word in (
        (one.on, f"The queue {one.queue!r}", one.queue),
        (one.limit, "The job name", f"--job {one.name}"),
    ):
        says += _holds_back(found, what) if found is not None else ""
        if found is not None and found.paused:
            advice = f"`{around.command} queues resume {word}` lets it go on."
    return Explanation(explanation=says, advice=advice)


def explain_topic(topic: Topic, around: Surroundings) -> Explanation:
    """Say who waits for an event, and when it was published last."""
    under = f" under the key {topic.key!r}" if topic.key else " without a key"
    under += f" in the scope {topic.scope}" if topic.scope else ""
    runs = _some(topic.some, topic.waiting)
    says = f"{count_of(topic.waiting, 'run')} wait{'s' if topic.waiting == 1 else ''} for {topic.name!r}{under}{runs}."
    if topic.last is not None:
        key = f", key {topic.last.key!r}" if topic.last.key else ""
        newest = "last " if topic.is_newest else ""
        says += f" It was published {newest}{around.ago(topic.last.published_at)} ({topic.last.id}{key})."
    publish = f"{around.command} events publish {quote(topic.name)}{f' --key {quote(topic.key)}' if topic.key else ''}"
    advice = f"`{publish} --payload JSON` lets them go on." if topic.waiting else "Nothing to do."
    if not topic.key:
        advice += " Who waits under a key is told with --key KEY; in a tenant, with --scope-app and --scope-org."
    return Explanation(explanation=says, advice=advice, since=topic.last.published_at if topic.last else None)


def explain_worker(worker: Worker, holds: Sequence[str], around: Surroundings) -> Explanation:
    """Say whether a worker is alive, and what it holds."""
    who = f"The worker {worker.name} ({worker.id} on {worker.hostname}, process {worker.pid})"
    some = _some(holds, worker.holding)
    has = f"It holds {count_of(worker.holding, 'job')} in {count_of(worker.concurrency, 'slot')}{some}."
    if worker.state == WorkerState.LOST or not around.leased(worker):
        return Explanation(
            explanation=f"{who} is lost: its lease ran out {around.ago(worker.lease_until or worker.seen_at)}. {has}",
            advice="Nothing to do: what it held is recovered by the leading worker within seconds."
            if around.live
            else "Start a worker: it recovers what this one held.",
            since=worker.lease_until or worker.seen_at,
            worker=worker.id,
        )
    leads = " It leads." if worker.leads else ""
    takes = f" It takes from {', '.join(worker.queues)}." if worker.queues else ""
    claims = "is alive" if worker.state == WorkerState.ACTIVE else "was told to stop, and claims nothing more"
    return Explanation(
        explanation=f"{who} {claims}: its lease stands until {around.ago(worker.lease_until)}. {has}{takes}{leads}",
        advice=f"Nothing to do; `{around.command} explain ID` tells of what it holds.",
        since=worker.registered_at,
        worker=worker.id,
    )


def _some(ids: Sequence[str], count: int) -> str:
    more = f" and {count - len(ids):,} more" if count > len(ids) else ""
    return f": {', '.join(ids)}{more}" if ids else ""
