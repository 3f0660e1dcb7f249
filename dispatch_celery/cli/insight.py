"""Reads that no service offers: the server's clock and version, what surrounds one job or run. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from dispatch_celery.app import Dispatch
from dispatch_celery.cli.phrases import Member, RunSurroundings, Surroundings, is_undo
from dispatch_celery.clock import from_ms
from dispatch_celery.config import redact_url
from dispatch_celery.events.model import Place
from dispatch_celery.jobs.model import Job, JobRef
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call
from dispatch_celery.worker.broker import wire
from dispatch_celery.worker.checks import server_version
from dispatch_celery.workflows.journal import Entry
from dispatch_celery.workflows.members import MEMBER_KINDS
from dispatch_celery.workflows.model import PromiseRecord, Run, RunRef, RunState

__all__ = ["Insight"]

_FIELDS = ("unknown_since", "publishes", "pid", "spec", "limited_at")
_RUN_FIELDS = ("unknown_since", "publishes", "pid", "started_at", "parked_at", "enough")
_MEMBER_FIELDS = ("state", "created_at")
_DUE = ("start", "pause", "deadline")
_NAMES = 1_000
_SOME = 5


class Insight:
    """Looks at the state of one app, over a connection of its own."""

    def __init__(self, dispatch: Dispatch) -> None:
        wiring = wire(dispatch.app, dispatch.settings)
        self._dispatch = dispatch
        self._store = RedisStore(dispatch.settings, wiring.state_url, options=wiring.options)
        self._keys = Keys(dispatch.settings.namespace)
        self.url = redact_url(wiring.state_url)

    def close(self) -> None:
        """Close the connection."""
        self._store.close()

    def now(self) -> datetime:
        """Return the server's time, by which leases and timers go."""
        seconds, microseconds = ask(self._store, Call.command("TIME"))
        return from_ms(int(seconds) * 1000 + int(microseconds) // 1000)

    def server(self) -> tuple[str, str]:
        """Return the server's name and version."""
        lines = text(ask(self._store, Call.command("INFO", "server"))).splitlines()
        name, version, _ = server_version(dict(line.split(":", 1) for line in lines if ":" in line))
        return name, version

    def surroundings(self, job: Job, *, command: str) -> Surroundings:
        """Return what a job's record does not say: its place in the queue, who could run it, its limits."""
        keys, settings = self._keys, self._dispatch.settings
        lane = keys.lane(JobRef(id=job.id, name=job.name, queue=job.queue, priority=job.priority).lane)
        record, published, ahead, known, entry, expiry = ask_all(
            self._store,
            [
                Call.command("HMGET", keys.record(job.id), *_FIELDS),
                Call.command("ZSCORE", lane, job.id),
                Call.command("ZRANK", lane, job.id),
                Call.command("ZSCORE", keys.known, job.name),
                Call.command("HGET", keys.catalogue, job.name),
                Call.command("ZSCORE", keys.expiry, job.id),
            ],
        )
        unknown_since, publishes, pid, spec, limited_at = record
        declared, chosen = json.loads(entry or b"{}"), json.loads(spec or b"{}")
        timeout = chosen.get("timeout", declared.get("timeout"))
        return Surroundings(
            now=self.now(),
            command=command,
            workers=tuple(self._dispatch.workers.list()),
            pid=int(pid or 0),
            published_at=_moment(published),
            publishes=int(publishes or 0),
            ahead=int(ahead or 0),
            place=self._dispatch.queues.waiting(job.id),
            limited_at=_moment(limited_at),
            unknown_since=_moment(unknown_since),
            known_at=_moment(known),
            unknown_grace=timedelta(milliseconds=settings.unknown_grace),
            timeout=None if timeout is None else timedelta(milliseconds=timeout),
            max_attempts=chosen.get("retry", declared).get("max_attempts"),
            kept_until=_moment(expiry),
        )

    def run_surroundings(self, run: Run, *, command: str) -> RunSurroundings:
        """Return what a run's record does not say: its durable calls, its times, and who could take it."""
        keys, settings = self._keys, self._dispatch.settings
        ref = RunRef(id=run.id, name=run.name, queue=run.queue, priority=run.priority, version=run.version)
        lane = keys.lane(ref.lane)
        promises = tuple(self._dispatch.runs.timeline(run.id))
        record, waits, due, published, ahead, known, expiry = ask_all(
            self._store,
            [
                Call.command("HMGET", keys.record(run.id), *_RUN_FIELDS),
                Call.command("SMEMBERS", keys.waits(run.id)),
                Call.command("ZMSCORE", keys.due(run.id), *_DUE),
                Call.command("ZSCORE", lane, run.id),
                Call.command("ZRANK", lane, run.id),
                Call.command("ZSCORE", keys.known, ref.known_as),
                Call.command("ZSCORE", keys.expiry, run.id),
            ],
        )
        unknown_since, publishes, pid, held_since, parked_at, enough = record
        start_at, pause_until, deadline = map(_moment, due)
        return RunSurroundings(
            now=self.now(),
            command=command,
            workers=tuple(self._dispatch.workers.list()),
            pid=int(pid or 0),
            published_at=_moment(published),
            publishes=int(publishes or 0),
            ahead=int(ahead or 0),
            unknown_since=_moment(unknown_since),
            known_at=_moment(known),
            unknown_grace=timedelta(milliseconds=settings.unknown_grace),
            kept_until=_moment(expiry),
            promises=promises,
            last_errors=self.last_errors(run, promises),
            members=self.members(run, promises),
            waits=frozenset(words(list(waits))) if run.state == RunState.WAITING else None,
            enough=int(enough or 0),
            topics=self.topics(run, promises),
            held_since=_moment(held_since),
            parked_at=_moment(parked_at),
            start_at=start_at,
            pause_until=pause_until,
            deadline=deadline,
            max_promises=settings.max_promises,
        )

    def last_errors(self, run: Run, promises: Sequence[PromiseRecord], *, previous: bool = False) -> dict[str, str]:
        """Return, of each call that waits for its next attempt, what ended the last one."""
        again = [promise.identity for promise in promises if promise.status == "retrying" and not is_undo(promise)]
        found = self._entries(run, again, previous=previous)
        return {entry.identity: str(entry.head.get("e", "")) for entry in found}

    def members(self, run: Run, promises: Sequence[PromiseRecord], *, previous: bool = False) -> dict[str, Member]:
        """Return the jobs and child runs that a run has sent, by the identity of their call."""
        sent = [promise.identity for promise in promises if promise.kind in MEMBER_KINDS]
        ids = {entry.identity: str(entry.head["m"]) for entry in self._entries(run, sent, previous=previous)}
        calls = [Call.command("HMGET", self._keys.record(one), *_MEMBER_FIELDS) for one in ids.values()]
        found = zip(ids.items(), ask_all(self._store, calls) if calls else (), strict=True)
        return {
            identity: Member(id=one, state=text(state), begun_at=_moment(begun))
            for (identity, one), (state, begun) in found
        }

    def topics(self, run: Run, promises: Sequence[PromiseRecord]) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return the names and keys that each wait for events waits at, by the identity of the wait."""
        waits = [promise.identity for promise in promises if promise.status == "awaiting"]
        return {
            entry.identity: tuple((str(name), str(key)) for name, key in entry.head.get("n", ()))
            for entry in self._entries(run, waits)
        }

    # -- by a name

    def catalogued(self, name: str) -> tuple[str | None, datetime | None]:
        """Return the queue of a job or workflow by its name, and when a live worker last knew it; None: nobody has."""
        entry, known = ask_all(
            self._store,
            [
                Call.command("HGET", self._keys.catalogue, name),
                Call.command("ZSCORE", self._keys.known, name),
            ],
        )
        queue = None if entry is None else str(json.loads(entry).get("queue") or "")
        return queue, _moment(known)

    def catalogue(self) -> dict[str, dict[str, Any]]:
        """Return what workers have published of what they declare, by name; of a workflow also by name and version."""
        stored = pairs(ask(self._store, Call.command("HGETALL", self._keys.catalogue)))
        return {name: json.loads(entry) for name, entry in stored.items()}

    def known_names(self) -> list[str]:
        """Return the names of jobs and workflows that workers knew last, at most a thousand."""
        found = words(ask(self._store, Call.command("ZREVRANGE", self._keys.known, 0, _NAMES - 1)))
        return [name for name in found if "@" not in name]

    def waiters(self, place: Place) -> tuple[int, list[str]]:
        """Return how many waits there are at a topic, and the ids of some of their runs."""
        key = self._keys.waiters(place.digest)
        count, some = ask_all(self._store, [Call.command("HLEN", key), Call.command("HRANDFIELD", key, _SOME)])
        return int(count), sorted({waiter.split(" ")[0] for waiter in words(some)})

    def held(self, worker_id: str) -> list[str]:
        """Return some of what a worker holds."""
        return sorted(words(ask(self._store, Call.command("HRANDFIELD", self._keys.held(worker_id), _SOME))))

    def _entries(self, run: Run, identities: Sequence[str], *, previous: bool = False) -> list[Entry]:
        """Return what is stored of some durable calls; without those that are gone by now."""
        if not identities:
            return []
        journal = self._keys.aside(run.id) if previous else self._keys.promises(run.id)
        stored = ask(self._store, Call.command("HMGET", journal, *identities))
        return [Entry.parse(name, data) for name, data in zip(identities, stored, strict=True) if data is not None]


def _moment(score: Any) -> datetime | None:
    return None if score is None else from_ms(int(float(score)))
