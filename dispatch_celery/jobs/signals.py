"""The life cycle of jobs and workers as Celery signals: ``@job_completed.connect``.

=====================  ===========================  ========================  ==================================
signal                 keyword arguments            process                   Celery's own signal of that moment
=====================  ===========================  ========================  ==================================
``job_enqueued``       ``job``                      caller                    ``after_task_publish``
``job_limited``        ``job limit``                executor, caller, leader  (none)
``job_started``        ``job attempt``              executor                  ``task_prerun``
``job_completed``      ``job elapsed``              executor                  ``task_success``
``job_retrying``       ``job attempt next_run_at``  executor, main            ``task_retry``
``job_failed``         ``job error``                executor, main            ``task_failure``
``job_dead_lettered``  ``job error``                executor, main            (none)
``job_cancelled``      ``job``                      executor, main, caller    (none)
``job_recovered``      ``job holder why``           main, leader              (none)
``job_reopened``       ``job``                      caller, leader            (none)
``worker_joined``      ``worker``                   main                      ``worker_ready``
``worker_lost``        ``worker``                   leader                    (none)
``leader_changed``     ``leader``                   main                      (none)
``event_published``    ``event name key``           caller                    (none)
``cron_fired``         ``cron name slot id late``   caller, leader            (none)
``dead_letter_alert``  ``count threshold``          leader                    (none)
``shutdown``           (none)                       main                      ``worker_shutdown``
=====================  ===========================  ========================  ==================================

Of the processes, ``caller`` is the one that asked for it, ``executor`` the one that runs it, ``main`` the main process
of a worker, where it settles what an executor could not, and ``leader`` the main process of the worker that leads.
The sender is the job's name, or the worker's id. Each is sent once, from the recorded transition, in the
process that recorded it.
"""

from __future__ import annotations

from typing import Any, Final

from celery.utils.dispatch import Signal

__all__ = [
    "SIGNALS",
    "cron_fired",
    "dead_letter_alert",
    "event_published",
    "job_cancelled",
    "job_completed",
    "job_dead_lettered",
    "job_enqueued",
    "job_failed",
    "job_limited",
    "job_recovered",
    "job_reopened",
    "job_retrying",
    "job_started",
    "leader_changed",
    "shutdown",
    "worker_joined",
    "worker_lost",
]


def _signal(name: str, *arguments: str) -> Any:
    return Signal(name=name, providing_args=list(arguments))


job_enqueued: Final = _signal("job_enqueued", "job")
job_limited: Final = _signal("job_limited", "job", "limit")
job_started: Final = _signal("job_started", "job", "attempt")
job_completed: Final = _signal("job_completed", "job", "elapsed")
job_retrying: Final = _signal("job_retrying", "job", "attempt", "next_run_at")
job_failed: Final = _signal("job_failed", "job", "error")
job_dead_lettered: Final = _signal("job_dead_lettered", "job", "error")
job_cancelled: Final = _signal("job_cancelled", "job")
job_recovered: Final = _signal("job_recovered", "job", "holder", "why")
job_reopened: Final = _signal("job_reopened", "job")
worker_joined: Final = _signal("worker_joined", "worker")
worker_lost: Final = _signal("worker_lost", "worker")
event_published: Final = _signal("event_published", "event", "name", "key")
cron_fired: Final = _signal("cron_fired", "cron", "name", "slot", "id", "late")
leader_changed: Final = _signal("leader_changed", "leader")
dead_letter_alert: Final = _signal("dead_letter_alert", "count", "threshold")
shutdown: Final = _signal("shutdown")

SIGNALS: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {
    "enqueued": (job_enqueued, ()),
    "limited": (job_limited, ("limit",)),
    "started": (job_started, ("attempt",)),
    "completed": (job_completed, ("elapsed",)),
    "retrying": (job_retrying, ("attempt", "next_run_at")),
    "failed": (job_failed, ("error",)),
    "dead_lettered": (job_dead_lettered, ("error",)),
    "cancelled": (job_cancelled, ()),
    "recovered": (job_recovered, ("holder", "why")),
    "reopened": (job_reopened, ()),
    "worker_joined": (worker_joined, ("worker",)),
    "worker_lost": (worker_lost, ("worker",)),
    "leader_changed": (leader_changed, ("leader",)),
    "event_published": (event_published, ("event", "name", "key")),
    "cron_fired": (cron_fired, ("cron", "name", "slot", "id", "late")),
    "dead_letter_alert": (dead_letter_alert, ("count", "threshold")),
    "shutdown": (shutdown, ()),
}
"""Moments, as transitions report them, to their signal and the facts it carries."""
