"""Waiting for events: a run registers with its topics, looks at them itself, and records what it takes.

A topic is looked at from where this wait has looked already, at first from the run's own start. What the run has
consumed is passed over; what a predicate refuses moves only this wait's own place. The event that is taken is recorded
with the wait, under the run's fence: then, and only then, it is consumed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, NamedTuple

from dispatch_celery.codec import Codec
from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.events.model import Event, Place, Received, StoredEvent
from dispatch_celery.events.store import LOOK
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.failure import encode_error, rebuilt
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.journal import Branch, rest_of
from dispatch_celery.workflows.slice import Asked
from dispatch_celery.workflows.topics import waiter_of
from dispatch_celery.workflows.waiting import Wait

__all__ = ["EventWait", "Inbox"]

_MICRO: Final = 1_000
"""A place is a time in microseconds since 1970, made to grow."""


@dataclass(frozen=True, slots=True)
class EventWait:
    """One topic to wait at: alone, or among others."""

    event: Event[Any] | str
    places: tuple[Place, ...]
    codec: Codec
    where: Callable[[Any], bool] | None = None
    lookback: int = 0

    @property
    def digest(self) -> bytes:
        """What is compared of it on a replay."""
        return " ".join(place.digest for place in self.places).encode()


class _Found(NamedTuple):
    place: int
    which: int
    event: StoredEvent
    value: Any
    error: Exception | None


class Inbox:
    """The waits of one run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def one(self, wait: EventWait, timeout_ms: int | None) -> Any:
        """Wait for one event; return its payload, None when the time is up.

        Raises:
            PayloadError: what was published does not fit the type that is waited for; it stays for others.
        """
        asked = self.ask(wait)
        self._resting(self.look(asked, [wait], timeout_ms))
        return self.taken(asked, wait)

    def any(self, waits: Sequence[EventWait], timeout_ms: int | None) -> Received[Any] | None:
        """Wait for the first of several; return which it was with its payload, None when the time is up."""
        asked = self.ask_any(waits)
        self._resting(self.look(asked, waits, timeout_ms))
        return self.first_taken(asked, waits)

    def all(self, waits: Sequence[EventWait], timeout_ms: int | None) -> list[Received[Any]] | None:
        """Wait for all of several; None when the time is up before. What came by then is consumed."""
        asked, members = self.ask_all(waits)
        self._resting(self.look_for_all(asked, members, waits, timeout_ms))
        return self.all_taken(asked, members, waits)

    def _resting(self, awaited: Awaited | None) -> None:
        if awaited is not None:
            self._engine.suspend([Wait([awaited])])

    # -- their identities

    def ask(self, wait: EventWait) -> Asked:
        """Give the wait for one event its identity."""
        return self._engine.ask(_name(wait), "event", wait.digest)

    def ask_any(self, waits: Sequence[EventWait]) -> Asked:
        """Give the wait for the first of several its identity."""
        _check("wait_for_any", waits)
        return self._engine.ask("wait_for_any", "any", b" ".join(wait.digest for wait in waits))

    def ask_all(self, waits: Sequence[EventWait]) -> tuple[Asked, list[Asked]]:
        """Give the wait for all of several its identity, and each event's below it."""
        _check("wait_for_all", waits)
        asked = self._engine.ask("wait_for_all", "all", b" ".join(wait.digest for wait in waits))
        branch = Branch(f"{asked.identity}/", in_order=False)
        return asked, [self._engine.ask(_name(wait), "event", wait.digest, branch) for wait in waits]

    # -- looking: what is there is taken, and None returned; else what is to be waited for

    def look(self, asked: Asked, waits: Sequence[EventWait], timeout_ms: int | None) -> Awaited | None:
        """Resolve a wait with the first event of its topics."""
        if asked.entry is None or not asked.entry.is_resolved:
            found = self._seek(asked, waits)
            if found is None:
                return _awaited(asked, timeout_ms)
            self._take(asked, found)
            self._topics_forgotten(asked, waits)
        return None

    def look_for_all(
        self, asked: Asked, members: Sequence[Asked], waits: Sequence[EventWait], timeout_ms: int | None
    ) -> Awaited | None:
        """Take an event for each wait that has none; they are resolved together when none is missing."""
        if asked.entry is not None and asked.entry.is_resolved:
            return None
        missing = [n for n, member in enumerate(members) if member.entry is None]
        while missing:
            found = self._seek(asked, [waits[n] for n in missing])
            if found is None:
                return _awaited(asked, timeout_ms)
            self._take(members[missing[found.which]], found)
            missing = [n for n, member in enumerate(members) if member.entry is None]
        self._engine.settle(asked, b"null")
        self._topics_forgotten(asked, waits)
        return None

    # -- what a resolved wait was given

    def taken(self, asked: Asked, wait: EventWait) -> Any:
        """Return the payload; None when the time was up."""
        return self._taken(asked, [wait])

    def first_taken(self, asked: Asked, waits: Sequence[EventWait]) -> Received[Any] | None:
        """Return which of several came; None when the time was up."""
        entry = self._engine.entry(asked)
        if entry.status == "timeout":
            return None
        wait = waits[int(entry.head.get("i", 0))]
        return Received(wait.event, self._taken(asked, waits), str(entry.head["ev"]))

    def all_taken(
        self, asked: Asked, members: Sequence[Asked], waits: Sequence[EventWait]
    ) -> list[Received[Any]] | None:
        """Return all that came; None when the time was up before."""
        if self._engine.entry(asked).status == "timeout":
            return None
        return [
            Received(wait.event, self._taken(member, [wait]), str(member.entry.head["ev"]))
            for wait, member in zip(waits, members, strict=True)
            if member.entry is not None
        ]

    # -- within

    def _seek(self, asked: Asked, waits: Sequence[EventWait]) -> _Found | None:
        """Register at the topics, and return the first event that suits; note how far each was looked through."""
        self._engine.may_act()
        ref = self._engine.claim.ref
        waiter = waiter_of(ref.id, asked.identity, self._engine.claim.generation)
        told = json.dumps({"name": ref.name, "lane": ref.lane, "version": ref.version})
        seen, until = self._starts(asked, waits), self._until(asked)
        found: list[_Found] = []
        looking = [(n, place) for n, wait in enumerate(waits) for place in wait.places]
        while looking:
            places = [(place, seen[place.digest]) for _, place in looking]
            topics = self._look(places, waiter, told)
            further = []
            for (n, place), whole in zip(looking, topics, strict=True):
                events = [event for event in whole if event.place <= until]
                self._note_consumed((place.digest, self._begin(place, waits[n])), events, seen[place.digest])
                first = self._first(events, waits[n], n, seen, place.digest)
                if first is not None:
                    found.append(first)
                elif len(events) == LOOK:
                    further.append((n, place))
            looking = further
        asked.head["p"] = seen
        asked.head["n"] = [[place.name, place.key] for wait in waits for place in wait.places if not place.run]
        return min(found, key=lambda one: one.place) if found else None

    def _look(self, places: list[tuple[Place, int]], waiter: str, told: str) -> list[list[StoredEvent]]:
        topics = self._engine.topics
        return self._engine.holder.insist(lambda: topics.look(places, waiter=waiter, run=told))

    def _note_consumed(self, topic: tuple[str, int], events: Sequence[StoredEvent], after: int) -> None:
        """Note what of a topic no later wait need look at: it was looked at without a gap, and is consumed."""
        if self._engine.looked.get(topic, topic[1]) == after:
            consumed = takewhile(lambda event: event.id in self._engine.journal.events, events)
            self._engine.looked[topic] = max((event.place for event in consumed), default=after)

    def _first(
        self, events: Sequence[StoredEvent], wait: EventWait, which: int, seen: dict[str, int], digest: str
    ) -> _Found | None:
        """Return the first of some events that suits a wait; what does not is passed over for good."""
        consumed = self._engine.journal.events
        for event in events:
            found = None if event.id in consumed else self._suits(event, wait, which)
            if found is not None:
                return found
            seen[digest] = event.place
        return None

    def _starts(self, asked: Asked, waits: Sequence[EventWait]) -> dict[str, int]:
        """Return from where each topic is to be looked at: behind what this wait has seen of it."""
        entry = asked.entry
        seen = dict(entry.head.get("p", {})) if entry is not None else dict(asked.head.get("p", {}))
        for wait in waits:
            for place in wait.places:
                first = self._begin(place, wait)
                seen.setdefault(place.digest, self._engine.looked.get((place.digest, first), first))
        return seen

    @staticmethod
    def _until(asked: Asked) -> float:
        """Return up to which place a topic concerns a wait: what comes after its time does not end it any more."""
        entry = asked.entry
        ends = entry is not None and entry.status == "awaiting" and entry.at
        return ends * _MICRO - 1 if ends else float("inf")

    def _begin(self, place: Place, wait: EventWait) -> int:
        """Return after which place a topic concerns a wait at all."""
        return 0 if place.run else (self._engine.claim.created_at - wait.lookback) * _MICRO - 1

    @staticmethod
    def _suits(event: StoredEvent, wait: EventWait, which: int) -> _Found | None:
        try:
            value = wait.codec.decode(event.payload)
            suits = wait.where is None or wait.where(value)
        except Exception as error:  # noqa: BLE001 - what does not fit, or cannot be asked about, is told to this wait
            return _Found(event.place, which, event, None, error)
        return _Found(event.place, which, event, value, None) if suits else None

    def _take(self, asked: Asked, found: _Found) -> None:
        """Record what was found; an event that does not fit is told, and stays for others."""
        head = {name: value for name, value in asked.head.items() if name not in ("p", "n")}
        head |= {"ev": found.event.id, "i": found.which}
        if found.error is None:
            self._engine.resolve(asked, "value", head, found.event.payload)
        else:
            self._engine.resolve(asked, "error", {**head, "bad": 1}, encode_error(found.error))

    def _topics_forgotten(self, asked: Asked, waits: Sequence[EventWait]) -> None:
        places = [place for wait in waits for place in wait.places]
        claim = self._engine.claim
        waiter = waiter_of(claim.ref.id, asked.identity, claim.generation)
        self._engine.holder.insist(lambda: self._engine.topics.forget(places, waiter))

    @staticmethod
    def _taken(asked: Asked, waits: Sequence[EventWait]) -> Any:
        entry = asked.entry
        if entry is None or entry.status == "timeout":
            return None
        if entry.status == "error":
            raise rebuilt(entry.identity, entry.payload)
        return waits[int(entry.head.get("i", 0)) if len(waits) > 1 else 0].codec.decode(entry.payload)


def _awaited(asked: Asked, timeout_ms: int | None) -> Awaited:
    return Awaited(asked.identity, "awaiting", timeout_ms, rest_of(asked.head))


def _check(verb: str, events: Sequence[EventWait]) -> None:
    wrong = next((one for one in events if not isinstance(one, EventWait)), None)
    if not events or wrong is not None:
        what = f"not {wrong!r}" if events else "and there are none"
        raise WorkflowMisuse(f"wf.{verb} takes events as wf.event(topic, key=...) returns them, {what}")


def _name(wait: EventWait) -> str:
    name = wait.event if isinstance(wait.event, str) else wait.event.name
    return "".join("." if letter in "/# " else letter for letter in name)
