"""Reads stored jobs as values for people: the record, and its attempts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dispatch_celery.clock import from_ms
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import Attempt, Job, JobRef, JobState
from dispatch_celery.scope import Scope
from dispatch_celery.store.replies import ask_all, pairs, text
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import Failure, WorkRef
from dispatch_celery.work.records import WorkRecords, decode_failure, decode_spec, make_ref

__all__ = ["JobRecords"]


class JobRecords(WorkRecords):
    """Reads of one partition, jobs whole. What it reads of a job for those who move it is named by a ``JobRef``."""

    def jobs(self, ids: Sequence[str]) -> list[Job | None]:
        """Return whole records, in one trip; None where there is none."""
        calls = [Call.command("HGETALL", self._keys.record(job_id)) for job_id in ids]
        replies = ask_all(self._store, calls)
        return [_job(job_id, pairs(reply)) if reply else None for job_id, reply in zip(ids, replies, strict=True)]

    @staticmethod
    def of(job_id: str, fields: Mapping[str, bytes]) -> Job:
        """Return the record that stored fields make."""
        return _job(job_id, fields)

    def _ref(self, work_id: str, name: str, lane: str, spec: Mapping[str, Any]) -> WorkRef:
        if work_id[:3] == JobId.prefix:
            return make_ref(JobRef, JobId(work_id), name, lane, spec)
        return super()._ref(work_id, name, lane, spec)


def _job(job_id: str, fields: Mapping[str, bytes]) -> Job:
    spec = decode_spec(job_id, fields.get("spec"))
    ref = make_ref(JobRef, JobId(job_id), text(fields.get("name")), text(fields.get("lane")), spec)

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
        limit=text(fields.get("limit")),
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
