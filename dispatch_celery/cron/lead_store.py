"""The scripts of whoever holds the cron lead, typed: the lead, the firing of slots, chores, and ``beat_schedule``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatch_celery.cron.model import CronEntry
from dispatch_celery.cron.records import Birth
from dispatch_celery.cron.store import CronStore, word_of
from dispatch_celery.store.replies import ask, pairs, text, words
from dispatch_celery.store.scripts import Call, Word

__all__ = ["Lead", "LeadStore"]

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


class LeadStore(CronStore):
    """The scripts of one partition, typed."""

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
            **self.birth_keys(entry, birth),
            "slots": self._keys.cron_slots,
            "chores": self._keys.cron_chores,
            "leader": self._keys.cron_leader,
        }
        arguments = {
            **self.birth_words(birth),
            "cron": entry.id,
            "term": term,
            "revision": entry.revision,
            "slot": word_of(entry.next_slot),
            "fired": word_of(fired),
            "next": word_of(next_slot),
            "next_due": word_of(next_due),
            "last": entry.last_id,
            "run_now": entry.triggered_id,
        }
        return Call.of("cron/fire", keys, arguments, more_keys=self._before(entry), rest=birth.fields)

    def releasing(self, entry: CronEntry, birth: Birth, *, term: str) -> Call:
        """Return the call that fires the slot an entry has queued, if what it created last has ended."""
        keys = {
            **self.birth_keys(entry, birth),
            "chores": self._keys.cron_chores,
            "leader": self._keys.cron_leader,
        }
        arguments = {
            **self.birth_words(birth),
            "cron": entry.id,
            "term": term,
            "revision": entry.revision,
            "slot": word_of(entry.queued_slot),
            "last": entry.last_id,
            "run_now": entry.triggered_id,
        }
        return Call.of("cron/release", keys, arguments, more_keys=self._before(entry), rest=birth.fields)

    def _before(self, entry: CronEntry) -> list[str]:
        """Return the records of what a slot and what a person created last; the entry's own where there is none."""
        keys = self._keys
        return [keys.record(one) if one else keys.cron(entry.id) for one in (entry.last_id, entry.triggered_id)]

    # -- beat_schedule

    def sent(self) -> dict[str, tuple[int, str]]:
        """Return when entries of ``beat_schedule`` ran last, and the id of what is still to be sent, if it is."""
        found = pairs(ask(self.port, Call.command("HGETALL", self._keys.cron_beat)))
        parts = {name: text(value).partition(" ") for name, value in found.items()}
        return {name: (int(last), work_id) for name, (last, _, work_id) in parts.items()}

    def sending(self, name: str, last: int | None, following: int, work_id: str, *, term: str) -> bool:
        """Note that an entry is about to be sent; return whether nobody has done so since its last run."""
        return self._send(name, word_of(last), following, work_id, term)

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

    def put_off(self, chore: str, until: int) -> None:
        """Have a chore that cannot be done yet told again at a moment, if it is still there."""
        ask(self.port, Call.command("ZADD", self._keys.cron_chores, "XX", until, chore))

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
