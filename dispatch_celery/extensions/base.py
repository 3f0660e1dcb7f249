"""The base class of extensions."""

from __future__ import annotations

from datetime import datetime

from dispatch_celery.ids import EventId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.workflows.model import RunRef

__all__ = ["Extension"]


class Extension:
    """Override what you want to hear of. Hooks run in the recording process: be quick, or hand over."""

    def on_job_enqueued(self, job: JobRef) -> None:
        """A new job was stored; in the caller's process."""

    def on_job_started(self, job: JobRef) -> None:
        """A worker has claimed the job."""

    def on_job_completed(self, job: JobRef, elapsed: float) -> None:
        """The job has completed, ``elapsed`` seconds after it was claimed."""

    def on_job_retrying(self, job: JobRef, attempt: int, next_run_at: datetime) -> None:
        """Attempt number ``attempt`` has ended without success; the next is due at ``next_run_at``."""

    def on_job_failed(self, job: JobRef, error: BaseException | None) -> None:
        """The job has failed for good. ``error`` is None where no exception exists (a crash, an unknown name)."""

    def on_job_dead_lettered(self, job: JobRef, error: BaseException | None) -> None:
        """The job is a dead letter; follows ``on_job_failed``."""

    def on_job_cancelled(self, job: JobRef) -> None:
        """The job has ended because somebody asked for it."""

    def on_job_recovered(self, job: JobRef, holder: str, why: str) -> None:
        """The job was taken back from a process or worker that does not execute it any more."""

    def on_run_enqueued(self, run: RunRef) -> None:
        """A new run was stored; in the caller's process."""

    def on_run_started(self, run: RunRef) -> None:
        """A worker has taken the run for the first time."""

    def on_run_resumed(self, run: RunRef) -> None:
        """A worker has taken the run again, and replays it."""

    def on_run_step_completed(self, run: RunRef, step: str) -> None:
        """A step's result was recorded."""

    def on_run_step_failed(self, run: RunRef, step: str, error: BaseException) -> None:
        """A step has failed for good, and its error was recorded."""

    def on_run_waiting(self, run: RunRef) -> None:
        """The run waits for something, and holds no worker."""

    def on_run_compensating(self, run: RunRef) -> None:
        """The run has failed, or is to end, and begins to undo what it has done."""

    def on_run_completed(self, run: RunRef, elapsed: float) -> None:
        """The run has completed; ``elapsed`` seconds of it were spent since it was last taken."""

    def on_run_failed(self, run: RunRef, error: BaseException | None) -> None:
        """The run has failed for good."""

    def on_run_cancelled(self, run: RunRef) -> None:
        """The run has ended because somebody asked for it, or its time was up."""

    def on_run_parked(self, run: RunRef, reason: str) -> None:
        """The run waits for a person."""

    def on_run_recovered(self, run: RunRef, holder: str, why: str) -> None:
        """The run was taken back from a process or worker that does not execute it any more."""

    def on_worker_joined(self, worker: str) -> None:
        """This worker has registered an incarnation."""

    def on_worker_lost(self, worker: str) -> None:
        """A worker's lease has run out; told by the leader."""

    def on_event_published(self, event: EventId, name: str, key: str) -> None:
        """An event was published; in the process that published it."""

    def on_leader_changed(self, leader: str) -> None:
        """This worker has seen another leader than before."""

    def on_shutdown(self) -> None:
        """This worker stops."""
