"""A round every second, and what it saw."""

from __future__ import annotations

import os

from celery import Celery

from dispatch_celery import Dispatch

QUEUE = "watch"

app = Celery("night_watch", broker=os.environ.get("WATCH_BROKER", "redis://127.0.0.1:6379/0"))
app.conf.task_default_queue = QUEUE
dispatch = Dispatch(app)


@dispatch.cron("* * * * * *", name="rounds", timezone="Europe/Berlin", arguments={"gate": "north"}, misfire="all(100)")
@dispatch.job(name="watch.round")
def walk_round(gate: str) -> str:
    """Walk one round."""
    return f"the {gate} gate is shut"
