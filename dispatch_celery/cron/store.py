"""The scripts of cron, typed: entries and their edits, the cron lead, and the firing of slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatch_celery.cron.model import CronEntry
from dispatch_celery.cron.records import Birth, Registration
from dispatch_celery.ids import CronId
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.work.model import PENDING
from dispatch_celery.work.store import WorkStore

__all__ = ["CronStore", "Lead"]

_BATCH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """What the cron lead was told: in which term it leads, if it does, and what is due."""

    now: int
    term: str = ""
    leader: str = ""
    """Who leads, where it is somebody else."""
    after: int | None = None
    """When the next is due behind what is due now, ms since 1970."""
    due: Sequence[str] = ()
    chores: Sequence[str] = ()
    is_full: bool = False
    """Whether more may be due than was told."""


class CronStore(WorkStore):
    """The scripts of one partition, typed."""

    # -- reading

    def time(self) -> int:
        """Return the server's time, in ms since 1970."""
        if self._time.now is not None:
            return self._time.now
        seconds, microseconds = ask(self.port, Call.command("TIME"))
        return int(seconds) * 1000 + int(microseconds) // 1000

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

    def _reading(self, cron_id: str) -> Call:
        return Call.command("HGETALL", self._keys.cron(cron_id))

    # -- edits

    def declared(self, ids: Sequence[str]) -> list[tuple[str, bool]]:
        """Return what code has declared last under these ids, and whether such an entry is orphaned now."""
        calls = [Call.command("HMGET", self._keys.cron(one), "declaration", "orphaned_at") for one in ids]
        return [(text(found[0]), found[1] is not None) for found in ask_all(self.port, calls)]

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
        expected: int = 0,
        is_declared: bool = False,
    ) -> Call:
        """Return the call that writes an entry: of code, or of somebody who has seen revision ``expected`` of it."""
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
                "next": _word(next_slot),
                "next_due": _word(next_due),
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
                "next": _word(next_slot),
                "next_due": _word(next_due),
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
            {"id": cron_id, "expected": _word(expected)},
        )
        return words(ask(self.port, call))[0]

    def trigger(self, entry: CronEntry, birth: Birth, riders: Sequence[Call]) -> str:
        """Run an entry now, with the riders behind it; return the verdict."""
        keys = self._birth_keys(entry, birth)
        arguments = {**self._birth_words(birth), "revision": entry.revision}
        call = Call.of("cron/trigger", keys, arguments, rest=birth.fields)
        return words(ask_all(self.port, [call, *riders])[0])[0]

    # -- the lead

    def lead(
        self, holder: str, nonce: str, *, lease: int, rank: int = 1, eager: bool = False, limit: int = _BATCH
    ) -> Lead:
        """Take or keep the cron lead for ``lease`` ms, or resign it with none; return what is due.

        A holder of a higher rank takes it from one of a lower; ``eager`` leads although no entry waits.
        """
        keys = self._keys
        call = Call.of(
            "cron/lead",
            {"leader": keys.cron_leader, "slots": keys.cron_slots, "chores": keys.cron_chores},
            {
                "now": self._time.word,
                "id": holder,
                "nonce": nonce,
                "rank": rank,
                "eager": int(eager),
                "lease": lease,
                "limit": limit,
            },
        )
        verdict, now, *rest = words(ask(self.port, call))
        if verdict != "LEADS":
            return Lead(now=int(now), leader=rest[0] if rest else "")
        term, after, count, *due = rest
        entries, chores = due[: int(count)], due[int(count) :]
        return Lead(
            now=int(now),
            term=term,
            after=int(after) if after else None,
            due=entries,
            chores=chores,
            is_full=limit in (len(entries), len(chores)),
        )

    def firing(
        self,
        entry: CronEntry,
        birth: Birth,
        *,
        fired: int | None,
        next_slot: int | None,
        next_due: int | None,
        term: str,
    ) -> Call:
        """Return the call that fires a slot of an entry, or passes over what was missed, and moves it on."""
        keys = {
            **self._birth_keys(entry, birth),
            "slots": self._keys.cron_slots,
            "chores": self._keys.cron_chores,
            "last": self._last(entry),
            "leader": self._keys.cron_leader,
        }
        arguments = {
            **self._birth_words(birth),
            "cron": entry.id,
            "term": term,
            "revision": entry.revision,
            "slot": _word(entry.next_slot),
            "fired": _word(fired),
            "next": _word(next_slot),
            "next_due": _word(next_due),
            "last": entry.last_id,
        }
        return Call.of("cron/fire", keys, arguments, rest=birth.fields)

    def releasing(self, entry: CronEntry, birth: Birth, *, term: str) -> Call:
        """Return the call that fires the slot an entry has queued, if what it created last has ended."""
        keys = {
            **self._birth_keys(entry, birth),
            "chores": self._keys.cron_chores,
            "last": self._last(entry),
            "leader": self._keys.cron_leader,
        }
        arguments = {
            **self._birth_words(birth),
            "cron": entry.id,
            "term": term,
            "revision": entry.revision,
            "slot": _word(entry.queued_slot),
            "last": entry.last_id,
        }
        return Call.of("cron/release", keys, arguments, rest=birth.fields)

    def _last(self, entry: CronEntry) -> str:
        return self._keys.record(entry.last_id) if entry.last_id else self._keys.cron(entry.id)

    def _birth_keys(self, entry: CronEntry, birth: Birth) -> dict[str, str]:
        keys = self._keys
        return {
            **self._move_keys(birth.ref, "new", PENDING),
            "entry": keys.cron(entry.id),
            "fires": keys.cron_fires(entry.id),
            "due": keys.due(birth.ref.id),
        }

    def _birth_words(self, birth: Birth) -> dict[str, Word]:
        kind = "run" if birth.template.version else "job"
        return {
            **self._common(birth.ref),
            "timeout": _word(birth.template.timeout),
            "event": f"dispatch.{kind}.enqueued",
        }

    # -- beat_schedule

    def sent(self) -> dict[str, tuple[int, str]]:
        """Return when entries of ``beat_schedule`` ran last, and the id of what is still to be sent, if it is."""
        found = pairs(ask(self.port, Call.command("HGETALL", self._keys.cron_beat)))
        parts = {name: text(value).partition(" ") for name, value in found.items()}
        return {name: (int(last), work_id) for name, (last, _, work_id) in parts.items()}

    def sending(self, name: str, last: int | None, following: int, work_id: str, *, term: str) -> bool:
        """Note that an entry is about to be sent; return whether nobody has done so since its last run."""
        return self._send(name, _word(last), following, work_id, term)

    def was_sent(self, name: str, last: int, work_id: str, *, term: str) -> None:
        """Note that what was about to be sent has been."""
        self._send(name, last, "", work_id, term)

    def _send(self, name: str, last: Word, following: Word, work_id: str, term: str) -> bool:
        keys = {"sent": self._keys.cron_beat, "leader": self._keys.cron_leader}
        arguments: dict[str, Word] = {"term": term, "name": name, "last": last, "next": following, "id": work_id}
        return words(ask(self.port, Call.of("cron/send", keys, arguments)))[0] == "DONE"

    # -- chores

    def done(self, chores: Sequence[str]) -> None:
        """Strike off what has been done."""
        if chores:
            ask(self.port, Call.command("ZREM", self._keys.cron_chores, *chores))

    def defer(self, cron_id: str, revision: str, pause: int) -> None:
        """Set an entry aside that cannot be read, until later or its next edit."""
        call = Call.of(
            "cron/defer",
            {"entry": self._keys.cron(cron_id), "slots": self._keys.cron_slots},
            {"now": self._time.word, "id": cron_id, "revision": revision, "pause": pause},
        )
        ask(self.port, call)

    def undeclared(self, since: int) -> list[str]:
        """Return some of the entries that no live process has declared since a moment."""
        return words(
            ask(self.port, Call.command("ZRANGEBYSCORE", self._keys.cron_declared, "-inf", since, "LIMIT", 0, _BATCH))
        )

    def orphan(self, cron_id: str, since: int) -> bool:
        """Stop an entry that no live process has declared since a moment; return whether it was stopped."""
        keys = self._keys
        call = Call.of(
            "cron/orphan",
            {
                "entry": keys.cron(cron_id),
                "slots": keys.cron_slots,
                "chores": keys.cron_chores,
                "declared": keys.cron_declared,
            },
            {"now": self._time.word, "id": cron_id, "since": since},
        )
        return words(ask(self.port, call))[0] == "DONE"


def _word(value: int | None) -> Word:
    return "" if value is None else value
