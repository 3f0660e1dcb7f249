"""The verbs of queues: limit, unlimit, get, list, pause, resume."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from dispatch_celery.clock import Duration, from_ms, to_ms
from dispatch_celery.errors import ConfigurationError, QueueNotFound
from dispatch_celery.ids import JobId
from dispatch_celery.queues.census import QueuesCensus
from dispatch_celery.queues.model import Limit, PerKey, Place, Queue, Rate, as_text, limit_name
from dispatch_celery.queues.records import dump
from dispatch_celery.queues.store import LimitStore
from dispatch_celery.store.paging import Page
from dispatch_celery.store.scripts import Word
from dispatch_celery.work.body import refuse_in_body

__all__ = ["QueueService"]

_SHOWN: Final = 3
_NO_PAUSE: Final = {"paused": "", "paused_until": "", "pause_reason": ""}


class QueueService:
    """Everything callers may do with queues and with what they may do. Safe for threads."""

    def __init__(self, store: LimitStore, *, ready: Callable[[], Mapping[str, int]]) -> None:
        self._store = store
        self._ready = ready

    # -- look

    def get(self, queue: str | None = None, *, job: str | None = None) -> Queue:
        """Return how a queue stands, or the jobs of one name.

        Raises:
            QueueNotFound: nothing is ready in it, and it has no limit.
        """
        name = limit_name(queue, job)
        ready = self._ready()
        (found,) = self._store.read([name])
        if found is None and queue not in ready:
            if queue is None:
                raise QueueNotFound(f"the jobs named {job!r} have no limit, and no pause")
            raise QueueNotFound(
                f"nothing is ready in the queue {queue!r}, and it has no limit; a job's name goes by job= (--job)"
            )
        return replace(found or Queue(name=str(queue)), ready=ready.get(queue or "", 0))

    def list(self) -> Page[Queue]:
        """Return every queue in which something waits or that has a limit, and every job name that has one."""
        ready = self._ready()
        limits = self._store.names()
        found = {name: queue for name, queue in zip(limits, self._store.read(limits), strict=True) if queue is not None}
        for name in ready:
            found.setdefault(f"queue:{name}", Queue(name=name))
        shown = [
            replace(queue, ready=ready.get(queue.name, 0) if queue.kind == "queue" else 0)
            for _, queue in sorted(found.items(), key=lambda pair: (pair[1].kind == "job", pair[0]))
        ]
        return Page(tuple(shown), None)

    def waiting(self, job_id: JobId | str) -> Place | None:
        """Return where a job stands that waits for a permit; None where it waits for none."""
        job_id = JobId.parse(job_id)
        limit = self._store.awaited(job_id)
        if not limit:
            return None
        (queue,) = self._store.read([limit])
        known, ahead = self._store.known_of(limit, job_id)
        kind, _, name = limit.partition(":")
        key = known.key if known else ""
        next_at = self._store.next_at(limit, key)
        return Place(
            queue=queue or Queue(name=name, kind=kind),
            key=key,
            ahead=ahead,
            granted=known is not None and known.holds,
            holders=tuple(self._store.holders(limit, _SHOWN)),
            next_at=None if next_at is None else from_ms(next_at),
        )

    def census(self) -> QueuesCensus:
        """Return how every limit stands, in three bounded trips: what measures are made of."""
        return self._store.census()

    # -- change

    def limit(
        self,
        queue: str | None = None,
        *,
        job: str | None = None,
        concurrency: int | None = None,
        rate: Rate | str | None = None,
        burst: int | None = None,
        per_key: PerKey | None = None,
    ) -> Queue:
        """Limit a queue, or the jobs of one name (``job=``), in the whole fleet; replaces what was set before.

        Jobs that run already run on, without a permit; what is ready asks for one when a worker takes it. A lower limit
        stops nothing: it hands out no permit until enough are back.

        Raises:
            ConfigurationError: an amount that is none, or nothing is limited.
        """
        refuse_in_body("dispatch.queues.limit()")
        name = limit_name(queue, job)
        rule = Limit(concurrency=concurrency, rate=rate, burst=burst, per_key=per_key)
        return self._set(name, dump(rule), weights=_weights(rule))

    def declare(self, limits: Mapping[str, Limit]) -> None:
        """Set limits as an app declares them, by name; what was declared so before stays as it was changed since."""
        for name, limit in limits.items():
            fields = dump(limit)
            self._set(name, fields, weights=_weights(limit), declaration=str(fields["spoken"]))

    def unlimit(self, queue: str | None = None, *, job: str | None = None) -> None:
        """Lift a limit, and a pause with it: what waits for it may go. Idempotent.

        One that an app declares stays lifted until it is declared otherwise.
        """
        refuse_in_body("dispatch.queues.unlimit()")
        self._change(limit_name(queue, job), {**dump(None), **_NO_PAUSE}, weights={})

    def pause(
        self,
        queue: str | None = None,
        *,
        job: str | None = None,
        until: datetime | Duration | None = None,
        reason: str = "",
    ) -> Queue:
        """Start nothing more of a queue, or of the jobs of one name; what runs runs on. Idempotent.

        ``until``: when it goes on by itself, or after how many seconds by the server's clock; a pause that is
        there, and lasts longer, stays as it is. ``reason``: what is said of it to who asks why something waits, at
        most 500 characters of it.

        Raises:
            ConfigurationError: ``until`` has no time zone, is no length of time, or is over already.
        """
        refuse_in_body("dispatch.queues.pause()")
        ends = None if until is None else self._end_of(until)
        said = as_text(reason, 500)
        fields: dict[str, str | int] = {
            "paused": "1",
            "paused_until": "" if ends is None else ends,
            "pause_reason": said,
        }
        return self._set(limit_name(queue, job), fields, ends=ends)

    def resume(self, queue: str | None = None, *, job: str | None = None) -> None:
        """Let a paused queue or job name go on, within its limit if it has one. Idempotent."""
        refuse_in_body("dispatch.queues.resume()")
        self._change(limit_name(queue, job), _NO_PAUSE)

    def _change(self, name: str, fields: Mapping[str, Word], *, weights: Mapping[str, float] | None = None) -> None:
        """Do as ``_set`` to a limit that there is; let nobody wait for one that there is not."""
        (found,) = self._store.read([name])
        if found is None:
            self._store.enforce([name])
        else:
            self._set(name, fields, weights=weights)

    def _set(
        self,
        name: str,
        fields: Mapping[str, Word],
        *,
        weights: Mapping[str, float] | None = None,
        ends: int | None = None,
        declaration: str = "",
    ) -> Queue:
        revision = self._store.set(name, fields, weights=weights, ends=ends, declaration=declaration)
        self._store.enforce([name])
        self._store.look(name, revision)
        (found,) = self._store.read([name])
        kind, _, short = name.partition(":")
        return found or Queue(name=short, kind=kind)  # another process may have lifted it since

    def _end_of(self, until: datetime | Duration) -> int:
        if not isinstance(until, datetime):
            try:
                length = to_ms(until)
            except ValueError as error:
                raise ConfigurationError(f"until={until!r} is no length of time: {error}") from None
            if length <= 0:
                raise ConfigurationError(f"until={until!r} is over already: give the seconds for which to pause")
            return self._store.time() + length
        if until.tzinfo is None:
            raise ConfigurationError(f"until={until!r} has no time zone: use datetime.now(UTC) + timedelta(...)")
        ends = int(until.timestamp() * 1000)
        if ends <= self._store.time():
            raise ConfigurationError(f"until={until!r} is over already")
        return ends

    # -- the same on an event loop, written by .ci/make_twins.py

    async def aget(self, queue: str | None = None, *, job: str | None = None) -> Queue:
        """Do as ``get``, without holding the event loop."""
        return await asyncio.to_thread(self.get, queue, job=job)

    async def alist(self) -> Page[Queue]:
        """Do as ``list``, without holding the event loop."""
        return await asyncio.to_thread(self.list)

    async def awaiting(self, job_id: JobId | str) -> Place | None:
        """Do as ``waiting``, without holding the event loop."""
        return await asyncio.to_thread(self.waiting, job_id)

    async def acensus(self) -> QueuesCensus:
        """Do as ``census``, without holding the event loop."""
        return await asyncio.to_thread(self.census)

    async def alimit(
        self,
        queue: str | None = None,
        *,
        job: str | None = None,
        concurrency: int | None = None,
        rate: Rate | str | None = None,
        burst: int | None = None,
        per_key: PerKey | None = None,
    ) -> Queue:
        """Do as ``limit``, without holding the event loop."""
        return await asyncio.to_thread(
            self.limit, queue, job=job, concurrency=concurrency, rate=rate, burst=burst, per_key=per_key
        )

    async def aunlimit(self, queue: str | None = None, *, job: str | None = None) -> None:
        """Do as ``unlimit``, without holding the event loop."""
        await asyncio.to_thread(self.unlimit, queue, job=job)

    async def apause(
        self,
        queue: str | None = None,
        *,
        job: str | None = None,
        until: datetime | Duration | None = None,
        reason: str = "",
    ) -> Queue:
        """Do as ``pause``, without holding the event loop."""
        return await asyncio.to_thread(self.pause, queue, job=job, until=until, reason=reason)

    async def aresume(self, queue: str | None = None, *, job: str | None = None) -> None:
        """Do as ``resume``, without holding the event loop."""
        await asyncio.to_thread(self.resume, queue, job=job)


def _weights(limit: Limit) -> Mapping[str, float]:
    return limit.per_key.weights if limit.per_key is not None else {}
