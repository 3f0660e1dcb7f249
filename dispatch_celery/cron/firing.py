"""The duty of whoever holds the cron lead: fires what is due, in bounded batches, each slot by one script.

It is carried by the workers' leader and by ``celery beat``; whoever asks first leads and renews the lead with each
look, and the others look once a second. An entry that was read is kept until a script says that it was edited.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dispatch_celery.clock import from_ms, monotonic_ms
from dispatch_celery.config import Settings
from dispatch_celery.cron.lead_store import Lead, LeadStore
from dispatch_celery.cron.model import CronEntry, Overlap
from dispatch_celery.cron.plan import Step, plan
from dispatch_celery.cron.records import Birth
from dispatch_celery.cron.schedule import Window
from dispatch_celery.cron.timing import Timing
from dispatch_celery.errors import DispatchError, StoreUnavailable
from dispatch_celery.ids import mint_nonce
from dispatch_celery.store.replies import ask_all, text, words
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Observer, Publisher
from dispatch_celery.work.upkeep import publish_marked

__all__ = ["Firing"]

logger = logging.getLogger(__name__)

_LOOK: Final = 1_000
"""Milliseconds between two looks: a lead is renewed, and an edit is seen whose announcement got lost."""
_IDLE: Final = 5_000
_ORPHANS_EVERY: Final = 60_000
_HEARD_AGAIN: Final = 150_000
"""Milliseconds within which every live process has declared its entries anew, after nobody could for a while."""
_SET_ASIDE: Final = 60_000
_CHAIN: Final = 50
"""Slots of one entry that are fired in one trip."""
_KNOWN: Final = 20_000
_FIRES_ANYWAY: Final = (Overlap.ALLOW, Overlap.CANCEL_PREVIOUS)


@dataclass(slots=True)
class _Known:
    """An entry as it stands, to the best of this process's knowledge."""

    entry: CronEntry
    window: Window


@dataclass(frozen=True, slots=True)
class _Shot:
    """One script to send, and what has happened if it answers FIRED."""

    known: _Known
    step: Step
    birth: Birth
    call: Call
    next_due: int | None


