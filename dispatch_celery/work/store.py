"""One typed method per script that serves jobs and runs alike: wake-ups, marks, holdings, and what is due."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch_celery.store.replies import ask, ask_all, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.work.model import PENDING, WorkRef
from dispatch_celery.work.scripts import Answer, WorkScripts

__all__ = ["WorkStore"]


class WorkStore(WorkScripts):
    """The scripts of one partition, typed: those that ask for no kind. The stores of both kinds stand on it."""

    # -- wake-ups

    def unmarking(self, published: Sequence[tuple[str, str]]) -> Call:
        """Return the command that says of wake-ups, by id and number, that they have been published."""
        return Call.command("ZREM", self._keys.marks, *(f"{work_id}:{wake}" for work_id, wake in published))

    def clear_marks(self, published: Sequence[tuple[str, str]]) -> None:
        """Say of wake-ups that they have been published."""
        if published:
            ask(self.port, self.unmarking(published))

    def due(self, ordered: str, limit: int) -> tuple[int | None, list[str]]:
        """Return what is due in one of the sets ordered by time, and the ms until the next is (None: nothing waits)."""
        call = Call.of("jobs/due", {"set": ordered}, {"now": self._time.word, "limit": limit})
        now, after, *members = words(ask(self.port, call))
        return (int(float(after)) - int(now) if after else None), members

    def rewake(self, ref: WorkRef, published: str, *, term: str = "") -> Answer:
        """Mark ready work for another publication, if nothing has happened to it since."""
        keys = self._move_keys(ref, PENDING, PENDING)
        return self._answer(Call.of("jobs/rewake", keys, {**self._common(ref), "published": published, "term": term}))

    def give_back(self, ref: WorkRef, *, pause: int) -> Answer:
        """Delay the wake-up of work whose name, or version, this worker does not know."""
        keys = {**self._move_keys(ref, PENDING, PENDING), "known": self._keys.known}
        arguments = {
            **self._common(ref),
            "name": ref.known_as,
            "version": ref.version or "",
            "pause": pause,
            "grace": self._settings.unknown_grace,
        }
        return self._answer(Call.of("jobs/giveback", keys, arguments))

    def tidy(self, lane: str) -> None:
        """Forget a lane that holds nothing."""
        ask(
            self.port,
            Call.of("jobs/tidy", {"lane": self._keys.lane(lane), "lanes": self._keys.lanes}, {"lane": lane}),
        )

    # -- what is held

    def flag(self, ref: WorkRef, holder: str, reason: str, *, by: str = "") -> Answer:
        """Ask the holder of what runs to cancel it; ``by`` is who asks, where it is the run it belongs to."""
        keys = {
            "record": self._keys.record(ref.id),
            "held": self._keys.held(holder),
            "worker": self._keys.worker(holder),
        }
        arguments: dict[str, Word] = {"id": ref.id, "holder": holder, "reason": reason, "by": by}
        return self._answer(Call.of("jobs/flag", keys, arguments, more_keys=self._parent_keys(ref)))

    def progress(self, work_id: str, token: str, told: str, *, field: str = "progress") -> Answer:
        """Record how far what is held has come, or what it says of itself (``status``)."""
        keys = {"record": self._keys.record(work_id)}
        return self._answer(Call.of("jobs/progress", keys, {"token": token, "field": field, "told": told}))

    def unhold(self, work_id: str, holder: str, holding: str) -> Answer:
        """Drop a holding under which its work is not held any more."""
        keys = {"record": self._keys.record(work_id), "held": self._keys.held(holder)}
        return self._answer(Call.of("jobs/unhold", keys, {"id": work_id, "holding": holding}))

    # -- what is kept

    def unexpire(self, work_id: str) -> str:
        """Take what has not ended, or is gone, out of what is to be deleted; return the verdict."""
        keys = {"record": self._keys.record(work_id), "expiry": self._keys.expiry}
        return words(ask(self.port, Call.of("jobs/unexpire", keys, {"id": work_id})))[0]

    def unbury(self, dead_letter_id: str) -> bool:
        """Delete a raw dead letter; return whether there was one."""
        (was,) = self.unbury_many([dead_letter_id])
        return was

    def unbury_many(self, ids: Sequence[str]) -> list[bool]:
        """Delete raw dead letters in one trip; return of each whether there was one."""
        keys = self._keys
        named = {"dead": keys.dead, "letters": keys.letters, "groups": keys.groups, "expiry": keys.expiry}
        calls = [Call.of("dlq/unbury", {**named, "raw": keys.raw(one)}, {"id": one}) for one in ids]
        return [words(reply)[0] == "DONE" for reply in ask_all(self.port, calls)]
