"""Durable jobs on Celery: no job is lost, none loops for ever, every failure can be understood and replayed."""

from dispatch_celery.app import Dispatch
from dispatch_celery.clock import Duration
from dispatch_celery.cluster.model import Worker, WorkerState
from dispatch_celery.config import Settings
from dispatch_celery.cron.model import CronEntry, CronFire, CronState, Misfire, Overlap
from dispatch_celery.dlq.model import (
    DeadLetter,
    DeadLetterGroup,
    DeadLetterKind,
    DeadLetterNote,
    DeadLetterOrigin,
    ReplayPreview,
)
from dispatch_celery.dlq.selection import BulkPreview, BulkProgress, DeadLetterSelection
from dispatch_celery.errors import (
    AlreadyReplayed,
    ConfigurationError,
    CronConflict,
    CronNotFound,
    DeadLetterNotFound,
    DispatchError,
    EventNotFound,
    Fenced,
    IdempotencyConflict,
    InvalidId,
    InvalidSchedule,
    JobAlreadyComplete,
    JobCancelled,
    JobFailed,
    JobNotCancellable,
    JobNotFound,
    JobNotUnique,
    JobTimeout,
    JournalTooLarge,
    LeadershipLost,
    NonDeterminism,
    NotInJob,
    NotInStep,
    PayloadError,
    PayloadTooLarge,
    PromiseNotFound,
    QueueNotFound,
    ResultTimeout,
    RunCancelled,
    RunFailed,
    RunNotFound,
    RunParked,
    StateConflict,
    StepFailed,
    StoreUnavailable,
    Suspended,
    UnsupportedServer,
    WorkflowMisuse,
    WorkflowNotFound,
)
from dispatch_celery.events.model import Event, Received
from dispatch_celery.extensions.base import Extension
from dispatch_celery.ids import CronId, DeadLetterId, EventId, JobId, RunId, WorkerId
from dispatch_celery.jobs.context import JobContext, current_job
from dispatch_celery.jobs.definition import BoundJob, Call
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.model import Attempt, Job, JobRef, JobState
from dispatch_celery.jobs.outcome import Cancel, Fail, RetryAfter, Snooze
from dispatch_celery.jobs.secrets import Secret
from dispatch_celery.jobs.unique import Unique
from dispatch_celery.middleware.base import ExecutionContext, Middleware
from dispatch_celery.queues.model import Limit, PerKey, Queue, Rate
from dispatch_celery.retry import Backoff, Constant, Exponential, Linear, Retry
from dispatch_celery.scope import Scope, current_scope, scope
from dispatch_celery.store.paging import Page
from dispatch_celery.work.model import Failure
from dispatch_celery.worker.shared import shared_job
from dispatch_celery.worker.task import Job as JobDefinition
from dispatch_celery.worker.task import JobDecorator
from dispatch_celery.workflows.async_context import AsyncWorkflow
from dispatch_celery.workflows.checking import CodeCheck, CodeReport, CodeVerdict
from dispatch_celery.workflows.context import RunInfo, Workflow
from dispatch_celery.workflows.definition import BoundWorkflow, RunCall, WorkflowDefinition
from dispatch_celery.workflows.driver import Promise
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.members import Outcome, SyncPromise
from dispatch_celery.workflows.model import PromiseRecord, Run, RunRef, RunState
from dispatch_celery.workflows.step_definition import BoundStep, StepDefinition
from dispatch_celery.workflows.steps import StepContext, current_step

__all__ = [
    "AlreadyReplayed", "AsyncWorkflow", "Attempt", "Backoff", "BoundJob", "BoundStep", "BoundWorkflow", "BulkPreview",
    "BulkProgress", "Call", "Cancel", "CodeCheck", "CodeReport", "CodeVerdict", "ConfigurationError", "Constant",
    "CronConflict", "CronEntry", "CronFire", "CronId", "CronNotFound", "CronState", "DeadLetter", "DeadLetterGroup",
    "DeadLetterId", "DeadLetterKind", "DeadLetterNotFound", "DeadLetterNote", "DeadLetterOrigin",
    "DeadLetterSelection", "Dispatch", "DispatchError", "Duration", "Event", "EventId", "EventNotFound",
    "ExecutionContext", "Exponential", "Extension", "Fail", "Failure", "Fenced", "IdempotencyConflict", "InvalidId",
    "InvalidSchedule", "Job", "JobAlreadyComplete", "JobCancelled", "JobContext", "JobDecorator", "JobDefinition",
    "JobFailed", "JobHandle", "JobId", "JobNotCancellable", "JobNotFound", "JobNotUnique", "JobRef", "JobState",
    "JobTimeout", "JournalTooLarge", "LeadershipLost", "Limit", "Linear", "Middleware", "Misfire", "NonDeterminism",
    "NotInJob", "NotInStep", "Outcome", "Overlap", "Page", "PayloadError", "PayloadTooLarge", "PerKey", "Promise",
    "PromiseNotFound", "PromiseRecord", "Queue", "QueueNotFound", "Rate", "Received", "ReplayPreview", "ResultTimeout",
    "Retry", "RetryAfter", "Run", "RunCall", "RunCancelled", "RunFailed", "RunHandle", "RunId", "RunInfo",
    "RunNotFound", "RunParked", "RunRef", "RunState", "Scope", "Secret", "Settings", "Snooze", "StateConflict",
    "StepContext", "StepDefinition", "StepFailed", "StoreUnavailable", "Suspended", "SyncPromise", "Unique",
    "UnsupportedServer", "Worker", "WorkerId", "WorkerState", "Workflow", "WorkflowDefinition", "WorkflowMisuse",
    "WorkflowNotFound", "current_job", "current_scope", "current_step", "scope", "shared_job",
]  # fmt: skip
