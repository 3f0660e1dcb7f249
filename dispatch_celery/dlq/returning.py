"""Messages put back into their queues: what was unknown or unreadable before a deploy may be neither after it.

Promises: a message goes back once, as it came: its body byte for byte, with its headers and properties. The broker and
the state may be two servers, so it is asked for, sent, and noted: a process that dies in between leaves it *under way*,
and whoever asks again is told so; ``force`` then sends it again. The dead letter stays until it is purged.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from dispatch_celery.clock import from_ms
from dispatch_celery.dlq.model import DeadLetter
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.errors import DeadLetterNotFound, StateConflict
from dispatch_celery.ids import mint_nonce

__all__ = ["Returner", "Returns", "SendBack"]


class SendBack(Protocol):
    """What sends one message back to the broker."""

    def __call__(self, raw: bytes, *, queue: str, elsewhere: bool) -> None:
        """Send a kept message as it came; ``elsewhere``: to ``queue``, not where it was sent first.

        Raises:
            StateConflict: it cannot be sent as it came, or no queue takes it; nothing was sent.
            StoreUnavailable: the broker has not answered; it may have been sent.
        """
        ...


class Returner(Protocol):
    """What hands messages to the broker."""

    def reach(self) -> AbstractContextManager[SendBack]:
        """Make sure that the broker answers; yield what sends a message back.

        Raises:
            StoreUnavailable: it does not.
        """
        ...


class Returns:
    """Puts messages back. Safe for threads."""

    def __init__(self, store: DeadLetterStore, returner: Returner) -> None:
        self._store = store
        self._returner = returner

    def put_back(self, letter: DeadLetter, *, queue: str | None, force: bool) -> bool:
        """Put a message back; return whether this call did, or somebody had before.

        Raises:
            StateConflict: it is a job, it may have been put back already, or it cannot be sent as it came.
        """
        if letter.job_id is not None:
            raise StateConflict(f"{letter.id} is a job, not a message: replay it")
        # Reached before anything is noted: a broker that is away leaves nothing in doubt.
        with self._returner.reach() as send:
            return self._sent(letter, send, queue=queue, force=force)

    def _sent(self, letter: DeadLetter, send: SendBack, *, queue: str | None, force: bool) -> bool:
        asker = mint_nonce()
        verdict, at = self._store.put_back(letter.id, asker, "ask", force=force)
        if verdict == "DONE":
            return False
        if verdict == "MISSING":
            raise DeadLetterNotFound(f"the dead letter {letter.id} was purged meanwhile")
        if verdict == "UNDERWAY":
            since = f"{from_ms(int(at)):%Y-%m-%d %H:%M:%S} UTC"
            raise StateConflict(
                f"{letter.id} may have been put back: somebody began to at {since} and has not said that it is done."
                " Look into its queue, and pass force=True to put it back again"
            )
        try:
            send(letter.raw, queue=queue or letter.queue, elsewhere=queue is not None)
        except StateConflict:
            self._store.put_back(letter.id, asker, "undo")
            raise
        self._store.put_back(letter.id, asker, "done")
        return True
