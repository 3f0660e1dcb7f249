"""How runs end, as those who wait for them are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dispatch_celery.codec import Codec
from dispatch_celery.errors import RunCancelled, RunFailed, RunNotFound, RunParked
from dispatch_celery.ids import TypedId
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.listener import Listener
from dispatch_celery.work.records import WorkRecords
from dispatch_celery.work.waiting import Ends
from dispatch_celery.workflows.model import ENDED, RunState
from dispatch_celery.workflows.records import RunRecords

__all__ = ["RunEnds", "not_found"]


class RunEnds(Ends):
    """Outcomes of runs. A parked one counts as ended: who waits for it would wait for a person."""

    ended = ENDED | {RunState.PARKED}

    def __init__(
        self, records: WorkRecords, keys: Keys, listener: Listener, codec_of: Callable[[str, int], Codec | None]
    ) -> None:
        super().__init__(records, keys, listener)
        self._codec_of = codec_of

    def missing(self, work_id: str) -> Exception:
        """Return the error for an id without a record."""
        return not_found(work_id)

    def outcome(self, work_id: TypedId, fields: Mapping[str, bytes], codec: Codec | None) -> Any:
        """Return a run's result, or raise why it has none."""
        run = RunRecords.of(work_id, fields)
        if run.state == RunState.COMPLETED:
            codec = codec or self._codec_of(run.name, run.version)
            data = fields.get("result", b"null")
            return json.loads(data) if codec is None else codec.decode(data)
        if run.state == RunState.CANCELLED:
            raise RunCancelled(f"{run.id} ({run.name}) was cancelled: {run.reason}", id=run.id)
        if run.state == RunState.PARKED:
            raise RunParked(f"{run.id} ({run.name}) waits for a person: {run.reason}: {run.detail}", id=run.id)
        failure = run.failure
        if failure is None:
            raise RunFailed(f"{run.id} ({run.name}) failed without a recorded error", id=run.id)
        raise RunFailed(
            f"{run.id} ({run.name}) failed: {failure.type}: {failure.message}",
            id=run.id,
            error_type=failure.type,
            error_message=failure.message,
            remote_traceback=failure.traceback,
        )


def not_found(run_id: str) -> RunNotFound:
    """Return the error for an id without a record."""
    return RunNotFound(f"there is no run {run_id}: it never existed in this namespace, or its retention has passed")
