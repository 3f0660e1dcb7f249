"""Takes ready work for one process: under a lease that stands, with patience, and with an answer to each refusal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from dispatch_celery.config import Settings
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.ids import mint_nonce
from dispatch_celery.store.client import unavailable_pause
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.work.ports import Observer, Seat

__all__ = ["Claimer"]

logger = logging.getLogger(__name__)

_PATIENCE: Final = 30.0
"""Seconds a claim is tried while the server does not answer; then the wake-up is dropped, and swept later."""

Ask = Callable[..., tuple[str, Any]]
"""Asks the server for one claim: ``(holder=, nonce=, pid=)`` to a verdict and what comes with it."""


class Claimer:
    """The way of a process to what it will run; alike for jobs and for runs."""

    def __init__(
        self,
        *,
        seat: Seat,
        settings: Settings,
        observer: Observer,
        publish: Callable[[list[WakeUp]], None],
        sleep: Callable[[float], None],
        pid: Callable[[], int],
    ) -> None:
        self._seat = seat
        self._settings = settings
        self._observer = observer
        self._publish = publish
        self._sleep = sleep
        self._pid = pid

    def take(self, ref: WorkRef, ask: Ask) -> tuple[str, Any]:
        """Claim what a wake-up names; answer ``CLAIMED`` and the claim, or another verdict.

        A refusal is dealt with here, but for what only one kind of work knows.
        """
        nonce = mint_nonce()
        patience = time.monotonic() + _PATIENCE
        refused = failures = 0
        while True:
            if not self._seat.wait_trusted(self._settings.lease):
                self._return_to_sender(ref)
                return "NOT_REGISTERED", ()
            holder = self._seat.holder
            try:
                # The nonce names the holder too: after a new registration an old claim is not taken for this one's.
                verdict, found = ask(holder=holder, nonce=f"{nonce}{holder[-8:]}", pid=self._pid())
            except StoreUnavailable as error:
                failures += 1
                if time.monotonic() > patience:
                    logger.warning("dropping the wake-up of %s, it will be published again: %s", ref.id, error)
                    return "UNAVAILABLE", ()
                self._sleep(unavailable_pause(failures))
                continue
            if verdict == "NOT_REGISTERED" and refused < 2:
                refused += 1
                self._sleep(self._settings.renew_every / 1000)
                continue
            if verdict != "CLAIMED":
                self._refused(ref, verdict, found)
            return verdict, found

    def _refused(self, ref: WorkRef, verdict: str, found: tuple[str, ...]) -> None:
        if verdict == "NOT_REGISTERED":
            self._return_to_sender(ref)
        elif verdict == "MOVED":
            name, lane = found
            queue, _, priority = lane.rpartition(":")
            moved = replace(ref, name=name, queue=queue, priority=int(priority))
            if moved != ref:
                self._publish([WakeUp(ref=moved, wake="0")])
        elif verdict == "LIMITED":
            self._observer("limited", ref, limit=found[0])
        elif verdict == "MISSING":
            logger.warning("dropping a wake-up without a record: %s (%s)", ref.id, ref.name)
            self._observer("orphaned", ref)

    def _return_to_sender(self, ref: WorkRef) -> None:
        """Publish a wake-up again that this worker, without a lease, may not answer."""
        self._publish([WakeUp(ref=ref, wake="0")])
