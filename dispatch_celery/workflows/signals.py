"""The life cycle of runs as Celery signals: ``@run_completed.connect``.

======================  ==================  ================  ==================================
signal                  keyword arguments   process           Celery's own signal of that moment
======================  ==================  ================  ==================================
``run_enqueued``        ``run``             caller            ``after_task_publish``
``run_started``         ``run``             executor          ``task_prerun``
``run_resumed``         ``run``             executor          ``task_prerun``
``run_step_completed``  ``run step``        executor          (none)
``run_step_failed``     ``run step error``  executor          (none)
``run_waiting``         ``run``             executor          ``task_retry``
``run_compensating``    ``run``             executor, caller  (none)
``run_completed``       ``run elapsed``     executor          ``task_success``
``run_failed``          ``run error``       executor          ``task_failure``
``run_cancelled``       ``run``             executor, caller  (none)
``run_parked``          ``run reason``      executor, main    (none)
``run_recovered``       ``run holder why``  main, leader      (none)
======================  ==================  ================  ==================================

The processes are named as in ``dispatch_celery.jobs.signals``.

The sender is the workflow's name. Each is sent once, from the recorded transition, in the process that recorded it.
"""

from __future__ import annotations

from typing import Any, Final

from celery.utils.dispatch import Signal

__all__ = [
    "RUN_SIGNALS",
    "run_cancelled",
    "run_compensating",
    "run_completed",
    "run_enqueued",
    "run_failed",
    "run_parked",
    "run_recovered",
    "run_resumed",
    "run_started",
    "run_step_completed",
    "run_step_failed",
    "run_waiting",
]


def _signal(name: str, *arguments: str) -> Any:
    return Signal(name=name, providing_args=list(arguments))


run_enqueued: Final = _signal("run_enqueued", "run")
run_started: Final = _signal("run_started", "run")
run_resumed: Final = _signal("run_resumed", "run")
run_step_completed: Final = _signal("run_step_completed", "run", "step")
run_step_failed: Final = _signal("run_step_failed", "run", "step", "error")
run_waiting: Final = _signal("run_waiting", "run")
run_compensating: Final = _signal("run_compensating", "run")
run_completed: Final = _signal("run_completed", "run", "elapsed")
run_failed: Final = _signal("run_failed", "run", "error")
run_cancelled: Final = _signal("run_cancelled", "run")
run_parked: Final = _signal("run_parked", "run", "reason")
run_recovered: Final = _signal("run_recovered", "run", "holder", "why")

RUN_SIGNALS: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {
    "enqueued": (run_enqueued, ()),
    "started": (run_started, ()),
    "resumed": (run_resumed, ()),
    "step_completed": (run_step_completed, ("step",)),
    "step_failed": (run_step_failed, ("step", "error")),
    "waiting": (run_waiting, ()),
    "compensating": (run_compensating, ()),
    "completed": (run_completed, ("elapsed",)),
    "failed": (run_failed, ("error",)),
    "cancelled": (run_cancelled, ()),
    "parked": (run_parked, ("reason",)),
    "recovered": (run_recovered, ("holder", "why")),
}
"""Moments, as transitions report them, to their signal and the facts it carries."""
