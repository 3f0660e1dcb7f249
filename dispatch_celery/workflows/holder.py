"""What the process that holds a run may write: fenced, one revision after the other, and sent until it is answered.

What was done must not be done again because nobody wrote it down, so a write that the server does not answer is
repeated until it is: then it is ``DONE``, or ``REPEATED`` where it had been applied and only its reply was lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from dispatch_celery.errors import Fenced, StoreUnavailable
from dispatch_celery.store.client import unavailable_pause
from dispatch_celery.store.replies import text
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.ports import Seat
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import Awaited, Family, RunClaim
from dispatch_celery.workflows.journal import Entry, rest_of
from dispatch_celery.workflows.model import RunState
from dispatch_celery.workflows.store import RunStore

__all__ = ["Anew", "Holder", "Paused", "Stuck", "Unwound"]

T = TypeVar("T")

_APPLIED: Final = ("DONE", "REPEATED")


class Unwound(BaseException):
    """Unwinds a run's function for good: it was cancelled, or its worker stops."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Anew(BaseException):
    """Ends a generation of a run: it is to begin anew, with these arguments."""

    def __init__(self, payload: bytes, summary: str) -> None:
        super().__init__(summary)
        self.payload = payload
        self.summary = summary


class Paused(BaseException):
    """Lets a run rest for ``delay`` ms in the middle of its undoing."""

    def __init__(self, delay: int) -> None:
        super().__init__(delay)
        self.delay = delay


class Stuck(BaseException):
    """Ends a run's undoing until a person decides."""


