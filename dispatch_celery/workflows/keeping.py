"""How those who keep house move runs on: due ones, ended ones, and those that nobody executes any more."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch_celery.config import Settings
from dispatch_celery.work.keeping import pause_after_crash, why_poison
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Observer, Recovered
from dispatch_celery.work.records import Stored
from dispatch_celery.workflows.model import ENDED
from dispatch_celery.workflows.store import RunStore

__all__ = ["RunKeeping"]


class RunKeeping:
    """The moves of runs that nobody holds, or nobody executes."""

    def __init__(self, store: RunStore, settings: Settings, observer: Observer) -> None:
        self._store = store
        self._settings = settings
        self._observer = observer

    def due(self, found: Sequence[Stored], *, term: str) -> list[WakeUp]:
        """Resolve what of these runs is due; the script tells who holds one whose time is up."""
        refs, holders = [stored.ref for stored in found], [stored.holder for stored in found]
        answers = self._store.fire(refs, holders=holders, term=term)
        return [
            WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec)
            for stored, answer in zip(found, answers, strict=True)
            if answer.verdict == "READY"
        ]

    def expired(self, stored: Stored, *, term: str) -> bool:
        """Delete an ended run whose retention has passed; return whether it is one that ends."""
        if stored.state not in ENDED:
            return False
        self._store.delete(stored.ref, stored.state, term=term)
        return True

    def revive(self, stored: Stored) -> WakeUp | None:
        """Resume a run that was parked because no worker knew its workflow."""
        answer = self._store.resume(stored.ref)
        ready = answer.verdict == "READY"
        return WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec) if ready else None

    def rearm(self, stored: Stored, *, term: str) -> bool:
        """Give a run that has something due the timer it has lost."""
        return self._store.rearm(stored.ref, term=term).verdict == "ARMED"

    def recover(self, stored: Stored, *, counter: str, why: str) -> Recovered:
        """Make a run ready again, now or after a pause; park one that kills its processes.

        A cancelled run becomes ready, too: whoever takes it ends it, and undoes what is to be undone.
        """
        held = {"holder": stored.holder, "token": stored.token}
        poison = why_poison(stored, self._settings, counter=counter, why=why)
        if poison:
            detail = f"{poison} since its last recorded step"
            answer = self._store.park(stored.ref, **held, reason="it kills its processes", detail=detail)
            if answer.verdict == "DONE":
                self._observer("parked", stored.ref, reason="it kills its processes")
            return Recovered(moved=answer.recorded, ended=True, wakeup=None)
        pause = pause_after_crash(counter, stored.crashes)
        answer = self._store.release(stored.ref, **held, counter=counter, pause=pause)
        wakeup = None
        if answer.verdict == "DONE" and not pause:
            wakeup = WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec)
        return Recovered(moved=answer.recorded, ended=False, wakeup=wakeup)
