"""The scripts of cron entries, typed: reading, edits, running one now. ``lead_store`` has those of who fires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatch_celery.cron.census import CronCensus, take_cron_census
from dispatch_celery.cron.model import CronEntry
from dispatch_celery.cron.records import Birth, Registration
from dispatch_celery.ids import CronId
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.work.model import PENDING
from dispatch_celery.work.store import WorkStore

__all__ = ["CronStore", "Standing", "word_of"]

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody who edits an entry has seen of it."""

    declaration: str
    """What code has declared last under its name."""
    is_orphaned: bool
    next_slot: int | None
    next_due: int | None
    revision: int
    """0: there is none."""

    def pending(self, now: int, grace: int) -> int | None:
        """Return its slot that has come and is not fired, but on time; None where there is none."""
        due = self.next_due
        return self.next_slot if self.next_slot and self.next_slot <= now and due and due + grace >= now else None


class CronStore(WorkStore):
    """The scripts of one partition, typed."""

    # -- reading

    def raw(self, ids: Sequence[str]) -> list[dict[str, bytes]]:
        """Return entries as they are stored, in one trip; empty where there is none."""
        return [pairs(reply) for reply in ask_all(self.port, [self._reading(cron_id) for cron_id in ids])]

    def entries(self, ids: Sequence[str]) -> list[CronEntry | None]:
        """Return entries with their last fires; None where there is none."""
        calls = [
            call
            for cron_id in ids
            for call in (
                self._reading(cron_id),
                Call.command("LRANGE", self._keys.cron_fires(cron_id), 0, 19),
            )
        ]
        replies = ask_all(self.port, calls)
        return [
            CronEntry.load(cron_id, pairs(fields), lines) if fields else None
            for cron_id, fields, lines in zip(ids, replies[::2], replies[1::2], strict=True)
        ]

    def census(self) -> CronCensus:
        """Look at all entries."""
        return take_cron_census(self.port, self._keys, self._time.now)

    def _reading(self, cron_id: str) -> Call:
        return Call.command("HGETALL", self._keys.cron(cron_id))

    # -- edits

    def standing(self, ids: Sequence[str]) -> list[Standing]:
        """Return how entries stand, as far as an edit has to know."""
        fields = ("declaration", "orphaned_at", "next_slot", "next_due", "revision")
        calls = [Call.command("HMGET", self._keys.cron(one), *fields) for one in ids]
        return [
            Standing(
                declaration=text(declaration),
                is_orphaned=orphaned is not None,
                next_slot=int(slot) if slot else None,
                next_due=int(float(due)) if due else None,
                revision=int(revision or 0),
            )
            for declaration, orphaned, slot, due, revision in ask_all(self.port, calls)
        ]

    def touch(self, ids: Sequence[str]) -> None:
        """Say of entries that a live process declares them."""
        now = self.time()
        batches = [ids[at : at + _BATCH] for at in range(0, len(ids), _BATCH)]
        ask_all(
            self.port,
            [
                Call.command("ZADD", self._keys.cron_declared, *(word for one in batch for word in (now, one)))
                for batch in batches
            ],
        )

    def registering(
        self,
        entry: Registration,
        *,
        next_slot: int | None,
        next_due: int | None,
        seen: int | None = None,
        expected: int = 0,
        is_declared: bool = False,
    ) -> Call:
        """Return the call that writes an entry: of code, or of somebody who has seen revision ``expected`` of it.

        ``seen``: the slot that was its next one when ``next_slot`` was computed.
        """
        keys = self._keys
        return Call.of(
            "cron/register",
            {
                "entry": keys.cron(entry.id),
                "crons": keys.crons,
                "slots": keys.cron_slots,
                "declared": keys.cron_declared,
            },
            {
                "now": self._time.word,
                "id": entry.id,
                "declaration": entry.fingerprint if is_declared else "",
                "expected": expected,
                "fingerprint": entry.fingerprint,
                "timetable": entry.when,
                "seen": word_of(seen),
                "next": word_of(next_slot),
                "next_due": word_of(next_due),
            },
            rest=[word for pair in entry.fields.items() for word in pair],
        )

    def registered(self, calls: Sequence[Call]) -> list[tuple[str, int]]:
        """Send registrations in one trip; return each one's verdict and revision."""
        replies = [words(reply) for reply in ask_all(self.port, calls)]
        return [(verdict, int(revision)) for verdict, revision in replies]

    def enable(
        self,
        cron_id: CronId,
        expected: int,
        *,
        enabled: bool,
        next_slot: int | None = None,
        next_due: int | None = None,
    ) -> tuple[str, int]:
        """Let an entry fire again from a slot on, or stop it; return the verdict and its revision."""
        keys = self._keys
        call = Call.of(
            "cron/enable",
            {"entry": keys.cron(cron_id), "slots": keys.cron_slots, "chores": keys.cron_chores},
            {
                "now": self._time.word,
                "id": cron_id,
                "expected": expected,
                "enabled": int(enabled),
                "next": word_of(next_slot),
                "next_due": word_of(next_due),
            },
        )
        verdict, *revision = words(ask(self.port, call))
        return verdict, int(revision[0]) if revision else 0

    def delete(self, cron_id: CronId, expected: int | None) -> str:
        """Delete an entry; return the verdict."""
        keys = self._keys
        call = Call.of(
            "cron/delete",
            {
                "entry": keys.cron(cron_id),
                "fires": keys.cron_fires(cron_id),
                "crons": keys.crons,
                "slots": keys.cron_slots,
                "chores": keys.cron_chores,
                "declared": keys.cron_declared,
            },
            {"id": cron_id, "expected": word_of(expected)},
        )
        return words(ask(self.port, call))[0]

    def trigger(self, entry: CronEntry, birth: Birth, riders: Sequence[Call]) -> str:
        """Run an entry now, with the riders behind it; return the verdict."""
        keys = self.birth_keys(entry, birth)
        arguments = {**self.birth_words(birth), "revision": entry.revision}
        call = Call.of("cron/trigger", keys, arguments, rest=birth.fields)
        return words(ask_all(self.port, [call, *riders])[0])[0]

    def birth_keys(self, entry: CronEntry, birth: Birth) -> dict[str, str]:
        """Return the keys that every script needs which creates work of an entry."""
        keys = self._keys
        return {
            **self._move_keys(birth.ref, "new", PENDING),
            "entry": keys.cron(entry.id),
            "fires": keys.cron_fires(entry.id),
            "due": keys.due(birth.ref.id),
        }

    def birth_words(self, birth: Birth) -> dict[str, Word]:
        """Return what it is told of that work."""
        kind = "run" if birth.template.version else "job"
        return {
            **self._common(birth.ref),
            "timeout": word_of(birth.template.timeout),
            "event": f"dispatch.{kind}.enqueued",
        }


def word_of(value: int | None) -> Word:
    """Return a number as a script takes it; none is empty."""
    return "" if value is None else value