class Holder:
    """One claim of a run, and what may be written under it."""

    def __init__(
        self, claim: RunClaim, *, store: RunStore, seat: Seat, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.claim = claim
        self.sleep = sleep
        self._store = store
        self._seat = seat

    @property
    def trusted(self) -> bool:
        """Whether the worker may still act under this claim."""
        return self._seat.trusted()

    @property
    def cancelled(self) -> bool:
        """Whether the worker was asked to cancel what it executes."""
        return self._seat.cancelled()

    @property
    def leave(self) -> str:
        """What others are asked by in the name of this run: the token it is held with, and how far it has come."""
        return f"{self.claim.token} {self.claim.revision}"

    def record(
        self, identity: str, status: str, head: Mapping[str, Any], payload: bytes, *, progress: str = ""
    ) -> Entry:
        """Record the outcome of a promise; return what is recorded of it: another one, if its time was up before.

        ``progress`` is how far the run has come by it.

        Raises:
            Fenced: somebody else decides about this run now.
        """
        rest = rest_of(head, payload)
        verdict, details = self.insist(lambda: self._store.record(self.claim, identity, status, rest, progress))
        if verdict == "CONFLICT":
            return Entry.parse(identity, details[0])
        self._applied([verdict])
        if verdict == "REPEATED":
            # Its place among the outcomes decides races, and the order in which tasks hear of them.
            return next(entry for entry in self.journal() if entry.identity == identity)
        return Entry(identity, status, int(details[0]), 0, head, payload)

    def report(self, progress: str) -> Answer:
        """Record how far a step has come: a word for people, so it is sent once, whether it is answered or not."""
        return self._store.progress(self.claim.ref.id, self.claim.token, progress)

    def tell(self, status: str) -> Answer:
        """Record what the run says of itself: a word for people, sent once, whether it is answered or not."""
        return self._store.progress(self.claim.ref.id, self.claim.token, status, field="status")

    def spawn(self, family: Family, riders: Sequence[Call]) -> None:
        """Write jobs or child runs, with the promises they are waited for by and the commands that publish them.

        Raises:
            Unwound: the run was cancelled: it sends nobody any more.
            Fenced: somebody else decides about this run now.
        """
        reply = self.insist(lambda: self._store.spawn(self.claim, family, riders))
        if reply[0] == "CANCELLING":
            self.claim.cancel = reply[1]
            raise Unwound("cancelled")
        self._applied(reply)

    def intend(
        self, identity: str, head: Mapping[str, Any], payload: bytes, *, after: int, promise: bytes = b""
    ) -> Entry:
        """Note how an effect is to be undone; ``promise`` resolves the durable call that asked for it.

        ``after`` is the place of the last intent before it.

        Raises:
            Fenced: somebody else decides about this run now.
        """
        rest = rest_of(head, payload)
        reply = self.insist(lambda: self._store.intend(self.claim, identity, rest, promise=promise))
        self._applied(reply)
        # Of a repeated write the place is not told: it is after those before it, and before any that comes.
        place = int(reply[1]) if reply[0] == "DONE" else after + 1
        return Entry(identity, "open", place, 0, head, payload)

    def undo(self, intent: Entry, status: str, head: Mapping[str, Any]) -> Entry:
        """Record how an undo went.

        Raises:
            Fenced: somebody else decides about this run now.
        """
        rest = rest_of(head, intent.payload)
        reply = self.insist(lambda: self._store.undo(self.claim, intent.identity, status, rest))
        if reply[0] != "CONFLICT":  # a member that has ended was struck off by its end
            self._applied(reply)
        return Entry(intent.identity, status, intent.seq, 0, head, intent.payload)

    def suspend(
        self, awaited: Sequence[Awaited], *, enough: int | None = None, fast: bool = False, progress: str = ""
    ) -> list[Entry] | None:
        """Let go of the run until some of this comes; return what is there already, and keep the run then.

        Raises:
            Unwound: the run was cancelled meanwhile.
            Fenced: somebody else decides about it by now.
        """
        verdict, details = self.insist(
            lambda: self._store.suspend(self.claim, awaited, enough=enough, fast=fast, progress=progress)
        )
        if verdict == "READY":
            self.claim.revision += 1
            return [Entry.parse(text(name), data) for name, data in zip(details[::2], details[1::2], strict=True)]
        if verdict == "CANCELLING":
            self.claim.cancel = text(details[0])
            raise Unwound("cancelled")
        if verdict == "FENCED":
            raise self._fenced()
        return None

    def journal(self) -> list[Entry]:
        """Return all that is recorded by now."""
        return self.insist(lambda: self._store.journal(self.claim.ref))

    def finish(self, outcome: RunState, fields: Sequence[Any]) -> Answer:
        """Record how the run ended: DONE, CANCELLING, or UNDOING where effects are to be undone first.

        With UNDOING comes why this process may be about to be ended: it was asked to cancel, and had failed before.

        Raises:
            Fenced: somebody else decides about it by now.
        """
        claim = self.claim
        answer = self.insist(lambda: self._store.finish(claim, outcome, fields))
        if answer.verdict == "UNDOING" and not claim.undoing:
            claim.undoing = outcome
            claim.revision += 1
        return self._held(answer)

    def continue_as_new(self, payload: bytes, spec: Mapping[str, Any], events: Sequence[str]) -> Answer:
        """Let the run begin anew; ``events`` are those it has consumed. DONE, OPEN or CANCELLING.

        Raises:
            Fenced: somebody else decides about it by now.
        """
        return self._held(self.insist(lambda: self._store.continue_as_new(self.claim, payload, spec, events)))

    def park(self, reason: str, detail: str) -> Answer:
        """Set the run aside until a person decides.

        Raises:
            Fenced: somebody else decides about it by now.
        """
        mine = {"holder": self.claim.holder, "token": self.claim.token}
        return self._held(self.insist(lambda: self._store.park(self.claim.ref, **mine, reason=reason, detail=detail)))

    def release(self, *, pause: int = 0) -> Answer:
        """Make the run ready again for somebody else, at once or after ``pause`` ms.

        Raises:
            Fenced: somebody else decides about it by now.
        """
        mine = {"holder": self.claim.holder, "token": self.claim.token}
        return self._held(self.insist(lambda: self._store.release(self.claim.ref, **mine, pause=pause)))

    def insist(self, send: Callable[[], T]) -> T:
        """Send a write until the server answers."""
        failures = 0
        while True:
            try:
                return send()
            except StoreUnavailable:
                failures += 1
                self.sleep(unavailable_pause(failures))

    def _applied(self, reply: Sequence[str]) -> None:
        if reply[0] not in _APPLIED:
            raise self._fenced()
        self.claim.revision += 1

    def _held(self, answer: Answer) -> Answer:
        if answer.verdict == "FENCED":
            raise self._fenced()
        return answer

    def _fenced(self) -> Fenced:
        return Fenced(f"{self.claim.ref.id} is not held under {self.claim.token} any more")
