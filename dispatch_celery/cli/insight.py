"""Reads that no service offers: the server's clock and version, and what surrounds one job. Changes nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from dispatch_celery.app import Dispatch
from dispatch_celery.cli.phrases import Surroundings
from dispatch_celery.clock import from_ms
from dispatch_celery.config import redact_url
from dispatch_celery.jobs.model import Job, JobRef
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, ask_all, text
from dispatch_celery.store.scripts import Call
from dispatch_celery.worker.broker import wire
from dispatch_celery.worker.checks import server_version

__all__ = ["Insight"]

_FIELDS = ("unknown_since", "publishes", "pid", "spec")


class Insight:
    """Looks at the state of one app, over a connection of its own."""

    def __init__(self, dispatch: Dispatch) -> None:
        wiring = wire(dispatch.app, dispatch.settings)
        self._dispatch = dispatch
        self._store = RedisStore(dispatch.settings, wiring.state_url, options=wiring.options)
        self._keys = Keys(dispatch.settings.namespace)
        self.url = redact_url(wiring.state_url)

    def close(self) -> None:
        """Close the connection."""
        self._store.close()

    def now(self) -> datetime:
        """Return the server's time, by which leases and timers go."""
        seconds, microseconds = ask(self._store, Call.command("TIME"))
        return from_ms(int(seconds) * 1000 + int(microseconds) // 1000)

    def server(self) -> tuple[str, str]:
        """Return the server's name and version."""
        lines = text(ask(self._store, Call.command("INFO", "server"))).splitlines()
        name, version, _ = server_version(dict(line.split(":", 1) for line in lines if ":" in line))
        return name, version

    def surroundings(self, job: Job, *, command: str) -> Surroundings:
        """Return what a job's record does not say: its place in the queue, who could run it, its limits."""
        keys, settings = self._keys, self._dispatch.settings
        lane = keys.lane(JobRef(id=job.id, name=job.name, queue=job.queue, priority=job.priority).lane)
        record, published, ahead, known, entry, expiry = ask_all(
            self._store,
            [
                Call.command("HMGET", keys.record(job.id), *_FIELDS),
                Call.command("ZSCORE", lane, job.id),
                Call.command("ZRANK", lane, job.id),
                Call.command("ZSCORE", keys.known, job.name),
                Call.command("HGET", keys.catalogue, job.name),
                Call.command("ZSCORE", keys.expiry, job.id),
            ],
        )
        unknown_since, publishes, pid, spec = record
        declared, chosen = json.loads(entry or b"{}"), json.loads(spec or b"{}")
        timeout = chosen.get("timeout", declared.get("timeout"))
        return Surroundings(
            now=self.now(),
            command=command,
            workers=tuple(self._dispatch.workers.list()),
            pid=int(pid or 0),
            published_at=_moment(published),
            publishes=int(publishes or 0),
            ahead=int(ahead or 0),
            unknown_since=_moment(unknown_since),
            known_at=_moment(known),
            unknown_grace=timedelta(milliseconds=settings.unknown_grace),
            timeout=None if timeout is None else timedelta(milliseconds=timeout),
            max_attempts=chosen.get("retry", declared).get("max_attempts"),
            kept_until=_moment(expiry),
        )


def _moment(score: Any) -> datetime | None:
    return None if score is None else from_ms(int(float(score)))
