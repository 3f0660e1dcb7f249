"""Reports for tenants, four at once in the whole fleet and two of each tenant."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

from dispatch_celery import Dispatch, Limit, PerKey, current_scope

QUEUE = "reports"

app = Celery("fair_tenants", broker=os.environ.get("REPORTS_BROKER", "redis://127.0.0.1:6379/0"))
app.conf.task_default_queue = QUEUE
dispatch = Dispatch(app, queues={QUEUE: Limit(concurrency=4, per_key=PerKey(by="scope.org_id", concurrency=2))})


@dispatch.job(name="reports.build")
def build(number: int) -> int:
    """Take some time, and note when it began and ended."""
    began = time.time()
    time.sleep(0.1)
    with Path(os.environ["REPORTS_LOG"]).open("a") as log:
        log.write(f"{current_scope().org_id} {number} {began:.4f} {time.time():.4f}\n")
    return number
