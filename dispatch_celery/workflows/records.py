"""Reads stored runs as values for people: the record, and the timeline of its promises."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dispatch_celery.clock import from_ms
from dispatch_celery.ids import RunId
from dispatch_celery.scope import Scope
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, pairs, text
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import Failure
from dispatch_celery.work.records import decode_failure
from dispatch_celery.workflows.failure import failure_in
from dispatch_celery.workflows.journal import Entry
from dispatch_celery.workflows.members import MEMBER_KINDS
from dispatch_celery.workflows.model import PromiseRecord, Run, RunPhase, RunState

__all__ = ["RunRecords"]


class RunRecords:
    """Reads of one partition. Never decides anything: what is read here may be old when it is used."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Return whole records, in one trip; None where there is none."""
        calls = [Call.command("HGETALL", self._keys.record(run_id)) for run_id in ids]
        replies = ask_all(self._store, calls)
        return [self.of(run_id, pairs(reply)) if reply else None for run_id, reply in zip(ids, replies, strict=True)]

    def run(self, run_id: str) -> Run | None:
        """Return a whole record, and how far the map has come by now that it waits in."""
        reply, open_now = ask_all(
            self._store,
            [Call.command("HGETALL", self._keys.record(run_id)), Call.command("SCARD", self._keys.waits(run_id))],
        )
        return self.of(run_id, pairs(reply), int(open_now)) if reply else None

    def timeline(self, run_id: str, *, previous: bool = False) -> list[PromiseRecord]:
        """Return every promise of a run: the resolved ones in the order of their outcomes, then the open ones.

        ``previous``: those of its generation before, whose undos are not told.
        """
        entries, undoing = self.entries(run_id, previous=previous)
        entries.sort(key=lambda entry: (not entry.is_resolved, entry.seq, int(entry.head["o"])))
        undoing.sort(key=lambda entry: -entry.seq)
        return [_promise(entry) for entry in entries] + [_undo(entry) for entry in undoing]

    def entries(self, run_id: str, *, previous: bool = False) -> tuple[list[Entry], list[Entry]]:
        """Return what is recorded of a run: its durable calls, and how they are undone."""
        promises = self._keys.aside(run_id) if previous else self._keys.promises(run_id)
        calls = [Call.command("HGETALL", promises)]
        calls += [] if previous else [Call.command("HGETALL", self._keys.undos(run_id))]
        found = [
            [Entry.parse(name, data) for name, data in pairs(reply).items()] for reply in ask_all(self._store, calls)
        ]
        return found[0], found[1] if len(found) > 1 else []

    def children(self, run_id: str) -> list[str]:
        """Return the ids of the child runs that a run has started, as its code asked for them."""
        entries, _ = self.entries(run_id)
        found = [entry for entry in entries if entry.head["k"] == "child" and not entry.is_taken_over]
        return [str(entry.head["m"]) for entry in sorted(found, key=lambda entry: int(entry.head["o"]))]

    @staticmethod
    def of(run_id: str, fields: Mapping[str, bytes], open_now: int | None = None) -> Run:
        """Return the record that stored fields make; ``open_now`` is how many promises it still waits for."""
        spec = json.loads(fields.get("spec") or b"{}")
        queue, _, priority = text(fields.get("lane")).rpartition(":")

        def moment(name: str) -> datetime | None:
            return from_ms(int(float(fields[name]))) if name in fields else None

        state = RunState(text(fields["state"]))
        return Run(
            id=RunId(run_id),
            name=text(fields.get("name")),
            version=int(fields.get("version", 1)),
            queue=queue,
            priority=int(priority),
            state=state,
            arguments=json.loads(fields.get("payload") or b"{}"),
            scope=Scope.from_path(spec.get("scope", "")),
            created_at=from_ms(int(fields["created_at"])),
            started_at=moment("first_at"),
            waiting_since=moment("waiting_since") if state == RunState.WAITING else None,
            finished_at=moment("finished_at"),
            crashes=int(fields.get("crashes", 0)),
            worker=text(fields.get("worker")),
            idempotency_key=spec.get("idempotency_key", ""),
            cancel_requested="cancel" in fields and state not in (RunState.CANCELLED, RunState.FAILED),
            reason=text(fields.get("reason") or fields.get("cancel")),
            detail=text(fields.get("detail")),
            failure=decode_failure(fields.get("error")),
            result=json.loads(fields["result"]) if "result" in fields else None,
            token=int(fields.get("token_number", 0)),
            phase=RunPhase.UNDOING if "undoing" in fields else RunPhase.FORWARD,
            progress=_progress(fields, state, open_now),
            status=text(fields.get("status")),
            generation=int(fields.get("generation", 0)),
            forked_from=RunId(spec["forked_from"]) if "forked_from" in spec else None,
            parent=RunId(spec["parent"]["id"]) if spec.get("parent") else None,
        )


def _progress(fields: Mapping[str, bytes], state: RunState, open_now: int | None) -> dict[str, Any] | None:
    """Return what a step has said of itself, or how far a map has come: as it went to rest, and who has ended since."""
    if "progress" not in fields:
        return None
    progress: dict[str, Any] = json.loads(fields["progress"])
    awaited = progress.pop("awaited", None)
    if awaited is not None and state == RunState.WAITING and open_now is not None:
        progress["done"] += awaited - open_now
    return progress


def _promise(entry: Entry) -> PromiseRecord:
    at = from_ms(entry.at) if entry.at else None
    value: Any = None
    if entry.status == "value" and entry.payload:
        value = json.loads(entry.payload)
    took = entry.head.get("ms")
    return PromiseRecord(
        identity=entry.identity,
        kind=str(entry.head["k"]),
        status=entry.status,
        begun_at=from_ms(entry.at - int(took)) if at is not None and took is not None else None,
        resolved_at=at if entry.is_resolved else None,
        due_at=None if entry.is_resolved else at,
        attempts=int(entry.head.get("a", 0)),
        worker=str(entry.head.get("w", "")),
        value=value,
        failure=_failure(entry),
        total=int(entry.head["of"]) if "of" in entry.head else None,
    )


def _failure(entry: Entry) -> Failure | None:
    if entry.status != "error":
        return _noted(entry)
    if entry.head["k"] not in MEMBER_KINDS:
        return failure_in(entry.payload)
    first, _, told = entry.payload.partition(b"\n")
    state, _, member_id = first.decode().partition(" ")
    found = None if state == "cancelled" else decode_failure(told)
    return found or Failure(type=state, message=told.decode() or member_id)


def _undo(entry: Entry) -> PromiseRecord:
    """Return how the effect of a durable call is undone; ``open`` as long as there was no reason to.

    Its value is the function that does it; of a child run, which undoes itself, that run's id.
    """
    at = from_ms(entry.at)
    return PromiseRecord(
        identity=f"undo:{entry.identity}",
        kind="undo",
        status=entry.status,
        begun_at=None,
        resolved_at=at if entry.status in ("undone", "skipped") else None,
        due_at=None,
        attempts=int(entry.head.get("a", 0)),
        worker=str(entry.head.get("w", "")),
        value=entry.head.get("f") or entry.head["m"],
        failure=_noted(entry),
    )


def _noted(entry: Entry) -> Failure | None:
    """Return the error that the last try of something ended with, which is to be tried again."""
    kind, _, message = str(entry.head.get("e", "")).partition(": ")
    return Failure(type=kind, message=message) if kind else None
