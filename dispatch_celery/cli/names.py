"""Finds what a name is: a cron entry, queue, job, workflow, event or worker, or several of them.

Every read is bounded, and none is a scan: a name is looked up where each kind has its index. Names that are close are
looked for among those that this app declares, the live workers know, and the newest entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Final

from dispatch_celery.cli.explaining_crons import explain_entry
from dispatch_celery.cli.explaining_names import (
    Declared,
    Topic,
    explain_declared,
    explain_queue,
    explain_topic,
    explain_worker,
    queue_state,
)
from dispatch_celery.cli.phrases import Explanation, Surroundings
from dispatch_celery.cli.session import Session
from dispatch_celery.cli.unfamiliar import own_queues
from dispatch_celery.cluster.model import Worker
from dispatch_celery.cron.model import CronEntry
from dispatch_celery.errors import ConfigurationError, CronNotFound, NotFoundError
from dispatch_celery.events.model import Place
from dispatch_celery.queues.model import Queue
from dispatch_celery.scope import Scope

__all__ = ["Names", "Told", "unknown"]

_SIMILAR: Final = 3
_ENTRIES: Final = 200
"""Cron entries, the newest, among which similar names are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing, and what there is to say of it."""

    id: str
    kind: str
    state: str
    found: Explanation


class Names:
    """The names of one app, as they are in one moment."""

    def __init__(self, session: Session, *, key: str | None = None, scope: Scope | None = None) -> None:
        self._session = session
        self._dispatch = session.dispatch
        self._parts = session.dispatch._parts  # noqa: SLF001 - no service tells of declarations
        self._place_key = key
        self._scope = scope or Scope()

    def of(self, name: str) -> list[Told]:
        """Return everything that has this name; nothing where there is none."""
        kinds = (self._entries, self._queues, self._works, self._topics, self._workers)
        return [told for kind in kinds for told in kind(name)]

    def entry(self, entry: CronEntry) -> Told:
        """Tell of a cron entry, and of the queue that holds back what it creates."""
        template = entry.template
        paused = [
            queue
            for queue in (self._queue(template.queue), self._limits.get(("job", template.name)))
            if queue is not None and queue.paused
        ]
        found = explain_entry(entry, self._around, paused=paused, census=self._dispatch.crons.census())
        return Told(id=entry.id, kind="cron entry", state=entry.state, found=found)

    def worker(self, worker: Worker) -> Told:
        """Tell of one incarnation of a worker."""
        holds = self._session.insight.held(worker.id)
        state = worker.state if self._around.leased(worker) else "lost"
        return Told(id=worker.id, kind="worker", state=state, found=explain_worker(worker, holds, self._around))

    def similar(self, name: str) -> list[str]:
        """Return a few names that are close to one, each with what it is."""
        kinds: dict[str, str] = dict.fromkeys(self._session.insight.known_names(), "job or workflow")
        kinds |= dict.fromkeys(self._parts.workflows.names(), "workflow")
        kinds |= {one.name: "job" for one in self._parts.registry}
        kinds |= {worker.name: "worker" for worker in self._around.workers}
        kinds |= dict.fromkeys(sorted(own_queues(self._session)), "queue")
        kinds |= {queue: "queue" for worker in self._around.workers for queue in worker.queues}
        kinds |= {queue: kind for kind, queue in self._limits}
        kinds |= {entry.name: "cron entry" for entry in self._dispatch.crons.list(limit=_ENTRIES)}
        return [f"{close!r} ({kinds[close]})" for close in get_close_matches(name, kinds, n=_SIMILAR)]

    # -- one look at what several kinds ask for

    @cached_property
    def _around(self) -> Surroundings:
        session = self._session
        return Surroundings(
            now=session.insight.now(), command=session.command, workers=tuple(self._dispatch.workers.list())
        )

    @cached_property
    def _limits(self) -> Mapping[tuple[str, str], Queue]:
        return {(queue.kind, queue.name): queue for queue in self._dispatch.queues.list()}

    def _queue(self, name: str) -> Queue | None:
        return self._limits.get(("queue", name))

    # -- of each kind, what has a name

    def _entries(self, name: str) -> Iterator[Told]:
        try:
            yield self.entry(self._dispatch.crons.get(name))
        except (CronNotFound, ConfigurationError):  # none has it, or none can
            return

    def _queues(self, name: str) -> Iterator[Told]:
        consumed = any(name in worker.queues for worker in self._around.workers)
        is_known = consumed or name in own_queues(self._session)
        queue = self._queue(name) or (Queue(name=name) if is_known else None)
        if queue is not None:
            yield Told(id=name, kind="queue", state=queue_state(queue), found=explain_queue(queue, self._around))

    def _works(self, name: str) -> Iterator[Told]:
        workflows, declared = self._parts.workflows, self._parts.registry.declared(name)
        limit, is_workflow = self._limits.get(("job", name)), name in workflows.names()
        queue, known_at = self._session.insight.catalogued(name)
        if declared is None and limit is None and not is_workflow and queue is None and known_at is None:
            return
        code = workflows.latest(name) if is_workflow else declared
        queue = queue or (code.queue if code else None) or str(self._dispatch.app.conf.task_default_queue)
        runs, jobs = self._dispatch.runs.count(name=name), self._dispatch.jobs.count(name=name)
        is_workflow = is_workflow or (declared is None and any(runs.values()))
        one = Declared(
            name=name,
            kind="workflow" if is_workflow else "job",
            queue=queue,
            counts={str(state): count for state, count in (runs if is_workflow else jobs).items()},
            limit=limit,
            on=self._queue(queue),
        )
        found = explain_declared(one, replace(self._around, known_at=known_at))
        yield Told(id=name, kind=one.kind, state=queue_state(limit) if limit else "open", found=found)

    def _topics(self, name: str) -> Iterator[Told]:
        try:
            place = Place(name, self._place_key or "", self._scope.path)
            waiting, some = self._session.insight.waiters(place)
            last = next(iter(self._dispatch.events.list(name=name, limit=1)), None)
        except ConfigurationError:
            return
        if waiting or last is not None or self._place_key is not None:
            topic = Topic(name=name, key=place.key, scope=place.scope, waiting=waiting, some=some, last=last)
            state = "awaited" if waiting else "published" if last else "unknown"
            yield Told(id=name, kind="event", state=state, found=explain_topic(topic, self._around))

    def _workers(self, name: str) -> Iterator[Told]:
        yield from (self.worker(one) for one in self._around.workers if one.name == name)


def unknown(name: str, similar: list[str]) -> NotFoundError:
    """Return what is raised where nothing has a name."""
    near = f"; did you mean {' or '.join(similar)}?" if similar else ""
    return NotFoundError(
        f"nothing is known by {name!r}: explain takes the id of a job, run, dead letter, cron entry, event or worker,"
        f" or the name of a cron entry, queue, job, workflow, event or worker{near}"
    )
