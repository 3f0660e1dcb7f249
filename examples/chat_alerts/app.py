"""The Celery app: a job that fails for some orders, and an extension that tells people of it."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request

from celery import Celery

from dispatch_celery import Constant, Dispatch, Extension, Retry
from dispatch_celery.jobs.model import JobRef

app = Celery("chat_alerts", broker=os.environ.get("CHAT_BROKER", "redis://127.0.0.1:6379/0"))
dispatch = Dispatch(app)


class ChatAlerts(Extension):
    """Posts what needs a person."""

    background = True  # a chat is another machine: no job waits for it

    def __init__(self, url: str, tries: int = 5) -> None:
        self._url = url
        self._tries = tries

    def on_job_dead_lettered(self, job: JobRef, error: BaseException | None) -> None:
        """Tell of a dead letter."""
        self._post(f":skull: {job.name} {job.id} needs a person: {error}")

    def on_worker_lost(self, worker: str) -> None:
        """Tell of a lost worker; the leader does."""
        self._post(f":warning: worker {worker} is lost, its jobs are recovered")

    def on_worker_joined(self, worker: str) -> None:
        """Tell of a new one."""
        self._post(f":wave: worker {worker} is here")

    def _post(self, text: str) -> None:
        body = json.dumps({"text": text}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own URL
        for attempt in range(1, self._tries + 1):
            try:
                with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - as above
                    return
            except urllib.error.URLError:
                if attempt == self._tries:
                    raise  # the worker's log has it then, with the name of this hook
                time.sleep(0.1 * attempt)


if "CHAT_URL" in os.environ:
    dispatch.add_extension(ChatAlerts(os.environ["CHAT_URL"]))


@dispatch.job(name="orders.ship", retry=Retry(2, Constant(0.1)))
def ship(order: int) -> str:
    """Ship an order; those that are divisible by four have no address."""
    if order % 4 == 0:
        raise LookupError(f"order {order} has no address")
    return f"parcel {order}"
