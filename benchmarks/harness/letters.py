"""Dead letters by the hundred thousand: how long a page takes, by which index, and a page of groups.

They are made by the script that abandons a job, in pipelined batches, so no worker is needed; the pages are read with
the public verbs, each in a trip of its own, as a person's command or a page of Flower would.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from celery import Celery

from dispatch_celery import Dispatch, JobId
from dispatch_celery.jobs.model import JobRef, NewJob
from harness.bench import Bench
from harness.book import Book
from harness.contenders import OURS

_BATCH = 500
_READS = 15
_NAMES, _CAUSES, _QUEUES = 40, 300, 7
_FRAMES = "".join(f'  File "/app/shop/part{n}.py", line {n}, in step{n}\n    go_on()\n' for n in range(8))


def letters(bench: Bench, book: Book, count: int) -> None:
    """Make dead letters, then time the pages people look at; in ms."""
    bench.flush()
    app = Celery("letters", broker=f"redis://127.0.0.1:{bench.server.port}/0", set_as_current=False)
    dispatch = Dispatch(app)
    try:
        for first in range(0, count, _BATCH):
            _make(dispatch, range(first, min(first + _BATCH, count)))
        mark = dispatch.dlq.groups(limit=1)[0].fingerprint
        pages: dict[str, Callable[[], object]] = {
            "letters_first": dispatch.dlq.list,
            "letters_name": lambda: dispatch.dlq.list(name="job3"),
            "letters_cause": lambda: dispatch.dlq.list(fingerprint=mark),
            "letters_sifted": lambda: dispatch.dlq.list(queue="queue3"),
            "letters_groups": dispatch.dlq.groups,
        }
        for measure, read in pages.items():
            for _ in range(_READS):
                began = time.perf_counter()
                read()
                book.add(measure, OURS, (time.perf_counter() - began) * 1000)
    finally:
        dispatch.close()
        app.close()


def _make(dispatch: Dispatch, numbers: range) -> None:
    """Write one batch of jobs, and let them die."""
    store = dispatch._parts.job_store  # noqa: SLF001 - no verb makes dead letters
    jobs = [
        NewJob(
            ref=JobRef(id=JobId.mint(), name=f"job{n % _NAMES}", queue=f"queue{n % _QUEUES}"),
            spec={"schema": 1},
            payload=b'{"order": 3, "card": "visa"}',
        )
        for n in numbers
    ]
    store.enqueue(jobs)
    for n, job in zip(numbers, jobs, strict=True):
        trace = f"Traceback (most recent call last):\n{_FRAMES.replace('part3', f'part3_{n % _CAUSES}')}"
        error = {"type": f"shop.Refused{n % 5}", "message": f"order {n} refused", "traceback": trace}
        store.abandon(job.ref, error=json.dumps(error), reason="attempts used up")
