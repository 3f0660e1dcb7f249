"""Reads of a stored record what decides where it may go next, alike for jobs and runs; and what both store as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, to_json

from dispatch_celery.errors import DispatchError, PayloadError
from dispatch_celery.ids import JobId, RunId, TypedId
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, pairs, text
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import SCHEMA, Failure, Parent, WorkRef

__all__ = [
    "Stored",
    "WorkRecords",
    "decode_failure",
    "decode_spec",
    "encode_failure",
    "encode_spec",
    "make_ref",
]

R = TypeVar("R", bound=WorkRef)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The part of a job's or run's record that decides where it may go next."""

    ref: WorkRef
    state: str
    spec: Mapping[str, Any]
    wake: str = ""
    token: str = ""
    holder: str = ""
    pid: int = 0
    attempts: int = 0
    crashes: int = 0
    lost_workers: int = 0
    publishes: int = 0
    cancel: str = ""
    finished_at: int = 0
    replayed_as: str = ""


_FIELDS = (
    "state", "name", "lane", "spec", "wake", "token", "holder", "pid", "attempts", "crashes", "lost_workers",
    "publishes", "cancel", "finished_at", "replayed_as",
)  # fmt: skip


class WorkRecords:
    """Reads of one partition. Never decides anything: a state read here may be old when it is used."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def stored(self, ids: Sequence[str]) -> list[Stored | None]:
        """Return what is needed to move each of these jobs and runs, in one trip; None where there is no record."""
        calls = [Call.command("HMGET", self._keys.record(work_id), *_FIELDS) for work_id in ids]
        return [self._stored(work_id, reply) for work_id, reply in zip(ids, ask_all(self._store, calls), strict=True)]

    def raw(self, work_id: str) -> dict[str, bytes]:
        """Return every field of one record as it is stored; empty where there is none."""
        (reply,) = ask_all(self._store, [Call.command("HGETALL", self._keys.record(work_id))])
        return pairs(reply)

    def _stored(self, work_id: str, reply: Sequence[bytes | None]) -> Stored | None:
        fields = dict(zip(_FIELDS, reply, strict=True))
        if fields["state"] is None:
            return None
        spec = decode_spec(work_id, fields["spec"])
        return Stored(
            ref=self._ref(work_id, text(fields["name"]), text(fields["lane"]), spec),
            state=text(fields["state"]),
            spec=spec,
            wake=text(fields["wake"]),
            token=text(fields["token"]),
            holder=text(fields["holder"]),
            pid=int(fields["pid"] or 0),
            attempts=int(fields["attempts"] or 0),
            crashes=int(fields["crashes"] or 0),
            lost_workers=int(fields["lost_workers"] or 0),
            publishes=int(fields["publishes"] or 0),
            cancel=text(fields["cancel"]),
            finished_at=int(fields["finished_at"] or 0),
            replayed_as=text(fields["replayed_as"]),
        )

    def _ref(self, work_id: str, name: str, lane: str, spec: Mapping[str, Any]) -> WorkRef:
        """Return what names a record; a room whose callers are given more than a ``WorkRef`` says so here."""
        typed_id = JobId(work_id) if work_id[:3] == JobId.prefix else RunId(work_id)
        return make_ref(WorkRef, typed_id, name, lane, spec)


def make_ref(kind: type[R], work_id: TypedId, name: str, lane: str, spec: Mapping[str, Any]) -> R:
    """Return what names a piece of work, out of the parts of its record that never change."""
    queue, _, priority = lane.rpartition(":")
    return kind(
        id=work_id,
        name=name,
        queue=queue,
        priority=int(priority),
        scope=spec.get("scope", ""),
        idempotency_key=spec.get("idempotency_key", ""),
        unique="" if "unique_period" in spec else spec.get("unique", ""),
        version=int(spec.get("version", 0)),
        parent=Parent.load(spec.get("parent")),
    )


def encode_spec(spec: Mapping[str, Any]) -> bytes:
    """Return what a job or run was enqueued with, beside its arguments, as JSON.

    Raises:
        PayloadError: a header or a part of a canvas is no JSON.
    """
    try:
        return to_json(spec)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise PayloadError(f"the job's headers or canvas cannot be written as JSON: {error}") from None


def decode_spec(work_id: str, data: bytes | None) -> Mapping[str, Any]:
    """Return what a job or run was enqueued with.

    Raises:
        DispatchError: a newer release has written it.
    """
    spec: Mapping[str, Any] = json.loads(data or b"{}")
    if spec.get("schema", SCHEMA) > SCHEMA:
        raise DispatchError(
            f"the record of {work_id} has schema {spec['schema']}, this release reads {SCHEMA}: upgrade this process"
        )
    return spec


def encode_failure(failure: Failure) -> str:
    """Return a failure as JSON text."""
    return json.dumps({"type": failure.type, "message": failure.message, "traceback": failure.traceback})


def decode_failure(data: bytes | None) -> Failure | None:
    """Return a stored failure."""
    if not data:
        return None
    value = json.loads(data)
    return Failure(type=value["type"], message=value["message"], traceback=value.get("traceback", ""))
