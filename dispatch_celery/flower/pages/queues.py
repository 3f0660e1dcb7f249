"""Queues and job names: what is ready, what a limit holds back, and how that limit reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatch_celery.cli.explaining_limits import allowance, standing
from dispatch_celery.flower.buttons import Button, of_queue
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import Page, Query, Row
from dispatch_celery.queues.model import Queue

__all__ = ["QUEUES", "QueueList"]


@dataclass(frozen=True, kw_only=True)
class QueueList:
    """Every queue in which something waits or that has a limit, and every job name that has one."""

    queues: Sequence[Queue]

    def rows_of(self, queue: Queue) -> Sequence[Row]:
        """Return what is told of a queue; what is empty is not shown."""
        rows = (
            Row("State", standing(queue)),
            Row("Limit", allowance(queue.limit) if queue.limit else ""),
            Row("Wait for a permit", queue.limited if queue.limit or queue.limited else ""),
            Row("Permits out", queue.permits if queue.limit or queue.permits else ""),
        )
        ready = [Row("Ready", queue.ready)] if queue.kind == "queue" else []
        return [*ready, *(row for row in rows if row.is_shown)]

    def title_of(self, queue: Queue) -> str:
        """Return what a queue is called."""
        return queue.name if queue.kind == "queue" else f"jobs named {queue.name}"

    def buttons_at(self, queue: Queue) -> Sequence[Button]:
        """Return what can be done with a queue."""
        return of_queue(queue)


def _list(desk: Desk, _: Query) -> QueueList:
    return QueueList(queues=tuple(desk.dispatch.queues.list()))


QUEUES: Final = Page(key="queues", title="Queues", template="queues.html", read=_list, menu="queues", service="queues")
