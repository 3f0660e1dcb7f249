"""One attempt on its way through the pipeline: what the executor and the recorder hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.jobs.context import JobContext
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.model import Claim, JobRef
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.jobs.outcome import Outcome
from dispatch_celery.retry import Retry

__all__ = ["Execution", "Released"]


@dataclass(frozen=True, slots=True)
class Released:
    """The worker stops: the job is ready again, and nothing was used up."""


@dataclass(slots=True, kw_only=True)
class Execution:
    """One attempt on its way through the pipeline."""

    ref: JobRef
    definition: JobDefinition[..., Any, Any]
    claim: Claim
    holder: str
    spec: dict[str, Any]
    policy: Retry | StoredRetry
    timeout_ms: int | None
    context: JobContext | None = None
    outcome: Outcome | Released | None = None
    recorded: bool = False
    started: int = field(default_factory=monotonic_ms)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.claim.attempts + 1
