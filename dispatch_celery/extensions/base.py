"""The base class of extensions."""

from __future__ import annotations

from datetime import datetime

from dispatch_celery.jobs.model import JobRef

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

    def on_worker_joined(self, worker: str) -> None:
        """This worker has registered an incarnation."""

    def on_worker_lost(self, worker: str) -> None:
        """A worker's lease has run out; told by the leader."""

    def on_leader_changed(self, leader: str) -> None:
        """This worker has seen another leader than before."""

    def on_shutdown(self) -> None:
        """This worker stops."""
