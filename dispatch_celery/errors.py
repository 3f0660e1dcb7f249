"""Every error this package raises, in one tree. Each has a stable ``code`` and says what to do.

::

    DispatchError
    +-- ConfigurationError             a setting, declaration or broker that cannot work
    |   +-- InvalidSchedule            a schedule that cannot be read, or could never fire
    |   +-- UnsupportedServer          the Redis or Valkey server is too old or set up to lose data
    +-- PayloadError                   arguments or a result that do not fit their annotations
    |   +-- PayloadTooLarge            ... or that are larger than dispatch_max_payload
    +-- IdempotencyConflict            one idempotency key, two different payloads
    +-- InvalidId                      text that is no id of the kind asked for
    +-- NotFoundError
    |   +-- JobNotFound
    |   +-- RunNotFound
    |   +-- WorkflowNotFound
    |   +-- CronNotFound
    |   +-- DeadLetterNotFound
    |   +-- EventNotFound
    |   +-- QueueNotFound
    |   +-- PromiseNotFound            a durable call that a run has not recorded
    |   +-- WorkerNotFound
    +-- StateConflict                  the verb does not fit the state the record is in
    |   +-- AlreadyReplayed            a dead letter was replayed before, and otherwise than is asked for now
    |   +-- CronConflict               a cron entry was edited since it was read
    |   +-- JobAlreadyComplete
    |   +-- JobNotCancellable
    |   +-- JobNotUnique               there is another of its kind
    +-- OutcomeError                   what a waiting caller is told
    |   +-- JobFailed
    |   +-- JobCancelled
    |   +-- RunFailed
    |   +-- RunCancelled
    |   +-- RunParked
    |   +-- StepFailed
    +-- ResultTimeout                  also a TimeoutError
    +-- JobTimeout                     an attempt ran longer than its timeout; also a TimeoutError
    +-- UnknownJob                     no live worker has known the job's name for dispatch_unknown_grace
    +-- WorkerCrashed                  the process that ran the job died
    +-- WorkflowMisuse
    +-- JournalTooLarge                a run has recorded more than it may
    +-- NonDeterminism
    +-- NotInJob
    +-- NotInStep
    +-- LeadershipLost
    +-- ScriptRefused                  a script of the store refused; a defect, or two releases that do not fit
    +-- StoreUnavailable               the state server does not answer, or not now

    BaseException
    +-- Fenced                         this process no longer holds what it runs
    +-- Suspended                      a run waits; its worker is free

``Fenced`` and ``Suspended`` are signals, not errors: they pass through ``except Exception`` on purpose.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyReplayed",
    "ConfigurationError",
    "CronConflict",
    "CronNotFound",
    "DeadLetterNotFound",
    "DispatchError",
    "EventNotFound",
    "Fenced",
    "IdempotencyConflict",
    "InvalidId",
    "InvalidSchedule",
    "JobAlreadyComplete",
    "JobCancelled",
    "JobFailed",
    "JobNotCancellable",
    "JobNotFound",
    "JobNotUnique",
    "JobTimeout",
    "JournalTooLarge",
    "LeadershipLost",
    "NonDeterminism",
    "NotFoundError",
    "NotInJob",
    "NotInStep",
    "OutcomeError",
    "PayloadError",
    "PayloadTooLarge",
    "PromiseNotFound",
    "QueueNotFound",
    "ResultTimeout",
    "RunCancelled",
    "RunFailed",
    "RunNotFound",
    "RunParked",
    "ScriptRefused",
    "StateConflict",
    "StepFailed",
    "StoreUnavailable",
    "Suspended",
    "UnknownJob",
    "UnsupportedServer",
    "WorkerCrashed",
    "WorkerNotFound",
    "WorkflowMisuse",
    "WorkflowNotFound",
]


class DispatchError(Exception):
    """The root: ``except DispatchError`` catches whatever this package raises on purpose."""

    code: ClassVar[str] = "dispatch_error"


class ConfigurationError(DispatchError):
    """A setting, declaration or broker that cannot work; the message names it and the remedy."""

    code = "configuration_error"


class InvalidSchedule(ConfigurationError):
    """A schedule that cannot be read, or could never fire; ``position`` is the character that is wrong, from 1."""

    code = "invalid_schedule"

    def __init__(self, message: str, *, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class UnsupportedServer(ConfigurationError):
    """The state server is too old, or set up so that it would lose jobs."""

    code = "unsupported_server"


class PayloadError(DispatchError):
    """Arguments or a result that do not fit their annotations, or cannot be written as JSON. Never retried."""

    code = "payload_error"


class PayloadTooLarge(PayloadError):
    """A payload over ``dispatch_max_payload``: store the data elsewhere and pass a reference. Never retried."""

    code = "payload_too_large"


class IdempotencyConflict(DispatchError):
    """An idempotency key that is already used with another payload: choose another key or the same payload."""

    code = "idempotency_conflict"

    def __init__(self, message: str, *, existing_id: str, refused_id: str) -> None:
        super().__init__(message)
        self.existing_id = existing_id
        self.refused_id = refused_id


class InvalidId(DispatchError, ValueError):
    """Text that is no id of the kind asked for."""

    code = "invalid_id"


class NotFoundError(DispatchError, LookupError):
    """No such record: it never existed, or its retention has passed."""

    code = "not_found"


class JobNotFound(NotFoundError):
    """No job with this id: it never existed here, or its retention has passed."""

    code = "job_not_found"


class RunNotFound(NotFoundError):
    """No run with this id: it never existed here, or its retention has passed."""

    code = "run_not_found"


class WorkflowNotFound(NotFoundError):
    """No workflow of this name is declared in this app."""

    code = "workflow_not_found"


class CronNotFound(NotFoundError):
    """No cron entry with this id or name."""

    code = "cron_not_found"


class DeadLetterNotFound(NotFoundError):
    """No dead letter with this id: it was purged, or its job was retried."""

    code = "dead_letter_not_found"


class QueueNotFound(NotFoundError):
    """Nothing waits in a queue of this name, and it has no limit."""

    code = "queue_not_found"


class EventNotFound(NotFoundError):
    """No event with this id: it never existed here, or its lifetime has passed."""

    code = "event_not_found"


class PromiseNotFound(NotFoundError):
    """No durable call of this identity is recorded of the run; its timeline has those that are."""

    code = "promise_not_found"


class WorkerNotFound(NotFoundError):
    """No such incarnation of a worker: it has signed off, or was forgotten after its jobs were recovered."""

    code = "worker_not_found"


class StateConflict(DispatchError):
    """The verb does not fit the state the record is in; nothing was changed."""

    code = "state_conflict"


class AlreadyReplayed(StateConflict):
    """The dead letter was replayed before, with other arguments or into another queue: look at that job first."""

    code = "already_replayed"

    def __init__(self, message: str, *, replayed_as: str) -> None:
        super().__init__(message)
        self.replayed_as = replayed_as


class CronConflict(StateConflict):
    """A cron entry was edited since the caller read it; nothing was changed. Read it again, and decide anew."""

    code = "cron_conflict"


class JobAlreadyComplete(StateConflict):
    """The job has ended; what it did cannot be changed any more."""

    code = "job_already_complete"


class JobNotUnique(StateConflict):
    """There may be one job of its kind at a time, and there is: ``existing_id``. Of a batch, the others are stored."""

    code = "job_not_unique"

    def __init__(self, message: str, *, existing_id: str) -> None:
        super().__init__(message)
        self.existing_id = existing_id


class JobNotCancellable(StateConflict):
    """The job has already ended in a state that a cancel cannot change."""

    code = "job_not_cancellable"


class OutcomeError(DispatchError):
    """The awaited work ended without a result. ``id`` names it; where an error ended it, the others tell which."""

    code = "outcome_error"

    def __init__(
        self,
        message: str,
        *,
        id: str = "",  # noqa: A002 - the word of the whole API
        error_type: str = "",
        error_message: str = "",
        remote_traceback: str = "",
    ) -> None:
        super().__init__(message)
        self.id = id
        self.error_type = error_type
        self.error_message = error_message
        self.remote_traceback = remote_traceback


class JobFailed(OutcomeError):
    """The job failed for good. ``error_type``, ``error_message`` and ``remote_traceback`` tell why."""

    code = "job_failed"


class JobCancelled(OutcomeError):
    """The job was cancelled before it could complete."""

    code = "job_cancelled"


class RunFailed(OutcomeError):
    """The run failed for good."""

    code = "run_failed"


class RunCancelled(OutcomeError):
    """The run was cancelled before it could complete."""

    code = "run_cancelled"


class RunParked(OutcomeError):
    """The run waits for a person."""

    code = "run_parked"


class StepFailed(OutcomeError):
    """A step of a run failed for good. What a workflow catches is of the step's own error class, too."""

    code = "step_failed"


