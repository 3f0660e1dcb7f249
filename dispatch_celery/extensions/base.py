"""The base class of extensions."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import TypeAlias

from dispatch_celery.ids import CronId, EventId, JobId, RunId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.workflows.model import RunRef

__all__ = ["Extension", "Heard"]

Heard: TypeAlias = Awaitable[None] | None
"""What a hook returns: nothing, or, where it is an ``async def``, what the process's event loop awaits."""


class Extension:
    """Override what you want to hear of, by ``def`` or ``async def``.

    Hooks run in the process that recorded the transition, one at a time and in order, in a thread of the extension's
    own. The worker waits for each of them for ``patience`` seconds and then goes on without it. With ``background`` it
    does not wait at all. ``patience = None`` runs plain hooks in the recording thread itself, with nothing in between:
    for what touches memory only.
    """

    background: bool = False
    """Whether nobody waits for the hooks: for those that speak to other servers."""
    patience: float | None = 2.0
    """Seconds that a transition waits for a hook; None: for ever, as the hook runs in its thread."""
    slow_after: float = 0.5
    """Seconds after which a hook is told of in the log by name."""

    def on_job_enqueued(self, job: JobRef) -> Heard:
        """A new job was stored; in the caller's process."""

    def on_job_limited(self, job: JobRef, limit: str) -> Heard:
        """The job waits for a permit, without a message; of ``limit``, which is empty where the enqueue has told it."""

    def on_job_started(self, job: JobRef) -> Heard:
        """A worker has claimed the job."""

    def on_job_completed(self, job: JobRef, elapsed: float) -> Heard:
        """The job has completed, ``elapsed`` seconds after it was claimed."""

    def on_job_retrying(self, job: JobRef, attempt: int, next_run_at: datetime) -> Heard:
        """Attempt number ``attempt`` has ended without success; the next is due at ``next_run_at``."""

    def on_job_failed(self, job: JobRef, error: BaseException | None) -> Heard:
        """The job has failed for good. ``error`` is None where no exception exists (a crash, an unknown name)."""

    def on_job_dead_lettered(self, job: JobRef, error: BaseException | None) -> Heard:
        """The job is a dead letter; follows ``on_job_failed``."""

    def on_job_cancelled(self, job: JobRef) -> Heard:
        """The job has ended because somebody asked for it."""

    def on_job_recovered(self, job: JobRef, holder: str, why: str) -> Heard:
        """The job was taken back from a process or worker that does not execute it any more."""

    def on_job_reopened(self, job: JobRef) -> Heard:
        """A dead letter is to run again under its own id: by request, or because its name became known."""

    def on_run_enqueued(self, run: RunRef) -> Heard:
        """A new run was stored; in the caller's process."""

    def on_run_started(self, run: RunRef) -> Heard:
        """A worker has taken the run for the first time."""

    def on_run_resumed(self, run: RunRef) -> Heard:
        """A worker has taken the run again, and replays it."""

    def on_run_step_completed(self, run: RunRef, step: str) -> Heard:
        """A step's result was recorded."""

    def on_run_step_failed(self, run: RunRef, step: str, error: BaseException) -> Heard:
        """A step has failed for good, and its error was recorded."""

    def on_run_waiting(self, run: RunRef) -> Heard:
        """The run waits for something, and holds no worker."""

    def on_run_compensating(self, run: RunRef) -> Heard:
        """The run has failed, or is to end, and begins to undo what it has done."""

    def on_run_completed(self, run: RunRef, elapsed: float) -> Heard:
        """The run has completed; ``elapsed`` seconds of it were spent since it was last taken."""

    def on_run_failed(self, run: RunRef, error: BaseException | None) -> Heard:
        """The run has failed for good."""

    def on_run_cancelled(self, run: RunRef) -> Heard:
        """The run has ended because somebody asked for it, or its time was up."""

    def on_run_parked(self, run: RunRef, reason: str) -> Heard:
        """The run waits for a person."""

    def on_run_recovered(self, run: RunRef, holder: str, why: str) -> Heard:
        """The run was taken back from a process or worker that does not execute it any more."""

    def on_worker_joined(self, worker: str) -> Heard:
        """This worker has registered an incarnation."""

    def on_worker_lost(self, worker: str) -> Heard:
        """A worker's lease has run out; told by the leader."""

    def on_event_published(self, event: EventId, name: str, key: str) -> Heard:
        """An event was published; in the process that published it."""

    def on_cron_fired(
        self,
        cron: CronId,
        name: str,
        slot: datetime | None,
        id: JobId | RunId,  # noqa: A002 - the word of the whole API
        late: float,
    ) -> Heard:
        """An entry has created a job or run, for a slot (None: by hand); ``late`` seconds after it was due."""

    def on_leader_changed(self, leader: str) -> Heard:
        """This worker has seen another leader than before."""

    def on_dead_letter_alert(self, count: int, threshold: int) -> Heard:
        """There are more dead letters than ``dispatch_dead_letter_threshold``; told by the leader."""

    def on_shutdown(self) -> Heard:
        """This worker stops."""
