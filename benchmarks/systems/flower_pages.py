"""The app whose records Flower's pages are timed over, and what fills its server."""

from __future__ import annotations

import os
from collections.abc import Mapping

from celery import Celery

from dispatch_celery import Dispatch, Workflow

BATCH = 5_000

app = Celery("bench", broker=os.environ.get("BENCH_BROKER", "redis://127.0.0.1:1/0"), set_as_current=False)
dispatch = Dispatch(app)


@dispatch.job(name="bench.mail", queue="mail")
def mail(to: str, number: int) -> str:
    """Stand for a job with a small payload."""
    return f"{to} {number}"


@dispatch.job(name="bench.rare", queue="rare")
def rare(number: int) -> int:
    """Stand for one of few among many."""
    return number


@dispatch.workflow(name="bench.order")
def order(wf: Workflow, number: int) -> int:
    """Stand for a workflow."""
    return wf.step(abs, number)


def fill(*, jobs: int, runs: int, letters: int) -> None:
    """Enqueue, start and bury so many."""
    for first in range(0, jobs, BATCH):
        numbers = range(first, min(first + BATCH, jobs))
        dispatch.enqueue_many(mail.bind(f"user{n}@example.org", n) if n % 1000 else rare.bind(n) for n in numbers)
    for number in range(runs):
        order.start(number)
    for number in range(letters):
        dispatch.dlq.bury(b"{", queue="mail", reason="it ends too early" if number % 100 else "it is no JSON")


def places() -> Mapping[str, str]:
    """Return the paths of the pages that are timed."""
    job, run = dispatch.jobs.list(limit=1)[0], dispatch.runs.list(limit=1)[0]
    older = dispatch.jobs.list(limit=50).next_cursor
    return {
        "overview": "",
        "jobs": "/jobs",
        "jobs_older": f"/jobs?cursor={older}",
        "jobs_indexed": "/jobs?state=pending&name=bench.rare",
        "jobs_sifted": "/jobs?queue=rare",
        "jobs_none": "/jobs?error=nobody",
        "job": f"/jobs/{job.id}",
        "runs": "/runs",
        "run": f"/runs/{run.id}",
        "events": "/events",
        "letters": "/dead-letters",
        "letters_sifted": "/dead-letters?reason=it+is+no+JSON",
        "workers": "/workers",
    }
