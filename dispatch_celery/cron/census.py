"""One look at the cron entries, for those who measure them: by their indexes, and a bounded number of records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dispatch_celery.cron.model import CronState, Timetable
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call

__all__ = ["RESTING", "TAKEOVER", "CronCensus", "take_cron_census"]

RESTING: Final = "resting"
"""The state of entries that do not fire, where they are too many to tell disabled, orphaned and finished apart."""
TAKEOVER: Final = 10.0
"""Seconds within which a live worker or beat has taken the lead: until then, that nobody leads says nothing."""
_TOLD_APART: Final = 1_000
_COMPARED: Final = 20_000
"""Entries among which those that do not fire are looked for: some milliseconds of the server's time."""
_SAMPLED: Final = 200
"""Entries whose last fire is looked at: those that are due next, so the busy ones."""
_RECENT: Final = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CronCensus:
    """The cron entries at one moment. Times are in seconds."""

    states: Mapping[str, int]
    """How many entries are in each state; ``resting`` where those that do not fire are more than 1,000."""
    overdue: float
    """How late the most overdue entry is, by now; 0 where none is."""
    late: float
    """How late the latest of the last five minutes' fires was, among the entries that are due next."""
    leader: str
    """Who fires; empty where nobody does."""
    term: int
    unled: float = 0.0
    """For how long nobody has led although entries wait; 0 where somebody leads, or none waits."""

    @property
    def nobody_fires(self) -> bool:
        """Whether entries wait for somebody who fires, and it is not that the lead just changes hands."""
        return self.unled > TAKEOVER


def take_cron_census(store: Store, keys: Keys, now: int | None = None) -> CronCensus:
    """Look. ``now``: ms since 1970, where it is not the server's time.

    Raises:
        StoreUnavailable: the server does not answer.
    """
    time, all_of_them, firing, nearest, leader = ask_all(
        store,
        [
            Call.command("TIME"),
            Call.command("ZCARD", keys.crons),
            Call.command("ZCARD", keys.cron_slots),
            Call.command("ZRANGE", keys.cron_slots, 0, _SAMPLED - 1),
            Call.command("HGETALL", keys.cron_leader),
        ],
    )
    if now is None:
        now = int(time[0]) * 1000 + int(time[1]) // 1000
    resting = max(0, int(all_of_them) - int(firing))
    tell_apart = 0 < resting <= _TOLD_APART and int(all_of_them) <= _COMPARED
    sample = words(nearest)
    asked = [Call.command("ZRANGE", keys.cron_slots, 0, 0, "WITHSCORES")]
    asked += [call for one in sample for call in _record_and_last_fire(keys, one)]
    asked += [Call.command("ZDIFF", 2, keys.crons, keys.cron_slots)] if tell_apart else []
    first, *rest = ask_all(store, asked)
    records, fires = rest[: 2 * len(sample) : 2], rest[1 : 2 * len(sample) : 2]
    states = _states(store, keys, words(rest[-1])) if tell_apart else Counter({RESTING: resting} if resting else {})
    lead = pairs(leader)
    until = _number(lead.get("until"))
    left = until - now
    # Beyond two leases there is none, as for those who would take it: the clock was set back.
    reigns = 0 < left <= 2 * _number(lead.get("lease"))
    return CronCensus(
        states={**dict.fromkeys(CronState, 0), **states, CronState.ENABLED: int(firing)},
        overdue=max(0, now - _due(first, now)) / 1000,
        late=max((_late(*one, now) for one in zip(sample, records, fires, strict=True)), default=0.0),
        leader=text(lead.get("id")) if reigns else "",
        term=_number(lead.get("term")),
        unled=0.0 if reigns else _unled(records, until or _number(lead.get("resigned_at")), now),
    )


def _number(stored: Any) -> int:
    return int(float(text(stored) or 0))


def _unled(records: Sequence[Any], ended: int, now: int) -> float:
    """Return for how many seconds entries have waited, at least one of them, since a lead has ended."""
    waiting = [_number(updated_at) for _, updated_at in records if updated_at is not None]
    return max(0, now - max(ended, min(waiting))) / 1000 if waiting else 0.0


def _record_and_last_fire(keys: Keys, cron_id: str) -> tuple[Call, Call]:
    return (
        Call.command("HMGET", keys.cron(cron_id), "jitter", "updated_at"),
        Call.command("LINDEX", keys.cron_fires(cron_id), 0),
    )


def _states(store: Store, keys: Keys, ids: Sequence[str]) -> Counter[str]:
    """Return how many of some entries, which do not fire, are in each state."""
    found: Counter[str] = Counter()
    for orphaned_at, enabled in ask_all(
        store, [Call.command("HMGET", keys.cron(one), "orphaned_at", "enabled") for one in ids[:_TOLD_APART]]
    ):
        if orphaned_at is not None:
            found[CronState.ORPHANED] += 1
        elif enabled is not None:  # None: it was deleted meanwhile
            found[CronState.FINISHED if enabled == b"1" else CronState.DISABLED] += 1
    return found


def _due(scored: Sequence[Any], now: int) -> int:
    flat = [part for one in scored for part in (one if isinstance(one, list | tuple) else [one])]
    return int(float(flat[1])) if flat else now


def _late(cron_id: str, record: Sequence[Any], line: Any, now: int) -> float:
    """Return how late the last slot of an entry was fired, in seconds; 0 where that is long ago or was by hand."""
    if line is None:
        return 0.0
    outcome, slot, at, _ = text(line).split(" ")
    if outcome != "fired" or slot == "-" or now - int(at) > _RECENT:
        return 0.0
    due = Timetable(schedule="", jitter=_number(record[0])).due(cron_id, int(slot))
    return max(0, int(at) - due) / 1000
