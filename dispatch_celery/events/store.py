"""The topics of one partition: stores events, registers who waits, and tells which waiters are to be told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from dispatch_celery.clock import from_ms
from dispatch_celery.events.model import EventRecord, Place, StoredEvent
from dispatch_celery.ids import EventId
from dispatch_celery.scope import Scope
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.scripts import MARK_GRACE, WorkScripts

__all__ = ["LOOK", "EventStore"]

LOOK: Final = 100
"""Events read in one look at a topic."""
_WAITERS: Final = 500


class EventStore(WorkScripts):
    """The scripts and commands of topics."""

    def publish(self, event_id: EventId, place: Place, payload: bytes) -> list[str]:
        """Store an event, once; the answer's words. ``STORED place waiters``, ``REPEATED place`` or ``FULL count``."""
        keys, settings = self._keys, self._settings
        return words(
            ask(
                self.port,
                Call.of(
                    "events/publish",
                    {
                        "record": keys.record(event_id),
                        "topic": keys.topic(place.digest),
                        "waiters": keys.waiters(place.digest),
                        "events": keys.events,
                        "fanout": keys.fanout,
                    },
                    {
                        "now": self._time.word,
                        "id": event_id,
                        "digest": place.digest,
                        "name": place.name,
                        "key": place.key,
                        "scope": place.scope,
                        "payload": payload,
                        "retain": settings.retain_events,
                        "cap": settings.max_inbox if place.run else settings.max_events,
                        "grace": MARK_GRACE,
                    },
                ),
            )
        )

    # -- who waits

    def look(self, places: Sequence[tuple[Place, int]], *, waiter: str = "", run: str = "") -> list[list[StoredEvent]]:
        """Return what each topic holds after a place, oldest first, at most ``LOOK``; less, and there is no more.

        With a ``waiter``, who is to be told of later ones is registered first, so that none falls in between; ``run``
        is what names it.
        """
        calls = []
        for place, after in places:
            if waiter:
                calls.append(Call.command("HSET", self._keys.waiters(place.digest), waiter, run))
            calls.append(self._behind(place, after))
        replies = ask_all(self.port, calls)[1 if waiter else 0 :: 2 if waiter else 1]
        batches = [_listed(flat) for flat in replies]
        found = self._kept(batches)
        for n, (place, _) in enumerate(places):
            batch = batches[n]
            while len(batch) == LOOK and len(found[n]) < LOOK:  # some are gone: those behind them are not
                batch = _listed(ask(self.port, self._behind(place, batch[-1][1])))
                found[n] = [*found[n], *self._kept([batch])[0]][:LOOK]
        return found

    def _behind(self, place: Place, after: int) -> Call:
        topic = self._keys.topic(place.digest)
        return Call.command("ZRANGE", topic, f"({after}", "+inf", "BYSCORE", "LIMIT", 0, LOOK, "WITHSCORES")

    def _kept(self, batches: Sequence[Sequence[tuple[str, int]]]) -> list[list[StoredEvent]]:
        """Return, of the events of each topic, those whose time has not passed."""
        ids = [event_id for batch in batches for event_id, _ in batch]
        calls = [Call.command("HGET", self._keys.record(event_id), "payload") for event_id in ids]
        payloads = dict(zip(ids, ask_all(self.port, calls), strict=True)) if calls else {}
        return [
            [
                StoredEvent(EventId(event_id), at, payloads[event_id])
                for event_id, at in batch
                if payloads[event_id] is not None
            ]
            for batch in batches
        ]

    def forget(self, places: Sequence[Place], waiter: str) -> None:
        """Strike off who waits no longer."""
        if places:
            ask_all(self.port, [Call.command("HDEL", self._keys.waiters(place.digest), waiter) for place in places])

    def waiters(self, digest: str, cursor: str = "0") -> tuple[str, dict[str, str]]:
        """Return some of who waits at a topic, and where the next are (``0``: that was all)."""
        after, flat = ask(self.port, Call.command("HSCAN", self._keys.waiters(digest), cursor, "COUNT", _WAITERS))
        return text(after), {name: text(value) for name, value in pairs(flat).items()}

    def strike(self, digest: str, waiters: Sequence[str]) -> None:
        """Strike off waiters that are gone."""
        if waiters:
            ask(self.port, Call.command("HDEL", self._keys.waiters(digest), *waiters))

    def told(self, digest: str, event_id: str) -> None:
        """Note that the waiters of a topic have been told of an event."""
        ask(self.port, Call.command("ZREM", self._keys.fanout, f"{digest} {event_id}"))

    # -- reading

    def records(self, ids: Sequence[str]) -> list[EventRecord | None]:
        """Return stored events; None where one is gone."""
        replies = ask_all(self.port, [Call.command("HGETALL", self._keys.record(event_id)) for event_id in ids])
        return [_record(event_id, pairs(flat)) if flat else None for event_id, flat in zip(ids, replies, strict=True)]


def _listed(flat: Sequence[Any]) -> list[tuple[str, int]]:
    return [(text(one), int(float(at))) for one, at in zip(flat[::2], flat[1::2], strict=True)]


def _record(event_id: str, fields: dict[str, bytes]) -> EventRecord:
    payload: Any = json.loads(fields["payload"])
    return EventRecord(
        id=EventId(event_id),
        name=text(fields["name"]),
        key=text(fields["key"]),
        scope=Scope.from_path(text(fields["scope"])),
        published_at=from_ms(int(fields["at"])),
        payload=payload,
    )
