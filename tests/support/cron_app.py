"""The Celery app that cron's acceptance tests run in real workers and beats; what runs is noted in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery

from dispatch_celery import Dispatch, Workflow, current_job

app = Celery("cron_app", broker=os.environ.get("SHOP_BROKER", "redis://127.0.0.1:1/0"))
app.conf.task_default_queue = f"q-{os.environ.get('DISPATCH_NAMESPACE', 'none')}"
app.conf.broker_connection_retry_on_startup = True
app.conf.beat_enable_remote_control = True
if os.environ.get("CRON_BEAT_SCHEDULE"):
    app.conf.beat_schedule = {
        "plain": {"task": "plain.note", "schedule": 1.0, "args": ("plain",)},
        "ours": {"task": "cron.note", "schedule": 1.0, "args": ("ours",)},
    }
dispatch = Dispatch(app)


def noted(name: str, about: str) -> None:
    """Append one line."""
    path = Path(os.environ["SHOP_EFFECTS"])
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{name} {about}\n".encode())
    finally:
        os.close(descriptor)


@app.task(name="plain.note", bind=True, shared=False)
def plain(self: Any, name: str) -> None:
    """Note what Celery runs."""
    noted(name, self.request.id)


@dispatch.cron("* * * * * *", name="seconds", arguments={"name": "seconds"})
@dispatch.job(name="cron.note")
def note(name: str) -> None:
    """Note what this package runs."""
    noted(name, current_job().id)


@dispatch.cron("@every 2s")
@dispatch.workflow(name="cron.flow")
def flow(wf: Workflow) -> int:
    """Be a run."""
    return 1
