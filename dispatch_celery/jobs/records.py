"""Reads stored records: as values for people (``Job``), and as what maintenance needs (``Stored``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from dispatch_celery.clock import from_ms
from dispatch_celery.errors import DispatchError, PayloadError
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.model import SCHEMA, Attempt, Failure, Job, JobRef, JobState, WorkRef
from dispatch_celery.scope import Scope
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, pairs, text
from dispatch_celery.store.scripts import Call

__all__ = ["JobRecords", "Stored", "decode_failure", "encode_failure", "encode_spec"]


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


class JobRecords:
    """Reads of one partition. Never decides anything: a state read here may be old when it is used."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def stored(self, ids: Sequence[str]) -> list[Stored | None]:
        """Return what is needed to move each of these jobs, in one trip; None where there is no record."""
        calls = [Call.command("HMGET", self._keys.record(job_id), *_FIELDS) for job_id in ids]
        return [_stored(job_id, reply) for job_id, reply in zip(ids, ask_all(self._store, calls), strict=True)]

    def jobs(self, ids: Sequence[str]) -> list[Job | None]:
        """Return whole records, in one trip; None where there is none."""
        calls = [Call.command("HGETALL", self._keys.record(job_id)) for job_id in ids]
        replies = ask_all(self._store, calls)
        return [_job(job_id, pairs(reply)) if reply else None for job_id, reply in zip(ids, replies, strict=True)]

    @staticmethod
    def of(job_id: str, fields: Mapping[str, bytes]) -> Job:
        """Return the record that stored fields make."""
        return _job(job_id, fields)

    def raw(self, job_id: str) -> dict[str, bytes]:
        """Return every field of one record as it is stored; empty where there is none."""
        (reply,) = ask_all(self._store, [Call.command("HGETALL", self._keys.record(job_id))])
        return pairs(reply)


def _work_ref(work_id: str, name: str, lane: str, spec: Mapping[str, Any]) -> WorkRef:
    if work_id[:3] == JobId.prefix:
        return _ref(work_id, name, lane, spec)
    queue, _, priority = lane.rpartition(":")
    return WorkRef(
        id=RunId(work_id),
        name=name,
        queue=queue,
        priority=int(priority),
        scope=spec.get("scope", ""),
        idempotency_key=spec.get("idempotency_key", ""),
        version=int(spec.get("version", 0)),
    )


def _ref(job_id: str, name: str, lane: str, spec: Mapping[str, Any]) -> JobRef:
    queue, _, priority = lane.rpartition(":")
    return JobRef(
        id=JobId(job_id),
        name=name,
        queue=queue,
        priority=int(priority),
        scope=spec.get("scope", ""),
        idempotency_key=spec.get("idempotency_key", ""),
    )


def encode_spec(spec: Mapping[str, Any]) -> bytes:
    """Return what a job was enqueued with, beside its arguments, as JSON.

    Raises:
        PayloadError: a header or a part of a canvas is no JSON.
    """
    try:
        return to_json(spec)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise PayloadError(f"the job's headers or canvas cannot be written as JSON: {error}") from None


def _spec(job_id: str, data: bytes | None) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = json.loads(data or b"{}")
    if spec.get("schema", SCHEMA) > SCHEMA:
        raise DispatchError(
            f"the record of {job_id} has schema {spec['schema']}, this release reads {SCHEMA}: upgrade this process"
        )
    return spec


def _stored(job_id: str, reply: Sequence[bytes | None]) -> Stored | None:
    fields = dict(zip(_FIELDS, reply, strict=True))
    if fields["state"] is None:
        return None
    spec = _spec(job_id, fields["spec"])
    return Stored(
        ref=_work_ref(job_id, text(fields["name"]), text(fields["lane"]), spec),
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


def encode_failure(failure: Failure) -> str:
    """Return a failure as JSON text."""
    return json.dumps({"type": failure.type, "message": failure.message, "traceback": failure.traceback})


def decode_failure(data: bytes | None) -> Failure | None:
    """Return a stored failure."""
    if not data:
        return None
    value = json.loads(data)
    return Failure(type=value["type"], message=value["message"], traceback=value.get("traceback", ""))


def _job(job_id: str, fields: Mapping[str, bytes]) -> Job:
    spec = _spec(job_id, fields.get("spec"))
    ref = _ref(job_id, text(fields.get("name")), text(fields.get("lane")), spec)

    def moment(name: str) -> datetime | None:
        return from_ms(int(float(fields[name]))) if name in fields else None

    state = JobState(text(fields["state"]))
    failed_attempts = int(fields.get("attempts", 0))
    attempts = _attempts(fields, state)
    return Job(
        id=ref.id,
        name=ref.name,
        queue=ref.queue,
        priority=ref.priority,
        state=state,
        arguments=json.loads(fields.get("payload") or b"{}"),
        scope=Scope.from_path(ref.scope),
        created_at=from_ms(int(fields["created_at"])),
        due_at=moment("due_at"),
        started_at=moment("started_at"),
        finished_at=moment("finished_at"),
        expires_at=moment("expires_at"),
        attempt=max(1, failed_attempts if state == JobState.FAILED else failed_attempts + 1),
        crashes=int(fields.get("crashes", 0)),
        lost_workers=int(fields.get("lost_workers", 0)),
        snoozes=int(fields.get("snoozes", 0)),
        worker=text(fields.get("worker")),
        idempotency_key=ref.idempotency_key,
        cancel_requested="cancel" in fields,
        reason=text(fields.get("reason") or fields.get("cancel")),
        failure=decode_failure(fields.get("error")),
        result=json.loads(fields["result"]) if "result" in fields else None,
        progress=json.loads(fields["progress"]) if "progress" in fields else None,
        attempts=attempts,
        replay_of=spec.get("replay_of", ""),
        replayed_as=text(fields.get("replayed_as")),
        token=int(fields.get("token_number", 0)),
    )


def _attempts(fields: Mapping[str, bytes], state: JobState) -> tuple[Attempt, ...]:
    """Return the history, and the attempt that it does not hold yet: the running or the completing one."""
    lines = [json.loads(line) for line in fields.get("history", b"").splitlines()]
    past = [
        Attempt(
            number=line["number"],
            started_at=from_ms(line["started_at"]) if line["started_at"] else None,
            ended_at=from_ms(int(line["ended_at"])),
            worker=line["worker"],
            outcome=line["outcome"],
            failure=Failure(type=line["type"], message=line["message"]) if line.get("type") else None,
        )
        for line in lines
    ]
    if state in (JobState.RUNNING, JobState.COMPLETED) and "started_at" in fields:
        past.append(
            Attempt(
                number=int(fields.get("attempts", 0)) + 1,
                started_at=from_ms(int(fields["started_at"])),
                ended_at=from_ms(int(fields["finished_at"])) if "finished_at" in fields else None,
                worker=text(fields.get("worker")),
                outcome=state,
            )
        )
    return tuple(past)