class Firing:
    """One carrier of the duty. Not safe for threads: it belongs to the one that runs it."""

    name = "cron"

    def __init__(
        self,
        store: LeadStore,
        publisher: Publisher,
        observer: Observer,
        timing: Timing,
        settings: Settings,
        *,
        call_off: Callable[[str, str], object],
        rank: int = 1,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._observer = observer
        self._timing = timing
        self._settings = settings
        self._call_off = call_off
        self._rank = rank
        self.eager = False
        """Whether to lead although no entry waits: its carrier has something of its own to do as the leader."""
        self._nonce = mint_nonce()
        self._holder = f"{os.getpid()}@{socket.gethostname()}"
        self._entries: dict[str, _Known] = {}
        self._orphans_at = 0
        self._led_at: int | None = None
        self._again = False
        self.term = ""
        """The term this process fires in; empty while it does not lead."""

    def run_once(self) -> int:
        """Fire one batch of what is due; return the milliseconds until the next look."""
        asked = monotonic_ms()
        self.term, self._again = "", False
        lead = self._store.lead(
            self._holder, self._nonce, lease=self._settings.leader_lease, rank=self._rank, eager=self.eager
        )
        self.term = lead.term
        if not lead.term:
            self._entries.clear()
            return _LOOK if lead.leader else _IDLE
        if lead.due:
            self._fire(lead)
        if lead.chores:
            self._do(lead)
        if self._led_at is None or asked - self._led_at > _ORPHANS_EVERY:
            # A new leader, or the server was away: that nobody has declared an entry says nothing yet.
            self._orphans_at = asked + _HEARD_AGAIN
        self._led_at = asked
        if asked >= self._orphans_at:
            self._orphans_at = asked + _ORPHANS_EVERY
            self._find_orphans(lead)
        if lead.is_full or self._again:
            return 0
        wanted = _LOOK if lead.after is None else min(_LOOK, lead.after - lead.now)
        return max(0, wanted - (monotonic_ms() - asked))

    def resign(self) -> None:
        """Let others lead at once."""
        if self.term:
            self.term = ""
            self._store.lead(self._holder, self._nonce, lease=0, rank=self._rank)

    # -- slots

    def _fire(self, lead: Lead) -> None:
        shots = [shot for known in self._read(lead.due) for shot in self._aim(known, lead)]
        sure = [shot for shot in shots if shot.step.fired and shot.known.entry.overlap in _FIRES_ANYWAY]
        riding = self._publisher.riders([_wakeup(shot.birth) for shot in sure])
        if riding:
            riding.append(self._store.unmarking([(shot.birth.ref.id, "1") for shot in sure]))
        replies = self._store.port.execute([*(shot.call for shot in shots), *riding])
        refused = next((reply for reply in replies if isinstance(reply, Exception)), None)
        fired: list[tuple[_Shot, bool]] = []
        for shot, reply in zip(shots, replies, strict=False):
            verdict = "LOST" if isinstance(reply, Exception) else text(reply[0])
            if verdict == "FIRED":
                fired.append((shot, bool(riding) and shot.known.entry.overlap in _FIRES_ANYWAY))
            self._note(shot, verdict, lead.now)
        self._tell(fired, lead)
        if refused is not None:
            raise refused

    def _aim(self, known: _Known, lead: Lead) -> list[_Shot]:
        """Return the scripts for an entry that is due. Where one's outcome decides the next, only the first."""
        entry = known.entry
        if entry.next_slot is None:
            self._entries.pop(entry.id, None)
            self._store.defer(entry.id, str(entry.revision), _SET_ASIDE)
            return []
        if entry.next_due is not None and entry.next_due > lead.now:
            # Another leader has fired what was due, or an edit that this process has not read makes it due.
            self._entries.pop(entry.id, None)
            self._again = True
            return []
        steps = plan(
            known.window,
            entry.next_slot,
            entry.misfire,
            now=lead.now,
            grace=self._settings.cron_grace,
            jitter=entry.timetable.jitter,
        )
        if entry.overlap not in _FIRES_ANYWAY:
            steps = steps[:1]
        shots: list[_Shot] = []
        for step in steps[:_CHAIN]:
            birth = Birth.of(entry, step.slot if step.fired is None else step.fired)
            due = None if step.next is None else entry.timetable.due(entry.id, step.next)
            call = self._store.firing(entry, birth, fired=step.fired, next_slot=step.next, next_due=due, term=lead.term)
            shots.append(_Shot(known, step, birth, call, due))
            last = entry.last_id if step.fired is None else birth.ref.id
            entry = replace(entry, next_slot=step.next, next_due=due, last_id=last)
        return shots

    def _note(self, shot: _Shot, verdict: str, now: int) -> None:
        """Keep what is known of an entry true, or forget it."""
        known, step = shot.known, shot.step
        before = known.entry.last_id or known.entry.triggered_id
        cancels = known.entry.overlap == Overlap.CANCEL_PREVIOUS and bool(before)
        self._again |= verdict == "STALE" or cancels or (shot.next_due is not None and shot.next_due <= now)
        if verdict not in ("FIRED", "REPEATED", "OVERLAPPED", "PASSED"):
            self._entries.pop(known.entry.id, None)
            if verdict == "QUEUED":
                logger.info("%s waits for the end of %s", known.entry.name, known.entry.last_id)
            return
        last = shot.birth.ref.id if verdict == "FIRED" else known.entry.last_id
        known.entry = replace(known.entry, next_slot=step.next, next_due=shot.next_due, last_id=last)
        if verdict == "OVERLAPPED":
            logger.info("%s is not fired: %s has not ended", known.entry.name, known.entry.last_id)
        elif verdict == "PASSED":
            logger.warning("%s missed its slots from %s on: passed over", known.entry.name, from_ms(step.slot))

    def _tell(self, fired: Sequence[tuple[_Shot, bool]], lead: Lead) -> None:
        self._publisher.announce([_wakeup(shot.birth) for shot, rode in fired if rode])
        self._publish([_wakeup(shot.birth) for shot, rode in fired if not rode])
        for shot, _ in fired:
            self._fired(shot.known.entry, shot.birth, shot.step.fired, lead)

    def _fired(self, entry: CronEntry, birth: Birth, slot: int | None, lead: Lead) -> None:
        self._observer("enqueued", birth.ref)
        due = lead.now if slot is None else entry.timetable.due(entry.id, slot)
        self._observer(
            "cron_fired",
            None,
            cron=entry.id,
            name=entry.name,
            slot=None if slot is None else from_ms(slot),
            id=birth.ref.id,
            late=max(0, lead.now - due) / 1000,
        )

    def _publish(self, wakeups: Sequence[WakeUp]) -> None:
        try:
            publish_marked(self._store, self._publisher, wakeups)
        except StoreUnavailable as error:
            logger.warning("%d wake-ups wait for the broker and will be swept: %s", len(wakeups), error)

    # -- entries

    def _read(self, ids: Sequence[str]) -> list[_Known]:
        unknown = [cron_id for cron_id in ids if cron_id not in self._entries]
        if len(self._entries) + len(unknown) > _KNOWN:
            self._entries.clear()
            unknown = list(ids)
        for cron_id, fields in zip(unknown, self._store.raw(unknown), strict=True):
            known = self._understood(cron_id, fields)
            if known is not None:
                self._entries[cron_id] = known
        return [self._entries[cron_id] for cron_id in ids if cron_id in self._entries]

    def _understood(self, cron_id: str, fields: dict[str, bytes]) -> _Known | None:
        try:
            if fields:
                entry = CronEntry.load(cron_id, fields)
                return _Known(entry, self._timing.window(entry.timetable))
        except (DispatchError, LookupError, ValueError) as error:
            logger.warning("cron entry %s is set aside, its record cannot be read: %s", cron_id, error)
        self._store.defer(cron_id, text(fields.get("revision")), _SET_ASIDE)
        return None

    def _find_orphans(self, lead: Lead) -> None:
        since = lead.now - self._settings.cron_orphan_grace
        for cron_id in self._store.undeclared(since):
            if self._store.orphan(cron_id, since):
                logger.warning("cron entry %s is orphaned: no live process declares it any more", cron_id)

    # -- chores

    def _do(self, lead: Lead) -> None:
        queued = [chore.partition(" ")[2] for chore in lead.chores if chore.startswith("queued ")]
        for chore in lead.chores:
            if chore.startswith("cancel "):
                self._cancel(chore)
        if queued:
            self._release(queued, lead)

    def _cancel(self, chore: str) -> None:
        _, cron_id, work_id = chore.split(" ")
        try:
            self._call_off(work_id, f"the next slot of {cron_id} was fired")
        except StoreUnavailable:
            raise
        except DispatchError as error:  # it has ended, or is gone
            logger.debug("%s is not cancelled: %s", work_id, error)
        self._store.done([chore])

    def _release(self, ids: Sequence[str], lead: Lead) -> None:
        entries: list[CronEntry] = []
        for cron_id, fields in zip(ids, self._store.raw(ids), strict=True):
            known = self._understood(cron_id, fields)
            if known is None and fields:  # its slot waits for a leader that can read it
                self._store.put_off(f"queued {cron_id}", lead.now + _SET_ASIDE)
            elif known is None or known.entry.queued_slot is None:
                self._store.done([f"queued {cron_id}"])
            else:
                entries.append(known.entry)
        births = [Birth.of(entry, entry.queued_slot) for entry in entries]
        calls = [
            self._store.releasing(entry, birth, term=lead.term) for entry, birth in zip(entries, births, strict=True)
        ]
        released: list[tuple[CronEntry, Birth]] = []
        replies = ask_all(self._store.port, calls)
        for entry, birth, reply in zip(entries, births, replies, strict=True):
            if words(reply)[0] == "FIRED":
                released.append((entry, birth))
                self._entries.pop(entry.id, None)
        self._publish([_wakeup(birth) for _, birth in released])
        for entry, birth in released:
            self._fired(entry, birth, entry.queued_slot, lead)


def _wakeup(birth: Birth) -> WakeUp:
    return WakeUp(ref=birth.ref, wake="1", spec=birth.spec)
