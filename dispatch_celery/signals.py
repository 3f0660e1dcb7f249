"""Every signal of the product, in one place to import from. What they carry: ``dispatch_celery.jobs.signals``."""

from dispatch_celery.jobs.signals import (
    job_cancelled,
    job_completed,
    job_dead_lettered,
    job_enqueued,
    job_failed,
    job_recovered,
    job_retrying,
    job_started,
    leader_changed,
    worker_joined,
    worker_lost,
)

__all__ = [
    "job_cancelled",
    "job_completed",
    "job_dead_lettered",
    "job_enqueued",
    "job_failed",
    "job_recovered",
    "job_retrying",
    "job_started",
    "leader_changed",
    "worker_joined",
    "worker_lost",
]
