"""Queues and their limits: every field that the service tells of each. Shown where the app has ``queues``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final, cast

from dispatch_celery.flower.buttons import Button, of_queue
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import Page, Query, Row

__all__ = ["QUEUES", "QueueList"]


@dataclass(frozen=True, kw_only=True)
class QueueList:
    """Every queue that has a limit or holds something ready."""

    queues: Sequence[Any]
    ready: Mapping[str, int]

    def rows_of(self, queue: Any) -> Sequence[Row]:
        """Return what is told of a queue; what is empty is not shown."""
        names = [field.name for field in fields(queue)] if is_dataclass(queue) else []
        rows = [Row(name.replace("_", " ").capitalize(), getattr(queue, name)) for name in names if name != "name"]
        return [Row("Ready", self.ready.get(queue.name, 0)), *(row for row in rows if row.is_shown)]

    def buttons_at(self, queue: Any) -> Sequence[Button]:
        """Return what can be done with a queue."""
        return of_queue(queue)


def _list(desk: Desk, _: Query) -> QueueList:
    return QueueList(queues=tuple(cast("Any", desk.dispatch).queues.list()), ready=desk.dispatch.jobs.ready())


QUEUES: Final = Page(key="queues", title="Queues", template="queues.html", read=_list, menu="queues", service="queues")