class ResultTimeout(DispatchError, TimeoutError):
    """The result did not arrive in time; the job goes on."""

    code = "result_timeout"


class JobTimeout(DispatchError, TimeoutError):
    """An attempt ran longer than the job's ``timeout``; it counts as an attempt and is retried by the policy."""

    code = "job_timeout"


class UnknownJob(DispatchError):
    """No live worker has known this job name for ``dispatch_unknown_grace``: deploy one that does."""

    code = "unknown_job"


class WorkerCrashed(DispatchError):
    """The process that ran the job died (killed, out of memory, segfault) too often."""

    code = "worker_crashed"


class ScriptRefused(DispatchError):
    """A script of the store answered ``CODE words``: nothing was changed. A defect of this package, or a bad deploy."""

    code = "script_refused"

    def __init__(self, refusal: str, words: str) -> None:
        super().__init__(f"{refusal} {words}".strip())
        self.refusal = refusal
        self.words = words


class WorkflowMisuse(DispatchError):
    """A durable verb where a workflow must use its ``wf`` verb."""

    code = "workflow_misuse"


class JournalTooLarge(DispatchError):
    """A run has made more durable calls than ``dispatch_max_promises``, or recorded more than ``dispatch_max_journal``.

    It fails, and what is to be undone is undone.
    """

    code = "journal_too_large"


class NonDeterminism(DispatchError):
    """The workflow's code no longer asks for what its journal recorded."""

    code = "non_determinism"


class NotInJob(DispatchError):
    """``current_job()`` outside of a running job."""

    code = "not_in_job"


class NotInStep(DispatchError):
    """``current_step()`` outside of a running step."""

    code = "not_in_step"


class LeadershipLost(DispatchError):
    """A leader's write after its term ended; nothing was changed."""

    code = "leadership_lost"


class StoreUnavailable(DispatchError):
    """The state server does not answer, or refuses writes for now. Nothing half-written is left; try again."""

    code = "store_unavailable"


class Fenced(BaseException):
    """This process no longer holds the job or run it executes: stop, and write nothing more.

    Derived from BaseException so that neither user code nor a retry policy can swallow it (ARCHITECTURE 1.3).
    """


class Suspended(BaseException):
    """A run waits for promises that are not there yet; its function is unwound and called again later."""
