"""The verbs of events: publish, get, list; and telling the runs that wait."""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar, overload

from dispatch_celery.codec import Codec
from dispatch_celery.errors import EventNotFound, PayloadTooLarge, StateConflict, StoreUnavailable
from dispatch_celery.events.model import Event, EventRecord, Place, StoredEvent, check_event_name, check_key
from dispatch_celery.events.store import EventStore
from dispatch_celery.ids import EventId, RunId
from dispatch_celery.scope import Scope, current_scope
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.paging import Page, Pager, instant
from dispatch_celery.work.body import out_of_body, refuse_in_body
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.work.ports import Observer, Publisher
from dispatch_celery.work.scripts import Answer
from dispatch_celery.work.store import WorkStore
from dispatch_celery.work.upkeep import publish_marked

__all__ = ["Deliveries", "EventService", "Nudge"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

Nudge = Callable[[Sequence[tuple[WorkRef, str]]], list[Answer]]
"""Tells runs, each by the durable call it waits with, to look at their topics."""

_SWEPT = 100
_EVERY = 1_000
_IDLE = 10_000


class EventService:
    """Everything callers may do with events. Safe for threads.

    Each verb has an ``a`` twin for event loops: the same, without holding the loop.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        work: WorkStore,
        keys: Keys,
        publisher: Publisher,
        nudge: Nudge,
        observer: Observer,
        max_payload: int,
    ) -> None:
        self._store = store
        self._work = work
        self._keys = keys
        self._publisher = publisher
        self._nudge = nudge
        self._observer = observer
        self._pager = Pager(store.port)
        self._anything = Codec(Any, subject="event", limit=max_payload)
        self.max_payload = max_payload

    @overload
    def publish(self, event: Event[T], payload: T, /, *, key: str | None = None) -> EventId: ...
    @overload
    def publish(self, event: str, payload: Any = None, /, *, key: str | None = None) -> EventId: ...
    def publish(self, event: Event[Any] | str, payload: Any = None, /, *, key: str | None = None) -> EventId:
        """Publish an event in the current scope; runs that wait for its name and key go on. Return its id.

        It is kept for ``retain_events``: a run that waits later finds it, if it was published after that run began.

        Raises:
            PayloadError: the payload does not fit the event's type, or cannot be written as JSON.
            StateConflict: the topic is full; nothing was stored.
            StoreUnavailable: no answer within the timeouts; the event is stored or not.
        """
        refuse_in_body("dispatch.events.publish()", "use wf.publish(...)")
        name, data = self.encoded(event, payload)
        return self.publish_at(Place(name, check_key(key), current_scope().path), data)

    def publish_to(self, run_id: RunId | str, event: Event[Any] | str, payload: Any = None) -> EventId:
        """Publish an event to one run, which need not exist yet; see ``RunHandle.publish``."""
        refuse_in_body("run.publish()")
        name, data = self.encoded(event, payload)
        return self.publish_at(Place(name, run=RunId.parse(run_id)), data)

    def encoded(self, event: Event[Any] | str, payload: Any) -> tuple[str, bytes]:
        """Return an event's name, and its payload as checked JSON.

        Raises:
            PayloadError: it does not fit.
        """
        if isinstance(event, Event):
            data = event.codec.encode(payload)
            if len(data) > self.max_payload:
                raise PayloadTooLarge(
                    f"event {event.name}: {len(data):,} bytes, dispatch_max_payload allows {self.max_payload:,}:"
                    " publish a reference to where the data lies"
                )
            return event.name, data
        return check_event_name(event), self._anything.encode(payload)

    @out_of_body()  # a workflow publishes by this too, and what hooks do then is none of its body's doing
    def publish_at(self, place: Place, data: bytes, *, event_id: EventId | None = None) -> EventId:
        """Store an event where it belongs, and tell who waits. The same id again is the same event."""
        event_id = event_id or EventId.mint()
        verdict, *details = self._store.publish(event_id, place, data)
        if verdict == "FULL":
            where = f"the inbox of {place.run}" if place.run else f"the topic {place.name!r} (key {place.key!r})"
            raise StateConflict(
                f"{where} holds {details[0]} events already: nothing was stored; publish under more keys,"
                " or raise dispatch_max_events or dispatch_max_inbox"
            )
        if verdict == "STORED":
            self._observer("event_published", None, event=event_id, name=place.name, key=place.key)
        if verdict == "REPEATED" or details[1] != "0":
            try:
                self.tell(place.digest)
                self._store.told(place.digest, event_id)
            except StoreUnavailable as error:
                logger.warning("who waits for %s will be told by the leader: %s", place.name, error)
        return event_id

    def look(
        self, places: Sequence[tuple[Place, int]], *, waiter: str = "", run: str = ""
    ) -> builtins.list[builtins.list[StoredEvent]]:
        """Return what each topic holds after a place; register who waits first."""
        return self._store.look(places, waiter=waiter, run=run)

    def forget(self, places: Sequence[Place], waiter: str) -> None:
        """Strike off who waits no longer."""
        self._store.forget(places, waiter)

    def tell(self, digest: str) -> int:
        """Tell everybody who waits at a topic to look at it; return how many were woken."""
        woken, cursor = 0, "0"
        while True:
            cursor, found = self._store.waiters(digest, cursor)
            woken += self._tell(digest, found)
            if cursor == "0":
                return woken

    def _tell(self, digest: str, found: dict[str, str]) -> int:
        if not found:
            return 0
        runs = [_waiting(waiter, told) for waiter, told in found.items()]
        answers = self._nudge(runs)
        gone = [waiter for waiter, answer in zip(found, answers, strict=True) if answer.verdict == "GONE"]
        self._store.strike(digest, gone)
        ready = [
            WakeUp(ref=ref, wake=answer.detail)
            for (ref, _), answer in zip(runs, answers, strict=True)
            if answer.verdict == "READY"
        ]
        publish_marked(self._work, self._publisher, ready)
        return len(ready)

    def tell_due(self) -> int:
        """Tell the waiters of topics whose publisher did not; return how many topics that were."""
        _, marks = self._work.due(self._keys.fanout, _SWEPT)
        for mark in marks:
            digest, _, event_id = mark.partition(" ")
            self.tell(digest)
            self._store.told(digest, event_id)
        return len(marks)

    # -- read

    def get(self, event_id: EventId | str) -> EventRecord:
        """Return a published event.

        Raises:
            EventNotFound: it never existed here, or its retention has passed.
        """
        (found,) = self._store.records([EventId.parse(event_id)])
        if found is None:
            raise EventNotFound(
                f"there is no event {event_id}: it never existed in this namespace, or its retention has passed"
            )
        return found

    def list(
        self,
        *,
        name: str | None = None,
        key: str | None = None,
        scope: Scope | None = None,
        published_after: datetime | None = None,
        published_before: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[EventRecord]:
        """Return one page of events, newest first; ``next_cursor`` of a page is the ``cursor`` of the next.

        With a ``name`` and a ``key``, those of that topic, in ``scope`` or else the current one: an index serves them.
        Any other choice sifts all events, so a page may be short and still have a cursor.
        """
        index, unit = self._keys.events, 1
        if name is not None and key is not None:
            path = (current_scope() if scope is None else scope).path
            index, unit = self._keys.topic(Place(name, check_key(key), path).digest), 1_000  # by place, in microseconds

        def keep(event: EventRecord) -> bool:
            named = name in (None, event.name) and key in (None, event.key)
            return named and (scope is None or scope.covers(event.scope))

        until = instant("published_before", published_before)
        since = instant("published_after", published_after)
        return self._pager.page(
            [index],
            self._store.records,
            keep=keep,
            limit=limit,
            cursor=cursor,
            until=None if until is None else unit * (until + 1) - 1,
            since=None if since is None else unit * since,
        )

    # -- the same on an event loop, written by .ci/make_twins.py

    async def apublish(self, event: Event[Any] | str, payload: Any = None, /, *, key: str | None = None) -> EventId:
        """Do as ``publish``, without holding the event loop."""
        return await asyncio.to_thread(self.publish, event, payload, key=key)

    async def apublish_to(self, run_id: RunId | str, event: Event[Any] | str, payload: Any = None) -> EventId:
        """Do as ``publish_to``, without holding the event loop."""
        return await asyncio.to_thread(self.publish_to, run_id, event, payload)

    async def aget(self, event_id: EventId | str) -> EventRecord:
        """Do as ``get``, without holding the event loop."""
        return await asyncio.to_thread(self.get, event_id)

    async def alist(
        self,
        *,
        name: str | None = None,
        key: str | None = None,
        scope: Scope | None = None,
        published_after: datetime | None = None,
        published_before: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[EventRecord]:
        """Do as ``list``, without holding the event loop."""
        return await asyncio.to_thread(
            self.list,
            name=name,
            key=key,
            scope=scope,
            published_after=published_after,
            published_before=published_before,
            limit=limit,
            cursor=cursor,
        )


class Deliveries:
    """The leader's duty: tells waiters what a publisher could not tell them any more."""

    name = "events"

    def __init__(self, events: EventService) -> None:
        self._events = events

    def run_once(self) -> int:
        """Tell the waiters of one batch of topics."""
        told = self._events.tell_due()
        return 0 if told == _SWEPT else _EVERY if told else _IDLE


def _waiting(waiter: str, told: str) -> tuple[WorkRef, str]:
    """Return the run that a registration names, and the durable call it waits with."""
    run_id, identity, *_ = waiter.split(" ")
    data = json.loads(told)
    queue, _, priority = str(data["lane"]).rpartition(":")
    ref = WorkRef(
        id=RunId(run_id), name=data["name"], queue=queue, priority=int(priority), version=int(data["version"])
    )
    return ref, identity
