"""An app with dead letters: what the tests of the dead-letter service stand on."""

from __future__ import annotations

import json
from typing import Any

from celery import Celery

from dispatch_celery import Dispatch, JobId
from dispatch_celery.store.client import RedisStore
from tests.lua.world import World


def world_of_today(store: RedisStore, namespace: str) -> World:
    """Return the world of a namespace, with the server's clock."""
    world = World(store, namespace)
    world.time.now = None
    return world


def end_as_dead(
    world: World, job_id: JobId, message: str, *, kind: str = "ValueError", reason: str = "attempts used up"
) -> JobId:
    """Let a ready job die without a worker."""
    (stored,) = world.records.stored([job_id])
    assert stored is not None
    error = json.dumps({"type": kind, "message": message, "traceback": ""})
    assert world.jobs.abandon(stored.ref, error=error, reason=reason).verdict == "DONE"
    return job_id


class Graveyard:
    """An app on the suite's server, its store, and jobs that die without a worker."""

    def __init__(self, url: str, store: RedisStore, namespace: str, **conf: Any) -> None:
        self.app = Celery("graveyard", broker=url, set_as_current=False)
        self.app.conf.update(dispatch_namespace=namespace, dispatch_journal=10_000, **conf)
        self.dispatch = Dispatch(self.app)
        self.world = world_of_today(store, namespace)

        @self.dispatch.job(name="yard.pay", queue="yard")
        def pay(amount: int, card: str = "visa") -> str:
            return f"{card} {amount}"

        self.pay = pay

    @property
    def dlq(self) -> Any:
        """The verbs of dead letters."""
        return self.dispatch.dlq

    def dead(self, message: str = "refused", *, kind: str = "ValueError", reason: str = "attempts used up") -> JobId:
        """Return a job of the app that has died."""
        return self.kill(self.pay.enqueue(1).id, message, kind=kind, reason=reason)

    def kill(self, job_id: JobId, message: str, *, kind: str = "ValueError", reason: str = "attempts used up") -> JobId:
        """Let a ready job die."""
        return end_as_dead(self.world, job_id, message, kind=kind, reason=reason)

    def many_dead(self, count: int) -> list[JobId]:
        """Return many jobs of the app that have died of the same."""
        handles = self.pay.enqueue_many((n,) for n in range(count))
        return [self.kill(handle.id, "refused") for handle in handles]

    def close(self) -> None:
        """Close the app."""
        self.dispatch.close()
        self.app.close()
