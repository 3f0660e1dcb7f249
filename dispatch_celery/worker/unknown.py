"""What a worker does with work whose name it does not know: a rolling deploy must park nothing."""

from __future__ import annotations

import json

from dispatch_celery.clock import from_ms
from dispatch_celery.config import Settings
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.ports import Observer
from dispatch_celery.workflows.store import RunStore

__all__ = ["give_back"]


def give_back(jobs: JobStore, runs: RunStore, ref: WorkRef, observer: Observer, settings: Settings) -> None:
    """Delay the wake-up of work this worker does not know.

    When no live worker has known it for too long, a job is dead-lettered and a run parked. A worker that knows the
    name lets them go on (``upkeep.Revival``). The run a dead-lettered job belongs to is woken by the leader's sweep.
    """
    answer = jobs.give_back(ref, pause=max(1_000, settings.renew_every))
    if answer.verdict != "ABANDON":
        return
    since = f"{from_ms(int(answer.detail)):%Y-%m-%d %H:%M:%S} UTC"
    what = f"version {ref.version} of the workflow" if ref.kind else "the job name"
    message = (
        f"no live worker has known {what} {ref.name!r} since {since};"
        " deploy a worker that does, and it goes on by itself"
    )
    if ref.kind:
        if runs.strand(ref, message).verdict == "DONE":
            observer("parked", ref, reason="unknown")
        return
    error = {"type": "dispatch_celery.errors.UnknownJob", "message": message, "traceback": ""}
    ref = jobs.whole(ref)
    if jobs.abandon(ref, error=json.dumps(error), reason="unknown").verdict == "DONE":
        observer("failed", ref, error=None)
        observer("dead_lettered", ref, error=None)
