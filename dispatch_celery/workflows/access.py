"""What every verb of runs stands on: the stores, the publisher, and who listens."""

from __future__ import annotations

import logging

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.events.service import EventService
from dispatch_celery.ids import RunId
from dispatch_celery.retry import Retry
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Observer, Publisher
from dispatch_celery.work.records import Stored, WorkRecords
from dispatch_celery.work.store import WorkStore
from dispatch_celery.workflows.ends import RunEnds, not_found
from dispatch_celery.workflows.listing import RunListing
from dispatch_celery.workflows.records import RunRecords
from dispatch_celery.workflows.registry import WorkflowRegistry
from dispatch_celery.workflows.store import RunStore

__all__ = ["RunAccess"]

logger = logging.getLogger(__name__)


class RunAccess:
    """The ground of the verbs of runs. Safe for threads."""

    def __init__(
        self,
        *,
        port: Store,
        keys: Keys,
        store: RunStore,
        jobs: WorkStore,
        stored: WorkRecords,
        records: RunRecords,
        registry: WorkflowRegistry,
        publisher: Publisher,
        events: EventService,
        ends: RunEnds,
        observer: Observer,
        default_queue: str,
        max_payload: int,
        default_step_retry: Retry,
    ) -> None:
        self._port = port
        self._store = store
        self._jobs = jobs
        self._stored = stored
        self._records = records
        self._registry = registry
        self._publisher = publisher
        self._events = events
        self._ends = ends
        self._observer = observer
        self._default_queue = default_queue
        self._listing = RunListing(port, keys, records)
        self.max_payload = max_payload
        self.default_step_retry = default_step_retry

    def _found(self, run_id: RunId) -> Stored:
        (stored,) = self._stored.stored([run_id])
        if stored is None:
            raise not_found(run_id)
        return stored

    def _publish(self, wakeup: WakeUp) -> None:
        try:
            self._publisher.publish([wakeup])
            ask_all(self._port, [self._store.clearing(wakeup.ref.id, wakeup.wake)])
        except StoreUnavailable as error:
            logger.warning("the wake-up of %s waits for the broker and will be swept: %s", wakeup.ref.id, error)
